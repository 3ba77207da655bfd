"""Run imageio-ffmpeg's ffmpeg on untrusted files: what it may open, what it tells, and when it is ended."""

import functools
import math
import os
import re
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
# The same among the filters of the first output. What it says stands among the other messages, and so tells about when
# a damage was found; the other side data would only make that long.
TELL_FRAMES = f"sidedata=mode=delete,{SHOW_FRAMES}"
_SHOWN = rb"\[Parsed_showinfo_\d+ @ 0x[0-9a-f]+\] \[info\] "
_FRAME = re.compile(rb"n: *\d+ pts:.*? sar:(\d+)/(\d+) s:(\d+)x(\d+) i:(.) iskey:(\d) type:. ?")
# That filter says a line in pieces, and what another thread says meanwhile stands between them, without its level.
_COLOUR = rb" ?color_(range|space|primaries|trc):(unknown|tv|pc|bt709|[a-z0-9-]+)"
_PIECE = re.compile(_SHOWN + rb"(" + _FRAME.pattern + rb"|(" + _COLOUR + rb")+)")
# Of -debug_ts: which packet, and which frame, came next in the thread that found a damage.
_READ = re.compile(rb".*\[info\] demuxer\+ffmpeg -> .*?pkt_pts_time:(\S+).*?pkt_dts_time:(\S+)")
_DECODED = re.compile(rb".*\[info\] decoder -> .*?pts_time:(\S+)")
_TIMESTAMP = rb"demuxer(\+\w+)? ->|decoder ->|filter(_raw)? ->|encoder (<-|->)|muxer <-|enc_sync"
_TIMESTAMPS = re.compile(rb".*\[info\] (" + _TIMESTAMP + rb")")
_INFO = re.compile(rb"Output #|  |" + _TIMESTAMP)  # what is no error of what comes without its level
_ERROR = re.compile(rb"\[(error|fatal|panic)\] ")
_NOBODYS_ERROR = re.compile(rb"\[error\] ")  # which came without its level, or does not say whose it is
_DAMAGE = re.compile(rb"corrupt decoded frame|Error submitting packet to decoder|Error while decoding stream")
_END = re.compile(
    rb"partial file|ended prematurely|end of file", re.IGNORECASE
)  # a cut is no damage: all up to it is sound


class Told(NamedTuple):
    """What `TELL_FRAMES` says of a frame, as it was decoded."""

    is_whole: bool  # decoded without others
    is_interlaced: bool
    size_wh: tuple[int, int]  # in square pixels
    damages: int  # found so far, up to some 40 frames too early


class Packet(NamedTuple):
    """A frame as it comes."""

    output: int  # of ffmpeg, from 0
    time_s: float
    data: bytearray
    told: "Told | None" = None  # of output 0 only


class Decoder:
    """One run of ffmpeg that writes NUT to a pipe; `close`, or the end of a `with` block, ends it.

    A thread collects what ffmpeg says, another ends it when it does not get on.

    Args:
        arguments: those that are not the same for all runs.
        container: name of the demuxer, whose errors are damages too.
        exact: tell the times of damages too, for which ffmpeg says far more.
    """

    def __init__(self, arguments: Sequence[str], container: str | None = None, exact: bool = False) -> None:
        demuxer = rf"\[(in#0|{re.escape(container)} @).*\[error\]" if container else "$^"
        self._demuxer_error = re.compile(demuxer.encode())
        self.errors: list[str] = []  # what it said was wrong
        self.infos: list[str] = []
        self.shown: list[str] = []  # what TELL_FRAMES said
        # If exact, where damages are, by the time of the next packet or frame; infinite behind the last. Those up to a
        # frame are in it when the frame comes.
        self.damaged_s: list[tuple[float, bool]] = []  # True: in that frame, False: before it
        self.damages = 0
        self.has_jumps = False  # of time, which it evens out from there on
        self._exact = exact
        self._told: SimpleQueue[Told | None] = SimpleQueue()  # of each frame of output 0; None: no more
        self._stalled = False
        self._closed = threading.Event()
        self._reaping = threading.Lock()
        self._is_waiting = False  # for something to come through the pipe
        self._signs = 0  # of life
        try:
            # A session of its own: an interrupt from the terminal is for Python, which then ends ffmpeg.
            self._process = subprocess.Popen(  # reaped in `_reap` alone
                [_executable(), "-nostdin", "-hide_banner", "-nostats", *(["-debug_ts"] if exact else []), *arguments],
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
        """What ffmpeg writes, as it comes; `TELL_FRAMES`, or `SHOW_FRAMES`, is among the filters of output 0."""
        self._is_waiting = True
        try:
            for output, time_s, data in nut.packets(self._out):
                told = self._next_told() if output == 0 else None
                self._is_waiting, self._signs = False, self._signs + 1
                yield Packet(output, float(time_s), data, told)
                self._is_waiting = True
        except (EOFError, ValueError):  # it broke off: `failure` says why
            pass
        finally:
            self._is_waiting = False

    def wait(self) -> None:
        """Read to the end of what ffmpeg has to say."""
        while self.passes_on():
            pass
        self._reap()
        self._listener.join()

    def passes_on(self) -> bool:
        """Leave out a piece of what ffmpeg writes; whether there was any."""
        self._is_waiting, self._signs = True, self._signs + 1
        return bool(self._out.read(1 << 20))

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

    def _next_told(self) -> Told:
        told = self._told.get()
        if told is None:
            self._told.put(None)  # for whoever asks again
            raise EOFError
        return told

    def _listen(self) -> None:
        """Take every line that ffmpeg says, so that it never waits, and keep the first of each kind."""
        reading_damaged = decoding_damaged = False  # and the time is not known yet
        has_begun = False
        for line in self._lines():
            # What is written is listed, in pieces too, when the first frame has come.
            if frame := _FRAME.search(line) if has_begun else re.match(_SHOWN + _FRAME.pattern, line):
                has_begun = True
                size_wh = square_wh(int(frame[3]), int(frame[4]), int(frame[1]), int(frame[2]))
                self._told.put(Told(frame[6] == b"1", frame[5] in b"TB", size_wh, self.damages))
            elif self._exact and _TIMESTAMPS.match(line):
                if decoding_damaged and (found := _DECODED.match(line)) and (time_s := _number(found[1])) is not None:
                    self.damaged_s.append((time_s, True))
                    decoding_damaged = False
                elif reading_damaged and (found := _READ.match(line)):
                    time_s = _number(found[1])
                    time_s = _number(found[2]) if time_s is None else time_s
                    if time_s is not None:
                        self.damaged_s.append((time_s, False))
                        reading_damaged = False
                continue
            elif b"timestamp discontinuity" in line:
                self.has_jumps = True
            elif _DAMAGE.search(line):
                self.damages += 1
                decoding_damaged = True
            elif self._demuxer_error.match(line) and not _END.search(line):
                self.damages += 1
                reading_damaged = True
            elif _NOBODYS_ERROR.match(line) and not _END.search(line):
                self.damages += 1  # as it may be one; if it is the decoder's, frames near it are damaged anyway
                reading_damaged = True
            if line.startswith(b"[Parsed_showinfo_"):
                self._signs += 1
                kept, most = self.shown, 10
            else:
                kept, most = self.errors if _ERROR.search(line) else self.infos, _MOST_LINES
            if len(kept) < most:
                kept.append("".join(c if c.isprintable() else "?" for c in line.decode(errors="replace").rstrip()))
        if reading_damaged or decoding_damaged:
            self.damaged_s.append((math.inf, False))
        self._told.put(None)

    def _lines(self) -> Iterator[bytes]:
        """What ffmpeg says, as far as possible as it was said: each message with its level."""
        while line := self._err.readline(4096):
            piece = _PIECE.match(line)
            other = line[piece.end() :] if piece else b""
            yield line[: piece.end()] if piece else line
            if other.strip():
                yield (b"[info] " if _INFO.match(other) else b"[error] ") + other

    def _watch(self) -> None:
        step_s = min(1.0, STALL_S / 4)
        signs, waited_s = 0, 0.0  # steps are counted, not the clock's: a machine that sleeps or is busy is no stall
        while not self._closed.wait(step_s):
            waited_s = waited_s + step_s if self._is_waiting and signs == self._signs else 0.0
            signs = self._signs
            if waited_s > STALL_S:
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


def input_arguments(path: Path, max_pixels: int, decoder: str | None = None, turned: bool = True) -> list[str]:
    """How ffmpeg opens a local file and nothing else, whatever its name or what stands in it.

    Args:
        turned: turn frames as the file says.
    """
    return [
        *(["-c:v", decoder] if decoder else []),
        *([] if turned else ["-noautorotate"]),
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


def square_wh(width: int, height: int, sar_width: int, sar_height: int) -> tuple[int, int]:
    """Size in square pixels; the side that is too short grows, so nothing is lost."""
    aspect = Fraction(sar_width, sar_height) if sar_width and sar_height else Fraction(1)
    return (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))


@functools.lru_cache
def filters() -> frozenset[str]:
    """Names of the filters that this ffmpeg has."""
    text = subprocess.run([_executable(), "-hide_banner", "-filters"], capture_output=True, text=True).stdout
    return frozenset(re.findall(r"^ [T.][S.][C.]? (\S+) ", text, re.MULTILINE))


@functools.lru_cache
def decoders() -> frozenset[str]:
    """Names of the decoders that this ffmpeg has."""
    text = subprocess.run([_executable(), "-hide_banner", "-decoders"], capture_output=True, text=True).stdout
    return frozenset(re.findall(r"^ [VAS][F.][S.][X.][B.][D.] (\S+) ", text, re.MULTILINE))


def _number(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:  # NOPTS
        return None


def _executable() -> str:
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise VideoError("no ffmpeg: install imageio-ffmpeg with its binary, or set IMAGEIO_FFMPEG_EXE") from error
