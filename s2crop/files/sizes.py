"""Exact output sizes, and how far the JPEG decoder may go towards them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from s2crop.choices import MAX_PIXELS, MAX_SIDE
from s2crop.errors import OutputError
from s2crop.geometry.pads import Pads, pads_in
from s2crop.geometry.ratio import Ratio

# Where the JPEG decoder, or means of blocks, make a picture smaller, this much of the shrinking is left to the Lanczos
# filter. On 24 sharp photos the result is 43 dB from that of the filter alone; a bicubic filter's is 45 dB from it.
LEFT_TO_LANCZOS = 1.5

SCORED_SHORT_SIDE = 768  # pixels that the JPEG decoder leaves of a picture's short side for scoring, if it has them
_DIGITS = r"([0-9]{1,6})"
_SIZE = re.compile(f"(?=.){_DIGITS}?(?:x{_DIGITS})?")


@dataclass(frozen=True)
class Size:
    """An exact output size in pixels; what is None follows from the ratio of the crop."""

    width: int | None
    height: int | None

    def __str__(self) -> str:
        return f"{self.width or ''}{f'x{self.height}' if self.height else ''}"

    def has_ratio(self, value: float) -> bool:
        """Whether it is of this ratio of width to height, to the pixel; one side alone is of any."""
        if not (self.width and self.height):
            return True
        return self.height == round(self.width / value) or self.width == round(self.height * value)


class Layout(NamedTuple):
    """An output: its size, and what of it the box takes."""

    output_wh: tuple[int, int]
    content_wh: tuple[int, int] | None  # what the box is to be resized to; None where it stays as it is
    padded: Pads | None  # what lies around it, in pixels of the output


def parse_size(text: str) -> Size:
    """Read `640` (width), `x360` (height) or `640x360`.

    Raises:
        ValueError: anything else, or a side that is not 1 to 65535.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if not match:
        raise ValueError(f"not a size: {text!r} (like 640, x360, 640x360)")
    width, height = (int(side) if side else None for side in match.groups())
    if not all(1 <= side <= MAX_SIDE for side in (width, height) if side is not None):
        raise ValueError(f"size out of range: {text!r} (sides of 1 to {MAX_SIDE} pixels)")
    return Size(width, height)


def parse_sizes(text: str) -> tuple[Size, ...]:
    """Read sizes with commas between, each once.

    Raises:
        ValueError: see `parse_size`.
    """
    return tuple(dict.fromkeys(map(parse_size, text.split(","))))


def sizes_of(sizes: Sequence[Size], ratio: Ratio) -> tuple[Size, ...]:
    """Those sizes that crops of a ratio are asked for in: those of that ratio, and those that fix none."""
    if len(sizes) < 2:
        return tuple(sizes)
    return tuple(
        size for size in sizes if not (size.width and size.height) or ratio.value and size.has_ratio(ratio.value)
    )


def layout(
    box: tuple[int, int, int, int],
    padded: Pads | None,
    size: Size | None,
    no_upscale: bool,
    ratio: Ratio | None = None,
) -> Layout:
    """How a crop's output is made up.

    Args:
        box: the crop, in pixels; padded: what is to lie around it, at the same scale.
        size, no_upscale, ratio: as for `output_size`.
    Raises:
        OutputError: a side is longer than a file can hold, or what is filled up at its own size is more than a picture
            that is read may have: of a line of pixels, a square takes thousands of times its memory.
    """
    box_wh = box[2] - box[0], box[3] - box[1]
    if padded is None:
        size_wh = output_size(box, size, no_upscale, ratio)
        return Layout(size_wh or box_wh, size_wh, None)
    left, top, right, bottom = padded
    whole_wh = left + box_wh[0] + right, top + box_wh[1] + bottom
    output_wh = output_size((0, 0, *whole_wh), size, no_upscale, ratio) or whole_wh
    if output_wh == whole_wh and (max(output_wh) > MAX_SIDE or math.prod(output_wh) > MAX_PIXELS):
        raise OutputError(f"filled up to {output_wh[0]}x{output_wh[1]} it is too large to write: give a size")
    pads = pads_in(output_wh, box_wh, padded)
    content_wh = output_wh[0] - pads[0] - pads[2], output_wh[1] - pads[1] - pads[3]
    return Layout(output_wh, None if content_wh == box_wh else content_wh, pads)


def output_size(
    box: tuple[int, int, int, int], size: Size | None, no_upscale: bool, ratio: Ratio | None = None
) -> tuple[int, int] | None:
    """The exact (width, height) of a crop's output; None where the crop stays as it is.

    Args:
        box: the crop, in pixels.
        size: what was asked for, if anything.
        no_upscale: leave a crop as it is that would have to grow in either direction.
        ratio: what was asked for; a side that `size` leaves open follows from it, or else from the box.
    Raises:
        OutputError: a side that follows from the ratio is longer than a file can hold.
    """
    if size is None:
        return None
    box_width, box_height = box[2] - box[0], box[3] - box[1]
    width, height = sides_of(size, (ratio.value if ratio else None) or box_width / box_height)
    if no_upscale and (width > box_width or height > box_height):
        return None
    if max(width, height) > MAX_SIDE:
        raise OutputError(f"{width}x{height} is too large to write")
    return width, height


def sides_of(size: Size, aspect: float) -> tuple[int, int]:
    """The (width, height) that was asked for, of a crop of this ratio of width to height."""
    width = size.width or max(1, round((size.height or 1) * aspect))
    return width, size.height or max(1, round(width / aspect))


def decoder_scale(box_wh: tuple[int, int], size_wh: tuple[int, int]) -> int:
    """How many times smaller the JPEG decoder may make a picture, a box of which is to be resized: 1, 2, 4 or 8."""
    shrinking = min(box_wh[0] / size_wh[0], box_wh[1] / size_wh[1])
    return next((scale for scale in (8, 4, 2) if shrinking >= scale * LEFT_TO_LANCZOS), 1)


def scoring_scale(short_side: int) -> int:
    """How many times smaller the JPEG decoder makes a picture that is to be scored: 1, 2, 4 or 8.

    It depends on the picture's short side alone, so that no output that is asked for changes what is scored. It is fine
    enough for crops of common sizes, which are then cut from the same pixels.
    """
    return next((scale for scale in (8, 4, 2) if short_side >= scale * SCORED_SHORT_SIDE), 1)


def needed_scale(
    boxes: Sequence[tuple[str, tuple[int, int, int, int], Pads | None]],
    ratios: Mapping[str, Ratio],
    sizes: Sequence[Size],
    no_upscale: bool,
) -> int:
    """How many times smaller the JPEG decoder may make a picture for crops with these labels of ratios, and pads."""
    scales = []
    for label, box, padded in boxes:
        box_wh = box[2] - box[0], box[3] - box[1]
        for size in sizes_of(sizes, ratios[label]) or (None,):
            try:
                content_wh = layout(box, padded, size, no_upscale, ratios[label]).content_wh
            except OutputError:  # too long; what becomes of the crop itself will tell
                content_wh = None
            scales.append(decoder_scale(box_wh, content_wh or box_wh))
    return min(scales, default=1)
