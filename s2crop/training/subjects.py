"""Train the subject head on a frozen backbone: masks, looks, main things, whole heads and persons.

Masks and boxes are what pretrained networks found, and human labels of crowds and single persons; main things were
marked in photos; looks are the eye fixations of people. Backbone and proposal head stay as they are, so the networks
that were trained on them stay valid.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from s2crop.datasets.split import is_validation
from s2crop.datasets.subjects import Main, SubjectPhoto, load_subject_photos
from s2crop.geometry.boxes import inside_share, iou_matrix, mirrored
from s2crop.models.device import find_device
from s2crop.models.input import input_size, resize
from s2crop.models.proposals import STRIDE
from s2crop.models.s2cnet import S2CNet
from s2crop.models.subjects import FIGURES
from s2crop.models.weights import MODELS, load_model, read_weights, save_weights, shipped_weights
from s2crop.training.parts import (
    animal_head,
    appeal_head,
    looked,
    read_s2cnet,
    start_weights,
    subject_head,
    text_head,
)
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

LOOK_BLUR = 1.2  # cells of 8 pixels: about a degree of sight on the photos
MIN_FIXATIONS = 20  # in a view, for its looks to be learned
MIN_MAIN = 0.5  # of the main things of a photo, in a view that is to say what its own are
HEAD_IOU, PERSON_IOU = 0.5, 0.8  # at which a figure counts as found
MIN_HEAD_WIDTH_FRAC = 0.04


@dataclass(frozen=True)
class SubjectRecipe:
    """Choices of this training; a TOML file sets them."""

    start: str = "shipped"  # run whose backbone and proposal head stay, or the shipped weights
    warm: bool = False  # go on with the subject head that `start` has
    epochs: int = 6
    measure_every: int = 1  # epochs
    batch_size: int = 16
    rate: float = 2e-3
    deep_rate: float = 6e-4  # of the stages that start as the backbone's own
    weight_decay: float = 0.02
    average: float = 0.998
    min_window: float = 0.35  # smallest share of a photo that an augmented view shows
    crowd_rounds: int = 2  # over the photos of crowds, for each over the others
    mask_weight: float = 2.0
    looks_weight: float = 0.3
    main_weight: float = 1.0
    heat_weight: float = 1.0
    box_weight: float = 2.0
    seed: int = 0


class Targets(NamedTuple):
    """What the head's maps should say of a batch of views."""

    mask: Tensor  # [B, H/4, W/4]
    mask_weight: Tensor  # [B]
    looks: Tensor  # [B, H/8, W/8] shares of 1
    looks_known: Tensor  # [B]
    main: Tensor  # [B, 2, H/8, W/8]
    main_known: Tensor  # [B, 2]
    heat: Tensor  # [B, 2, H/8, W/8] of heads and persons; this and the rest as in `views.BoxTargets`
    heat_known: Tensor
    sides: Tensor
    side_weight: Tensor


def train(
    recipe: SubjectRecipe, data: Path, out: Path, *, resume: bool, device: str = "auto", report: Report = print
) -> dict[str, float]:
    """Train and write `out/weights.safetensors`; returns what is measured on held-out photos.

    Raises:
        InputError: data that cannot be used, or a start that finds no proposals.
    """
    run = Run(out, recipe.seed, report)
    torch.manual_seed(recipe.seed)
    photos = load_subject_photos(data)
    training = [p for p in photos if not is_validation(p.id)]
    training += [p for p in training if p.source == "crowd"] * (recipe.crowd_rounds - 1)
    validation = [p for p in photos if is_validation(p.id)]
    where = find_device(device)
    model = load_start(recipe, out.parent).to(where).to(memory_format=torch.channels_last)
    model.requires_grad_(False)
    head = subject_head(model).requires_grad_(True)
    deep, other = head.by_depth()

    def drawn(rng: np.random.Generator) -> tuple[int, Iterable[list[Tensor]]]:
        groups = draw_groups(training, recipe.batch_size, rng)
        return len(groups), batches(groups, partial(view, recipe=recipe), rng)

    def losses(parts: list[Tensor]) -> dict[str, Tensor]:
        pixels, *targets = on(where, parts)
        with half_precision(where):
            found = head(*looked(model, pixels))
        return subject_losses([part.float() for part in found], Targets(*targets), recipe)

    def finished(state: Mapping[str, Tensor]) -> S2CNet:
        final = load_start(recipe, out.parent)
        subject_head(final).load_state_dict(state)
        return final

    return fit(
        run,
        head,
        recipe,
        [{"params": other, "lr": recipe.rate}, {"params": deep, "lr": recipe.deep_rate}],
        batches=drawn,
        losses=losses,
        finished=finished,
        measure=lambda net: measure(net, validation),
        warmup=200,
        measure_every=recipe.measure_every,
        resume=resume,
        validation_photos=len(validation),
        training_photos=len(training),
    )


def load_start(recipe: SubjectRecipe, runs: Path) -> S2CNet:
    """The network of the run to start from.

    Its subject head is a fresh one, whose deep stages are the backbone's, unless the recipe goes on with the one there.

    Raises:
        InputError: the recipe is to go on with a subject head, and there is none.
    """
    config, state = read_s2cnet(start_weights(recipe.start, runs))
    torch.manual_seed(recipe.seed)
    model = S2CNet(config if recipe.warm else dataclasses.replace(config, subject_head=True))
    head = subject_head(model)
    fresh = ("choice.",) if recipe.warm else ("subject_head.", "choice.")
    kept = {key: value for key, value in state.items() if not key.startswith(fresh)}
    model.load_state_dict(kept, strict=False)
    if recipe.warm:
        return model
    first = len(model.backbone.layers) - len(head.layers)
    head.layers.load_state_dict(nn.ModuleList(model.backbone.layers[first:]).state_dict())
    return model


def with_head(part: str, name: str, weights: Path | None, run: Path, folder: Path) -> Path:
    """Write a network's weights with a head of a run in it; its choice is still empty. Returns the file.

    Args:
        part: "subject_head", "appeal_head", which reads what a subject head sees, "text_head" or
            "animal_head".
        run: the file that has it.
    Raises:
        InputError: the run's network has no such head, or the other no subject head for an appeal head to read.
    """
    find = {
        "subject_head": subject_head,
        "appeal_head": appeal_head,
        "text_head": text_head,
        "animal_head": animal_head,
    }[part]
    trained = find(load_model("s2cnet", run))
    path = shipped_weights(name) if weights is None else weights
    config, state = read_weights(path, name)
    changed: dict[str, Any] = {part: True}
    config = dataclasses.replace(config, **changed)
    model = MODELS[name][0](config)
    subject_head(model)  # there is one, also below an appeal head
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith((f"{part}.", "choice."))}, strict=False)
    find(model).load_state_dict(trained.state_dict())
    save_weights(model, folder / "weights.safetensors")
    return folder / "weights.safetensors"


def view(photo: SubjectPhoto, shape: Shape, rng: np.random.Generator, *, recipe: SubjectRecipe) -> Arrays:
    """A random window of a photo, mirrored half of the time, colours shifted, with its targets.

    Returns:
        Pixels float32 [3, H, W], and what one view has of each of `Targets`.
    """
    height, width = photo.pixels.shape[:2]
    window = random_window((width, height), shape, recipe.min_window, rng)
    pixels = shown(photo.pixels, window, shape)
    size = (shape[1] // 4, shape[0] // 4)
    mask_scale = np.array(photo.mask.shape[::-1] * 2, np.float32)
    seen = Image.fromarray(photo.mask).resize(size, Image.Resampling.BILINEAR, box=tuple(window * mask_scale))
    mask = np.asarray(seen, np.float32) / 255
    start, sides = window[:2], window[2:] - window[:2]
    figures = photo.figures
    boxes = in_window(figures.boxes, window)
    unsure = [(kind, in_window(box, window)) for kind, box in figures.unsure]
    points = None if photo.fixations is None else (photo.fixations - start) / sides
    main, main_known = main_maps(photo.main, window, shape)
    if rng.random() < 0.5:
        pixels, mask, main, boxes = pixels[:, ::-1], mask[:, ::-1], main[..., ::-1], mirrored(boxes)
        unsure = [(kind, mirrored(box)) for kind, box in unsure]
        points = None if points is None else np.abs(points - [1, 0])
    looks, known = look_shares(points, shape)
    targets = box_targets(boxes.astype(np.float32), figures.kinds, figures.quality, figures.known, shape, unsure)
    pixels = shift_colours(pixels.astype(np.float32), rng).transpose(2, 0, 1)
    mask, main = np.ascontiguousarray(mask), np.ascontiguousarray(main)
    return pixels, mask, np.float32(photo.mask_weight), looks, known, main, main_known, *targets


def main_maps(main: Main | None, window: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """How much each place of a view is to be kept [2, H/8, W/8], main things and core, and [2] whether that is known.

    A view that shows most of the main things says where their core is, and where it is not; any other says nothing.

    Args: window: [4] of the photo, in fractions, that the view shows.
    """
    if main is None:
        return np.zeros((2, shape[0] // STRIDE, shape[1] // STRIDE), np.float32), np.zeros(2, np.float32)
    seen = inside_share(window[None], main.boxes)[0] @ main.weights
    known = np.full(2, seen >= MIN_MAIN * main.weights.sum(), np.float32)
    core = main.boxes[:0] if main.core is None else main.core[None]
    if len(main.boxes) and main.core is None:
        known[1] = 0
    parts = (main.boxes, main.weights), (core, main.weights[: len(core)])
    return np.stack([covered(in_window(boxes, window), weights, shape) for boxes, weights in parts]), known


def covered(boxes: np.ndarray, weights: np.ndarray, shape: Shape) -> np.ndarray:
    """How much each cell of a view [H/8, W/8] is covered by the weightiest of boxes [K, 4] in fractions of it."""
    cells = np.array(shape) // STRIDE
    found = np.zeros(cells, np.float32)
    for (x1, y1, x2, y2), weight in zip(boxes, weights, strict=True):
        across, down = (
            np.clip(np.minimum(end * n, np.arange(n) + 1) - np.maximum(begin * n, np.arange(n)), 0, 1)
            for begin, end, n in ((x1, x2, cells[1]), (y1, y2, cells[0]))
        )
        found = np.maximum(found, weight * down[:, None] * across)
    return found.astype(np.float32)


def look_shares(points: np.ndarray | None, shape: Shape) -> tuple[np.ndarray, np.float32]:
    """Where in a view people look, as blurred shares of 1 [H/8, W/8], and 1 where that is known."""
    rows, columns = shape[0] // STRIDE, shape[1] // STRIDE
    shares = np.zeros((rows, columns), np.float32)
    if points is not None:
        points = points[((points >= 0) & (points < 1)).all(axis=1)]
    if points is None or len(points) < MIN_FIXATIONS:
        return shares, np.float32(0)
    np.add.at(shares, ((points[:, 1] * rows).astype(int), (points[:, 0] * columns).astype(int)), 1)
    reach = int(np.ceil(3 * LOOK_BLUR))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / LOOK_BLUR) ** 2)
    for axis in (0, 1):
        shares = np.apply_along_axis(lambda line: np.convolve(line, kernel)[reach:-reach], axis, shares)
    return (shares / shares.sum()).astype(np.float32), np.float32(1)


def subject_losses(found: Sequence[Tensor], wanted: Targets, recipe: SubjectRecipe) -> dict[str, Tensor]:
    """Cross-entropy and Dice of the masks, KL divergence of the looks, focal and GIoU loss of the figures, weighted.

    Args: found: what the subject head gives, in float32; wanted: of the same views.
    """
    subject, looks, main, heat, sides = found
    apart = F.kl_div(looks.flatten(1).log_softmax(1), wanted.looks.flatten(1), reduction="none").sum(1)
    return {
        "mask": recipe.mask_weight * mask_loss(subject, wanted.mask, wanted.mask_weight),
        "looks": recipe.looks_weight * (apart * wanted.looks_known).sum() / wanted.looks_known.sum().clamp(min=1),
        "main": recipe.main_weight
        * mask_loss(main.flatten(0, 1), wanted.main.flatten(0, 1), wanted.main_known.flatten()),
        "heat": recipe.heat_weight * focal_loss(heat, wanted.heat, wanted.heat_known, wanted.side_weight),
        "box": recipe.box_weight * box_loss(sides, wanted.sides, wanted.side_weight),
    }


def mask_loss(found: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy and half of the Dice loss of masks. Args: found logits, wanted [B, h, w]; weight [B]."""
    entropy = F.binary_cross_entropy_with_logits(found, wanted, reduction="none").mean((1, 2))
    p = found.sigmoid()
    dice = 1 - (2 * (p * wanted).sum((1, 2)) + 8) / (p.square().sum((1, 2)) + wanted.square().sum((1, 2)) + 8)
    return ((entropy + 0.5 * dice) * weight).sum() / weight.sum().clamp(min=1)


@torch.inference_mode()
def measure(model: S2CNet, photos: list[SubjectPhoto]) -> dict[str, float]:
    """How well masks, looks, main things, heads and persons of photos are found.

    Returns:
        IoU at 0.5 and mean absolute error against the masks that say something; IoU of soft masks with the boxes of
        main things and cores; AUC and NSS of fixations; share found of heads from MIN_HEAD_WIDTH_FRAC of the width (IoU
        0.5) and of persons (IoU 0.8), of human labels.
    """
    device = next(model.parameters()).device
    ious, errors, areas, scan = [], [], [], []
    kept: list[list[float]] = [[], []]
    found: dict[str, list[bool]] = {name: [] for name in FIGURES}
    for photo in photos:
        height, width = photo.pixels.shape[:2]
        size = input_size(width, height, model.config.short_side)
        pixels = resize(photo.pixels, size, model.config.antialias)[None].to(device)
        seen = model.see(model.features(model.normalise(pixels)).maps, size).subjects
        if photo.mask_weight:
            subject = Image.fromarray(seen.subject[0].float().cpu().numpy())
            guess, truth = np.asarray(subject.resize(photo.mask.shape[::-1])), photo.mask / 255
            union = ((guess > 0.5) | (truth > 0.5)).sum()
            errors.append(float(np.abs(guess - truth).mean()))
            if union:
                ious.append(float(((guess > 0.5) & (truth > 0.5)).sum() / union))
        if photo.main is not None:
            guesses = seen.main[0].float().cpu().numpy()
            shape = guesses.shape[1] * STRIDE, guesses.shape[2] * STRIDE
            wanted = zip(*main_maps(photo.main, np.array([0, 0, 1, 1.0]), shape), strict=True)
            for guess, (truth, known), overlaps in zip(guesses, wanted, kept, strict=True):
                if known and truth.any():
                    overlaps.append(float(np.minimum(guess, truth).sum() / np.maximum(guess, truth).sum()))
        if photo.fixations is not None:
            looks = seen.looks[0].float().cpu().numpy()
            auc, nss = fixation_measures(looks, photo.fixations)
            areas.append(auc)
            scan.append(nss)
        if photo.source in ("crowd", "people"):
            boxes = seen.boxes[0].cpu().numpy() / np.array([size[1], size[0]] * 2, np.float32)
            scores, kinds = seen.scores[0].cpu().numpy(), seen.kinds[0].cpu().numpy()
            for kind, least in ((0, HEAD_IOU), (1, PERSON_IOU)):
                labelled = photo.figures.boxes[photo.figures.kinds == kind]
                if kind == 0:
                    labelled = labelled[labelled[:, 2] - labelled[:, 0] >= MIN_HEAD_WIDTH_FRAC]
                own = boxes[(kinds == kind) & (scores > 0)]
                found[FIGURES[kind]] += list(iou_matrix(labelled, own).max(axis=1, initial=0) >= least)
    return {
        "mask_iou": float(np.mean(ious)),
        "mask_error": float(np.mean(errors)),
        **{name: float(np.mean(ious)) for name, ious in zip(("main_iou", "core_iou"), kept, strict=True) if ious},
        "look_auc": float(np.mean(areas)),
        "look_nss": float(np.mean(scan)),
        **{f"{name}_recall": float(np.mean(hits)) for name, hits in found.items()},
    }


def fixation_measures(looks: np.ndarray, points: np.ndarray) -> tuple[float, float]:
    """AUC (fixated cells against all others) and normalised scanpath saliency of a map [h, w].
    Args: points [K, 2] fractions.
    """
    points = points[((points >= 0) & (points < 1)).all(axis=1)]
    height, width = looks.shape
    values = looks[(points[:, 1] * height).astype(int), (points[:, 0] * width).astype(int)]
    order = np.sort(looks, axis=None)
    below = (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right")) / 2
    return float(below.mean() / looks.size), float(((values - looks.mean()) / looks.std()).mean())
