"""Shared by all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: spinning threads starve each other
if "PYTEST_XDIST_WORKER" in os.environ:  # several processes: each has a processor of its own
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # as shells start jobs in the background: tests interrupt what they start
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def limits_of_the_command(monkeypatch):
    """Pillow's limits as the commands set them; what a test or a command changes of them is undone."""
    from PIL import Image, PngImagePlugin

    from s2crop.files.picture import MAX_TEXT_BYTES

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", MAX_TEXT_BYTES)


NOT_CHECKED = "not checked"  # how a skip begins that says so in the summary, where nobody overlooks it


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [report.longrepr[2] for report in terminalreporter.getreports("skipped")]
    told = sorted({reason.removeprefix("Skipped: ") for reason in reasons if NOT_CHECKED in reason})
    if told:
        terminalreporter.section("NOT CHECKED IN THIS RUN", sep="!", red=True, bold=True)
        for reason in told:
            terminalreporter.write_line(reason, red=True, bold=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and a command without a network."""
    from fake_cropper import FakeCropper
    from s2crop.cli import loading

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load_cropper", lambda *asked: FakeCropper())
    return tmp_path


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A browser, started once."""
    from browser import Browser

    with Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def window(chromium):
    """A new window of it."""
    chromium.renew()
    return chromium


@pytest.fixture(scope="session")
def shipped_cropper():
    """The shipped weights, loaded once."""
    from s2crop import Cropper

    return Cropper(device="cpu")


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small untrained network."""
    from networks import make_weights

    return make_weights(tmp_path_factory.mktemp("weights"))
