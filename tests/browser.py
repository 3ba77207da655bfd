"""A headless Chromium that is told what to do, and tells what it shows, by the DevTools protocol over a pipe."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe""".split()
WAIT_S = 60  # for an answer, on a machine with other work
KEYS = {"Enter": "\r", " ": " "}  # what keys type besides their one character


needed = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")


class Browser:
    """One window; what a person does is sent as input of the system, not as events of the page's own."""

    def __init__(self, folder: Path):
        self.downloads = folder / "downloads"
        self._last, self._left = 0, b""
        self.said: list[str] = []  # errors of the page, and what its policy refused
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write)]
        os.close(to_read)
        os.close(to_write)

        def plumb():  # Chromium reads 3 and writes 4
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self._process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}"],
            preexec_fn=plumb, pass_fds=(3, 4), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in ends:
            os.close(end)
        self._target = self._session = None
        where = {"behavior": "allow", "downloadPath": str(self.downloads)}
        self.send("Browser.setDownloadBehavior", in_session=False, **where)

    def renew(self):
        """A new window in place of the old one, which nothing is left of but what it kept."""
        target = self.send("Target.createTarget", in_session=False, url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", in_session=False, targetId=target, flatten=True)["sessionId"]
        if self._target:
            self.send("Target.closeTarget", in_session=False, targetId=self._target)
        self._target, self._session = target, session
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.resize(1280, 900)
        self.said.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.send("Browser.close", in_session=False)
            self._process.wait(20)
        except (OSError, AssertionError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def send(self, method, in_session=True, **params):
        """Ask, and wait for the answer."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if in_session and self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._last:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self._note(answer)

    def _message(self):
        while b"\0" not in self._left:
            assert select.select([self._read], [], [], WAIT_S)[0], "the browser does not answer"
            more = os.read(self._read, 1 << 20)
            assert more, "the browser is gone"
            self._left += more
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.said.append(details.get("exception", {}).get("description", details["text"]))
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.said.append(params["entry"]["text"])

    def resize(self, width, height, mobile=False):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def open(self, path):
        """Load a page and wait until its script ran."""
        self.send("Page.navigate", url=Path(path).resolve().as_uri())
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def reload(self):
        time.sleep(0.5)  # what a page keeps reaches the browser a moment later, and a machine may be busy
        self.run("window.old = 1")
        self.send("Page.reload")
        self.wait("document.readyState === 'complete' && !window.old")

    def run(self, script):
        """The value of a script in the page."""
        told = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, script):
        """Wait until a script is true."""
        end = time.monotonic() + WAIT_S
        while not self.send("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value"):
            assert time.monotonic() < end, f"waited in vain: {script}"
            time.sleep(0.02)

    def middle(self, selector):
        """Where an element is on the screen."""
        one = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{one}.scrollIntoView({{block: 'nearest'}})")
        x, y, width, height = self.run(
            f"(({{x, y, width, height}}) => [x, y, width, height])({one}.getBoundingClientRect())"
        )
        return x + width / 2, y + height / 2

    def mouse(self, kind, x, y, **more):
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, **more)

    def click(self, selector):
        x, y = self.middle(selector)
        self.mouse("mousePressed", x, y, clickCount=1)
        self.mouse("mouseReleased", x, y, clickCount=1)

    def drag(self, selector, dx, dy, steps=4, drop=True):
        """Press in the middle of an element, move and let go."""
        x, y = self.middle(selector)
        self.mouse("mousePressed", x, y, clickCount=1)
        for i in range(1, steps + 1):
            self.mouse("mouseMoved", x + dx * i / steps, y + dy * i / steps)
        if drop:
            self.mouse("mouseReleased", x + dx, y + dy, clickCount=1)

    def touch(self, *paths):
        """Fingers along paths, each a list of (x, y), all at once; they are lifted at the end."""
        for i, points in enumerate(zip(*paths, strict=True)):
            touched = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]
            self.send("Input.dispatchTouchEvent", type="touchMove" if i else "touchStart", touchPoints=touched)
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, *keys):
        """Press keys one after another: "a", "ArrowLeft", "Shift+ArrowLeft", "Control+z"."""
        for combined in keys:
            *held, key = combined.split("+") if len(combined) > 1 else [combined]
            modifiers = sum({"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}[one] for one in held)
            text = KEYS.get(key, key if len(key) == 1 else "") if not modifiers & 7 else ""
            code = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}.get(key, 0)
            self.send(
                "Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", key=key, text=text, code=key,
                modifiers=modifiers, windowsVirtualKeyCode=code,
            )  # fmt: skip
            self.send("Input.dispatchKeyEvent", type="keyUp", key=key, modifiers=modifiers, windowsVirtualKeyCode=code)

    def download(self, name):
        """The contents of a file that was saved, which is taken away."""
        path, end = self.downloads / name, time.monotonic() + WAIT_S
        while not path.exists():
            assert time.monotonic() < end, f"{name} was not saved"
            time.sleep(0.02)
        text = path.read_text("utf-8")
        path.unlink()
        return text

    def screenshot(self, path):
        Path(path).write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def names(self):
        """(role, name) of everything that a screen reader finds."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
