"""Train the finder of animals' heads on a frozen backbone, proposal and subject head."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from s2crop.datasets.animals import AnimalPhoto, load_animal_photos
from s2crop.datasets.split import is_validation
from s2crop.geometry.boxes import iou_matrix, mirrored
from s2crop.models.device import find_device
from s2crop.models.input import input_size, resize
from s2crop.models.s2cnet import S2CNet
from s2crop.models.weights import save_weights, shipped_weights
from s2crop.training.parts import animal_head, proposal_head, read_s2cnet, subject_head
from s2crop.training.proposals import (
    RECALL_IOU,
    Arrays,
    BoxTargets,
    Shape,
    batches,
    box_targets,
    draw_groups,
    proposal_losses,
    random_window,
    shift_colours,
)
from s2crop.training.run import Average, Report, Run, cosine, half_precision


@dataclass(frozen=True)
class AnimalRecipe:
    """Choices of this training; a TOML file sets them."""

    start: str = "shipped"  # run whose backbone, proposal and subject head stay, or the shipped weights
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
    where = find_device(device)
    model = load_start(recipe, out.parent).to(where).to(memory_format=torch.channels_last)
    model.requires_grad_(False)
    finder, subjects, head = proposal_head(model), subject_head(model), animal_head(model).requires_grad_(True)
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    average = Average(head, recipe.average)
    done = run.resume(model=head, optimizer=optimizer, average=average) if resume else 0
    results = run.results() if resume else {}
    for epoch in range(done, recipe.epochs):
        head.train()
        rng = run.generator(epoch)
        others = rng.permutation(len(none))[: round(recipe.without * len(some))]
        groups = draw_groups(some + [none[i] for i in others], recipe.batch_size, rng)
        losses = []
        for step, (pixels, *targets) in enumerate(batches(groups, partial(view, recipe=recipe), rng)):
            factor = cosine(epoch * len(groups) + step, recipe.epochs * len(groups), 50)
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * factor
            pixels = pixels.to(where, non_blocking=True)
            wanted = [part.to(where, non_blocking=True) for part in targets]
            with half_precision(where):
                with torch.no_grad():
                    maps = model.backbone(model.normalise(pixels))
                    trunk = finder.trunk(maps)
                    sight = subjects.sight(maps, trunk)
                heat, sides = (part.float() for part in head(sight, trunk))
            heat_loss, box_loss = proposal_losses(heat, sides, *wanted)
            optimizer.zero_grad()
            (heat_loss + recipe.box_weight * box_loss).backward()
            nn.utils.clip_grad_norm_(head.parameters(), 5.0)
            optimizer.step()
            average.update(head)
            losses.append((heat_loss.item(), box_loss.item()))
        run.save(epoch + 1, model=head, optimizer=optimizer, average=average)
        final = load_start(recipe, out.parent)
        animal_head(final).load_state_dict(average.mean)
        save_weights(final, out / "weights.safetensors")
        results = measure(final.eval(), validation)
        heat_mean, box_mean = np.mean(losses, axis=0)
        run.log(epoch=epoch, heat_loss=float(heat_mean), box_loss=float(box_mean), **results)
        run.finish(**results, validation_photos=len(validation), training_photos=len(training))
    return results


def load_start(recipe: AnimalRecipe, runs: Path) -> S2CNet:
    """The network of the run to start from, with a fresh finder of animals."""
    path = shipped_weights("s2cnet") if recipe.start == "shipped" else runs / recipe.start / "weights.safetensors"
    config, state = read_s2cnet(path)
    torch.manual_seed(recipe.seed)
    model = S2CNet(dataclasses.replace(config, animal_head=True))
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith("animal_head.")}, strict=False)
    return model


def view(photo: AnimalPhoto, shape: Shape, rng: np.random.Generator, *, recipe: AnimalRecipe) -> Arrays:
    """A random window of a photo, mirrored half of the time, colours shifted, with its `BoxTargets`."""
    height, width = photo.pixels.shape[:2]
    window = random_window((width, height), shape, recipe.min_window, rng)
    extent = tuple(window * np.array([width, height] * 2, np.float32))
    pixels = np.asarray(Image.fromarray(photo.pixels).resize(shape[::-1], Image.Resampling.BILINEAR, box=extent))
    heads = (photo.heads - np.tile(window[:2], 2)) / np.tile(window[2:] - window[:2], 2)
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
        taken: set[int] = set()
        for i in np.flatnonzero(real):
            best = int(overlaps[:, i].argmax()) if len(photo.heads) else -1
            hit = best >= 0 and overlaps[best, i] >= RECALL_IOU and best not in taken
            taken |= {best} if hit else set()
            ranked.append((float(seen.scores[0, i]), hit))
    hits = np.array([hit for _, hit in sorted(ranked, reverse=True)], float)
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    return {
        "animal_recall": sum(found) / max(1, len(found)),
        "animal_precision": float((precision * hits).sum() / max(1, len(found))),
    }
