"""Read clips: upright frames with their true times, one after the other or exactly those that were chosen."""

import math
import re
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from s2crop.choices import MAX_PIXELS
from s2crop.errors import VideoError
from s2crop.files import pixels
from s2crop.video import ffmpeg

_HDR_TRANSFERS = ("smpte2084", "arib-std-b67")  # PQ and HLG, ITU-R BT.2100
_PREROLL_S = 10.0  # longer than most distances between whole pictures
_RESTART_S = 1.0  # of a clip is decoded in about the time that ffmpeg takes to begin
# Containers without times of their own: ffmpeg cannot tell where in them it has got to, so they are not sought in.
_UNTIMED = "h261 h263 h264 hevc vvc evc av1 obu m4v mjpeg mpegvideo vc1 dirac cavsvideo avs2 avs3 ingenient ipu".split()
# Frames whose time is later than all before.
_IN_ORDER = "select='gte(t,0)*if(isnan(prev_selected_t),1,gt(t,prev_selected_t))'"


class _Pass:
    """What is kept of the frames that `Video.frames` gave last: times and checksums, 16 bytes a frame."""

    def __init__(self, long_side: int | None, start_s: float) -> None:
        self.long_side, self.start_s = long_side, start_s
        self._times, self._checksums = array("d"), array("L")
        self._whole = array("d", [0.0])  # times of whole pictures

    def add(self, frame: ffmpeg.Packet) -> None:
        self._times.append(frame.time_s)
        self._checksums.append(zlib.adler32(frame.data))
        if frame.is_whole:
            self._whole.append(frame.time_s)

    def agrees(self, frame: ffmpeg.Packet) -> bool:
        """False if the frame that was given at this time was another one."""
        i = bisect_left(self._times, frame.time_s)
        given = i < len(self._times) and self._times[i] == frame.time_s
        return not given or self._checksums[i] == zlib.adler32(frame.data)

    def in_runs(self, times_s: Set[float]) -> list[set[float]]:
        """The times in groups: within each, decoding on costs less than beginning anew at a whole picture."""
        groups: list[set[float]] = []
        for time_s in sorted(times_s):
            whole_s = self._whole[max(0, bisect_right(self._whole, time_s) - 1)]
            if not groups or whole_s > max(groups[-1]) + _RESTART_S:
                groups.append(set())
            groups[-1].add(time_s)
        return groups


class Video:
    """One clip: its size, and its frames as often as asked for. Nothing is kept open between calls."""

    width: int  # of the upright frame in square pixels
    height: int
    duration_s: float | None  # None where the container does not tell
    warnings: list[str]  # one plain line each; a pass over the frames may add to them

    def __init__(self, path: Path, max_pixels: int) -> None:
        self._path, self._max_pixels = path, max_pixels
        self._stream = stream = ffmpeg.probe(path, max_pixels)
        hdr = stream.transfer in _HDR_TRANSFERS
        self._tone_map = hdr and {"zscale", "tonemap"} <= ffmpeg.filters()
        self.width, self.height = _square_wh(stream)
        self.duration_s = stream.duration_s
        self.warnings = []
        if hdr and not self._tone_map:
            self._warn("HDR, and not tone-mapped: this ffmpeg lacks zscale or tonemap, so colours are pale")
        self._pass = _Pass(None, 0.0)

    @classmethod
    def open(cls, path: str | Path, *, max_pixels: int = MAX_PIXELS) -> "Video":
        """Open a clip in any container that ffmpeg reads; its first frame is decoded to see that it can be.

        Raises:
            VideoError: no such file, no video in it, damaged, a playlist, or frames larger than `max_pixels`.
        """
        path = Path(path)
        ffmpeg.check_file(path)
        video = (_AnimatedWebP if _is_webp(path) else cls)(path, max_pixels)
        if video.width * video.height > max_pixels:
            raise VideoError(f"{video.width}x{video.height} is over {max_pixels} pixels ({{option}})", "max_pixels")
        return video

    def frames(
        self, long_side: int | None = 160, start_s: float | None = None, end_s: float | None = None
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Decode the clip once, from front to back; closing the iterator ends the decoder.

        Times rise strictly: a frame that is not later than the one before is left out. Where the stream is damaged,
        frames from there to the next whole picture are left out, and `warnings` says so.

        Args:
            long_side: the frames are made smaller to this, never larger; None: full resolution.
            start_s: first time wanted, from the clip's start.
            end_s: last time wanted.
        Yields:
            (presentation time from the clip's start in s, to the microsecond; uint8 RGB [h, w, 3]).
        Raises:
            VideoError: there are no frames, or none can be decoded.
        """
        self._pass = seen = _Pass(long_side, max(0.0, start_s or 0.0))
        for frame in self._undamaged(long_side, seen.start_s, math.inf if end_s is None else end_s):
            seen.add(frame)
            yield frame.time_s, self._frame(frame.data, long_side)

    def frames_at(self, times_s: Sequence[float]) -> list[np.ndarray]:
        """The very frames that the last pass of `frames` gave at these times, at full resolution.

        Each is sought; that the right one was found is told by decoding it at the size of that pass too and comparing
        checksums. Where seeking fails, the pass is decoded again from where it began.

        Returns:
            uint8 RGB [height, width, 3] for each time, in the order asked for.
        Raises:
            VideoError: a frame cannot be found again as it was.
        """
        found: dict[float, np.ndarray] = {}
        for group in self._pass.in_runs(set(times_s)):
            for preroll_s in (0.0, _PREROLL_S):
                seek_s, missing = min(group) - preroll_s, group - found.keys()
                if missing and seek_s > self._pass.start_s:
                    found |= self._find(missing, seek_s)
        if missing := set(times_s) - found.keys():
            found |= self._find(missing, self._seek_for(self._pass.start_s), last_try=True)
        return _each(times_s, found)

    def _undamaged(self, long_side: int | None, start_s: float, end_s: float) -> Iterator[ffmpeg.Packet]:
        """The frames of the span, less those from each damage to the next whole picture."""
        gaps: list[tuple[float, float | None]] = []  # (last frame before, first after or None)
        last: float | None = None
        damages: int | None = None  # so far; those before the first frame wanted do not matter
        hidden = 0  # frames since the last damage
        outputs = ["-map", "0:V:0", "-vf", f"{_IN_ORDER},{self._picture(long_side)},{ffmpeg.TELL_FRAMES}"]
        try:
            with self._decoder(self._seek_for(start_s), outputs) as decoder:
                for frame in decoder.packets():
                    if frame.time_s > end_s:
                        return
                    if frame.time_s < start_s:
                        continue
                    if damages is None:
                        damages = frame.damages
                    if frame.damages > damages:
                        damages, hidden = frame.damages, 1
                        if not gaps or gaps[-1][1] is not None:
                            gaps.append((last, None))
                    elif hidden:
                        hidden += 1
                        if frame.is_whole and hidden > ffmpeg.MOST_AHEAD:
                            gaps[-1], hidden = (gaps[-1][0], frame.time_s), 0
                    if not hidden:
                        last = frame.time_s
                        yield frame
                self._check_end(decoder, last, end_s, gaps)
        finally:
            if gaps:
                self._warn(_gaps_line(gaps))

    def _check_end(self, decoder: ffmpeg.Decoder, last: float | None, end_s: float, gaps: list) -> None:
        """Tell the end of the clip from a decoder that gave up; `last` is the time of the last frame, if any."""
        failure = decoder.failure()
        if last is None:
            if failure or self._pass.start_s == 0:
                raise VideoError(f"cannot be decoded: {failure or decoder.reason() or 'no frame in it'}")
        elif failure and (not gaps or gaps[-1][1] is not None):
            gaps.append((last, None))
        elif not gaps and decoder.errors and last + 1.0 < min(self.duration_s or 0.0, end_s):
            self._warn(f"ends at {last:.1f} s instead of {self.duration_s:.1f} s: damaged or cut short")

    def _find(self, times_s: Set[float], seek_s: float | None, last_try: bool = False) -> dict[float, np.ndarray]:
        """Those frames of the last pass that are found, unchanged, when decoding begins at `seek_s`.

        Of damaged frames decoders make up what is missing, and not always the same: in the last try, where the decoder
        has come the same way as in that pass, that is no hindrance.
        """
        wanted = "+".join(f"between(t,{time_s - 1e-6:.7f},{time_s + 1e-6:.7f})" for time_s in times_s)
        end_s = max(times_s) + 1.0  # later, as it is rounded to the clip's own ticks
        graph = (
            f"[0:V:0]{_IN_ORDER},trim=end={end_s:.6f},{ffmpeg.SHOW_FRAMES},select='{wanted}',split[a][b];"
            f"[a]{self._picture(self._pass.long_side)}[small];[b]{self._deinterlaced()}{self._picture(None)}[full]"
        )
        same: set[float] = set()
        found: dict[float, np.ndarray] = {}
        with self._decoder(seek_s, ["-filter_complex", graph, "-map", "[small]", "-map", "[full]"]) as decoder:
            for frame in decoder.packets():
                if frame.output == 1:
                    found[frame.time_s] = self._frame(frame.data, None)
                elif self._pass.agrees(frame):
                    same.add(frame.time_s)
        if last_try and decoder.errors:
            same = set(found)
        return {time_s: found[time_s] for time_s in times_s & same & found.keys()}

    @staticmethod
    def _seek_for(start_s: float) -> float | None:
        """Where to begin so that a frame at `start_s` is decoded whole, even where ffmpeg lands between such frames."""
        return start_s - _PREROLL_S if start_s > _PREROLL_S else None

    def _decoder(self, seek_s: float | None, outputs: Sequence[str]) -> ffmpeg.Decoder:
        """Raw frames with times from the clip's start, decoded from the last whole picture before `seek_s` on."""
        seek = []
        if seek_s is not None and seek_s > 0 and self._stream.container not in _UNTIMED:
            seek = ["-copyts", "-start_at_zero", "-noaccurate_seek", "-ss", f"{seek_s:.6f}"]
        arguments = [
            "-loglevel", "level+info", *seek, *ffmpeg.input_arguments(self._path, self._max_pixels), *outputs,
            "-fps_mode", "passthrough", "-enc_time_base", "1/1000000", "-avoid_negative_ts", "disabled",
            "-c:v", "rawvideo", "-f", "nut", "pipe:1",
        ]  # fmt: skip
        return ffmpeg.Decoder(arguments, self._stream.container)

    def _size(self, long_side: int | None) -> tuple[int, int]:
        """Width and height of the frames at most that large."""
        scale = 1.0 if long_side is None else min(1.0, long_side / max(self.width, self.height))
        return max(1, round(self.width * scale)), max(1, round(self.height * scale))

    def _picture(self, long_side: int | None) -> str:
        """Filters from a decoded frame to RGB or RGBA of that size."""
        stream, (width, height) = self._stream, self._size(long_side)
        method = "area" if width * height < stream.width * stream.height else "lanczos"
        scale = f"scale={width}:{height}:flags={method}+accurate_rnd+full_chroma_int+full_chroma_inp"
        if self._tone_map:
            return f"{scale},format=yuv444p12le,{_tone_mapping(stream)},format=rgb24"
        if stream.matrix == "unknown" and (stream.width >= 1280 or stream.height > 576):
            scale += ":in_color_matrix=bt709"  # as players guess; ffmpeg takes everything unknown for BT.601
        return f"{scale},format={'rgba' if _has_alpha(stream) else 'rgb24'}"

    def _deinterlaced(self) -> str:
        # From the frame alone, as its neighbours are not at hand.
        return "estdif=mode=frame:deint=interlaced," if self._stream.interlaced else ""

    def _frame(self, data: bytearray, long_side: int | None) -> np.ndarray:
        width, height = self._size(long_side)
        frame = np.frombuffer(data, np.uint8).reshape(height, width, -1)
        return _on_white(frame) if frame.shape[2] == 4 else frame

    def _warn(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)


class _AnimatedWebP(Video):
    """An animated WebP, read by Pillow: few ffmpegs can."""

    def __init__(self, path: Path, max_pixels: int) -> None:
        self._path = path
        with self._opened() as image:
            self.width, self.height = image.size
            if not getattr(image, "is_animated", False):
                raise VideoError("a single picture, not a video")
        self.duration_s, self.warnings = None, []

    def frames(
        self, long_side: int | None = 160, start_s: float | None = None, end_s: float | None = None
    ) -> Iterator[tuple[float, np.ndarray]]:
        last = -math.inf
        with self._opened() as image:
            for frame in ImageSequence.Iterator(image):
                frame.load()
                time_s = frame.info["timestamp"] / 1000
                if end_s is not None and time_s > end_s:
                    break
                if time_s > last and time_s >= (start_s or 0.0):
                    last = time_s
                    yield time_s, np.array(pixels.rgb(frame).resize(self._size(long_side), Image.Resampling.BOX))

    def frames_at(self, times_s: Sequence[float]) -> list[np.ndarray]:
        found = {
            time_s: frame for time_s, frame in self.frames(None, end_s=max(times_s, default=0.0)) if time_s in times_s
        }
        return _each(times_s, found)

    @contextmanager
    def _opened(self) -> Iterator[Image.Image]:
        """The image; what goes wrong inside is a VideoError."""
        try:
            with Image.open(self._path, formats=["WEBP"]) as image:
                yield image
        except VideoError:
            raise
        except UnidentifiedImageError as error:
            raise VideoError("cannot be decoded: no WebP behind its first bytes") from error
        except Exception as error:  # damaged files make Pillow raise nearly anything
            raise VideoError(f"cannot be decoded: {' '.join(str(error).split())}") from error


def _is_webp(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(12)
    return start[:4] == b"RIFF" and start[8:] == b"WEBP"


def _each(times_s: Sequence[float], found: Mapping[float, np.ndarray]) -> list[np.ndarray]:
    for time_s in times_s:
        if time_s not in found:
            raise VideoError(f"the frame at {time_s:.3f} s could not be read again")
    return [found[time_s] for time_s in times_s]


def _square_wh(stream: ffmpeg.Stream) -> tuple[int, int]:
    """Size in square pixels; the side that is too short grows, so nothing is lost."""
    if stream.pixel_aspect >= 1:
        return round(stream.width * stream.pixel_aspect), stream.height
    return stream.width, round(stream.height / stream.pixel_aspect)


def _has_alpha(stream: ffmpeg.Stream) -> bool:
    return re.match(r"yuva|rgba|bgra|argb|abgr|gbrap|ya8|ya16|pal8|ayuv|vuya|uyva", stream.pixel_format) is not None


def _on_white(frame: np.ndarray) -> np.ndarray:
    """[h, w, 4] laid on white, [h, w, 3], as transparent pictures are."""
    alpha = frame[..., 3:].astype(np.uint16)
    return ((frame[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _tone_mapping(stream: ffmpeg.Stream) -> str:
    """Filters from PQ or HLG to the same picture in the range of sRGB."""
    matrix = "bt2020nc" if stream.matrix == "unknown" else stream.matrix
    primaries = "bt2020" if stream.primaries == "unknown" else stream.primaries
    return (
        f"zscale=transferin={stream.transfer}:matrixin={matrix}:primariesin={primaries}:transfer=linear:npl=203,"
        "format=gbrpf32le,zscale=primaries=bt709,tonemap=tonemap=mobius:desat=0,"
        "zscale=transfer=iec61966-2-1:range=full,format=gbrp"
    )


def _gaps_line(gaps: Sequence[tuple[float, float | None]]) -> str:
    spans = [
        f"after {before:.1f} s" if after is None else f"between {before:.1f} and {after:.1f} s"
        for before, after in gaps
    ]
    places = ", ".join(spans[:3]) + (f" and in {len(gaps) - 3} more places" if len(gaps) > 3 else "")
    rest = "" if gaps[-1][1] is not None else " and everything behind"
    return f"damaged {places}: frames there{rest} were left out"
