"""How a network in training does on held-out photos: FCDB's measures, and fixations held by narrow and wide crops."""

from collections.abc import Callable

import numpy as np

from s2crop.datasets.metrics import displacement, iou, pair_agreement
from s2crop.geometry.boxes import largest_of_ratio
from s2crop.geometry.search import candidates, worth
from s2crop.training.samples import HELD_RATIOS, Sample, held_share

TEMPERATURES = (0.05, 0.1, 0.15, 0.2)  # of the coarse stage alone, to follow a training


def validate(score: Callable[[Sample, np.ndarray], np.ndarray], samples: list[Sample]) -> dict[str, float]:
    """FCDB's measures on held-out photos, and fixations held by narrow and wide crops.

    Args:
        score: scores [N] of boxes [N, 4] in input pixels.
    """
    ious: dict[str, list[float]] = {}
    disps: dict[str, list[float]] = {}
    scores: list[np.ndarray] = []
    votes: list[np.ndarray] = []
    held: list[list[float]] = []
    for sample in samples:
        height, width = sample.size
        scale = np.array([width, height] * 2, np.float32)
        if sample.labels is None:
            held.append([held_by_best(score, sample, ratio) for ratio in HELD_RATIOS])
            continue
        sets = {
            "argmax": candidates(None, (width, height), method="argmax"),
            "expected": candidates(None, (width, height)),
        }
        found = score(sample, np.concatenate([*sets.values(), sample.labels.pairs.reshape(-1, 4) * scale]))
        start = 0
        for method, own in sets.items():
            part = found[start : start + len(own)]
            for temperature in TEMPERATURES if method == "expected" else (1.0,):
                name = method if method == "argmax" else f"expected_{temperature}"
                best = (part if method == "argmax" else worth(own, part, temperature)).argmax()
                ious.setdefault(name, []).append(float(iou(own[best] / scale, sample.labels.best)))
                disps.setdefault(name, []).append(float(displacement(own[best] / scale, sample.labels.best)))
            start += len(own)
        scores.append(found[start:].reshape(-1, 2))
        votes.append(sample.labels.votes)
    pairs, voted = np.concatenate(scores), np.concatenate(votes)
    return (
        {f"iou_{k}": float(np.mean(v)) for k, v in ious.items()}
        | {f"disp_{k}": float(np.mean(v)) for k, v in disps.items()}
        | {
            "pairs": pair_agreement(pairs, voted)[0],
            "pairs_3": pair_agreement(pairs, voted, 3)[0],
            **({"held_share": float(np.mean(held))} if held else {}),
        }
    )


def held_by_best(score: Callable[[Sample, np.ndarray], np.ndarray], sample: Sample, ratio: float) -> float:
    """Share of fixations in the best-scored of the largest crops of a ratio."""
    assert sample.fixations is not None
    height, width = sample.size
    sides = np.array(largest_of_ratio(ratio, width, height))
    start = np.linspace(0, 1, 15)[:, None] * ([width, height] - sides)
    boxes = np.concatenate([start, start + sides], axis=1)
    best = score(sample, boxes).argmax()
    return float(held_share(boxes[best, None], sample.fixations * [width, height])[0])
