"""From scored candidates to ranked crops: which candidates to score, and which of them to give."""

from dataclasses import dataclass

import numpy as np

from s2crop.errors import InputError
from s2crop.geometry.anchors import border_anchors, grid_anchors, ratio_anchors
from s2crop.geometry.boxes import area, iou_matrix, largest_of_ratio

SAME_CROP_IOU = 0.8  # two crops that overlap more are one crop to a person
SHIFT = 0.05  # of a box's side, or for a single side of the picture's
SCALE = 1.07


@dataclass(frozen=True)
class SearchConfig:
    """Choices of the search; the defaults measured best on validation photos."""

    method: str = "expected"  # highest expected agreement, or "argmax": the best-scored grid anchor, as published
    temperature: float = 0.3  # T of softmax(utility / T)
    # Of a given ratio; of a free one all candidates are rated and scored. Where what they hold and cut does not count,
    # all are rated.
    rated: int = 48  # candidates whose appeal is asked for, the best by what they hold, cut and lose
    scored: int = 16  # of them that the network scores, the best by that and by their appeal
    refined: int = 5  # of the best, whose neighbours are candidates too (ASM-Net, sec. 3.3)
    scored_near: int = 8  # neighbours that the network scores


def candidates(
    ratio: float | None, size_wh: tuple[int, int], must: np.ndarray | None = None, method: str = "expected"
) -> np.ndarray:
    """Boxes to score for one ratio (None: any).

    Args:
        must: [4] box that every candidate contains. Candidates move, and where the ratio is free
            grow, as little as it takes.
    Returns:
        [N, 4] float64 pixels.
    Raises:
        InputError: no crop of this ratio can contain `must`.
    """
    width, height = size_wh
    if ratio is not None:
        boxes = ratio_anchors(ratio, width, height)
    elif method == "argmax":
        boxes = grid_anchors(width, height)
    else:
        boxes = np.concatenate([grid_anchors(width, height), border_anchors(width, height)])
    return boxes if must is None else _holding(boxes, must, ratio, size_wh)


def too_narrow(ratio: str = "this ratio") -> InputError:
    """What is told of a ratio of which no crop holds what is required."""
    return InputError(f"no crop of {ratio} holds all that it is to hold: that is too large for it")


def can_hold(ratio: float | None, size_wh: tuple[int, int], must: np.ndarray) -> bool:
    """Whether a crop of a ratio (None: any) can contain a box [4]."""
    if ratio is None:
        return True
    most = np.maximum(np.array(largest_of_ratio(ratio, *size_wh)) + 0.5, 1 + 1e-6)  # each crop holds a pixel
    return not (must[2:] - must[:2] > most).any()


def _holding(boxes: np.ndarray, must: np.ndarray, ratio: float | None, size_wh: tuple[int, int]) -> np.ndarray:
    if ratio is None:
        grown = np.concatenate([np.minimum(boxes[:, :2], must[:2]), np.maximum(boxes[:, 2:], must[2:])], axis=1)
        return np.unique(grown, axis=0)
    largest = np.array(largest_of_ratio(ratio, *size_wh))
    needed = must[2:] - must[:2]
    if not can_hold(ratio, size_wh, must):
        raise too_narrow()
    sides = boxes[:, 2:] - boxes[:, :2]
    fits = (sides >= needed).all(axis=1)
    if not fits.any():  # between the largest scale and what is needed
        scale = min(1.0, (needed / largest).max())
        boxes, fits = (
            np.concatenate([[0, 0], np.minimum(largest, np.maximum(largest * scale, needed))])[None],
            np.array([True]),
        )
    boxes, sides = boxes[fits], boxes[fits, 2:] - boxes[fits, :2]
    start = np.clip(boxes[:, :2], must[2:] - sides, must[:2])
    return np.unique(np.concatenate([start, start + sides], axis=1).round(6), axis=0)


def worth(boxes: np.ndarray, utilities: np.ndarray, temperature: float) -> np.ndarray:
    """How good a choice each candidate of one ratio is: the expected IoU with the editor's crop, [N, 4], [N] -> [N].

        worth(c) = sum over c' of softmax(utility / T)[c'] * IoU(c, c')

    The editor chooses candidate c' with probability softmax(utility / T)[c']. A plain arg-max over many candidates
    picks outliers.
    """
    chance = np.exp((utilities - utilities.max()) / temperature)
    return iou_matrix(boxes, boxes) @ (chance / chance.sum())


def scales(boxes: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """How large boxes [N, 4] are for their shape: 1 where they touch two opposite borders of the picture, [N]."""
    return ((boxes[:, 2:] - boxes[:, :2]) / np.array(size_wh)).max(axis=1)


def neighbours(
    boxes: np.ndarray, ratio: float | None, size_wh: tuple[int, int], must: np.ndarray | None = None
) -> np.ndarray:
    """Second stage of the search (ASM-Net, sec. 3.3): small shifts and scalings of good candidates.

    Of a free ratio, each side moves on its own too.

    Args:
        boxes: [K, 4]; must: as for `candidates`.
    Returns:
        [M, 4] boxes of the ratio inside the picture, none twice.
    """
    size = np.array(size_wh)
    sides = np.repeat(boxes[:, 2:] - boxes[:, :2], 6, axis=0)
    centres = np.repeat((boxes[:, 2:] + boxes[:, :2]) / 2, 6, axis=0)
    moves = np.tile([[-1, 0], [1, 0], [0, -1], [0, 1], [0, 0], [0, 0]], (len(boxes), 1)) * SHIFT
    scales = np.tile([[1], [1], [1], [1], [SCALE], [1 / SCALE]], (len(boxes), 1))
    centres, sides = centres + moves * sides, sides * scales
    if ratio is None:
        found = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
        one_side = np.concatenate([np.eye(4), -np.eye(4)]) * SHIFT * np.tile(size, 2)  # [8, 4]
        found = np.concatenate([found, (boxes[:, None] + one_side).reshape(-1, 4)])
        found = found.clip(0, np.tile(size, 2))
        found = found[(found[:, 2:] - found[:, :2] >= 1).all(axis=1)]
    else:
        fits = (sides <= size + 1e-6).all(axis=1)
        start = np.clip(centres[fits] - sides[fits] / 2, 0, np.maximum(size - sides[fits], 0))
        found = np.concatenate([start, start + sides[fits]], axis=1)
    if must is not None and len(found):
        found = _holding(found, must, ratio, size_wh)
    return np.unique(found.round(3), axis=0)


def choose(boxes: np.ndarray, worths: np.ndarray, top: int, utilities: np.ndarray | None = None) -> list[int]:
    """Indices of the best distinct candidates, best first.

    Args:
        worths: what they are ranked by.
        utilities: what the others than the best are found by, which is worth the more to an editor who does not want
            that one: by worth alone it would be whatever overlaps it the most. Minus infinity where it is not known.
    """
    by_worth = np.lexsort((-area(boxes), -worths))  # of equals the larger
    order = by_worth
    if utilities is not None and len(boxes):
        by_utility = np.lexsort((-worths, -utilities))
        known = by_utility[np.isfinite(utilities[by_utility])]
        order = np.concatenate([by_worth[:1], known, by_worth])
    chosen: list[int] = []
    for i in order:
        if all(iou_matrix(boxes[i, None], boxes[j, None])[0, 0] < SAME_CROP_IOU for j in chosen):
            chosen.append(int(i))
            if len(chosen) == top:
                break
    return sorted(chosen, key=lambda i: -worths[i])
