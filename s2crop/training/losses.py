"""Losses on scores of one picture's candidates, batched."""

import torch
import torch.nn.functional as F
from torch import Tensor


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
    share = votes[..., 0] / votes.sum(-1).clamp(min=1)
    return F.binary_cross_entropy_with_logits((scores[..., 0] - scores[..., 1]) / temperature, share)


def best_crop_loss(scores: Tensor, ious: Tensor, temperature: Tensor, sharpness: float) -> Tensor:
    """KL divergence from softmax(IoU / sharpness) to softmax(scores / temperature).

    The best crop as a soft target over candidates. Args: scores, ious [B, K], ious with the crop
    that people chose.
    """
    target = (ious / sharpness).log_softmax(-1)
    return F.kl_div((scores / temperature).log_softmax(-1), target, log_target=True, reduction="batchmean")
