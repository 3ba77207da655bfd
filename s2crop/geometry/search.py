"""From scored candidates to ranked crops: which candidates to score, and which of them to give."""

from dataclasses import dataclass

import numpy as np

from s2crop.errors import InputError
from s2crop.geometry.anchors import border_anchors, grid_anchors, ratio_anchors
from s2crop.geometry.boxes import area, inside_share, iou_matrix, largest_of_ratio

SAME_CROP_IOU = 0.8  # two crops that overlap more are one crop to a person


@dataclass(frozen=True)
class SearchConfig:
    """Choices of the search; the defaults measured best on validation photos."""

    method: str = "expected"  # highest expected IoU, or "argmax": the best-scored grid anchor, as published
    temperature: float = 0.1  # T of softmax(score / T), in normalised scores
    cut_penalty: float = 1.0  # taken from a score where a crop cuts a face or text that it could hold
    lost_penalty: float = 1.0  # taken where it leaves it out, in proportion to the part left out
    penalty_iou: float = 0.25  # what a penalty of 1 takes from an expected IoU


@dataclass(frozen=True)
class Protected:
    """What a crop should not cut through or lose."""

    boxes: np.ndarray  # [M, 4] pixels of the picture
    weights: np.ndarray  # [M] 0 to 1: how sure the detector is, times how much it matters

    @classmethod
    def nothing(cls) -> "Protected":
        return cls(np.zeros((0, 4)), np.zeros(0))


def candidates(ratio: float | None, size_wh: tuple[int, int], must: np.ndarray | None = None,
               method: str = "expected") -> np.ndarray:
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
        boxes, fits = np.concatenate([[0, 0], np.minimum(largest, np.maximum(largest * scale, needed))])[None], np.array([True])
    boxes, sides = boxes[fits], boxes[fits, 2:] - boxes[fits, :2]
    start = np.clip(boxes[:, :2], must[2:] - sides, must[:2])
    return np.unique(np.concatenate([start, start + sides], axis=1).round(6), axis=0)


def penalties(boxes: np.ndarray, protected: Protected, config: SearchConfig) -> np.ndarray:
    """What cut and lost faces and text cost each candidate of one ratio: [N, 4] -> [N].

    A part that no candidate holds whole cannot be spared a cut; there only how much of it is
    lost counts, against the candidate that holds most.
    """
    if not len(protected.boxes):
        return np.zeros(len(boxes))
    inside = inside_share(boxes, protected.boxes)  # [N, M]
    possible = inside.max(axis=0)
    cut = np.clip(8 * inside * (1 - inside), 0, 1) * (possible > 0.99)
    lost = 1 - inside / np.maximum(possible, 1e-9)
    return (config.cut_penalty * cut + config.lost_penalty * lost) @ protected.weights


def choose(boxes: np.ndarray, scores: np.ndarray, config: SearchConfig, top: int,
           penalty: np.ndarray | float = 0.0) -> list[int]:
    """Indices of the best distinct candidates, best first.

    With method "expected" a candidate's worth is its expected IoU with the crop that a person
    would choose, who chooses candidate c with probability softmax(scores / T)[c]: a plain
    arg-max over many candidates picks outliers.
    """
    scores = scores - penalty
    if config.method == "argmax":
        worth = scores
    else:
        chance = np.exp((scores - scores.max()) / config.temperature)
        worth = iou_matrix(boxes, boxes) @ (chance / chance.sum()) - config.penalty_iou * penalty
    order = np.lexsort((-area(boxes), -worth))  # of equals the larger
    chosen: list[int] = []
    for i in order:
        if all(iou_matrix(boxes[i, None], boxes[j, None])[0, 0] < SAME_CROP_IOU for j in chosen):
            chosen.append(int(i))
            if len(chosen) == top:
                break
    return chosen
