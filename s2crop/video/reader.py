"""Read clips: upright frames with their true times, one after the other or exactly those that were chosen."""

import math
from collections.abc import Generator, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from s2crop.choices import MAX_PIXELS
from s2crop.errors import VideoError
from s2crop.files import pixels
from s2crop.video import colours, ffmpeg, interlacing, tags
from s2crop.video.passes import Gap, Pass, Sieve, gaps_line
from s2crop.video.probe import NoVideoError, Stream, probe

_PREROLL_S = 10.0  # longer than most distances between whole pictures
# Containers without times of their own: ffmpeg cannot tell where in them it has got to, so they are not sought in.
_UNTIMED = "h261 h263 h264 hevc vvc evc av1 obu m4v mjpeg mpegvideo vc1 dirac cavsvideo avs2 avs3 ingenient ipu".split()
_SEEK_EARLY_S = 0.15  # ffmpeg seeks 0.13 s before what is asked for where times of decoding are all it has
# Frames whose time is later than all before.
_IN_ORDER = "select='gte(t,0)*if(isnan(prev_selected_t),1,gt(t,prev_selected_t))'"


class Video:
    """One clip: its size, and its frames as often as asked for. Nothing is kept open between calls."""

    width: int  # of the upright frame in square pixels
    height: int
    duration_s: float | None  # None where the container does not tell
    is_art: bool  # a picture attached to a clip or to sound, as a clip of one frame
    has_times: bool  # a frame has the same time wherever decoding begins
    lenient: bool  # for the passes to come: frames that show traces of a damage count, some seconds behind it
    warnings: list[str]  # one plain line each; a pass over the frames may add to them
    looked_at: str = ""  # how key frames were looked for, once they were
    exif: bytes | None = None  # what the container says of who made it, when and where

    def __init__(self, path: Path, max_pixels: int, art: int | None = None) -> None:
        self._path, self._max_pixels = path, max_pixels
        self._stream = stream = probe(path, max_pixels, art)
        self.is_art = art is not None
        hdr = stream.transfer in colours.HDR_TRANSFERS
        has_zscale = "zscale" in ffmpeg.filters()
        self._tone_map = hdr and has_zscale and "tonemap" in ffmpeg.filters()
        self._wide = not hdr and has_zscale and stream.primaries == "bt2020"
        self.width, self.height = _square_wh(stream)
        self.duration_s = stream.duration_s
        self.exif = tags.exif_of(stream.tags)
        self._can_seek = stream.container not in _UNTIMED and not stream.has_jumps
        self.has_times = self._can_seek and stream.container != "avi"  # which tells those of decoding alone
        self.lenient = False
        self.warnings = []
        if hdr and not self._tone_map:
            self._warn("HDR, and not tone-mapped: this ffmpeg lacks zscale or tonemap, so colours are pale")
        if stream.lost_alpha:
            self._warn("transparent, and shown without that: this ffmpeg lacks libvpx, so hidden colours may show")
        if stream.own_colours:
            self._warn("Dolby Vision of profile 5, whose colours only its own players show: they are wrong here")
        if stream.spherical:
            self._warn("a view all around (360 degrees): cropped flat, as it is stored")
        self._passes = [Pass(None, 0.0)]

    @classmethod
    def open(cls, path: str | Path, *, max_pixels: int = MAX_PIXELS, or_art: bool = False) -> "Video":
        """Open a clip in any container that ffmpeg reads; its first frame is decoded to see that it can be.

        Args:
            or_art: where there is sound alone, open the picture that is attached to it.
        Raises:
            VideoError: no such file, no video in it, damaged, a playlist, or frames larger than `max_pixels`.
        """
        path = Path(path)
        ffmpeg.check_file(path)
        try:
            video = (_AnimatedWebP if _is_webp(path) else cls)(path, max_pixels)
        except NoVideoError as error:
            if not (or_art and error.has_art):
                raise
            video = cls(path, max_pixels, art=0)
        if video.width * video.height > max_pixels:
            raise VideoError(f"{video.width}x{video.height} is over {max_pixels} pixels ({{option}})", "max_pixels")
        return video

    def art(self) -> "list[Video]":
        """The pictures attached to the clip that can be read, each as a clip of one frame."""
        found = []
        for number in range(len(self._stream.art) if not self.is_art else 0):
            try:
                picture = Video(self._path, self._max_pixels, art=number)
            except VideoError:
                continue
            if picture.width * picture.height <= self._max_pixels:
                found.append(picture)
        return found

    def frames(
        self,
        long_side: int | None = 160,
        start_s: float | None = None,
        end_s: float | None = None,
        *,
        keys_only: bool = False,
        more: bool = False,
        preroll_s: float | None = None,
    ) -> Generator[tuple[float, np.ndarray], None, None]:
        """Decode the clip once, from front to back; closing the generator ends the decoder.

        Times rise strictly: a frame that is not later than the one before is left out. Where the stream is damaged,
        frames from there to the next whole picture are left out, and `warnings` says so. Frames all have the shape of
        the clip's first: those of another shape have black bars.

        Args:
            long_side: the frames are made smaller to this, never larger; None: full resolution.
            start_s: first time wanted, from the clip's start.
            end_s: last time wanted.
            keys_only: whole pictures alone, without decoding what lies between.
            more: `frames_at` still gives the frames of earlier passes too.
            preroll_s: how much before `start_s` to begin decoding; None for what is safe. With 0 the first frame given
                is that of `start_s` only where it is a whole picture and the container tells so.
        Yields:
            (presentation time from the clip's start in s, to the microsecond; uint8 RGB [h, w, 3]).
        Raises:
            VideoError: there are no frames, or none can be decoded.
        """
        seen = Pass(long_side, max(0.0, start_s or 0.0), math.inf if end_s is None else end_s, keys_only)
        self._passes = [*(self._passes if more else []), seen]
        for frame in self._undamaged(seen, preroll_s):
            seen.add(frame)
            yield frame.time_s, self._frame(frame.data, long_side)

    def frames_at(self, times_s: Sequence[float]) -> list[np.ndarray]:
        """The very frames that the last pass of `frames` gave at these times,
        at full resolution and in their own shape.

        Each is sought; that the right one was found is told by decoding it at the size of that pass too and comparing
        checksums. Where seeking fails, the pass is decoded again from where it began. Frames of two fields are
        deinterlaced where the stream says that they are, and where they look so.

        Returns:
            uint8 RGB [height, width, 3] for each time, in the order asked for.
        Raises:
            VideoError: a frame cannot be found again as it was.
        """
        found: dict[float, np.ndarray] = {}
        for seen in reversed(self._passes):
            by_size: dict[tuple[int, int], set[float]] = {}
            for time_s in times_s:
                if time_s in seen and time_s not in found:
                    by_size.setdefault(seen.size_wh(time_s), set()).add(time_s)
            for size_wh, times in by_size.items():
                found |= self._at_size(times, seen, size_wh)
        return _each(times_s, found)

    def _at_size(self, times_s: Set[float], seen: Pass, size_wh: tuple[int, int]) -> dict[float, np.ndarray]:
        """Those frames of a pass that are found; all have this size."""
        deinterlacing = "estdif=mode=frame:deint=interlaced," if seen.is_interlaced else ""
        found = self._sought(times_s, seen, size_wh, deinterlacing)
        is_film = self._stream.pixel_format.startswith(("yuv", "nv", "p0"))  # the dots of palettes look like combs
        if not deinterlacing and is_film and size_wh[1] == self._stream.height:  # otherwise rows are mixed already
            combed = {time_s for time_s, frame in found.items() if interlacing.is_combed(frame)}
            if combed:
                found |= self._sought(combed, seen, size_wh, "estdif=mode=frame:deint=all,")
        return found

    def _sought(
        self, times_s: Set[float], seen: Pass, size_wh: tuple[int, int], deinterlacing: str
    ) -> dict[float, np.ndarray]:
        found: dict[float, np.ndarray] = {}
        for group in seen.in_runs(times_s):
            for preroll_s in (0.0, _PREROLL_S):
                seek_s, missing = min(group) - preroll_s, group - found.keys()
                if missing and seek_s > seen.start_s:
                    found |= self._find(missing, seen, size_wh, deinterlacing, seek_s)
        if missing := set(times_s) - found.keys():
            found |= self._find(missing, seen, size_wh, deinterlacing, self._seek_for(seen.start_s), last_try=True)
        return found

    def _undamaged(self, seen: Pass, preroll_s: float | None) -> Iterator[ffmpeg.Packet]:
        """The frames of the span, less those from each damage to the next whole picture.

        When ffmpeg finds a damage it is some frames ahead, more or fewer of them on each run. So the pass is begun anew
        then, with all said that tells where the damage is; frames that were given before are sound.
        """
        given_s = -math.inf
        seek_s = self._seek_for(seen.start_s)
        if preroll_s is not None and seen.start_s > 0:
            seek_s = seen.start_s - preroll_s + _SEEK_EARLY_S
        for exact in (False, True):
            sieve = Sieve(exact, seen.start_s, seen.end_s, self.lenient)
            try:
                with self._decoder(seek_s, self._outputs(seen), exact, seen.keys_only) as decoder:
                    for frame in sieve.sound(decoder):
                        if frame.time_s > given_s:
                            given_s = frame.time_s
                            yield frame
                    if decoder.damages and not exact:
                        continue
                    if not sieve.is_past_end:
                        self._check_end(decoder, sieve.last_s, seen, sieve.gaps)
            finally:
                if sieve.gaps:
                    self._warn(gaps_line(sieve.gaps))
            return

    def _outputs(self, seen: Pass) -> list[str]:
        tell = ffmpeg.SHOW_FRAMES if self._tone_map else ffmpeg.TELL_FRAMES  # which is mapped by the side data
        return ["-map", self._stream.map, "-vf", f"{_IN_ORDER},{tell},{self._padded(seen.long_side)}"]

    def _check_end(self, decoder: ffmpeg.Decoder, last: float | None, seen: Pass, gaps: list[Gap]) -> None:
        """Tell the end of the clip from a decoder that gave up; `last` is the time of the last frame, if any."""
        failure = decoder.failure()
        if last is None:
            if failure or seen.start_s == 0:
                raise VideoError(f"cannot be decoded: {failure or decoder.reason() or 'no frame in it'}")
        elif failure and (not gaps or gaps[-1][1] is not None):
            gaps.append((last, None))
        elif (
            not gaps and decoder.errors and not seen.keys_only and last + 1.0 < min(self.duration_s or 0.0, seen.end_s)
        ):
            self._warn(f"ends at {last:.1f} s instead of {self.duration_s:.1f} s: damaged or cut short")

    def _find(
        self,
        times_s: Set[float],
        seen: Pass,
        size_wh: tuple[int, int],
        deinterlacing: str,
        seek_s: float | None,
        last_try: bool = False,
    ) -> dict[float, np.ndarray]:
        """Those frames of a pass that are found, unchanged, when decoding begins at `seek_s`.

        Of damaged frames decoders make up what is missing, and not always the same: in the last try, where the decoder
        has come the same way as in that pass, that is no hindrance.
        """
        wanted = "+".join(f"between(t,{time_s - 1e-6:.7f},{time_s + 1e-6:.7f})" for time_s in times_s)
        end_s = max(times_s) + 1.0  # later, as it is rounded to the clip's own ticks
        graph = (
            f"[{self._stream.map}]{_IN_ORDER},trim=end={end_s:.6f},{ffmpeg.SHOW_FRAMES},select='{wanted}',split[a][b];"
            f"[a]{self._padded(seen.long_side)}[small];[b]{deinterlacing}{self._picture(*size_wh)}[full]"
        )
        same: set[float] = set()
        found: dict[float, np.ndarray] = {}
        with self._decoder(seek_s, ["-filter_complex", graph, "-map", "[small]", "-map", "[full]"]) as decoder:
            for frame in decoder.packets():
                if frame.output == 1:
                    found[frame.time_s] = colours.rgb(frame.data, size_wh)
                elif seen.agrees(frame):
                    same.add(frame.time_s)
        if last_try and decoder.errors:
            same = set(found)
        return {time_s: found[time_s] for time_s in times_s & same & found.keys()}

    @staticmethod
    def _seek_for(start_s: float) -> float | None:
        """Where to begin so that a frame at `start_s` is decoded whole, even where ffmpeg lands between such frames."""
        return start_s - _PREROLL_S if start_s > _PREROLL_S else None

    def _decoder(
        self, seek_s: float | None, outputs: Sequence[str], exact: bool = False, keys_only: bool = False
    ) -> ffmpeg.Decoder:
        """Raw frames with times from the clip's start, decoded from the last whole picture before `seek_s` on."""
        # Not -discard, which would not even read the others, but in MP4 gives those that are left wrong times.
        before = ["-skip_frame", "nokey"] if keys_only else []
        if seek_s is not None and seek_s > 0 and self._can_seek:
            before += ["-copyts", "-start_at_zero", "-noaccurate_seek", "-ss", f"{seek_s:.6f}"]
        arguments = [
            "-loglevel", "level+info", *before,
            *ffmpeg.input_arguments(self._path, self._max_pixels, self._stream.decoder, not self._stream.is_askew),
            *outputs, "-map_metadata", "-1",  # which would be listed among what is told of frames
            "-fps_mode", "passthrough", "-enc_time_base", "1/1000000", "-avoid_negative_ts", "disabled",
            "-c:v", "rawvideo", "-f", "nut", "pipe:1",
        ]  # fmt: skip
        return ffmpeg.Decoder(arguments, self._stream.container, exact)

    def _size(self, long_side: int | None) -> tuple[int, int]:
        """Width and height of the frames at most that large."""
        scale = 1.0 if long_side is None else min(1.0, long_side / max(self.width, self.height))
        return max(1, round(self.width * scale)), max(1, round(self.height * scale))

    def _padded(self, long_side: int | None) -> str:
        """Filters from decoded frames to pictures of that size,
        those of another shape than the first with black bars.
        """
        stream, (width, height) = self._stream, self._size(long_side)
        square_width, square_height = "iw*max(sar,1)", "ih*max(1/sar,1)"
        scale = f"min({width}/({square_width}),{height}/({square_height}))"
        usual = f"eq(iw,{stream.width})*eq(ih,{stream.height})*lt(abs(sar-{float(stream.pixel_aspect):.6f}),0.001)"
        across, down = (
            f"'if({usual},{usually},max(1,round({square}*{scale})))'"
            for usually, square in ((width, square_width), (height, square_height))
        )
        picture = self._picture(across, down, width * height < stream.width * stream.height)
        return f"{picture},pad={width}:{height}:(ow-iw)/2:(oh-ih)/2"

    def _picture(self, width: int | str, height: int | str, smaller: bool = False) -> str:
        """Filters from a decoded frame to RGB or RGBA of that size."""
        stream = self._stream
        flags = f"{'area' if smaller else 'lanczos'}+accurate_rnd+full_chroma_int+full_chroma_inp"
        scale = f"scale={width}:{height}:flags={flags}"
        if self._tone_map:
            return f"{scale},format=yuv444p12le,{colours.tone_mapping(stream)},format=rgb24"
        if stream.matrix == "unknown" and (stream.width >= 1280 or stream.height > 576):
            scale += ":in_color_matrix=bt709"  # as players guess; ffmpeg takes everything unknown for BT.601
        if self._wide and not colours.has_alpha(stream):
            matrix = "bt2020nc" if stream.matrix == "unknown" else stream.matrix
            scale += f",format=yuv444p12le,zscale=matrixin={matrix}:primariesin=bt2020:transferin=bt709:transfer=linear"
            scale += ",format=gbrpf32le,zscale=primaries=bt709:transfer=iec61966-2-1:range=full,format=gbrp"
        return f"{scale},format={'rgba' if colours.has_alpha(stream) else 'rgb24'}"

    def _frame(self, data: bytearray, long_side: int | None) -> np.ndarray:
        return colours.rgb(data, self._size(long_side))

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
        self.is_art = self.has_times = self.lenient = False

    def art(self) -> list[Video]:
        return []

    def frames(
        self,
        long_side: int | None = 160,
        start_s: float | None = None,
        end_s: float | None = None,
        *,
        keys_only: bool = False,
        more: bool = False,
        preroll_s: float | None = None,
    ) -> Generator[tuple[float, np.ndarray], None, None]:
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


def _square_wh(stream: Stream) -> tuple[int, int]:
    aspect = stream.pixel_aspect
    return ffmpeg.square_wh(stream.width, stream.height, aspect.numerator, aspect.denominator)
