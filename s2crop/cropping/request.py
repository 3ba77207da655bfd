"""What is asked of a picture, what the network takes of it, and what comes out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from s2crop.errors import InputError
from s2crop.files.picture import Picture
from s2crop.geometry.ratio import Ratio

if TYPE_CHECKING:
    import torch  # takes seconds to import: a request can be made without it

Box = tuple[float, float, float, float]  # x1, y1, x2, y2


@dataclass(frozen=True)
class CropRequest:
    """What is asked of every picture."""

    ratios: tuple[Ratio, ...] = (Ratio("free", None),)
    top: int = 1  # crops for each ratio
    focus: tuple[float, float] | None = None  # point that every crop contains: pixels, or fractions if all <= 1
    keep: tuple[float, float, float, float] | None = None  # box x, y, width, height likewise
    protect: str = "all"  # none, face, text, subject or all
    circle: bool = (
        False  # crops are cut to their inscribed circles: protect what those hold, and score them where the network can
    )


class Thing(NamedTuple):
    """Something protected: "face" (a whole head), "text" or "subject", and its box in fractions of the picture."""

    kind: str
    box: tuple[float, float, float, float]


@dataclass
class Crop:
    """One crop of a picture."""

    box: tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the upright picture, ends exclusive
    score: float  # on the MOS scale, 1 to 5
    ratio: str  # the label that was asked for
    rank: int  # 1 is the best of its ratio
    worth: float = 0.0  # what crops of a picture are ranked by: the expected IoU with the editor's crop
    cut: list[Thing] = field(default_factory=list)  # protected things that the crop cuts through
    lost: list[Thing] = field(default_factory=list)  # protected things that it leaves out
    focus: tuple[float, float] | None = None  # where in the picture the crop's subject is, in fractions
    picture: Picture | None = field(default=None, repr=False, compare=False)

    @cached_property
    def image(self) -> Image.Image:
        """The crop's pixels at full resolution."""
        if self.picture is None:
            raise ValueError("this crop was made without its picture; use Picture.crop(crop.box)")
        return self.picture.crop(self.box)


@dataclass(frozen=True)
class Prepared:
    """A picture as the network takes it, and its own size."""

    pixels: "torch.Tensor"  # uint8 [3, h, w]
    width: int
    height: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the network input."""
        return tuple(self.pixels.shape[1:])

    @property
    def scale(self) -> np.ndarray:
        """Network-input pixels for each picture pixel, as [x, y, x, y]."""
        height, width = self.shape
        return np.array([width / self.width, height / self.height] * 2)


@dataclass(frozen=True)
class Heatmap:
    """What a score rests on; boxes in pixels of the upright picture."""

    title: str
    values: np.ndarray  # float32 [h, w], on any scale
    marks: Sequence[tuple[Box, float, str]]  # proposals: box, share of the attention, kind
    place: Box  # that the map covers


def required(request: CropRequest, size_wh: tuple[int, int]) -> np.ndarray | None:
    """The box [4] in pixels that every crop must contain: focus and keep together."""
    width, height = size_wh
    boxes = []
    for given in (request.focus, request.keep):
        if given is None:
            continue
        values = np.array(given, float)
        if (values <= 1).all():
            values = values * np.resize([width, height], len(values))
        x, y = values[:2]
        w, h = values[2:] if len(values) == 4 else (0, 0)
        if w < 0 or h < 0 or x < 0 or y < 0 or x + w > width or y + h > height:
            raise InputError(
                f"--{'keep' if len(values) == 4 else 'focus'} lies outside this picture of {width}x{height}"
            )
        boxes.append([x, y, x + w, y + h])
    if not boxes:
        return None
    boxes = np.array(boxes)
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
