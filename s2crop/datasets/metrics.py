"""The field's yardsticks, as pure functions of numpy arrays."""

import numpy as np


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of paired boxes [..., 4] -> [...]."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = sides.clip(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - intersection
    return intersection / np.maximum(union, 1e-12)


def first_hits(overlaps: np.ndarray, least: float = 0.5) -> list[bool]:
    """Which of M found boxes, best first, overlap one of K wanted boxes that no better one has taken.

    Args: overlaps: IoU [K, M] of the wanted with the found; least: from which on a box counts as found.
    """
    taken: set[int] = set()
    hits = []
    for column in overlaps.T:
        best = int(column.argmax()) if len(column) else -1
        hits.append(best >= 0 and bool(column[best] >= least) and best not in taken)
        if hits[-1]:
            taken.add(best)
    return hits


def average_precision(ranked: list[tuple[float, bool]], wanted: int) -> float:
    """Precision at each box that was found rightly, over all that were to be found. Args: score and hit of each."""
    hits = np.array([hit for _, hit in sorted(ranked, reverse=True)], float)
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / max(1, wanted))


def displacement(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Disp (Chen et al. 2017): mean distance of the four sides, boxes as fractions of the picture."""
    return np.abs(a - b).mean(-1)


def pair_agreement(scores: np.ndarray, votes: np.ndarray, min_margin: int = 0) -> tuple[float, int]:
    """How often the better-scored crop of a pair is the one with more votes.

    Args:
        scores, votes: [P, 2], for the two crops of each pair. A tie in the scores counts half.
        min_margin: least difference in votes for a pair to count.
    Returns:
        The share, and the number of pairs that counted.
    """
    margin = votes[:, 0] - votes[:, 1]
    counted = (np.abs(margin) >= min_margin) & (margin != 0)
    agreement = np.sign(scores[counted, 0] - scores[counted, 1]) * np.sign(margin[counted])
    return float(((agreement + 1) / 2).mean()) if counted.any() else float("nan"), int(counted.sum())


def srcc(scores: np.ndarray, mos: np.ndarray) -> float:
    """Spearman's rank-order correlation, ties sharing their mean rank; NaN where one side is constant."""
    a, b = _ranks(scores), _ranks(mos)
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 0 else float("nan")


def pcc(scores: np.ndarray, mos: np.ndarray) -> float:
    """Pearson's linear correlation; NaN where one side is constant."""
    a, b = scores - scores.mean(), mos - mos.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 0 else float("nan")


def acc(scores: np.ndarray, mos: np.ndarray, k: int, n: int) -> float:
    """ACC_{K/N} of one picture (Zeng et al. 2019, sec. 4.1): how many of its top K crops are among the N best rated.

    As in the reference, a crop counts when its MOS is at least the N-th best, so that ties with it
    count too. With fewer than N candidates every one counts.
    """
    threshold = np.sort(mos)[::-1][min(n, len(mos)) - 1]
    top = np.argsort(-scores, kind="stable")[:k]
    return float((mos[top] >= threshold).mean())


def acc_n(scores: np.ndarray, mos: np.ndarray, n: int) -> float:
    """ACC_N of one picture: mean of ACC_{K/N} for K from 1 to 4."""
    return float(np.mean([acc(scores, mos, k, n) for k in range(1, 5)]))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
