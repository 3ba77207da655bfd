"""Run imageio-ffmpeg's ffmpeg on untrusted files: what it may open, what it tells, and when it is ended."""

import functools
import os
import re
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from io import BufferedIOBase
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, cast

import imageio_ffmpeg

from s2crop.errors import VideoError
from s2crop.video import nut

STALL_S = 30.0  # ffmpeg is ended when nothing has come from it for so long

# Containers that hold their frames themselves. What opens other files or addresses is not among them: playlists
# (hls, dash, imf), scripts (concat, avisynth, lavfi), sessions (sdp, rtsp), numbered pictures (image2), devices.
# The last line is sound, so that ffmpeg can tell that there is no video in it.
_CONTAINERS = (
    "mov matroska avi mpegts mpeg mpegvideo flv live_flv asf ogg mxf gxf nut dv rm wtv nsv nuv swf ivf"
    " gif apng jpegxl_anim yuv4mpegpipe mjpeg mjpeg_2000 mpjpeg smjpeg ingenient"
    " h261 h263 h264 hevc vvc evc av1 obu m4v vc1 vc1test dirac cavsvideo avs2 avs3 apv dnxhd ipu"
    " 4xm amv anm bethsoftvid bfi bink bmv c93 cdxl cine dhav dsicin dxa ea film_cpk flic gdv hnm idcin iff ifv ipmovie"
    " iv8 jv kux luodat lvf lxf mgsts mm moflex mods mtv mv mvi mxg paf pdv pmp psxstr pva r3d rl2 roq rpl ser sga siff"
    " smk smush thp tiertexseq tmv ty usm vividas vivo vmd wc3movie wsvqa xmv yop"
    " aac ac3 aiff amr ape caf dts eac3 flac mp3 tta w64 wav wv"
).split()
# How files begin that name other files. For the message only: the list above is what keeps them out.
_PLAYLIST = re.compile(rb"\s*(#extm3u|ffconcat|\[playlist\]|\[reference\]|<\?xml|<mpd|<asx|<smil|v=0\s)", re.IGNORECASE)

_MOST_LINES = 1000  # kept of what ffmpeg says, of each kind
_CONSEQUENCE = re.compile(
    r"Error opening (input|output)|Task finished|Terminating thread|Nothing was written|Error sending frames|"
    r"Error while (opening|processing)|Conversion failed|To ignore this|Failed to set value|Error parsing options|"
    r"Could not open encoder|Error initializing|Last message repeated"
)

# A filter that says of each frame that it has come: a sign of life.
SHOW_FRAMES = "showinfo=checksum=0"
# The same as the last filter of the first output. What it says stands among the other messages, and so tells which
# frames had been decoded when a damage was found; the other side data would only make that long.
TELL_FRAMES = f"sidedata=mode=delete,{SHOW_FRAMES}"
MOST_AHEAD = 32  # frames by which a message may come early: codecs reorder up to 16, and 8 wait for the filters
_SHOWN = r"\[Parsed_showinfo_\d+ @ 0x[0-9a-f]+\] \[info\] "
_FRAME = re.compile(_SHOWN.encode() + rb"n: *\d+ .* iskey:(\d)")
_ERROR = re.compile(rb"\[(error|fatal|panic)\] ")
_DAMAGE = re.compile(rb"corrupt decoded frame|Error submitting packet to decoder|Error while decoding stream")
_END = re.compile(
    rb"partial file|ended prematurely|end of file", re.IGNORECASE
)  # a cut is no damage: all up to it is sound


@dataclass(frozen=True)
class Stream:
    """The first video stream, as ffmpeg tells it of its first frame, turned upright."""

    container: str  # ffmpeg's name of the demuxer
    duration_s: float | None
    pixel_format: str
    width: int
    height: int
    pixel_aspect: Fraction  # width of a pixel by its height
    interlaced: bool
    matrix: str  # ffmpeg's names, "unknown" where the file does not say
    primaries: str
    transfer: str


class Packet(NamedTuple):
    """A frame as it comes."""

    output: int  # of ffmpeg, from 0
    time_s: float
    data: bytearray
    is_whole: bool  # decoded without others; told of output 0 only
    damages: int  # found so far, up to `MOST_AHEAD` frames too early; told of output 0 only


class Decoder:
    """One run of ffmpeg that writes NUT to a pipe; `close`, or the end of a `with` block, ends it.

    A thread collects what ffmpeg says, another ends it when it does not get on.

    Args:
        arguments: those that are not the same for all runs.
        container: name of the demuxer, whose errors are damages too.
    """

    def __init__(self, arguments: Sequence[str], container: str | None = None) -> None:
        demuxer = rf"\[(in#0|{re.escape(container)} @).*\[error\]" if container else "$^"
        self._demuxer_error = re.compile(demuxer.encode())
        self.errors: list[str] = []  # what it said was wrong
        self.infos: list[str] = []
        self.shown: list[str] = []  # what TELL_FRAMES said
        self._told: SimpleQueue[tuple[bool, int] | None] = SimpleQueue()  # of each frame of output 0; None: no more
        self._stalled = False
        self._closed = threading.Event()
        self._reaping = threading.Lock()
        self._waiting_since: float | None = None  # for something to come through the pipe
        self._shown_at = 0.0
        try:
            # A session of its own: an interrupt from the terminal is for Python, which then ends ffmpeg.
            self._process = subprocess.Popen(  # reaped in `_reap` alone
                [_executable(), "-nostdin", "-hide_banner", "-nostats", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=1 << 16,
                start_new_session=True,
            )
        except OSError as error:
            raise VideoError(f"ffmpeg cannot be started: {error.strerror or error}") from error
        assert self._process.stdout is not None and self._process.stderr is not None
        self._out, self._err = cast(BufferedIOBase, self._process.stdout), self._process.stderr
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def packets(self) -> Iterator[Packet]:
        """What ffmpeg writes, as it comes; `TELL_FRAMES` ends the filters of output 0."""
        self._waiting_since = time.monotonic()
        try:
            for output, time_s, data in nut.packets(self._out):
                is_whole, damages = self._next_told() if output == 0 else (False, 0)
                self._waiting_since = None
                yield Packet(output, float(time_s), data, is_whole, damages)
                self._waiting_since = time.monotonic()
        except (EOFError, ValueError):  # it broke off: `failure` says why
            pass
        finally:
            self._waiting_since = None

    def wait(self) -> None:
        """Read to the end of what ffmpeg has to say."""
        self._waiting_since = time.monotonic()
        while self._out.read(1 << 20):
            pass
        self._reap()
        self._listener.join()

    def failure(self) -> str | None:
        """Why ffmpeg did not reach the end, on one line; None if it did. Waits for it."""
        self.wait()
        if self._stalled:
            return f"nothing could be decoded for {STALL_S:.0f} s"
        if self._process.returncode == 0:
            return None
        ended = "crashed, signal" if self._process.returncode < 0 else "ended with status"
        return self.reason() or f"ffmpeg {ended} {abs(self._process.returncode)}"

    def reason(self) -> str | None:
        """The first thing that it said was wrong, rather than what followed from it."""
        lines = [re.sub(r"^(\[[^]]* @ 0x[0-9a-f]+\] )*\[[a-z]+\] ", "", line) for line in self.errors]
        causes = [line for line in lines if not _CONSEQUENCE.match(line)]
        return next(iter(causes or [line.rpartition(": ")[2] for line in lines]), None)

    def close(self) -> None:
        self._closed.set()
        self._kill()
        self._reap()
        self._listener.join()
        self._out.close()
        self._err.close()

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next_told(self) -> tuple[bool, int]:
        told = self._told.get()
        if told is None:
            self._told.put(None)  # for whoever asks again
            raise EOFError
        return told

    def _listen(self) -> None:
        """Take every line that ffmpeg says, so that it never waits, and keep the first of each kind."""
        damages = 0
        while line := self._err.readline(4096):
            if frame := _FRAME.match(line):
                self._told.put((frame[1] == b"1", damages))
            elif _DAMAGE.search(line) or self._demuxer_error.match(line) and not _END.search(line):
                damages += 1
            if line.startswith(b"[Parsed_showinfo_"):
                self._shown_at = time.monotonic()
                kept, most = self.shown, 10
            else:
                kept, most = self.errors if _ERROR.search(line) else self.infos, _MOST_LINES
            if len(kept) < most:
                kept.append("".join(c if c.isprintable() else "?" for c in line.decode(errors="replace").rstrip()))
        self._told.put(None)

    def _watch(self) -> None:
        while not self._closed.wait(min(1.0, STALL_S / 4)):
            since = self._waiting_since
            if since is not None and time.monotonic() - max(since, self._shown_at) > STALL_S:
                self._stalled = True
                self._kill()
                return

    def _kill(self) -> None:
        with self._reaping:  # until it is reaped, nothing else has its number
            if self._process.returncode is None:
                if hasattr(os, "killpg"):  # what it may have started itself would keep the pipes open
                    with suppress(ProcessLookupError, PermissionError):  # it has ended
                        os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()

    def _reap(self) -> None:
        """Wait until ffmpeg has ended, in such a way that it can be killed meanwhile."""
        if hasattr(os, "waitid"):
            with suppress(ChildProcessError):  # reaped before
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            with self._reaping:
                self._process.wait()
        else:
            self._process.wait()


def input_arguments(path: Path, max_pixels: int) -> list[str]:
    """How ffmpeg opens a local file and nothing else, whatever its name or what stands in it."""
    return [
        # ffmpeg counts what it pads too, so this is for what is far too large; the caller compares the true size.
        "-max_pixels", str(min(2 * max_pixels + 65536, 2**31 - 1)),
        "-protocol_whitelist", "file", "-format_whitelist", ",".join(_CONTAINERS),
        "-i", f"file:{os.path.abspath(path)}",
    ]  # fmt: skip


def check_file(path: Path) -> None:
    """Raise VideoError for what ffmpeg should not be asked to open: no file, a pipe, an empty one, a playlist."""
    try:
        info = os.stat(path)
        if not stat.S_ISREG(info.st_mode):
            raise VideoError("is a directory" if stat.S_ISDIR(info.st_mode) else "not a regular file")
        with open(path, "rb") as file:
            start = file.read(64)
    except FileNotFoundError:
        raise VideoError("no such file") from None
    except OSError as error:
        raise VideoError((error.strerror or str(error)).lower()) from error
    if not start:
        raise VideoError("empty file")
    if _PLAYLIST.match(start):
        raise VideoError("a playlist or script that names other files, which are not opened")


def probe(path: Path, max_pixels: int) -> Stream:
    """Decode the first frame.

    Raises:
        VideoError: there is none, or the file is not of a kind that is read.
    """
    arguments = [
        "-loglevel", "level+info", *input_arguments(path, max_pixels),
        "-map", "0:V:0", "-vf", TELL_FRAMES, "-fps_mode", "passthrough", "-frames:v", "1", "-f", "null", "-",
    ]  # fmt: skip
    with Decoder(arguments) as decoder:
        failure = decoder.failure()
    said = "\n".join(decoder.infos)
    container = re.search(r"^\[info\] Input #0, (.+), from ", said, re.MULTILINE)
    duration = re.search(r"^\[info\]   Duration: (\d+):(\d\d):(\d\d\.\d+),", said, re.MULTILINE)
    shown = "\n".join(decoder.shown)
    frame = re.search(r"n: *0 .* fmt:(\S+) .*sar:(\d+)/(\d+) s:(\d+)x(\d+) i:(.)", shown)
    colour = re.search(r"color_range:\S+ color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)", shown)
    if container is None or frame is None:
        raise VideoError(_why_nothing(decoder, failure, said), "max_pixels")
    sar_width, sar_height = int(frame[2]), int(frame[3])
    hours, minutes, seconds = duration.groups() if duration else (0, 0, 0)
    return Stream(
        container=container[1],
        duration_s=int(hours) * 3600 + int(minutes) * 60 + float(seconds) if duration else None,
        pixel_format=frame[1],
        width=int(frame[4]),
        height=int(frame[5]),
        pixel_aspect=Fraction(sar_width, sar_height) if sar_width and sar_height else Fraction(1),
        interlaced=frame[6] in "TB",
        matrix=colour[1] if colour else "unknown",
        primaries=colour[2] if colour else "unknown",
        transfer=colour[3] if colour else "unknown",
    )


@functools.lru_cache
def filters() -> frozenset[str]:
    """Names of the filters that this ffmpeg has."""
    text = subprocess.run([_executable(), "-hide_banner", "-filters"], capture_output=True, text=True).stdout
    return frozenset(re.findall(r"^ [T.][S.][C.]? (\S+) ", text, re.MULTILINE))


def _executable() -> str:
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise VideoError("no ffmpeg: install imageio-ffmpeg with its binary, or set IMAGEIO_FFMPEG_EXE") from error


def _why_nothing(decoder: Decoder, failure: str | None, said: str) -> str:
    reason = decoder.reason() or ""
    if "not on whitelist" in reason:
        return "not a video of a kind that is read: a picture, a script or an unknown format"
    if "matches no streams" in reason:
        kinds = set(re.findall(r"Stream #0:.*?: (Video|Audio): ", said))
        return {
            frozenset(["Audio"]): "no video in it, only sound",
            frozenset(["Video"]): "no video in it, only a picture",
            frozenset(["Audio", "Video"]): "no video in it, only sound with a cover picture",
        }.get(frozenset(kinds), "no video in it")
    if "Unrecognized option" in reason or "Option not found" in reason:
        return f"this ffmpeg is too old ({reason.rstrip('.')}); 5.1 or newer is needed"
    if reason.startswith("Picture size"):
        return "frames too large ({option})"
    return f"cannot be decoded: {(failure or reason or 'no frame in it').rstrip('.')}"
