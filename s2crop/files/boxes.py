"""Read boxes that were chosen before: JSON lines as `--json` prints them, whoever wrote or changed them since."""

import codecs
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, NamedTuple, cast

from s2crop.choices import MAX_COVERS, MAX_SIDE, MAX_TOP
from s2crop.files.sizes import Size, sizes_of
from s2crop.geometry.ratio import ORIGINAL, Ratio, parse_ratio

MAX_LINE = 1 << 20  # characters; those of s2crop have some 500, more where a crop loses much
MAX_NAME = 4096  # characters of a path
_MAX_LABEL = 40  # characters of a ratio
_MAX_PIXELS = 1 << 31  # of a side
_MAX_NUMBER = 1e15
_MAX_TIME_S = 1e7
_KINDS = "face", "text", "subject"  # of what is protected
_SHOWN = 60  # characters of a value that a message shows

Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the upright picture, ends exclusive


@dataclass(frozen=True)
class Line:
    """One box of one picture, or of one frame of a clip."""

    number: int  # of the line, from 1
    input: str
    ratio: Ratio
    box: Box
    rank: int = 1
    width: int | None = None  # of the upright picture; None where the line does not say
    height: int | None = None
    time_s: float | None = None
    cover_rank: int | None = None
    is_clip: bool = False
    is_art: bool = False  # a picture attached to a clip
    output: str | None = None  # where the run that chose the box wrote it, or would have
    output_wh: tuple[int, int] | None = None  # which that run gave it
    size: str | None = None  # that it was asked for in, of several
    is_padded: bool = False  # that run filled it up to the ratio
    was: Box | None = None  # before it was corrected; of corrections alone
    is_refused: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)  # what a record says besides, as far as it makes sense

    @property
    def moment(self) -> tuple[float | None, bool]:
        """What tells frames of a clip apart."""
        return self.time_s, self.is_art


class Fault(NamedTuple):
    """A line that cannot be used."""

    number: int
    input: str | None  # if that much can be read
    reason: str


@dataclass
class Boxes:
    """What a file says."""

    lines: list[Line] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    refused: int = 0  # lines of crops that somebody refused
    failed: int = 0  # lines of inputs that failed in the run that chose
    without: int = 0  # lines of outputs that were there already, which have no box

    def left_out_text(self) -> str:
        """ "passed over 2 refused, 1 failed before", or nothing."""
        counts = [(self.refused, "refused"), (self.failed, "failed before"), (self.without, "skipped before, no box")]
        counts += [(len(self.faults), "that cannot be used")]
        parts = [f"{count} {words}" for count, words in counts if count]
        return f"passed over {', '.join(parts)}" if parts else ""


class _Unusable(Exception):
    """Why a line cannot be used."""


def read_boxes(stream: BinaryIO, corrections: bool = False) -> Boxes:
    """Read JSON lines to their end; what is wrong with one does not concern the others.

    UTF-8, or UTF-16 where a byte-order mark says so. Keys that are not known are ignored.

    Args:
        corrections: read what crops were before and those that were refused too.
    """
    found = Boxes()
    unknown: dict[tuple, int] = {}  # outputs in one of several sizes, whose box is not told: their lines
    for number, text in enumerate(_lines(stream), start=1):
        name = None
        try:
            if text is None:
                raise _Unusable(f"longer than {MAX_LINE >> 20} MiB")
            if not text.strip():
                continue
            given = _object(text)
            name = _name(given)
            if given.get("refused") is True and not corrections:
                found.refused += 1
            elif given.get("status") == "error":
                found.failed += 1
            elif given.get("status") == "skipped" and given.get("box") is None:
                found.without += 1
                crop = name, *(given.get(key) for key in ("cover_rank", "ratio", "rank", "size"))
                if crop[-1] is not None and all(isinstance(one, str | int | None) for one in crop):
                    unknown[crop] = number
            else:
                line = _line(number, name, given)
                found.lines.append(_corrected(line, given) if corrections else line)
        except _Unusable as why:
            found.faults.append(Fault(number, name, str(why)))
    return found if corrections else _without_unknown(found, unknown)


def _without_unknown(found: Boxes, unknown: Mapping[tuple, int]) -> Boxes:
    """What a file says without the boxes of crops of which another size was left as it was, with a box that is not
    told: one that somebody gave, perhaps, and that the line's would take the place of."""
    crops = [(line.input, line.cover_rank, line.ratio.label, line.rank) for line in found.lines]
    known = {(*crop, line.size) for crop, line in zip(crops, found.lines, strict=True)}
    unlike = {crop[:-1]: number for crop, number in unknown.items() if crop not in known}
    left = []
    for crop, line in zip(crops, found.lines, strict=True):
        if line.size is None or crop not in unlike:
            left.append(line)
        else:
            reason = f"another size of this crop was left as it was, with a box that line {unlike[crop]} does not tell"
            found.faults.append(Fault(line.number, line.input, reason))
    return replace(found, lines=left)


def _lines(stream: BinaryIO) -> Iterator[str | None]:
    """Lines of text; None for one that is too long."""
    buffered = io.BufferedReader(cast("io.RawIOBase", stream))
    utf16 = buffered.peek(2).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    # Names of files need not be UTF-8.
    encoding, errors = ("utf-16", "replace") if utf16 else ("utf-8-sig", "surrogateescape")
    text = io.TextIOWrapper(buffered, encoding, errors, newline="\n")
    try:
        while line := text.readline(MAX_LINE + 1):
            if len(line) <= MAX_LINE:
                yield line
                continue
            while line and not line.endswith("\n"):
                line = text.readline(MAX_LINE)
            yield None
    finally:
        text.detach()
        buffered.detach()  # the stream is not ours to close


def _object(text: str) -> dict[str, Any]:
    def refuse(word: str) -> float:
        raise _Unusable(f"{word} is no number of JSON")

    try:
        given = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits; brackets inside brackets
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "too deep, or a number too long"
        raise _Unusable(f"not JSON ({reason[0].lower() + reason[1:]})") from None
    if not isinstance(given, dict):
        raise _Unusable("not a JSON object")
    return given


def _name(given: Mapping[str, Any]) -> str:
    name = given.get("input")
    if not isinstance(name, str) or not name:
        raise _Unusable("input is missing" if "input" not in given else f"input {_shown(name)} is no path")
    try:
        os.fsencode(name)
    except UnicodeError:
        raise _Unusable(f"input {_shown(name)} is no path") from None
    if "\0" in name or len(name) > MAX_NAME:
        raise _Unusable(f"input {_shown(name)} is no path")
    return name


def _line(number: int, name: str, given: Mapping[str, Any]) -> Line:
    time_s, is_art = given.get("time_s"), given.get("source") == "art"
    if time_s is not None and not (_is_number(time_s) and 0 <= time_s <= _MAX_TIME_S):
        raise _Unusable(f"time_s {_shown(time_s)} is no time in seconds")
    is_clip = time_s is not None or is_art
    if given.get("type") == "video" and not is_clip:
        raise _Unusable("time_s is missing, which says what frame of the video is meant")
    output = given.get("output")
    return Line(
        number=number,
        input=name,
        ratio=_ratio(given.get("ratio")),
        box=_box(given.get("box")),
        rank=_whole(given, "rank", MAX_TOP) or 1,
        width=_whole(given, "width", _MAX_PIXELS),
        height=_whole(given, "height", _MAX_PIXELS),
        time_s=None if time_s is None else float(time_s),
        cover_rank=_whole(given, "cover_rank", MAX_COVERS) if is_clip else None,
        is_clip=is_clip,
        is_art=is_art,
        output=output if isinstance(output, str) and 0 < len(output) <= MAX_NAME and "\0" not in output else None,
        output_wh=_output_wh(given),
        size=size if isinstance(size := given.get("size"), str) and len(size) <= _MAX_LABEL else None,
        is_padded=given.get("padded") not in (None, False),
        told=_told(given),
    )


def _corrected(line: Line, given: Mapping[str, Any]) -> Line:
    was = given.get("was")
    try:
        return replace(line, was=None if was is None else _box(was), is_refused=given.get("refused") is True)
    except _Unusable as why:
        raise _Unusable(f"of what it was, {why}") from None


def _ratio(label: object) -> Ratio:
    if label is None:
        raise _Unusable("ratio is missing")
    try:
        if isinstance(label, str) and len(label) <= _MAX_LABEL:
            return parse_ratio(label)
    except ValueError:
        pass
    raise _Unusable(f"ratio {_shown(label)} is none")


def _box(box: object) -> Box:
    if box is None:
        raise _Unusable("box is missing")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_whole(edge, -_MAX_PIXELS) for edge in box):
        raise _Unusable(f"box {_shown(box)} is not [x1, y1, x2, y2] in whole pixels")
    x1, y1, x2, y2 = (int(edge) for edge in box)
    if not (0 <= x1 < x2 and 0 <= y1 < y2):
        raise _Unusable(f"box {_shown(box)} is empty or lies outside of its picture")
    return x1, y1, x2, y2


def _whole(given: Mapping[str, Any], key: str, highest: int) -> int | None:
    number = given.get(key)
    if number is None:
        return None
    if not _is_whole(number, 1) or number > highest:
        raise _Unusable(f"{key} {_shown(number)} is not a whole number from 1 to {highest}")
    return int(number)


def _is_number(value: object) -> bool:
    """Whether a value is a number of a size that makes sense anywhere; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MAX_NUMBER


def _is_whole(value: Any, lowest: int) -> bool:
    return _is_number(value) and value == int(value) and lowest <= value <= _MAX_PIXELS


def _output_wh(given: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = given.get("output_width"), given.get("output_height")
    if width is None or height is None or not all(_is_whole(side, 1) and side <= MAX_SIDE for side in (width, height)):
        return None
    return int(width), int(height)


def _told(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the line says of the crop besides, for reports; what makes no sense is left out."""
    checks: dict[str, Callable[[Any], bool]] = {
        "score": _is_number,
        "worth": _is_number,
        "cover_score": _is_number,
        "model": lambda value: isinstance(value, str) and len(value) <= _MAX_LABEL,
        "cut": _are_things,
        "lost": _are_things,
        "focus": lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)),
    }
    told = {key: given[key] for key, fits in checks.items() if given.get(key) is not None and fits(given[key])}
    for key in ("cut", "lost"):
        if key in told:
            told[key] = [(thing["kind"], tuple(thing["box"])) for thing in told[key]]
    return told


def _are_things(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(thing, dict)
        and thing.get("kind") in _KINDS
        and isinstance(thing.get("box"), list)
        and len(thing["box"]) == 4
        and all(map(_is_number, thing["box"]))
        for thing in value
    )


def _shown(value: object) -> str:
    """A value as JSON has it, cut off where it is long."""
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def why_not(line: Line, size_wh: tuple[int, int], asked: Sequence[Size] = (), circle: bool = False) -> str | None:
    """Why a line cannot be true of the picture that is there, or cannot be written as asked; None where it can.

    Args:
        size_wh: of the upright picture.
        asked: the outputs' sizes, which fix the ratio if they have both sides.
        circle: the output is a circle.
    """
    if (line.width or size_wh[0], line.height or size_wh[1]) != size_wh:
        said = f"{line.width or '?'}x{line.height or '?'}"
        return f"the picture has {size_wh[0]}x{size_wh[1]} pixels, and the line says {said}"
    if line.box[2] > size_wh[0] or line.box[3] > size_wh[1]:
        return f"box {list(line.box)} does not lie in the picture of {size_wh[0]}x{size_wh[1]}"
    x1, y1, x2, y2 = line.box
    shape = f"box {list(line.box)} of {x2 - x1}x{y2 - y1} pixels"
    # "original" of a clip is what the frame shows between its bars, which is not known here.
    value = None if line.is_clip and line.ratio.label == ORIGINAL else line.ratio.for_size(*size_wh)
    if value is not None and asked and not sizes_of(asked, replace(line.ratio, value=value)):
        return f"{shape} is {line.ratio.label}, which none of the sizes {', '.join(map(str, asked))} is"
    if line.is_padded and line.ratio.value is not None:
        return None  # it is filled up again
    made = line.output_wh if value and line.output_wh and _means(line.output_wh, value) else None
    if value is not None and not has_ratio(line.box, value) and not (made and has_ratio(line.box, made[0] / made[1])):
        return f"{shape} is not {line.ratio.label}"
    if circle and not has_ratio(line.box, 1.0):
        return f"{shape} is no square, and a circle needs one"
    size = asked[0] if len(asked) == 1 else None
    if size and size.width and size.height and not has_ratio(line.box, size.width / size.height):
        if not value or not _means((size.width, size.height), value):
            return f"{shape} has not the ratio of {size}"
    return None


def has_ratio(box: Box, ratio: float) -> bool:
    """Whether a box has a ratio of width to height as nearly as whole pixels allow: half a pixel of its shorter side
    for rounding, and one more for boxes that had to hold something."""
    width, height = box[2] - box[0], box[3] - box[1]
    off = abs(height - width / ratio) if ratio >= 1 else abs(width - height * ratio)
    return off <= 1.5


def _means(size_wh: tuple[int, int], ratio: float) -> bool:
    """Whether a size is what people mean by a ratio, to the pixel: 1200x628 by 1.91. Boxes then have the size's."""
    width, height = size_wh
    return height == round(width / ratio) or width == round(height * ratio)
