"""Sums of maps over boxes by integral images, and how crops hold boxes: numbers for hundreds of candidates at once."""

import numpy as np

from s2crop.geometry.boxes import area, inside_circle_share, inside_share


class Integral:
    """Integral images of several maps of one shape over a picture.

    Args:
        maps: [C, h, w]; each sums to what the whole picture holds.
    """

    def __init__(self, maps: np.ndarray):
        channels, self.height, self.width = maps.shape
        self.sums = np.zeros((self.height + 1, self.width + 1, channels))
        self.sums[1:, 1:] = maps.transpose(1, 2, 0).cumsum(axis=0).cumsum(axis=1)

    def over(self, boxes: np.ndarray) -> np.ndarray:
        """What boxes [N, 4] in fractions of the picture hold of each map: [N, C]; cells count by their share inside."""
        x1, y1, x2, y2 = boxes.T
        return self._corner(x2, y2) - self._corner(x1, y2) - self._corner(x2, y1) + self._corner(x1, y1)

    def _corner(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Sums over [0, x] times [0, y], bilinear between cells: [N, C]."""
        x, y = np.clip(x, 0, 1) * self.width, np.clip(y, 0, 1) * self.height
        column = np.minimum(x.astype(np.intp), self.width - 1)
        row = np.minimum(y.astype(np.intp), self.height - 1)
        right, down = (x - column)[:, None], (y - row)[:, None]
        flat = self.sums.reshape(-1, self.sums.shape[-1])
        start = row * (self.width + 1) + column
        upper = flat[start] * (1 - right) + flat[start + 1] * right
        start += self.width + 1
        lower = flat[start] * (1 - right) + flat[start + 1] * right
        return upper * (1 - down) + lower * down


def strips(boxes: np.ndarray, thickness: np.ndarray) -> np.ndarray:
    """The strips just inside the four borders of boxes [N, 4], left, top, right, bottom: [4, N, 4].

    Args:
        thickness: [N, 2] or [2] of the strips along x and y.
    """
    found = np.repeat(boxes[None], 4, axis=0)
    thickness = np.broadcast_to(thickness, (len(boxes), 2))
    for side in range(4):
        axis = side % 2
        if side < 2:
            found[side, :, axis + 2] = boxes[:, axis] + thickness[:, axis]
        else:
            found[side, :, axis] = boxes[:, axis + 2] - thickness[:, axis]
    return found


def held_shares(boxes: np.ndarray, parts: np.ndarray, circle: bool = False) -> np.ndarray:
    """How much of each part [M, 4] each box [N, 4], or its inscribed circle, holds: [N, M]."""
    return (inside_circle_share if circle else inside_share)(boxes, parts)


def area_shares(boxes: np.ndarray) -> np.ndarray:
    """Areas of boxes in fractions of the picture, never 0."""
    return np.maximum(area(boxes), 1e-9)
