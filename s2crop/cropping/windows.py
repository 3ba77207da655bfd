"""Panoramas, comics and long screenshots, looked at in parts.

The network's input is at most four times as long as it is wide. What is longer would be squeezed into it: of a panorama
of 20:1 each input pixel would stand for five, and nothing could be told from anything else. So windows of 4:1 are
looked at as pictures of their own, each overlapping the next by more than a crop is long; what is found in them is then
ranked together. Crops that are longer than that, and those of the free ratio, come from the squeezed whole.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from s2crop.cropping.request import Crop, Inside, Prepared
from s2crop.geometry.boxes import largest_of_ratio
from s2crop.geometry.search import choose
from s2crop.models.input import MAX_LONG_SIDE, fit, input_size

OVERLAP = 2.4  # of the short side: a crop of 2.39:1, the cinema's, lies in one window at least
MOST = 24  # windows of a picture; beyond 40:1 they are longer, and squeezed
MIN_SHORT_SIDE = 32  # pixels; what is thinner shows nothing that a closer look would tell


def places(width: int, height: int, short_side: int) -> list[tuple[int, int, int, int]]:
    """Where to look at a picture: boxes [x1, y1, x2, y2] in its pixels along its longer side; none if it is not long.

    Args:
        short_side: of the network's input.
    """
    short, long = sorted((width, height))
    elongation = MAX_LONG_SIDE / short_side
    if short < MIN_SHORT_SIDE or long <= elongation * short:
        return []
    count = min(MOST, math.ceil((long / short - elongation) / (elongation - OVERLAP)) + 1)
    length = max(elongation * short, (long + (count - 1) * OVERLAP * short) / count)
    starts = [round(start) for start in np.linspace(0, long - math.ceil(length), count)]
    ends = [min(long, start + math.ceil(length)) for start in starts]
    if width > height:
        return [(start, 0, end, height) for start, end in zip(starts, ends, strict=True)]
    return [(0, start, width, end) for start, end in zip(starts, ends, strict=True)]


def cut(pixels: np.ndarray, width: int, height: int, short_side: int, antialias: bool) -> tuple[Inside, ...]:
    """The windows of a picture, made ready for the network.

    Args:
        pixels: uint8 [h, w, 3], the picture made smaller; width and height are its own.
    """
    scale = np.tile(np.divide(pixels.shape[1::-1], (width, height)), 2)
    found = []
    for box in places(width, height, short_side):
        left, top, right, bottom = np.rint(np.array(box) * scale).astype(int)
        part = np.ascontiguousarray(pixels[top:bottom, left:right])
        sides = box[2] - box[0], box[3] - box[1]
        found.append(Inside(box, Prepared(fit(part, input_size(*sides, short_side), antialias), *sides)))
    return tuple(found)


def holds_ratio(picture: Prepared, ratio: float | None) -> bool:
    """Whether any crop of a ratio lies in one of the picture's windows; None stands for the free ratio."""
    if ratio is None or not picture.windows:
        return False
    sides = largest_of_ratio(ratio, picture.width, picture.height)
    along = 0 if picture.width > picture.height else 1
    return sides[along] <= OVERLAP * min(picture.width, picture.height)


def holding(picture: Prepared, box: Sequence[float]) -> Inside | None:
    """Of the windows that hold a box the one in whose middle it is the most; None where none holds it."""
    centre = np.add(box[:2], box[2:]) / 2
    return min(
        (window for window in picture.windows if window.holds(box)),
        key=lambda window: float(np.abs(np.add(window.box[:2], window.box[2:]) / 2 - centre).max()),
        default=None,
    )


def merged(parts: Sequence[Sequence[Crop]], top: int, temperature: float) -> list[Crop]:
    """The best crops of one ratio among those of all windows, ranked.

    In a window a crop's worth is how far it is expected to agree with what an editor would choose there. That they
    would choose there at all is as likely as the score of its best crop makes it, among those of the other windows.

    Args:
        parts: of each window its crops, with boxes in pixels of the picture.
        temperature: of the softmax over the windows' scores, on the MOS scale.
    """
    best = np.array([max(crop.score for crop in crops) for crops in parts])
    chances = np.exp((best - best.max()) / temperature)
    found = [
        replace(crop, worth=crop.worth * float(chance))
        for crops, chance in zip(parts, chances / chances.sum(), strict=True)
        for crop in crops
    ]
    chosen = choose(np.array([crop.box for crop in found], float), np.array([crop.worth for crop in found]), top)
    return [replace(found[i], rank=rank) for rank, i in enumerate(chosen, start=1)]
