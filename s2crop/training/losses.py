"""Losses on scores of one picture's candidates, batched."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of weighted losses, of which there is one at least."""
    first, *others = losses.values()
    return sum(others, start=first)


def ranking_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Pairwise ranking loss (S2CNet, the equation numbered 10).

    For each pair in the wrong order, the product of the two differences; averaged over all
    pairs. Args: scores, targets [B, K].
    """
    predicted = scores[:, :, None] - scores[:, None]
    wanted = targets[:, :, None] - targets[:, None]
    wrong = F.relu(-torch.sign(predicted * wanted) * (predicted * wanted).abs())
    count = scores.shape[1] * (scores.shape[1] - 1)
    return wrong.sum(dim=(1, 2)).mean() / count


def rating_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Smooth L1 (S2CNet, eq. 8) plus the ranking loss. Args: normalised scores and MOS [B, K]."""
    return F.smooth_l1_loss(scores, targets) + ranking_loss(scores, targets)


def vote_loss(scores: Tensor, votes: Tensor, temperature: Tensor) -> Tensor:
    """Cross-entropy of a pair's score difference against its share of votes.

    Args: scores [B, P, 2]; votes [B, P, 2]; temperature: scores for a factor e in the odds.
    """
    return F.binary_cross_entropy_with_logits((scores[..., 0] - scores[..., 1]) / temperature, vote_share(votes))


def vote_share(votes: Tensor) -> Tensor:
    """Of the votes of each pair, [..., 2], the share that the first crop has."""
    return votes[..., 0] / votes.sum(-1).clamp(min=1)


def best_crop_loss(scores: Tensor, ious: Tensor, temperature: Tensor, sharpness: float) -> Tensor:
    """KL divergence from softmax(IoU / sharpness) to softmax(scores / temperature).

    The best crop as a soft target over candidates. Args: scores, ious [B, K], ious with the crop
    that people chose.
    """
    target = (ious / sharpness).log_softmax(-1)
    return F.kl_div((scores / temperature).log_softmax(-1), target, log_target=True, reduction="batchmean")


# ASM-Net (Tu et al. 2020)


def clear_pairs(targets: Tensor, margin: float) -> Tensor:
    """Which pairs (k, t) of crops differ by at least a margin, k the better (ASM-Net, eq. 3):
    [B, K] -> bool [B, K, K].
    """
    return (targets[:, :, None] - targets[:, None] >= margin) & ~torch.eye(
        targets.shape[1], dtype=torch.bool, device=targets.device
    )


def hinge_loss(scores: Tensor, pairs: Tensor) -> Tensor:
    """Ranking loss with margin 1 (ASM-Net, eq. 4), for one pair on average.

    The paper sums over pairs; the mean weighs the same however many crops a picture has.

    Args: scores [B, K]; pairs bool [B, K, K] from `clear_pairs`. 0 where there is no pair.
    """
    losses = F.relu(1 + scores[:, None] - scores[:, :, None])
    return (losses * pairs).sum() / pairs.sum().clamp(min=1)


def saliency_loss(sensitivity: Tensor, saliency: Tensor) -> Tensor:
    """Saliency-aware loss (ASM-Net, eq. 7): only what draws the eye may be sensitive to its place.

    Args: sensitivity [B, h, w] from `composition_sensitivity`; saliency [B, h, w], 0 to 1.
    """
    mean = sensitivity.mean(dim=(1, 2), keepdim=True).clamp(min=1e-9)
    return ((1 - saliency) * sensitivity / mean).mean()


# SFRC (Wang et al. 2023)


def draw_pairs(targets: Tensor, margin: float, count: int) -> tuple[Tensor, Tensor]:
    """Pairs i < j of one picture's crops whose targets differ by at least a margin (SFRC, sec. 3.3).

    Args: targets [K]; count: how many to draw at most.
    Returns:
        Indices [P, 2], and labels [P] (eq. 2): 1 where the first is better, else 0.
    """
    difference = targets[:, None] - targets
    first, second = torch.nonzero((difference.abs() >= margin).triu(1), as_tuple=True)
    chosen = torch.randperm(len(first))[:count]
    first, second = first[chosen], second[chosen]
    return torch.stack([first, second], dim=1), (difference[first, second] > 0).to(targets.dtype)


def pair_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of the ranking classifier (SFRC, eq. 3). Args: both [P], p is the logit's sigmoid."""
    return F.binary_cross_entropy_with_logits(logits, labels)


def consistency_loss(scores: Tensor, logits: Tensor, margin: float) -> Tensor:
    """Rank consistency (SFRC, eq. 5 and 6): scores follow the classifier by a margin.

    The classifier itself learns nothing here: its sign alone counts.

    Args:
        scores: [B, N]; logits: [B, N, N] that the first of two crops is better, of which i < j count.
    """
    losses = F.relu(margin + logits.sign() * (scores[:, None] - scores[:, :, None]))  # y_j - y_i at [i, j]
    count = scores.shape[1] * (scores.shape[1] - 1) / 2
    return losses.triu(1).sum(dim=(1, 2)).mean() / count
