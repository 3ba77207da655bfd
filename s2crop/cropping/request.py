"""What is asked of a picture, what the network takes of it, and what comes out."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from PIL import Image

from s2crop.choices import PADS, PROTECT
from s2crop.errors import InputError
from s2crop.files import pad
from s2crop.files.picture import Picture
from s2crop.files.sizes import layout
from s2crop.geometry.boxes import moved, object_position
from s2crop.geometry.ratio import ORIGINAL, Ratio

_ROUNDING = 1e-6  # pixels by which fractions may miss the picture's border

Box = tuple[float, float, float, float]  # x1, y1, x2, y2
Proposal = tuple[Box, float, str]  # box in pixels of the upright picture, score, kind


@dataclass(frozen=True, kw_only=True)
class CropRequest:
    """What is asked of every picture.

    Raises:
        ValueError: a value that makes no sense for any picture.
    """

    ratios: tuple[Ratio, ...] = (Ratio("free", None),)
    top: int = 1  # crops for each ratio
    # point whose pixel every crop contains: in pixels, or in fractions if all <= 1
    focus: tuple[float, float] | None = None
    keep: tuple[float, float, float, float] | None = None  # box x, y, width, height in the units of `focus`
    protect: str = "all"  # one of PROTECT
    # crops are cut to their inscribed circles: protect what those hold, and score them where the network can
    circle: bool = False
    keep_bars: bool = False  # even bars at the edges count as picture
    min_scale: float = 0.0  # least share of the largest crop of a ratio, by its sides; 1 is as large as possible
    pad: str = "never"  # one of PADS: whether what does not fit a ratio is filled up to it

    def __post_init__(self) -> None:
        if not self.ratios or not all(isinstance(ratio, Ratio) for ratio in self.ratios):
            raise ValueError(f"ratios are one or more Ratio, not {self.ratios!r}; parse_ratio makes them of text")
        if not isinstance(self.top, Integral) or self.top < 1:
            raise ValueError(f"top is a whole number from 1, not {self.top!r}")
        if self.protect not in PROTECT:
            raise ValueError(f"protect is one of {', '.join(PROTECT)}, not {self.protect!r}")
        if self.pad not in PADS:
            raise ValueError(f"pad is one of {', '.join(PADS)}, not {self.pad!r}")
        if not isinstance(self.min_scale, Real) or not 0 <= self.min_scale <= 1:
            raise ValueError(f"min_scale is a number from 0 to 1, not {self.min_scale!r}")
        for name, given, form in (("focus", self.focus, "x, y"), ("keep", self.keep, "x, y, width, height")):
            if given is not None and not _are_numbers(given, form.count(",") + 1):
                raise ValueError(f"{name} is ({form}), finite numbers, not {given!r}")

    def counts_bars(self, label: str) -> bool:
        """Whether even bars at the edges count as picture for the ratio of this label."""
        return self.keep_bars or label == ORIGINAL


class Thing(NamedTuple):
    """Something protected: "face" (a whole head), "text" or "subject", and its box in pixels of the upright picture."""

    kind: str
    box: tuple[int, int, int, int]


@dataclass
class Crop:
    """One crop of a picture.

    It holds no pixels until `image` is asked for, and then its own alone: the picture is decoded for each crop that is
    looked at, and its pixels are dropped at once. Where many crops are cut from one picture, `Picture.crop(crop.box)`
    in a `with` block decodes it once.
    """

    box: tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the upright picture, ends exclusive
    score: float  # on the MOS scale, 1 to 5
    ratio: str  # the label that was asked for
    rank: int  # 1 is the best of its ratio
    picture: Picture | None = field(default=None, repr=False, compare=False)
    worth: float = 0.0  # what crops of a picture are ranked by: the expected IoU with the editor's crop
    cut: list[Thing] = field(default_factory=list)  # protected things that the crop cuts through
    lost: list[Thing] = field(default_factory=list)  # protected things that it leaves out
    focus: tuple[float, float] | None = None  # where in the picture the crop's subject is, in fractions
    # left, top, right, bottom: what is filled up around the box, in pixels of the picture; None where nothing is
    padded: tuple[int, int, int, int] | None = None
    pad_with: str = pad.BLUR  # what it is filled up with: see `files.pad.padded`

    def moved(self, place: Sequence[int], part_wh: tuple[int, int], size_wh: tuple[int, int]) -> "Crop":
        """The crop of a part of a picture as one of the picture.

        Args:
            place: where the part begins in the picture (x, y), or its box.
            part_wh: of the part; size_wh: of the picture.
        """
        focus = self.focus
        if focus is not None:
            x, y = focus[0] * part_wh[0] + place[0], focus[1] * part_wh[1] + place[1]
            focus = x / size_wh[0], y / size_wh[1]
        cut, lost = ([Thing(one.kind, moved(one.box, place)) for one in things] for things in (self.cut, self.lost))
        return replace(self, box=moved(self.box, place), cut=cut, lost=lost, focus=focus)

    @property
    def object_position(self) -> str:
        """The same crop for CSS with `object-fit: cover`: "37% 22%".

        Raises:
            ValueError: the crop was made without its picture.
        """
        if self.picture is None:
            raise ValueError("this crop was made without its picture, whose size is needed")
        return object_position(self.box, (self.picture.width, self.picture.height))

    @cached_property
    def image(self) -> Image.Image:
        """The crop's pixels at full resolution, with its pads; kept, so that the picture is decoded once for each crop.

        Raises:
            InputError: the file is damaged, gone, or changed since it was cropped.
            ValueError: the crop was made without its picture.
        """
        if self.picture is None:
            raise ValueError("this crop was made without its picture; use Picture.crop(crop.box)")
        with copy.copy(self.picture) as picture:  # its own: crops of one picture may be looked at in several threads
            return pad.cut(picture, self.box, layout(self.box, self.padded, None, False), self.pad_with)


@dataclass(frozen=True)
class Prepared:
    """A picture as the network takes it, and its own size."""

    pixels: np.ndarray  # uint8 [3, h, w]
    width: int
    height: int
    inside: "Inside | None" = None  # what lies between even bars at the edges; None where there are none
    windows: "tuple[Inside, ...]" = ()  # parts of a long picture, from one end to the other: see `windows`

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the network input."""
        height, width = self.pixels.shape[1:]
        return height, width

    @property
    def scale(self) -> np.ndarray:
        """Network-input pixels for each picture pixel, as [x, y, x, y]."""
        height, width = self.shape
        return np.array([width / self.width, height / self.height] * 2)


class Inside(NamedTuple):
    """A part of a picture: what lies between its bars, or a window of a long one."""

    box: tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the upright picture
    prepared: Prepared  # that part, as a picture of its own

    def holds(self, box: Sequence[float] | np.ndarray) -> bool:
        """Whether a box in pixels of the picture lies in it."""
        x1, y1, x2, y2 = self.box
        return bool(x1 <= box[0] and y1 <= box[1] and box[2] <= x2 and box[3] <= y2)

    def request(self, request: CropRequest, must: np.ndarray | None) -> CropRequest:
        """The same request of that part.

        Args:
            must: [4] what the request requires of the picture (`required`); it lies inside.
        """
        if must is None:
            return replace(request, focus=None, keep=None)
        side = np.array([self.prepared.width, self.prepared.height])
        x, y, right, lower = (must - np.tile(self.box[:2], 2)) / np.tile(side, 2)
        return replace(request, focus=None, keep=(x, y, right - x, lower - y))


@dataclass(frozen=True)
class Heatmap:
    """What a score rests on; boxes in pixels of the upright picture."""

    title: str
    values: np.ndarray  # float32 [h, w], on any scale
    marks: Sequence[tuple[Box, float, str]]  # proposals: box, share of the attention, kind
    place: Box  # that the map covers

    def moved(self, place: Sequence[int]) -> "Heatmap":
        """The heat map of a part of a picture as one of the picture. Args: where the part begins (x, y), or its box."""
        marks = [(moved(box, place), share, kind) for box, share, kind in self.marks]
        return replace(self, place=moved(self.place, place), marks=marks)


def _are_numbers(given: object, count: int) -> bool:
    try:
        values = np.asarray(given, float)
    except (TypeError, ValueError):
        return False
    return values.shape == (count,) and bool(np.isfinite(values).all())


def left_out(request: CropRequest, crops: Sequence[Crop]) -> list[Ratio]:
    """The ratios of which a picture has no crops, as none holds what the request requires."""
    made = {crop.ratio for crop in crops}
    return [ratio for ratio in request.ratios if ratio.label not in made]


def pixel_at(x: float, y: float, size_wh: tuple[int, int]) -> list[int]:
    """The pixel [x1, y1, x2, y2] that holds a point in pixels of a picture; at the far borders the last one."""
    column, row = (min(math.floor(place + _ROUNDING), side - 1) for place, side in zip((x, y), size_wh, strict=True))
    return [column, row, column + 1, row + 1]


def required(request: CropRequest, size_wh: tuple[int, int]) -> np.ndarray | None:
    """The box [4] in pixels that every crop must contain: the pixel that holds the focus, and keep, together.

    Raises:
        InputError: one of them lies outside the picture.
    """
    width, height = size_wh
    boxes = []
    for name, given in (("focus", request.focus), ("keep", request.keep)):
        if given is None:
            continue
        values = np.array(given, float)
        if (values <= 1).all():
            values = values * np.resize([width, height], len(values))
        x, y = values[:2]
        w, h = values[2:] if name == "keep" else (0, 0)
        if w < 0 or h < 0 or x < 0 or y < 0 or x + w > width + _ROUNDING or y + h > height + _ROUNDING:
            raise InputError(f"{{option}} lies outside this picture of {width}x{height}", name)
        boxes.append([x, y, min(x + w, width), min(y + h, height)] if name == "keep" else pixel_at(x, y, size_wh))
    if not boxes:
        return None
    found = np.array(boxes)
    return np.concatenate([found[:, :2].min(axis=0), found[:, 2:].max(axis=0)])
