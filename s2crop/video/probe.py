"""What ffmpeg tells of a file before its frames are read: which stream a player would show, its shape and colours."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from s2crop.errors import VideoError
from s2crop.video import ffmpeg
from s2crop.video.ffmpeg import TELL_FRAMES, Decoder, input_arguments

# ffmpeg's own decoders of these give the colours alone, hidden ones too.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_SQUARE_DEGREES = 2.0  # from a quarter of a circle
_LOOK_S = 30  # how far into a clip streams are compared


@dataclass(frozen=True)
class Stream:
    """The video stream that a player would show, as ffmpeg tells it of its first frame, turned upright."""

    map: str  # ffmpeg's name of it
    decoder: str | None  # to be named to ffmpeg; None for its own choice
    lost_alpha: bool  # it has alpha that no decoder of this ffmpeg reads
    is_askew: bool  # said to be turned by no quarter of a circle, which players pass over
    spherical: bool  # all around, 360 degrees
    own_colours: bool  # Dolby Vision's profile 5, whose colours mean nothing without its mapping
    tags: dict[str, str]  # what the container says of itself: title, artist, date, ...; names in lower case
    art: tuple[str, ...]  # names of attached pictures
    container: str  # ffmpeg's name of the demuxer
    duration_s: float | None  # None where the container does not tell, or where times jump
    has_jumps: bool  # of times, which are even only in a pass from the front
    pixel_format: str
    width: int
    height: int
    pixel_aspect: Fraction  # width of a pixel by its height
    matrix: str  # ffmpeg's names, "unknown" where the file does not say
    primaries: str
    transfer: str


class NoVideoError(VideoError):
    """There is no video in the file; `has_art` says whether there is an attached picture."""

    has_art = False


def probe(path: Path, max_pixels: int, art: int | None = None) -> Stream:
    """Decode the first frame of the stream that a player would show: the default one, of several the largest.

    Args:
        art: number of an attached picture, to take that instead.
    Raises:
        NoVideoError: there is no video, though there may be attached pictures.
        VideoError: nothing can be decoded, or the file is not of a kind that is read.
    """
    chosen, decoder, lost_alpha, is_askew = "0:V:0", None, False, False
    while True:
        arguments = [
            "-loglevel", "level+info", *input_arguments(path, max_pixels, decoder, not is_askew),
            "-map", chosen, "-vf", TELL_FRAMES, "-fps_mode", "passthrough", "-frames:v", "1", "-f", "null", "-",
        ]  # fmt: skip
        with Decoder(arguments) as run:
            failure = run.failure()
        said = "\n".join(run.infos)
        listed = _listed(run.infos)
        pictures = tuple(f"0:{one.index}" for one in listed if one.is_art)
        if chosen == "0:V:0" and (art is not None or listed):
            if art is not None and art < len(pictures):
                one: _Listed | None = next(one for one in listed if pictures[art] == f"0:{one.index}")
            else:
                one = _shown_by_players(path, max_pixels, [one for one in listed if not one.is_art])
            if one:
                decoder = _ALPHA_DECODERS.get(one.codec) if one.has_alpha else None
                lost_alpha = decoder is not None and decoder not in ffmpeg.decoders()
                decoder = None if lost_alpha else decoder
                first = next((other.index for other in listed if not other.is_art), None)
                chosen, is_askew = f"0:{one.index}", one.is_askew
                if one.index != first or decoder or is_askew:
                    continue
        break
    container = re.search(r"^\[info\] Input #0, (.+), from ", said, re.MULTILINE)
    shown = "\n".join(run.shown)
    frame = re.search(r"n: *0 .* fmt:(\S+) .*sar:(\d+)/(\d+) s:(\d+)x(\d+)", shown)
    colour = re.search(r"color_range:\S+ color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)", shown)
    if container is None or frame is None:
        raise _why_nothing(run, failure, said, bool(pictures))
    sar_width, sar_height = int(frame[2]), int(frame[3])
    jumps = _has_jumps(path, max_pixels, chosen, container[1])
    return Stream(
        map=chosen,
        decoder=decoder,
        lost_alpha=lost_alpha,
        is_askew=is_askew,
        spherical=any(one.is_spherical for one in listed if chosen == f"0:{one.index}"),
        own_colours=any(one.has_own_colours for one in listed if chosen == f"0:{one.index}"),
        tags=_tags(run.infos),
        art=pictures if art is None else (),
        container=container[1],
        duration_s=None if jumps else _duration_s(said, container[1]),
        has_jumps=jumps,
        pixel_format=frame[1],
        width=int(frame[4]),
        height=int(frame[5]),
        pixel_aspect=Fraction(sar_width, sar_height) if sar_width and sar_height else Fraction(1),
        matrix=colour[1] if colour else "unknown",
        primaries=colour[2] if colour else "unknown",
        transfer=colour[3] if colour else "unknown",
    )


def _duration_s(said: str, container: str) -> float | None:
    """How long a clip is from its first frame to its last, as far as it says."""
    duration = re.search(r"^\[info\]   Duration: (\d+):(\d\d):(\d\d\.\d+),(?: start: ([\d.]+))?", said, re.MULTILINE)
    if duration is None:
        return None
    length_s = int(duration[1]) * 3600 + int(duration[2]) * 60 + float(duration[3])
    start_s = float(duration[4] or 0)
    # Matroska counts from 0, where recordings of what went on before begin much later.
    return length_s - start_s if container.startswith("matroska") and start_s < length_s else length_s


def _has_jumps(path: Path, max_pixels: int, chosen: str, container: str) -> bool:
    """Whether the times of a transport stream jump, as where recordings were joined.

    ffmpeg evens them out in a pass from the front and in no other, and tells a wrong duration. The file is read for
    this, and not decoded.
    """
    if container != "mpegts":
        return False
    arguments = ["-loglevel", "level+warning", *input_arguments(path, max_pixels)]
    with Decoder([*arguments, "-map", chosen, "-c", "copy", "-f", "data", "pipe:1"]) as run:
        while not run.has_jumps and run.passes_on():
            pass
        if not run.has_jumps:
            run.wait()  # for all that it has to say
    return run.has_jumps


def has_track(path: Path) -> bool:
    """Whether a file of the ISO kind (HEIC, AVIF, MP4) has pictures in sequence, beside or in place of single ones."""
    at, size = 0, os.path.getsize(path)
    with open(path, "rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            length = int.from_bytes(head[8:16], "big") if length == 1 else length or size - at
            if head[4:8] == b"moov":
                return True
            at += max(8, length)
    return False


@dataclass(frozen=True)
class _Listed:
    """A video stream, as ffmpeg lists it when it has opened a file."""

    index: int
    codec: str
    size_wh: tuple[int, int]
    is_default: bool
    is_art: bool
    is_grey: bool
    has_alpha: bool  # beside what its own decoder gives
    is_askew: bool
    is_spherical: bool
    has_own_colours: bool


def _listed(infos: Sequence[str]) -> list[_Listed]:
    found = []
    for block in re.split(r"^\[info\]   (?=Stream #0:)", "\n".join(infos), flags=re.MULTILINE)[1:]:
        line, _, rest = block.partition("\n")
        rest = re.split(r"^\[info\] \S", rest, maxsplit=1, flags=re.MULTILINE)[0]
        stream = re.match(r"Stream #0:(\d+).*?: Video: (\w+)", line)
        if stream:
            size = re.search(r", (\d+)x(\d+)", line)
            turn = re.search(r"display ?matrix: rotation of (-?[\d.]+) degrees", rest, re.IGNORECASE)
            found.append(
                _Listed(
                    index=int(stream[1]),
                    codec=stream[2],
                    size_wh=(int(size[1]), int(size[2])) if size else (0, 0),
                    is_default="(default)" in line,
                    is_art="(attached pic)" in line or "(timed thumbnails)" in line,
                    is_grey=re.search(r", gray\w*[(,]", line) is not None,
                    has_alpha=re.search(r"^\[info\] +alpha_mode +: 1$", rest, re.MULTILINE | re.IGNORECASE) is not None,
                    is_askew=turn is not None and abs((float(turn[1]) + 45) % 90 - 45) > _SQUARE_DEGREES,
                    is_spherical=re.search(r"spherical", rest, re.IGNORECASE) is not None,
                    has_own_colours=re.search(r"^\[info\] +DOVI .*\bprofile: 5,", rest, re.MULTILINE) is not None,
                )
            )
    return found


def _tags(infos: Sequence[str]) -> dict[str, str]:
    """What ffmpeg lists of a file between its name and its length; of a tag with several lines the first."""
    listed = re.search(
        r"^\[info\] Input #0, .*\n((?:.*\n)*?)\[info\]   (Duration|Stream)\b", "\n".join(infos), re.MULTILINE
    )
    found: dict[str, str] = {}
    for name, value in re.findall(r"^\[info\]     (\S[^:]*?) *: (.*)$", listed[1] if listed else "", re.MULTILINE):
        found.setdefault(name.lower(), value.strip())
    return found


def _shown_by_players(path: Path, max_pixels: int, streams: Sequence[_Listed]) -> _Listed | None:
    """Of several streams one that moves, has colours (masks of animations are grey), is the default,
    and is the largest.
    """
    if len(streams) < 2:
        return streams[0] if streams else None
    arguments = ["-loglevel", "level+verbose", "-t", str(_LOOK_S), *input_arguments(path, max_pixels)]
    for stream in streams:
        arguments += ["-map", f"0:{stream.index}"]
    with Decoder([*arguments, "-c", "copy", "-f", "null", "-"]) as run:
        run.wait()
    read = re.findall(r"Input stream #0:(\d+) \(video\): (\d+) packets read", "\n".join(run.infos))
    moving = {int(index) for index, count in read if int(count) > 1}
    return max(
        streams,
        key=lambda one: (
            one.index in moving,
            not one.is_grey,
            one.is_default,
            one.size_wh[0] * one.size_wh[1],
            -one.index,
        ),
    )


def _why_nothing(run: Decoder, failure: str | None, said: str, has_art: bool) -> VideoError:
    if "matches no streams" in (run.reason() or ""):
        error = NoVideoError(_reason_for_nothing(run, failure, said), "max_pixels")
        error.has_art = has_art
        return error
    return VideoError(_reason_for_nothing(run, failure, said), "max_pixels")


def _reason_for_nothing(decoder: Decoder, failure: str | None, said: str) -> str:
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
