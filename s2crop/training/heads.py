"""Train what SFRC and ASM-Net put on the maps of a frozen backbone.

Both see pixels alone, so GAICD's ratings, which come without pictures, cannot teach them. The shipped S2CNet learned
from those; it rates crops of the photos in their place, which puts the scores on the MOS scale. Voted pairs, best
crops, fixations and lettered copies teach as they teach S2CNet (see `graph`). What a paper does with ratings is its
network's own: `sfrc`, `asmnet`.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from s2crop.datasets.lettering import find_fonts
from s2crop.datasets.metrics import iou
from s2crop.datasets.photos import load_photos
from s2crop.errors import InputError
from s2crop.models.device import find_device
from s2crop.models.s2cnet import S2CNet
from s2crop.models.scorer import Scorer
from s2crop.models.weights import MODELS, load_model, shipped_weights
from s2crop.training.losses import best_crop_loss, vote_loss
from s2crop.training.parts import read_s2cnet
from s2crop.training.run import Report, Run, fit_parts, log_temperatures
from s2crop.training.samples import (
    SANITY_PHOTOS,
    Material,
    Pair,
    PhotoRecipe,
    Sample,
    cache_photos,
    cache_sample,
    fixated_crops,
    labels_of,
    photo_batches,
    random_candidates,
    score_as_they_are,
    split,
)
from s2crop.training.validation import validate


@dataclass(frozen=True)
class HeadRecipe(PhotoRecipe):
    """Choices that the trainings of both networks have."""

    teacher: str = ""  # run of S2CNet that gives backbone, proposal head and ratings; "" takes the shipped weights
    epochs: int = 6
    candidates: int = 32
    rate: float = 1e-3
    rating_weight: float = 1.0  # of what the paper does with ratings


_Network = TypeVar("_Network", bound=Scorer)
_Recipe = TypeVar("_Recipe", bound=HeadRecipe)
_Features = TypeVar("_Features")  # what `features` of the network gives


class Head(ABC, Generic[_Network, _Recipe, _Features]):
    """What a training needs to know of its network."""

    recipe_type: type[HeadRecipe]

    def __init__(self, model: _Network, recipe: _Recipe, data: Path):
        self.model, self.recipe = model, recipe

    @abstractmethod
    def trained(self) -> list[nn.Parameter]:
        """The parameters that learn."""

    def temperatures(self) -> dict[str, float]:
        """Of its own losses, to begin with."""
        return {}

    @abstractmethod
    def extra(self, pixels: Tensor) -> Tensor:
        """What is kept of a network input, uint8 [1, 3, h, w], besides the maps."""

    def more_photos(self, material: Material) -> list[Pair]:
        """What to train on besides the photos that are not held out."""
        return []

    def begin(self, training: list[Pair]) -> None:  # noqa: B027 (there may be nothing to do)
        """Look over the photos before training on them."""

    @abstractmethod
    def features(self, model: _Network, group: list[Sample]) -> _Features:
        """What `model.features` would give for these photos."""

    @abstractmethod
    def rate(self, model: _Network, features: _Features, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [B, N] of crops [B, N, 4], and what the losses see of them besides, `rated` [B, N, ...]."""

    @abstractmethod
    def paper_losses(
        self,
        features: _Features,
        rated: Tensor,
        scores: Tensor,
        targets: Tensor,
        group: list[Sample],
        temperatures: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """The paper's losses on rated crops. Args: scores, targets [B, N], normalised."""

    def pair_losses(self, rated: Tensor, votes: Tensor) -> dict[str, Tensor]:
        """More that voted pairs teach. Args: rated of the crops of pairs, [B, 2 P, ...]; votes [B, P, 2]."""
        return {}

    def unlabelled_losses(self, rated: Tensor, scores: Tensor) -> dict[str, Tensor] | None:
        """What photos without labels teach; None to take them as rated ones."""
        return None


def train(
    recipe: HeadRecipe,
    kind: type[Head],
    name: str,
    network: dict[str, Any],
    data: Path,
    out: Path,
    *,
    resume: bool,
    device: str = "auto",
    sanity: bool = False,
    report: Report = print,
) -> dict[str, float]:
    """Train and write `out/weights.safetensors`; returns validation measures.

    Args:
        kind: of the network; name: what it is called.
        network: choices of its configuration; input and proposal head are those of the teacher.
        sanity: overfit ten photos, and measure on those.
    Raises:
        InputError: a recipe or data that cannot be used, or a teacher that finds no proposals.
    """
    path = out.parent / recipe.teacher / "weights.safetensors" if recipe.teacher else shipped_weights("s2cnet")
    teacher = load_teacher(path, find_device(device))
    model = start(name, network, path, recipe.seed).to(find_device(device))
    head = kind(model, recipe, data)
    photos = load_photos(data, ["fcdb", "unlabelled"])
    if sanity:
        photos = [p for p in photos if p.labels][:SANITY_PHOTOS]
    material = cache_photos(partial(cache_sample, teacher, extra=head.extra), photos, find_fonts(data), recipe.lettered)
    run = Run(out, recipe.seed, report)
    if sanity:
        head.recipe = dataclasses.replace(recipe, epochs=15, average=0.9)
        return fit_head(head, teacher, run, material.samples * 8, [s for s, _ in material.samples], resume)
    training, validation = split(material, recipe.fold)
    return fit_head(head, teacher, run, training + head.more_photos(material), validation, resume)


def load_teacher(path: Path, device: torch.device) -> S2CNet:
    """The S2CNet of a file, frozen."""
    teacher = load_model("s2cnet", path, device)
    assert isinstance(teacher, S2CNet)
    return teacher.requires_grad_(False)


def start(name: str, network: dict[str, Any], path: Path, seed: int) -> Scorer:
    """A network with the backbone and proposal head of an S2CNet file; the rest starts anew."""
    given, state = read_s2cnet(path)
    make, config_type = MODELS[name]
    shared = ("short_side", "pixel_scale", "antialias", "padding", "proposal_head")
    try:
        config = config_type(**{key: getattr(given, key) for key in shared} | network)
    except ValueError as error:
        raise InputError(f"recipe {name}: {error}") from None
    torch.manual_seed(seed)
    model = make(config)
    model.load_state_dict(
        {k: v for k, v in state.items() if k.startswith(("backbone.", "proposal_head."))}, strict=False
    )
    return model.to(memory_format=torch.channels_last)


def fit_head(
    head: Head, teacher: S2CNet, run: Run, training: list[Pair], validation: list[Sample], resume: bool
) -> dict[str, float]:
    """The training loop: every epoch goes once over the photos, mirrored or not."""
    recipe, model = head.recipe, head.model
    head.begin(training)
    temperatures = log_temperatures(
        next(model.parameters()).device, vote=0.5, best=0.3, held=0.3, **head.temperatures()
    )
    photos = {"validation_photos": sum(s.labels is not None for s in validation), "training_photos": len(training)}

    def batches(rng: np.random.Generator) -> list[list[Sample]]:
        drawn = photo_batches(training, recipe.batch_size, rng)
        return [drawn[i] for i in rng.permutation(len(drawn))]

    def losses(group: list[Sample], rng: np.random.Generator) -> dict[str, Tensor]:
        return step_losses(head, teacher, group, {k: t.exp() for k, t in temperatures.items()}, rng)

    def measure(final: Scorer) -> dict[str, float]:
        return validate(scorer_of_samples(head, final), validation) | photos

    return fit_parts(
        run,
        model,
        head.trained(),
        temperatures,
        recipe,
        losses=losses,
        measure=measure,
        resume=resume,
        batches=batches,
    )


def step_losses(
    head: Head, teacher: S2CNet, group: list[Sample], temperatures: dict[str, Tensor], rng: np.random.Generator
) -> dict[str, Tensor]:
    """The weighted losses of one batch of photos with the same kind of labels, by name."""
    recipe, source, device = head.recipe, group[0].source, next(head.model.parameters()).device
    scale = np.array([group[0].size[1], group[0].size[0]] * 2, np.float32)
    drawn = np.stack([random_candidates(s, recipe.candidates, rng) for s in group])  # fractions
    more, held = np.zeros((len(group), 0, 4)), np.zeros((len(group), 0), np.float32)
    if source == "labels":
        more = np.stack([labels.pairs for labels in labels_of(group)]).reshape(len(group), -1, 4) * scale
    elif source == "fixations":
        more, held = fixated_crops(group, recipe.candidates // 2, rng)
    crops = torch.from_numpy(np.concatenate([drawn * scale, more], axis=1).astype(np.float32)).to(device)
    features = head.features(head.model, group)
    scores, rated = head.rate(head.model, features, crops)
    own, own_rated = scores[:, : recipe.candidates], rated[:, : recipe.candidates]
    found = head.unlabelled_losses(own_rated, own) if source == "unlabelled" else None
    if found is None:
        with torch.no_grad():
            targets = score_as_they_are(teacher, group, crops[:, : recipe.candidates])
        of_paper = head.paper_losses(features, own_rated, own, targets, group, temperatures)
        found = {name: recipe.rating_weight * value for name, value in of_paper.items()}
    scores, rated = scores[:, recipe.candidates :], rated[:, recipe.candidates :]
    if source == "labels":
        labels = labels_of(group)
        votes = torch.from_numpy(np.stack([row.votes for row in labels])).to(device)
        overlap = np.stack([iou(boxes, row.best[None]) for boxes, row in zip(drawn, labels, strict=True)])
        ious = torch.from_numpy(overlap.astype(np.float32)).to(device)
        vote = vote_loss(scores.unflatten(1, (-1, 2)), votes, temperatures["vote"])
        best = best_crop_loss(own, ious, temperatures["best"], recipe.sharpness)
        found |= {"vote": recipe.vote_weight * vote, "best": recipe.best_weight * best}
        found |= head.pair_losses(rated, votes)
    elif source == "fixations":
        shares = torch.from_numpy(held).to(device)
        found["held"] = recipe.held_weight * best_crop_loss(scores, shares, temperatures["held"], recipe.sharpness)
    return found


def scorer_of_samples(head: Head, model: Scorer) -> Callable[[Sample, np.ndarray], np.ndarray]:
    """What `validation.validate` asks for."""

    @torch.inference_mode()
    def score(sample: Sample, boxes: np.ndarray) -> np.ndarray:
        crops = torch.from_numpy(boxes.astype(np.float32))[None].to(next(model.parameters()).device)
        scores, _ = head.rate(model, head.features(model, [sample]), crops)
        return scores[0].cpu().double().numpy()

    return score
