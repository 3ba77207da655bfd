"""SFRC's own part of its training (Wang et al. 2023, sec. 3.3): regression, ranking classifier, rank consistency."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from s2crop.datasets.split import is_validation
from s2crop.models.backbone import fold_batch_norm
from s2crop.models.s2cnet import MOS_STD
from s2crop.models.sfrc import SFRC, Features
from s2crop.training.heads import Head, HeadRecipe
from s2crop.training.losses import consistency_loss, draw_pairs, pair_loss, vote_share
from s2crop.training.samples import Material, Pair, Sample, extras_of, stacked_maps


@dataclass(frozen=True)
class SFRCRecipe(HeadRecipe):
    """Choices of the training; margins are the paper's, in MOS."""

    score_margin: float = 0.5  # of the pairs that the classifier learns from
    pairs: int = 256  # of each photo
    consistency_margin: float = 0.1
    consistency_weight: float = 1.0
    setting: str = "inductive"  # or "transductive": photos to be cropped, without their labels, teach consistency too
    last_layer: str = "teachers/mobilenet_v2_imagenet.safetensors"  # in the data folder, torchvision's keys: layer 19

    def __post_init__(self) -> None:
        if self.setting not in ("inductive", "transductive"):
            raise ValueError(f"setting is inductive or transductive, not {self.setting!r}")


class SFRCHead(Head[SFRC, SFRCRecipe, Features]):
    """What the training needs to know of SFRC."""

    recipe_type = SFRCRecipe

    def __init__(self, model: SFRC, recipe: SFRCRecipe, data: Path):
        super().__init__(model, recipe, data)
        model.last_layer.load_state_dict(read_last_layer(data / recipe.last_layer))

    def trained(self) -> list[nn.Parameter]:
        model = self.model
        return [
            p
            for part in (model.multi_scale, model.region, model.attention, model.encoder, model.head, model.classifier)
            for p in part.parameters()
        ]

    def extra(self, pixels: Tensor) -> Tensor:
        """How strongly each layer responds where, float16 [k, S, S]."""
        return self.model.look(self.model.normalise(pixels))[1][0].half().clone()

    def more_photos(self, material: Material) -> list[Pair]:
        """In the transductive setting, those held out, as if nothing were known of them."""
        if self.recipe.setting == "inductive":
            return []
        return [
            (without_labels(plain), without_labels(mirrored))
            for photo, (plain, mirrored) in zip(material.photos, material.samples, strict=True)
            if is_validation(photo.id, self.recipe.fold)
        ]

    def begin(self, training: list[Pair]) -> None:
        """Measure the layers' responses over the photos."""
        measure_responses(self.model, (extra.float() for extra in extras_of([plain for plain, _ in training])))

    def features(self, model: SFRC, group: list[Sample]) -> Features:
        return model.head_features(stacked_maps(group), torch.stack(extras_of(group)).float(), group[0].size)

    def rate(self, model: SFRC, features: Features, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of crops, and the features that they come from, for the classifier."""
        rated = model.crop_features(features, crops)
        return model.head(rated).squeeze(-1), rated

    def paper_losses(
        self,
        features: Features,
        rated: Tensor,
        scores: Tensor,
        targets: Tensor,
        group: list[Sample],
        temperatures: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """Eq. 1, and eq. 2 to 4 on pairs of rated crops."""
        return paper_losses(self.model, rated, scores, targets, self.recipe.score_margin, self.recipe.pairs)

    def pair_losses(self, rated: Tensor, votes: Tensor) -> dict[str, Tensor]:
        """Voted pairs teach the classifier as they are: the first wins by its share of votes."""
        logits = self.model.compare(rated)
        first = torch.arange(0, rated.shape[1], 2, device=rated.device)
        return {"voted": pair_loss(logits[:, first, first + 1], vote_share(votes))}

    def unlabelled_losses(self, rated: Tensor, scores: Tensor) -> dict[str, Tensor]:
        """Eq. 5 and 6; in MOS, as the margin is."""
        with torch.no_grad():
            logits = self.model.compare(rated)
        weight = self.recipe.consistency_weight
        return {"consistency": weight * consistency_loss(scores * MOS_STD, logits, self.recipe.consistency_margin)}


def without_labels(sample: Sample) -> Sample:
    return dataclasses.replace(sample, labels=None, fixations=None)


def measure_responses(model: SFRC, responses: Iterable[Tensor]) -> None:
    """Mean and deviation of each layer's responses, of `SFRC.look`, over pictures: [k, S, S] each."""
    moments = torch.stack([torch.stack([r.mean(dim=(1, 2)), r.square().mean(dim=(1, 2))]) for r in responses])
    mean, square = moments.mean(dim=0)
    model.response_mean.copy_(mean)
    model.response_std.copy_((square - mean**2).clamp(min=1e-6).sqrt())


def paper_losses(
    model: SFRC, rated: Tensor, scores: Tensor, targets: Tensor, margin: float, count: int
) -> dict[str, Tensor]:
    """Smooth L1 (eq. 1), and the classifier's cross-entropy (eq. 2 to 4) on at most `count` pairs of each picture.

    Args: rated [B, N, d] of `crop_features`; scores, targets [B, N], normalised; margin in MOS.
    """
    losses = {"regression": F.smooth_l1_loss(scores, targets)}
    logits, pairs = model.compare(rated), [draw_pairs(row * MOS_STD, margin, count) for row in targets]
    terms = [
        pair_loss(own[chosen[:, 0], chosen[:, 1]], labels)
        for own, (chosen, labels) in zip(logits, pairs, strict=True)
        if len(labels)
    ]
    if terms:
        losses["classifier"] = torch.stack(terms).mean()
    return losses


def read_last_layer(path: Path) -> dict[str, Tensor]:
    """MobileNetV2's last convolution of a torchvision state dict, BatchNorm folded."""
    state = load_file(path)
    norm = {part: state[f"features.18.1.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
    weight, bias = fold_batch_norm(state["features.18.0.weight"], norm)
    return {"weight": weight, "bias": bias}
