"""Train the text head on a frozen backbone and proposal head: lines that can be read, and which of them were put over
the picture.

What was read in photos is in the picture; what the recipe letters views with is over it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from s2crop.datasets.lettering import LAYOUTS, find_fonts, letter
from s2crop.datasets.lines import TextPhoto, load_text_photos
from s2crop.datasets.metrics import average_precision, first_hits
from s2crop.datasets.split import is_validation
from s2crop.geometry.boxes import inside_share, iou_matrix, mirrored
from s2crop.models.device import find_device
from s2crop.models.input import input_size, resize
from s2crop.models.lines import STRIDE
from s2crop.models.s2cnet import S2CNet
from s2crop.training.parts import looked, proposal_head, text_head, with_own_head
from s2crop.training.proposals import MIN_TEXT_HEIGHT_FRAC, RECALL_IOU, RECALL_TOP
from s2crop.training.run import Report, Run, fit, half_precision, on
from s2crop.training.views import (
    Arrays,
    Shape,
    batches,
    box_loss,
    box_targets,
    draw_groups,
    focal_loss,
    in_window,
    random_window,
    shift_colours,
    shown,
)

SIGN = "sign"  # of LAYOUTS the one that is drawn as if it were in the picture


@dataclass(frozen=True)
class TextRecipe:
    """Choices of this training; a TOML file sets them."""

    start: str = "shipped"  # run whose backbone and proposal head stay, or the shipped weights
    epochs: int = 42
    measure_every: int = 6  # epochs
    batch_size: int = 32
    rate: float = 2e-3
    weight_decay: float = 0.02
    average: float = 0.998
    min_window: float = 0.35  # smallest share of a photo that an augmented view shows
    lettered: float = 0.5  # share of views that text is drawn over
    heat_weight: float = 1.0
    box_weight: float = 2.0
    lettering_weight: float = 0.5
    seed: int = 0


class Targets(NamedTuple):
    """What the head's maps should say of a batch of views."""

    heat: Tensor  # [B, 1, H/4, W/4]; this and the next three as in `views.BoxTargets`
    known: Tensor
    sides: Tensor
    weight: Tensor
    lettering: Tensor  # [B, H/4, W/4] 1 where a line was put over the picture


def train(
    recipe: TextRecipe, data: Path, out: Path, *, resume: bool, device: str = "auto", report: Report = print
) -> dict[str, float]:
    """Train and write `out/weights.safetensors`; returns what is measured on held-out photos.

    Raises:
        InputError: data that cannot be used, or a start that finds no proposals.
    """
    run = Run(out, recipe.seed, report)
    torch.manual_seed(recipe.seed)
    photos, fonts = load_text_photos(data), find_fonts(data)
    training = [p for p in photos if not is_validation(p.id)]
    validation = [p for p in photos if is_validation(p.id)]
    model = with_own_head("text_head", recipe.start, out.parent, recipe.seed).to(find_device(device))
    model = model.to(memory_format=torch.channels_last).requires_grad_(False)
    head = text_head(model).requires_grad_(True)
    where = next(head.parameters()).device

    def drawn(rng: np.random.Generator) -> tuple[int, Iterable[list[Tensor]]]:
        groups = draw_groups(training, recipe.batch_size, rng)
        return len(groups), batches(groups, partial(view, recipe=recipe, fonts=fonts), rng)

    def losses(parts: list[Tensor]) -> dict[str, Tensor]:
        pixels, *targets = on(where, parts)
        with half_precision(where):
            found = head(*looked(model, pixels))
        heat, sides, lettering = (part.float() for part in found)
        return text_losses(heat, sides, lettering, Targets(*targets), recipe)

    def finished(state: Mapping[str, Tensor]) -> S2CNet:
        final = with_own_head("text_head", recipe.start, out.parent, recipe.seed)
        text_head(final).load_state_dict(state)
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
        warmup=200,
        resume=resume,
        measure_every=recipe.measure_every,
        validation_photos=len(validation),
        training_photos=len(training),
    )


def view(
    photo: TextPhoto, shape: Shape, rng: np.random.Generator, *, recipe: TextRecipe, fonts: tuple[Path, ...]
) -> Arrays:
    """A random window of a photo, mirrored half of the time unless it is lettered, colours shifted, with its targets.

    Returns:
        Pixels float32 [3, H, W], and what one view has of each of `Targets`.
    """
    height, width = photo.pixels.shape[:2]
    window = random_window((width, height), shape, recipe.min_window, rng)
    pixels = shown(photo.pixels, window, shape)
    lines, unsure = in_window(photo.lines, window), in_window(photo.unsure, window)
    if rng.random() < 0.5:
        pixels, lines, unsure = pixels[:, ::-1], mirrored(lines), mirrored(unsure)
    quality = photo.quality
    drawn, put_over = np.zeros((0, 4), np.float32), False
    if rng.random() < recipe.lettered:
        layout = LAYOUTS[rng.integers(len(LAYOUTS))]
        pixels, drawn, covered = letter(pixels, rng, fonts, layout)
        scale = np.array([shape[1], shape[0]] * 2, np.float32)
        drawn, put_over = (drawn / scale).astype(np.float32), layout != SIGN
        left = inside_share(covered[None] / scale, lines)[0] < 0.5 if len(lines) else np.zeros(0, bool)
        lines, quality = lines[left], quality[left]
    boxes = np.concatenate([lines, drawn]).astype(np.float32)
    quality = np.concatenate([quality, np.ones(len(drawn), np.float32)])
    kinds = np.zeros(len(boxes), np.int64)
    places = [(0, place) for place in unsure]
    targets = box_targets(boxes, kinds, quality, (True,), shape, places, STRIDE)
    count = len(drawn) if put_over else 0
    over = box_targets(drawn[:count], kinds[:count], quality[len(lines) :][:count], (True,), shape, (), STRIDE)
    pixels = shift_colours(pixels.astype(np.float32), rng).transpose(2, 0, 1)
    return pixels, *targets, (over.weight[0] > 0).astype(np.float32)


def text_losses(
    heat: Tensor, sides: Tensor, lettering: Tensor, wanted: Targets, recipe: TextRecipe
) -> dict[str, Tensor]:
    """Focal and GIoU loss of the lines, and cross-entropy of which were put over the picture, weighted.

    Args: what the text head gives, in float32; wanted: of the same views.
    """
    weight = wanted.weight[:, 0]
    entropy = F.binary_cross_entropy_with_logits(lettering, wanted.lettering, reduction="none")
    return {
        "heat": recipe.heat_weight * focal_loss(heat, wanted.heat, wanted.known, wanted.weight),
        "box": recipe.box_weight * box_loss(sides, wanted.sides, wanted.weight),
        "over": recipe.lettering_weight * (entropy * weight).sum() / weight.sum().clamp(min=1),
    }


@torch.inference_mode()
def measure(model: S2CNet, photos: list[TextPhoto]) -> dict[str, float]:
    """How well lines of photos, and lines drawn over them in a font that no training view had, are found.

    Returns:
        Share found among a photo's ten best at IoU 0.5, of all that count in full, of large ones (from 4 % of the
        height), and of lettering; average precision of those in photos; and the share of found lines, of photos and of
        lettering alike, of which it is told rightly whether they were put over the picture.
    """
    found: dict[str, list[bool]] = {"text": [], "large text": [], "lettering": []}
    right: dict[str, list[bool]] = {"text": [], "lettering": []}
    ranked: list[tuple[float, bool]] = []  # score of a line that was told of, and whether it is one
    for number, photo in enumerate(photos):
        wanted = photo.lines[photo.quality == 1]
        boxes, scores, over = lines_of(model, photo.pixels)
        overlaps = iou_matrix(wanted, boxes)
        hits = overlaps[:, :RECALL_TOP].max(axis=1, initial=0) >= RECALL_IOU
        found["text"] += list(hits)
        found["large text"] += list(hits[wanted[:, 3] - wanted[:, 1] >= MIN_TEXT_HEIGHT_FRAC])
        right["text"] += [bool(over[row.argmax()] < 0.5) for row in overlaps if row.max(initial=0) >= RECALL_IOU]
        others = np.concatenate([photo.lines[photo.quality < 1], photo.unsure])
        open_ = inside_share(others, boxes).max(axis=0, initial=0) >= 0.5 if len(others) else np.zeros(len(boxes), bool)
        ranked += [
            (float(score), hit)
            for score, hit, unknown in zip(scores, first_hits(overlaps), open_, strict=True)
            if hit or not unknown
        ]
        layout = LAYOUTS[number % len(LAYOUTS)]
        pixels, drawn, _ = letter(photo.pixels, np.random.default_rng(number), layout=layout)
        boxes, scores, over = lines_of(model, pixels)
        overlaps = iou_matrix(drawn / np.array([pixels.shape[1], pixels.shape[0]] * 2, np.float32), boxes)
        found["lettering"] += list(overlaps[:, :RECALL_TOP].max(axis=1, initial=0) >= RECALL_IOU)
        told = [bool(over[row.argmax()] >= 0.5) for row in overlaps if row.max(initial=0) >= RECALL_IOU]
        right["lettering"] += told if layout != SIGN else []
    return {
        **{name: _share(values) for name, values in found.items()},
        "precision": average_precision(ranked, len(found["text"])),
        "told apart": (_share(right["text"]) + _share(right["lettering"])) / 2,
    }


def _share(found: list[bool]) -> float:
    return float(sum(found) / max(1, len(found)))


def lines_of(model: S2CNet, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lines [K, 4] in fractions of a picture, their scores and how surely each was put over it [K]. Args: pixels uint8
    [H, W, 3].
    """
    height, width = pixels.shape[:2]
    size = input_size(width, height, model.config.short_side)
    maps = model.backbone(model.normalise(resize(pixels, size, model.config.antialias)[None]))
    lines = text_head(model).find(maps, proposal_head(model).trunk(maps), size)
    boxes, scores, over = (part[0].float().numpy() for part in lines)
    real = scores > 0
    return boxes[real] / np.array([size[1], size[0]] * 2, np.float32), scores[real], over[real]
