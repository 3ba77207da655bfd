"""Boxes are [x1, y1, x2, y2], x right, y down, in pixels of the upright picture unless a name says otherwise."""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

CIRCLE_POINTS = 8  # an axis of a box, to find its share inside a circle

Number = TypeVar("Number", int, float)


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [..., K, 4] and [..., M, 4] -> [..., K, M]."""
    a, b = a[..., :, None, :], b[..., None, :, :]
    intersection = _overlap(a, b, 0) * _overlap(a, b, 1)
    union = area(a) + area(b) - intersection
    return intersection / np.maximum(union, 1e-9)


def inside_share(boxes: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """How much of each part [M, 4] lies inside each box [K, 4] -> [K, M], 0 to 1."""
    a, b = boxes[:, None], parts[None]
    return _overlap(a, b, 0) * _overlap(a, b, 1) / np.maximum(area(parts), 1e-9)


def inside_circle_share(boxes: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """How much of each part [M, 4] lies inside the ellipse that each box [K, 4] circumscribes -> [K, M], 0 to 1.

    The ellipse of a square is its inscribed circle.
    """
    place = (np.stack(np.meshgrid(*[np.arange(CIRCLE_POINTS) + 0.5] * 2), axis=-1) / CIRCLE_POINTS).reshape(-1, 2)
    points = parts[:, None, :2] + place * (parts[:, None, 2:] - parts[:, None, :2])  # [M, P, 2]
    centre, radius = (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum((boxes[:, 2:] - boxes[:, :2]) / 2, 1e-9)
    apart = (points - centre[:, None, None]) / radius[:, None, None]
    return ((apart**2).sum(axis=-1) <= 1).mean(axis=-1)


def object_position(box: Sequence[int], size_wh: tuple[int, int]) -> str:
    """Where a crop lies, as CSS says it with `object-fit: cover`: "37% 22%" of the room that is left on each axis.

    Args: box in whole pixels of a picture of that (width, height).
    """
    shares = []
    for low, high, side in zip(box[:2], box[2:], size_wh, strict=True):
        room = side - (high - low)
        shares.append(f"{round(100 * low / room, 2) if room else 50:g}%")
    return " ".join(shares)


def _overlap(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    """Length that boxes share along x (0) or y (1). An axis at a time: products along a last axis of two are slow."""
    return (np.minimum(a[..., 2 + axis], b[..., 2 + axis]) - np.maximum(a[..., axis], b[..., axis])).clip(min=0)


def area(boxes: np.ndarray) -> np.ndarray:
    """Areas of boxes [..., 4] -> [...]."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def moved(box: Sequence[Number], place: Sequence[Number]) -> tuple[Number, Number, Number, Number]:
    """A box in pixels of a part of a picture, in pixels of the picture.

    Args: place: where the part begins (x, y), or its box.
    """
    x, y = place[:2]
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def mirrored(boxes: np.ndarray, width: float = 1.0) -> np.ndarray:
    """Boxes [..., 4] of a picture that was mirrored left to right.

    Args:
        width: of the picture; 1 where boxes are fractions.
    """
    return boxes[..., [2, 1, 0, 3]] * np.array([-1, 1, -1, 1], np.float32) + np.array([width, 0, width, 0], np.float32)


def largest_of_ratio(ratio: float, width: float, height: float) -> tuple[float, float]:
    """Width and height of the largest box of a ratio that a picture holds."""
    return (width, width / ratio) if width / ratio <= height else (height * ratio, height)


def to_pixels(
    box: np.ndarray, size_wh: tuple[int, int], ratio: float | None = None, must: np.ndarray | None = None
) -> tuple[int, int, int, int]:
    """Round a box to whole pixels inside the picture.

    With a ratio, the result is as near to it as whole pixels allow: one side is at most half a
    pixel from the other's exact match (a side is at least 1).

    Args:
        box: [4] floats.
        size_wh: of the picture.
        ratio: width over height of the result; None keeps the box as it is, up to rounding.
        must: [4] floats that the box contains, up to rounding; the result contains them too.
    """
    picture = np.array(size_wh)
    held = None if must is None else _covering(must, picture)
    if ratio is None:
        start = np.clip(np.round(box[:2]), 0, picture - 1).astype(int)
        end = np.minimum(np.maximum(np.round(box[2:]).astype(int), start + 1), picture)
        if held is not None:
            start, end = np.minimum(start, held[0]), np.maximum(end, held[1])
        return int(start[0]), int(start[1]), int(end[0]), int(end[1])
    sides = np.array(_whole_sides(box[2] - box[0], box[3] - box[1], ratio, size_wh))
    if held is not None and (sides < held[1] - held[0]).any():
        grow = ((held[1] - held[0]) / sides).max()
        sides = np.array(_whole_sides(sides[0] * grow, sides[1] * grow, ratio, size_wh))
        sides = np.minimum(np.maximum(sides, held[1] - held[0]), picture)  # at the picture's limit: a pixel off
    start = np.round((box[:2] + box[2:] - sides) / 2).astype(int)
    if held is not None:
        start = np.minimum(np.maximum(start, held[1] - sides), held[0])
    start = np.clip(start, 0, picture - sides)
    end = start + sides
    return int(start[0]), int(start[1]), int(end[0]), int(end[1])


def _covering(box: np.ndarray, size_wh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last corner [2] of the whole pixels that cover a box, less what a float's noise adds."""
    lowest = np.maximum(np.floor(box[:2] + 1e-6), 0).astype(int)
    return lowest, np.minimum(np.ceil(box[2:] - 1e-6), size_wh).astype(int)


def _whole_sides(width: float, height: float, ratio: float, size_wh: tuple[int, int]) -> tuple[int, int]:
    """Whole sides nearest to a box of this ratio, the longer one leading, inside the picture."""
    if ratio >= 1:
        width = min(max(1, round(width)), size_wh[0])
        height = max(1, round(width / ratio))
        if height > size_wh[1]:
            height = size_wh[1]
            width = min(max(1, math.floor(height * ratio + 0.5)), size_wh[0])
        return width, height
    height, width = _whole_sides(height, width, 1 / ratio, size_wh[::-1])
    return width, height
