"""Pictures made ready for the network."""

import math
from typing import Protocol

import numpy as np

from s2crop.cropping import windows
from s2crop.cropping.request import Inside, Prepared
from s2crop.files.bars import find_bars
from s2crop.files.picture import Picture
from s2crop.models.input import fit, input_size

MIN_INSIDE = 32  # pixels of a picture made smaller that are left between bars


class _Input(Protocol):
    """`InputConfig`, and any network's configuration."""

    @property
    def short_side(self) -> int: ...

    @property
    def antialias(self) -> bool: ...


def prepare(picture: Picture, config: _Input, keep: bool = False) -> Prepared:
    """Decode a picture, no larger than needed, and resize it for a network. Thread-safe.

    Args:
        keep: keep the decoded pixels for the crops, until the picture is closed.
    """
    size = input_size(picture.width, picture.height, config.short_side)
    short_side = min(config.short_side, picture.width, picture.height)
    pixels = picture.reduced(short_side, keep=True)
    inside = _inside_bars(picture, pixels, config)
    if not keep:
        picture.close()
    return _prepared(pixels, size, picture.width, picture.height, config, inside)


def _prepared(
    pixels: np.ndarray, size: tuple[int, int], width: int, height: int, config: _Input, inside: Inside | None = None
) -> Prepared:
    """A picture, or a part of one, of that width and height. Args: pixels: uint8 [h, w, 3], it made smaller."""
    parts = windows.cut(pixels, width, height, config.short_side, config.antialias)
    return Prepared(fit(pixels, size, config.antialias), width, height, inside, parts)


def _inside_bars(picture: Picture, pixels: np.ndarray, config: _Input) -> Inside | None:
    """What of a picture lies between its bars, by its pixels made smaller; None where it has no bars."""
    (height, width), size_wh = pixels.shape[:2], (picture.width, picture.height)
    left, top, right, bottom = find_bars(pixels)
    # The ground that transparent pixels lie on is no bar.
    if (left, top, right, bottom) == (0, 0, width, height) or picture.is_transparent:
        return None
    # Where a picture was made smaller, the first line beside a bar may be a mean of both.
    margin = int(width < picture.width or height < picture.height)
    left, top = (edge + margin if edge else 0 for edge in (left, top))
    right, bottom = (edge - margin if edge < end else end for edge, end in ((right, width), (bottom, height)))
    if right - left < MIN_INSIDE or bottom - top < MIN_INSIDE:
        return None
    across, down = picture.width / width, picture.height / height
    box = (math.ceil(left * across), math.ceil(top * down), int(right * across), int(bottom * down))
    sides = box[2] - box[0], box[3] - box[1]
    size = input_size(*sides, config.short_side)
    # The part is made no smaller than a picture of its size would be, from pixels that are decoded already.
    whole_side = min(picture.width, picture.height)
    wanted = math.ceil(min(config.short_side, *sides) * whole_side / min(sides))
    pixels = picture.reduced(min(wanted, whole_side // picture.decoded_scale), keep=True)
    left, top, right, bottom = np.rint(np.array(box) * np.tile(np.divide(pixels.shape[1::-1], size_wh), 2)).astype(int)
    shown = np.ascontiguousarray(pixels[top:bottom, left:right])
    return Inside(box, _prepared(shown, size, *sides, config))
