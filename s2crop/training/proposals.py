"""Train the proposal head, and the backbone's later layers with it, on teachers' and human boxes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from s2crop.datasets.lettering import find_fonts, letter
from s2crop.datasets.photos import TEXT, Photo, load_photos
from s2crop.datasets.split import is_validation
from s2crop.geometry.boxes import inside_share, iou_matrix, mirrored
from s2crop.models.backbone import turn_kernels
from s2crop.models.device import find_device
from s2crop.models.input import input_size, resize
from s2crop.models.proposals import KINDS
from s2crop.models.s2cnet import S2CNet, S2CNetConfig
from s2crop.models.weights import fold_mobilenet
from s2crop.training.parts import proposal_head
from s2crop.training.run import Report, Run, fit, half_precision, on
from s2crop.training.views import (
    Arrays,
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

RECALL_IOU = 0.5
RECALL_TOP = 10  # of each kind
TRUSTED = 0.6  # quality from which a box counts as there
MIN_FACE_WIDTH_FRAC = 0.04
MIN_TEXT_HEIGHT_FRAC = 0.04


@dataclass(frozen=True)
class ProposalRecipe:
    """Choices of the proposal training; a TOML file sets them."""

    backbone: str = "mobilenet_v2_imagenet.safetensors"  # torchvision keys, below DATA/teachers
    padding: str = "same"  # the backbone file was trained so
    sources: tuple[str, ...] = ("fcdb", "unlabelled", "text")
    first_trained_layer: int = 4  # layers before it keep their ImageNet weights
    epochs: int = 16
    batch_size: int = 16
    head_rate: float = 1.5e-3
    backbone_rate: float = 3e-4
    weight_decay: float = 0.01
    average: float = 0.998
    min_window: float = 0.35  # smallest share of a photo that an augmented view shows
    lettered: float = 0.35  # share of views that text is drawn over
    box_weight: float = 2.0
    seed: int = 0


def train(
    recipe: ProposalRecipe,
    config: S2CNetConfig,
    data: Path,
    out: Path,
    *,
    resume: bool,
    device: str = "auto",
    report: Report = print,
) -> dict[str, dict[str, float]]:
    """Train and write `out/weights.safetensors`. Returns recall of the ten best by kind on held-out photos.

    Args:
        device: on CUDA the convolutions run in bfloat16.
    Raises:
        InputError: data that cannot be used, or a network without a proposal head.
    """
    run = Run(out, recipe.seed, report)
    torch.manual_seed(recipe.seed)
    photos, fonts = load_photos(data, recipe.sources), find_fonts(data)
    training = [p for p in photos if not is_validation(p.id)]
    validation = [p for p in photos if is_validation(p.id)]
    where = find_device(device)
    model = S2CNet(config)
    model.backbone.load_state_dict(imagenet_backbone(data / "teachers" / recipe.backbone, recipe.padding))
    model = model.to(where).to(memory_format=torch.channels_last)
    finder = proposal_head(model)
    trained = [
        p
        for n, layer in enumerate(model.backbone.layers)
        if n >= recipe.first_trained_layer
        for p in layer.parameters()
    ]
    head = list(finder.parameters())
    model.requires_grad_(False)
    for p in trained + head:
        p.requires_grad_(True)

    def drawn(rng: np.random.Generator) -> tuple[int, Iterable[list[Tensor]]]:
        groups = draw_groups(training, recipe.batch_size, rng)
        return len(groups), batches(groups, partial(augmented_view, recipe=recipe, fonts=fonts), rng)

    def losses(parts: list[Tensor]) -> dict[str, Tensor]:
        pixels, *targets = on(where, parts)
        with half_precision(where):
            heat, sides = finder(model.backbone(model.normalise(pixels)))
        heat_loss, box_loss = proposal_losses(heat.float(), sides.float(), *targets)
        return {"heat": heat_loss, "box": recipe.box_weight * box_loss}

    def finished(state: Mapping[str, Tensor]) -> S2CNet:
        final = S2CNet(config).to(memory_format=torch.channels_last)
        final.load_state_dict(state)
        return final

    return fit(
        run,
        model,
        recipe,
        [{"params": trained, "lr": recipe.backbone_rate}, {"params": head, "lr": recipe.head_rate}],
        batches=drawn,
        losses=losses,
        finished=finished,
        measure=lambda net: {"recall": measure_recall(net, validation)},
        warmup=200,
        resume=resume,
        validation_photos=len(validation),
        training_photos=len(training),
    )


def imagenet_backbone(path: Path, padding: str) -> dict[str, Tensor]:
    """A torchvision-keyed MobileNetV2 file as a state for `Backbone(padding)`."""
    folded = fold_mobilenet(load_file(path))
    return turn_kernels(folded) if padding == "same" else folded


def augmented_view(
    photo: Photo, shape: Shape, rng: np.random.Generator, *, recipe: ProposalRecipe, fonts: tuple[Path, ...]
) -> Arrays:
    """A random window of a photo, mirrored half of the time, some lettered, colours shifted, with its targets."""
    height, width = photo.pixels.shape[:2]
    window = random_window((width, height), shape, recipe.min_window, rng)
    pixels, boxes = shown(photo.pixels, window, shape), in_window(photo.boxes.boxes, window)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
        boxes = mirrored(boxes)
    kinds, quality = photo.boxes.kinds, photo.boxes.quality
    if rng.random() < recipe.lettered:
        pixels, lines, covered = letter(pixels, rng, fonts)
        scale = np.array([shape[1], shape[0]] * 2, np.float32)
        left = inside_share(covered[None] / scale, boxes)[0] < 0.5 if len(boxes) else np.zeros(0, bool)
        boxes = np.concatenate([boxes[left], lines / scale])
        kinds = np.concatenate([kinds[left], np.full(len(lines), TEXT)])
        quality = np.concatenate([quality[left], np.ones(len(lines), np.float32)])
    targets = box_targets(boxes.astype(np.float32), kinds, quality, photo.boxes.known, shape)
    return shift_colours(pixels.astype(np.float32), rng).transpose(2, 0, 1), *targets


@torch.inference_mode()
def measure_recall(model: S2CNet, photos: list[Photo]) -> dict[str, float]:
    """Share of trusted boxes, by kind, found among a photo's ten best proposals of that kind at IoU 0.5.

    Faces count from 4 % of the picture's width on; "large text" are the lines from 4 % of its height
    on; "lettering" are lines drawn over the same photos in a font of which no training view had one.
    """
    found: dict[str, list[bool]] = {name: [] for name in (*KINDS, "large text", "lettering")}
    for number, photo in enumerate(photos):
        seen = best_of_kinds(model, photo.pixels)
        labels = photo.boxes
        for kind, known in enumerate(labels.known):
            wanted = labels.boxes[(labels.kinds == kind) & (labels.quality >= TRUSTED)]
            sides = wanted[:, 2:] - wanted[:, :2]
            if KINDS[kind] == "face":
                wanted = wanted[sides[:, 0] >= MIN_FACE_WIDTH_FRAC]
            if not known or not len(wanted):
                continue
            hits = iou_matrix(wanted, seen[kind]).max(axis=1, initial=0) >= RECALL_IOU
            found[KINDS[kind]] += list(hits)
            if kind == TEXT:
                found["large text"] += list(hits[sides[:, 1] >= MIN_TEXT_HEIGHT_FRAC])
        pixels, lines, _ = letter(photo.pixels, np.random.default_rng(number))
        lines = lines / np.array([pixels.shape[1], pixels.shape[0]] * 2, np.float32)
        found["lettering"] += list(
            iou_matrix(lines, best_of_kinds(model, pixels)[TEXT]).max(axis=1, initial=0) >= RECALL_IOU
        )
    return {name: float(np.mean(hits)) for name, hits in found.items() if hits}


def best_of_kinds(model: S2CNet, pixels: np.ndarray) -> list[np.ndarray]:
    """The ten best proposals of each kind, [K, 4] fractions of the picture. Args: pixels uint8 [H, W, 3]."""
    height, width = pixels.shape[:2]
    size = input_size(width, height, model.config.short_side)
    inputs = model.normalise(resize(pixels, size, model.config.antialias)[None])
    proposals = proposal_head(model).propose(model.backbone(inputs), size)
    boxes = proposals.boxes[0].numpy() / np.array([size[1], size[0]] * 2, np.float32)
    real, kinds = proposals.scores[0].numpy() > 0, proposals.kinds[0].numpy()
    return [boxes[real & (kinds == kind)][:RECALL_TOP] for kind in range(len(KINDS))]
