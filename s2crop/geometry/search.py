"""From scored candidates to ranked crops: which candidates to score, and which of them to give."""

from dataclasses import dataclass

import numpy as np

from s2crop.errors import InputError
from s2crop.geometry.anchors import border_anchors, grid_anchors, ratio_anchors
from s2crop.geometry.boxes import area, inside_circle_share, inside_share, iou_matrix, largest_of_ratio

SAME_CROP_IOU = 0.8  # two crops that overlap more are one crop to a person
REFINED = 10  # best candidates around which the second stage searches (ASM-Net, sec. 3.3)
SHIFT = 0.05  # of a box's side, or for a single side of the picture's
SCALE = 1.07


@dataclass(frozen=True)
class SearchConfig:
    """Choices of the search; the defaults measured best on validation photos."""

    method: str = "expected"  # highest expected IoU, refined, or "argmax": the best-scored anchor, as published
    temperature: float = 0.1  # T of softmax(score / T), in normalised scores
    cut_penalty: float = 3.0  # taken from a score where a crop cuts a face or text that it could hold
    lost_penalty: float = 3.0  # taken where it leaves it out, in proportion to the part left out
    penalty_iou: float = 0.25  # what a penalty of 1 takes from an expected IoU


@dataclass(frozen=True)
class Protected:
    """What a crop should not cut through or lose."""

    boxes: np.ndarray  # [M, 4] pixels of the picture
    weights: np.ndarray  # [M] 0 to 1: how sure the detector is, times how much it matters
    cores: np.ndarray  # [M, 4] the part of each box that counts where the whole does not fit, as the eyes of a face

    @classmethod
    def nothing(cls) -> "Protected":
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 4)))


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


def _holding(boxes: np.ndarray, must: np.ndarray, ratio: float | None, size_wh: tuple[int, int]) -> np.ndarray:
    if ratio is None:
        grown = np.concatenate([np.minimum(boxes[:, :2], must[:2]), np.maximum(boxes[:, 2:], must[2:])], axis=1)
        return np.unique(grown, axis=0)
    largest = np.array(largest_of_ratio(ratio, *size_wh))
    needed = must[2:] - must[:2]
    if (needed > largest + 0.5).any():
        raise InputError("no crop of this ratio holds what --keep names; it is too large for it")
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


def penalties(boxes: np.ndarray, protected: Protected, config: SearchConfig, circle: bool = False) -> np.ndarray:
    """What cut and lost faces and text cost each candidate of one ratio: [N, 4] -> [N].

    With `circle`, what lies outside of a candidate's inscribed circle is lost too.
    Of a box that no candidate holds whole its core counts. Where that does not fit either a cut cannot
    be spared; there only how much of it is lost counts, against the candidate that holds most.
    """
    if not len(protected.boxes):
        return np.zeros(len(boxes))
    share = inside_circle_share if circle else inside_share
    inside = share(boxes, protected.boxes)  # [N, M]
    unfit = inside.max(axis=0) <= 0.99
    inside[:, unfit] = share(boxes, protected.cores[unfit])
    possible = inside.max(axis=0)
    cut = np.clip(8 * inside * (1 - inside), 0, 1) * (possible > 0.99)
    lost = 1 - inside / np.maximum(possible, 1e-9)
    return (config.cut_penalty * cut + config.lost_penalty * lost) @ protected.weights


def worth(boxes: np.ndarray, scores: np.ndarray, config: SearchConfig, penalty: np.ndarray | float = 0.0) -> np.ndarray:
    """How good a choice each candidate of one ratio is: [N, 4], [N] -> [N].

    With method "expected" it is the expected IoU with the crop that a person would choose, who
    chooses candidate c with probability softmax(scores / T)[c]: a plain arg-max over many
    candidates picks outliers.
    """
    scores = scores - penalty
    if config.method == "argmax":
        return scores
    chance = np.exp((scores - scores.max()) / config.temperature)
    return iou_matrix(boxes, boxes) @ (chance / chance.sum()) - config.penalty_iou * penalty


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


def choose(boxes: np.ndarray, worths: np.ndarray, top: int) -> list[int]:
    """Indices of the best distinct candidates, best first."""
    order = np.lexsort((-area(boxes), -worths))  # of equals the larger
    chosen: list[int] = []
    for i in order:
        if all(iou_matrix(boxes[i, None], boxes[j, None])[0, 0] < SAME_CROP_IOU for j in chosen):
            chosen.append(int(i))
            if len(chosen) == top:
                break
    return chosen
