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

    @property
    def whole(self) -> np.ndarray:
        """What the whole picture holds of each map: [C]."""
        return self.sums[-1, -1]

    def over(self, boxes: np.ndarray) -> np.ndarray:
        """What boxes [N, 4] in fractions of the picture hold of each map: [N, C]; cells count by their share inside."""
        (left, right), (top, bottom) = (
            (_places(near, cells), _places(far, cells))
            for near, far, cells in zip(boxes.T[:2], boxes.T[2:], (self.width, self.height), strict=True)
        )
        corners = self._corner(right, bottom), self._corner(left, bottom), self._corner(right, top)
        return corners[0] - corners[1] - corners[2] + self._corner(left, top)

    def _corner(self, x: tuple[np.ndarray, np.ndarray], y: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Sums from the first cell to `_places` x and y, bilinear between cells: [N, C]."""
        (column, right), (row, down) = x, y
        first = row * (self.width + 1) + column
        upper, lower = self._along(first, right), self._along(first + self.width + 1, right)
        lower -= upper
        lower *= down
        lower += upper
        return lower

    def _along(self, first: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Sums to places between neighbours of a row, of which these are the first [N] and the way to the next
        [N, 1]: [N, C].
        """
        flat = self.sums.reshape(-1, self.sums.shape[-1])
        near, found = flat.take(first, axis=0), flat.take(first + 1, axis=0)
        found -= near
        found *= right
        found += near
        return found


def _places(edges: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges [N] in fractions as numbers of cells [N], and how far into these they lie [N, 1]."""
    edges = np.clip(edges, 0, 1) * cells
    cell = np.minimum(edges.astype(np.intp), cells - 1)
    return cell, (edges - cell)[:, None]


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
