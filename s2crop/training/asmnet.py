"""ASM-Net's own part of its training (Tu et al. 2020, sec. 3.2): ranking loss over pairs, saliency-aware loss."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2crop.models.asmnet import ASMNet, Features, composition_sensitivity
from s2crop.models.s2cnet import MOS_STD
from s2crop.training.heads import Head, HeadRecipe
from s2crop.training.losses import clear_pairs, hinge_loss, saliency_loss
from s2crop.training.saliency import spectral_residual
from s2crop.training.samples import Sample, extras_of, stacked_maps

SALIENCY_SIDE = 64  # cells of the saliency maps that a training keeps


@dataclass(frozen=True)
class ASMNetRecipe(HeadRecipe):
    """Choices of the training."""

    candidates: int = 64
    rate: float = 2e-3
    # delta in MOS, from which one crop is clearly better than another (eq. 3); the paper's for GAICD
    pair_margin: float = 0.9
    saliency_weight: float = 0.1  # lambda (eq. 8)
    regression_weight: float = 1.0  # of smooth L1 to the ratings, which the paper has not: scores on the MOS scale


class ASMNetHead(Head[ASMNet, ASMNetRecipe, Features]):
    """What the training needs to know of ASM-Net."""

    recipe_type = ASMNetRecipe

    def trained(self) -> list[nn.Parameter]:
        return list(self.model.score_map.parameters())

    def temperatures(self) -> dict[str, float]:
        """The loss's margin of 1 in units that are learned, because scores stay on the MOS scale."""
        return {"pairs": 0.3}

    def extra(self, pixels: Tensor) -> Tensor:
        """Spectral-residual saliency, float16 [64, 64]."""
        saliency = torch.from_numpy(spectral_residual(np.ascontiguousarray(pixels[0].permute(1, 2, 0).cpu().numpy())))
        size = (SALIENCY_SIDE, SALIENCY_SIDE)
        return (
            F.interpolate(saliency[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
            .half()
            .to(pixels.device)
        )

    def features(self, model: ASMNet, group: list[Sample]) -> Features:
        return model.head_features(stacked_maps(group), group[0].size)

    def rate(self, model: ASMNet, features: Features, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of crops, which are all that the losses see of them."""
        scores = model.rate(features, crops)
        return scores, scores

    def paper_losses(
        self,
        features: Features,
        rated: Tensor,
        scores: Tensor,
        targets: Tensor,
        group: list[Sample],
        temperatures: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """Eq. 3, 4 and 7."""
        saliency = torch.stack(extras_of(group)).float()
        return paper_losses(features, scores, targets, saliency, self.recipe, temperatures["pairs"])


class LossChoices(Protocol):
    """What `paper_losses` asks of a recipe; `ASMNetRecipe` says what each is."""

    @property
    def pair_margin(self) -> float: ...

    @property
    def saliency_weight(self) -> float: ...

    @property
    def regression_weight(self) -> float: ...


def paper_losses(
    features: Features,
    scores: Tensor,
    targets: Tensor,
    saliency: Tensor,
    recipe: LossChoices,
    temperature: Tensor | float,
) -> dict[str, Tensor]:
    """Ranking loss (eq. 3 and 4), saliency-aware loss (eq. 7), and smooth L1 to the ratings.

    Args:
        scores, targets: [B, N], normalised; saliency: [B, h, w], 0 to 1.
        temperature: scores for a margin of 1.
    """
    sensitivity = composition_sensitivity(features.scores)
    saliency = F.interpolate(saliency[:, None], size=sensitivity.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    losses = {
        "ranking": hinge_loss(scores / temperature, clear_pairs(targets * MOS_STD, recipe.pair_margin)),
        "saliency": recipe.saliency_weight * saliency_loss(sensitivity, saliency),
    }
    if recipe.regression_weight:
        losses["regression"] = recipe.regression_weight * F.smooth_l1_loss(scores, targets)
    return losses
