"""Train the finder of animals' heads on a frozen backbone, proposal and subject head."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from s2crop.datasets.animals import AnimalPhoto, load_animal_photos
from s2crop.datasets.metrics import average_precision, first_hits
from s2crop.datasets.split import is_validation
from s2crop.geometry.boxes import iou_matrix, mirrored
from s2crop.models.device import find_device
from s2crop.models.input import input_size, resize
from s2crop.models.s2cnet import S2CNet
from s2crop.training.parts import animal_head, looked, subject_head, with_own_head
from s2crop.training.proposals import RECALL_IOU
from s2crop.training.run import Report, Run, fit, half_precision, on
from s2crop.training.views import (
    Arrays,
    BoxTargets,
    Shape,
    batches,
    box_targets,
    draw_groups,
    in_window,
    proposal_losses,
    random_window,
    shift_colours,
    shown,
)


@dataclass(frozen=True)
class AnimalRecipe:
    """Choices of this training; a TOML file sets them."""

    start: str = "shipped"  # run whose backbone, proposal and subject head stay, or the shipped weights
    warm: bool = False  # go on with the head that `start` has
    epochs: int = 16
    batch_size: int = 16
    rate: float = 2e-3
    weight_decay: float = 0.05
    average: float = 0.995
    min_window: float = 0.3  # smallest share of a photo that an augmented view shows
    without: float = 1.0  # photos without animals in an epoch, for each with some
    box_weight: float = 2.0
    seed: int = 0


def train(
    recipe: AnimalRecipe, data: Path, out: Path, *, resume: bool, device: str = "auto", report: Report = print
) -> dict[str, float]:
    """Train and write `out/weights.safetensors`; returns what is measured on held-out photos.

    Raises:
        InputError: data that cannot be used, or a start without subject head.
    """
    run = Run(out, recipe.seed, report)
    torch.manual_seed(recipe.seed)
    photos = load_animal_photos(data)
    training = [p for p in photos if not is_validation(p.id)]
    validation = [p for p in photos if is_validation(p.id)]
    some, none = ([p for p in training if bool(len(p.heads)) == there] for there in (True, False))
    model = with_own_head("animal_head", recipe.start, out.parent, recipe.seed, recipe.warm)
    model = model.to(find_device(device)).to(memory_format=torch.channels_last).requires_grad_(False)
    subjects, head = subject_head(model), animal_head(model).requires_grad_(True)
    where = next(head.parameters()).device

    def drawn(rng: np.random.Generator) -> tuple[int, Iterable[list[Tensor]]]:
        others = rng.permutation(len(none))[: round(recipe.without * len(some))]
        groups = draw_groups(some + [none[i] for i in others], recipe.batch_size, rng)
        return len(groups), batches(groups, partial(view, recipe=recipe), rng)

    def losses(parts: list[Tensor]) -> dict[str, Tensor]:
        pixels, *targets = on(where, parts)
        with half_precision(where):
            maps, trunk = looked(model, pixels)
            with torch.no_grad():
                sight = subjects.sight(maps, trunk)
            found = head(sight, trunk)
        heat, sides = (part.float() for part in found)
        heat_loss, box_loss = proposal_losses(heat, sides, *targets)
        return {"heat": heat_loss, "box": recipe.box_weight * box_loss}

    def finished(state: Mapping[str, Tensor]) -> S2CNet:
        final = with_own_head("animal_head", recipe.start, out.parent, recipe.seed)
        animal_head(final).load_state_dict(state)
        return final

    return fit(
        run,
        head,
        recipe,
        [{"params": list(head.parameters()), "lr": recipe.rate}],
        batches=drawn,
        losses=losses,
        finished=finished,
        measure=lambda net: measure(net, validation),
        warmup=50,
        resume=resume,
        validation_photos=len(validation),
        training_photos=len(training),
    )


def view(photo: AnimalPhoto, shape: Shape, rng: np.random.Generator, *, recipe: AnimalRecipe) -> Arrays:
    """A random window of a photo, mirrored half of the time, colours shifted, with its `BoxTargets`."""
    height, width = photo.pixels.shape[:2]
    window = random_window((width, height), shape, recipe.min_window, rng)
    pixels, heads = shown(photo.pixels, window, shape), in_window(photo.heads, window)
    if rng.random() < 0.5:
        pixels, heads = pixels[:, ::-1], mirrored(heads)
    count = len(heads)
    targets: BoxTargets = box_targets(
        heads.astype(np.float32), np.zeros(count, np.int64), np.ones(count, np.float32), (True,), shape
    )
    return shift_colours(pixels.astype(np.float32), rng).transpose(2, 0, 1), *targets


@torch.inference_mode()
def measure(model: S2CNet, photos: list[AnimalPhoto]) -> dict[str, float]:
    """Share of heads found by the sixteen best boxes of a photo (IoU 0.5), and average precision over all photos."""
    ranked: list[tuple[float, bool]] = []
    found: list[bool] = []
    for photo in photos:
        height, width = photo.pixels.shape[:2]
        size = input_size(width, height, model.config.short_side)
        maps = model.backbone(model.normalise(resize(photo.pixels, size, model.config.antialias)[None]))
        seen = model.see(maps, size).animals
        assert seen is not None
        boxes = seen.boxes[0].numpy() / np.array([size[1], size[0]] * 2, np.float32)
        overlaps = iou_matrix(photo.heads, boxes)
        real = seen.scores[0].numpy() > 0
        found += list((overlaps[:, real].max(axis=1, initial=0) >= RECALL_IOU).tolist())
        hits = first_hits(overlaps[:, real])
        ranked += zip(seen.scores[0].numpy()[real].tolist(), hits, strict=True)
    return {
        "animal_recall": sum(found) / max(1, len(found)),
        "animal_precision": average_precision(ranked, len(found)),
    }
