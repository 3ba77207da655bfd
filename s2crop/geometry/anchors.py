"""Candidates: the 90 grid anchors, and anchors of one ratio over scale and position."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec

import numpy as np

from s2crop.geometry.boxes import largest_of_ratio

BINS = 12  # the grid of Zeng et al. 2019, sec. 3.1
CORNER_BINS = 4  # corners lie in the outer 4x4 bins
MIN_AREA_FRAC = 0.5
RATIO_RANGE = (0.5, 2.0)
FEW = 40  # with fewer grid anchors than this the ratio's range follows the picture's own

RATIO_ANCHORS = 200  # candidates of a ratio: fine enough that what is cut is the content's fault, not the grid's
SCALES = (1.0, 0.92, 0.84, 0.76, 0.68, 0.6, 0.52)  # of the largest box of a ratio


KEPT = 512  # results of each function here: a library has few sizes, and many pictures of each

_Given = ParamSpec("_Given")


def _read_only(make: Callable[_Given, np.ndarray]) -> Callable[_Given, np.ndarray]:
    """What a function made is not to be written to: it is kept."""

    @wraps(make)
    def made(*args: _Given.args, **kwargs: _Given.kwargs) -> np.ndarray:
        boxes = make(*args, **kwargs)
        boxes.setflags(write=False)
        return boxes

    return made


@lru_cache(maxsize=KEPT)
@_read_only
def grid_anchors(width: float, height: float) -> np.ndarray:
    """The grid anchors of Zeng et al. 2019 (sec. 3.1): 90 on a square picture.

    Corners are centres of a 12x12 grid's bins, the first in the 4x4 bins at the top left, the
    second in those at the bottom right; the area is at least half the picture's and the ratio
    between 0.5 and 2.

    An elongated picture has few or no anchors in that range (700x256 has 7). Below FEW, the
    range is widened to run from half to twice the picture's own ratio as well, so that every
    picture, however narrow, has at least FEW.

    Returns:
        [N, 4] float64, N from FEW to 90.
    """
    near, far = np.arange(CORNER_BINS), np.arange(BINS - CORNER_BINS, BINS)
    x1, y1, x2, y2 = (g.ravel() for g in np.meshgrid(near, near, far, far, indexing="ij"))
    boxes = (np.stack([x1, y1, x2, y2], axis=1) + 0.5) / BINS
    large = (x2 - x1) * (y2 - y1) >= MIN_AREA_FRAC * BINS**2
    ratio = (x2 - x1) * width / ((y2 - y1) * height)
    low, high = RATIO_RANGE
    # the reference's bounds are open; with whole bins only exact ties tell the difference
    chosen = large & (ratio > low) & (ratio < high)
    if chosen.sum() < FEW:
        low, high = min(low, low * width / height), max(high, high * width / height)
        chosen = large & (ratio > low) & (ratio < high)
    return boxes[chosen] * [width, height, width, height]


@lru_cache(maxsize=KEPT)
@_read_only
def border_anchors(width: float, height: float) -> np.ndarray:
    """Large candidates of any ratio that touch the picture's border, as human crops often do.

    Each side of the picture is kept whole or trimmed by a few amounts; the whole picture is one
    of them.

    Returns:
        [M, 4] float64.
    """
    trims = np.array([0.0, 0.1, 0.2, 0.35])
    left, top, right, bottom = (g.ravel() for g in np.meshgrid(trims, trims, trims, trims, indexing="ij"))
    sides = np.stack([1 - left - right, 1 - top - bottom], axis=1)
    touches = (np.stack([left, top, right, bottom]) == 0).sum(axis=0) >= 1
    ratio = sides[:, 0] / sides[:, 1]  # relative to the picture's own
    chosen = touches & (sides.prod(axis=1) >= 0.3) & (ratio >= 0.45) & (ratio <= 2.2)
    boxes = np.stack([left, top, 1 - right, 1 - bottom], axis=1)[chosen]
    return boxes * [width, height, width, height]


@lru_cache(maxsize=KEPT)
@_read_only
def ratio_anchors(ratio: float, width: float, height: float, count: int = RATIO_ANCHORS) -> np.ndarray:
    """About `count` candidates of exactly one ratio, from the largest down to half its side.

    At each scale positions are spread evenly from border to border, the step in proportion to
    the box, as fine as `count` allows.

    Returns:
        [N, 4] float64, N at most `count` and at least 1.
    """
    largest = np.array(largest_of_ratio(ratio, width, height))
    all_sides = largest * np.array(SCALES)[:, None]  # [S, 2]
    low, high = 0.02, 2.0 * (1 + max(width / largest[0], height / largest[1]))  # step between neighbours, in box sides
    for _ in range(25):
        step = (low + high) / 2
        too_many = _positions(all_sides, (width, height), step).prod(axis=1).sum() > count
        low, high = (step, high) if too_many else (low, step)
    boxes = []
    for sides, (columns, rows) in zip(all_sides, _positions(all_sides, (width, height), high), strict=True):
        x = np.linspace(0, width - sides[0], columns) if columns > 1 else np.array([(width - sides[0]) / 2])
        y = np.linspace(0, height - sides[1], rows) if rows > 1 else np.array([(height - sides[1]) / 2])
        x, y = (g.ravel() for g in np.meshgrid(x, y))
        boxes.append(np.stack([x, y, x + sides[0], y + sides[1]], axis=1))
    return np.concatenate(boxes)


def _positions(sides: np.ndarray, size_wh: tuple[float, float], step: float) -> np.ndarray:
    """How many positions each axis has at a step, of sides [S, 2]: at least two where there is room to move."""
    slack = np.maximum(np.array(size_wh) - sides, 0)
    return np.where(slack > 1e-6 * sides, np.maximum(np.ceil(slack / (step * sides)), 1) + 1, 1).astype(int)
