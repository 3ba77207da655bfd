"""Train the proposal head, and the backbone's later layers with it, on teachers' and human boxes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from s2crop.cropper import input_size, resize
from s2crop.geometry.boxes import iou_matrix, mirrored
from s2crop.models.backbone import turn_kernels
from s2crop.models.proposals import KINDS, STRIDE
from s2crop.models.s2cnet import S2CNet, S2CNetConfig
from s2crop.models.weights import fold_mobilenet, save_weights
from s2crop.training.data import Photo, is_validation, load_photos
from s2crop.training.run import Average, Run, cosine

SHAPES = ((256, 384), (256, 320), (256, 256), (320, 256), (384, 256))  # (height, width) of a batch
GAUSSIAN = 0.54 / 6  # sigma of a target in box sides (Liu et al. 2020, TTFNet: alpha 0.54)
CORE = 0.4  # cells above this share of the Gaussian learn the box's sides
RECALL_IOU = 0.5
RECALL_TOP = 10


@dataclass(frozen=True)
class ProposalRecipe:
    """Choices of the proposal training; a TOML file sets them."""

    backbone: str = "mobilenet_v2_imagenet.safetensors"  # torchvision keys, below DATA/teachers
    padding: str = "same"  # the backbone file was trained so
    sources: tuple[str, ...] = ("fcdb", "unlabelled", "text")
    first_trained_layer: int = 4  # layers before it keep their ImageNet weights
    epochs: int = 8
    batch_size: int = 16
    head_rate: float = 1.5e-3
    backbone_rate: float = 3e-4
    weight_decay: float = 0.01
    average: float = 0.998
    min_window: float = 0.35  # smallest share of a photo that an augmented view shows
    box_weight: float = 1.0
    seed: int = 0


def train(recipe: ProposalRecipe, config: S2CNetConfig, data: Path, out: Path, *, resume: bool, report=print) -> dict:
    """Train and write `out/weights.safetensors`. Returns recall of the top 10 by kind on held-out photos."""
    run = Run(out, recipe.seed, report)
    torch.manual_seed(recipe.seed)
    photos = load_photos(data, recipe.sources)
    training = [p for p in photos if not is_validation(p.id)]
    validation = [p for p in photos if is_validation(p.id)]
    model = S2CNet(config)
    model.backbone.load_state_dict(imagenet_backbone(data / "teachers" / recipe.backbone, recipe.padding))
    model = model.to(memory_format=torch.channels_last)
    trained = [p for n, layer in enumerate(model.backbone.layers) if n >= recipe.first_trained_layer
               for p in layer.parameters()]
    for p in model.parameters():
        p.requires_grad_(False)
    head = list(model.proposal_head.parameters())
    for p in trained + head:
        p.requires_grad_(True)
    optimizer = torch.optim.AdamW([{"params": trained, "lr": recipe.backbone_rate},
                                   {"params": head, "lr": recipe.head_rate}], weight_decay=recipe.weight_decay)
    rates = [group["lr"] for group in optimizer.param_groups]
    average = Average(model, recipe.average)
    done = run.resume(model=model, optimizer=optimizer, average=average) if resume else 0
    steps_per_epoch = len(training) // recipe.batch_size
    recall = run.results()
    for epoch in range(done, recipe.epochs):
        model.train()
        losses = []
        for step, (pixels, *targets) in enumerate(batches(training, recipe, run.generator(epoch))):
            factor = cosine(epoch * steps_per_epoch + step, recipe.epochs * steps_per_epoch, 200)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            heat, sides = model.proposal_head(model.backbone(model.normalise(pixels)))
            heat_loss, box_loss = proposal_losses(heat, sides, *targets)
            optimizer.zero_grad()
            (heat_loss + recipe.box_weight * box_loss).backward()
            torch.nn.utils.clip_grad_norm_(trained + head, 5.0)
            optimizer.step()
            average.update(model)
            losses.append((heat_loss.item(), box_loss.item()))
            if step % 50 == 49:
                run.report(f"epoch {epoch}  step {step + 1}  losses {np.mean(losses[-50:], axis=0).round(3)}")
        run.save(epoch + 1, model=model, optimizer=optimizer, average=average)
        final = S2CNet(config).to(memory_format=torch.channels_last)
        final.load_state_dict(average.mean)
        save_weights(final, out / "weights.safetensors")
        recall = {"recall": measure_recall(final.eval(), validation)}
        heat_mean, box_mean = np.mean(losses, axis=0)
        run.log(epoch=epoch, heat_loss=float(heat_mean), box_loss=float(box_mean), **recall)
        run.finish(**recall, validation_photos=len(validation), training_photos=len(training))
    return recall


def imagenet_backbone(path: Path, padding: str) -> dict[str, Tensor]:
    """A torchvision-keyed MobileNetV2 file as a state for `Backbone(padding)`."""
    folded = fold_mobilenet(load_file(path))
    return turn_kernels(folded) if padding == "same" else folded


def batches(photos: list[Photo], recipe: ProposalRecipe, rng: np.random.Generator):
    """Augmented batches of one epoch: (pixels, heat, known, sides, weight) as tensors."""
    by_shape: dict[tuple[int, int], list[Photo]] = {}
    for photo in photos:
        height, width = photo.pixels.shape[:2]
        shape = min(SHAPES, key=lambda s: abs(np.log(s[1] / s[0] * height / width) + rng.normal(0, 0.05)))
        by_shape.setdefault(shape, []).append(photo)
    groups = []
    for shape, members in by_shape.items():
        order = rng.permutation(len(members))
        groups += [(shape, [members[i] for i in order[k:k + recipe.batch_size]])
                   for k in range(0, len(members) - recipe.batch_size + 1, recipe.batch_size)]
    groups = [groups[i] for i in rng.permutation(len(groups))]
    with ThreadPoolExecutor(1) as pool:  # one batch ahead of the training step
        waiting = None
        for shape, members in groups:
            seeds = rng.integers(2**32, size=len(members))
            job = pool.submit(_batch, members, shape, recipe, seeds)
            if waiting is not None:
                yield waiting.result()
            waiting = job
        if waiting is not None:
            yield waiting.result()


def _batch(members: list[Photo], shape: tuple[int, int], recipe: ProposalRecipe, seeds: np.ndarray):
    views = [augmented_view(p, shape, recipe.min_window, np.random.default_rng(s))
             for p, s in zip(members, seeds, strict=True)]
    return [torch.from_numpy(np.stack(parts)) for parts in zip(*views, strict=True)]


def augmented_view(photo: Photo, shape: tuple[int, int], min_window: float, rng: np.random.Generator):
    """A random window of a photo, mirrored half of the time, colours shifted, with its targets."""
    height, width = photo.pixels.shape[:2]
    area = rng.uniform(min_window, 1.0) if rng.random() < 0.7 else 1.0
    aspect = shape[1] / shape[0] * np.exp(rng.uniform(-0.15, 0.15))  # of the window, in pixels
    w = min(width, np.sqrt(area * width * height * aspect))
    h = min(height, np.sqrt(area * width * height / aspect))
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    image = Image.fromarray(photo.pixels).resize(shape[::-1], Image.BILINEAR, box=(x, y, x + w, y + h))
    pixels = np.asarray(image, np.float32)
    window = np.float32([x / width, y / height, (x + w) / width, (y + h) / height])
    boxes = (photo.boxes.boxes - np.tile(window[:2], 2)) / np.tile(window[2:] - window[:2], 2)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
        boxes = mirrored(boxes)
    pixels = _shift_colours(pixels, rng)
    targets = make_targets(boxes, photo.boxes.kinds, photo.boxes.quality, photo.boxes.known, shape)
    return pixels.transpose(2, 0, 1), *targets


def _shift_colours(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = pixels.mean(axis=2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.6, 1.4)
    pixels = grey + (pixels - grey) * saturation
    pixels = (pixels - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-30, 30)
    return np.ascontiguousarray((pixels + rng.uniform(-8, 8, 3)).clip(0, 255), np.float32)


def make_targets(boxes: np.ndarray, kinds: np.ndarray, quality: np.ndarray, known: tuple[bool, ...],
                 shape: tuple[int, int]):
    """Heat, known and side targets of one view.

    Args:
        boxes: [K, 4] fractions of the view, which may reach past it.
        shape: (height, width) of the view in pixels.
    Returns:
        heat [3, h, w] soft targets; known [3, h, w] weights of the heat loss (0 where a box is too
        far outside the view to say, or the kind was not labelled); sides [3, 4, h, w] pixels;
        weight [3, h, w] of the box loss.
    """
    h, w = shape[0] // STRIDE, shape[1] // STRIDE
    heat = np.zeros((len(KINDS), h, w), np.float32)
    mask = np.ones_like(heat) * np.float32(known)[:, None, None]
    sides = np.zeros((len(KINDS), 4, h, w), np.float32)
    weight = np.zeros_like(heat)
    scale = np.float32([shape[1], shape[0]] * 2)
    x, y = (np.arange(w) + 0.5) * STRIDE, (np.arange(h) + 0.5) * STRIDE
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for i in np.argsort(-areas):  # small boxes last: they win their cells
        clipped = boxes[i].clip(0, 1)
        visible = (clipped[2:] - clipped[:2]).clip(min=0).prod() / max(areas[i], 1e-9)
        if visible <= 0:
            continue
        kind = kinds[i]
        x1, y1, x2, y2 = clipped * scale
        if visible < 0.4 or min(x2 - x1, y2 - y1) < 4:
            inside = ((y >= y1 - 4) & (y <= y2 + 4))[:, None] & ((x >= x1 - 4) & (x <= x2 + 4))
            mask[kind][inside & (heat[kind] < 0.1)] = 0
            continue
        column = min(int((x1 + x2) / 2 / STRIDE), w - 1)
        row = min(int((y1 + y2) / 2 / STRIDE), h - 1)
        gaussian_x = np.exp(-0.5 * ((x - x[column]) / max(GAUSSIAN * (x2 - x1), STRIDE / 4)) ** 2)
        gaussian_y = np.exp(-0.5 * ((y - y[row]) / max(GAUSSIAN * (y2 - y1), STRIDE / 4)) ** 2)
        gaussian = gaussian_y[:, None] * gaussian_x
        heat[kind] = np.maximum(heat[kind], gaussian * quality[i])
        core = gaussian > CORE
        grid = np.broadcast_arrays(x - x1, (y - y1)[:, None], x2 - x, (y2 - y)[:, None])
        sides[kind][:, core] = np.stack(grid)[:, core].clip(min=1)
        weight[kind][core] = gaussian[core] * quality[i]
    return heat, mask, sides, weight


def proposal_losses(heat: Tensor, sides: Tensor, target: Tensor, known: Tensor, target_sides: Tensor, weight: Tensor):
    """Quality focal loss of the heat (Li et al. 2020, GFL eq. 5, beta 2) and GIoU loss of the boxes.

    Both are averaged for each kind on its own: a photo has ten objects for each face.

    Args: heat [B, 3, h, w] logits, sides [B, 3, 4, h, w], then the targets of `make_targets`.
    """
    probability = heat.sigmoid()
    focal = (target - probability).abs().pow(2) * F.binary_cross_entropy_with_logits(heat, target, reduction="none")
    positive = (target * (weight > 0)).sum(dim=(0, 2, 3))  # [3]
    heat_loss = ((focal * known).sum(dim=(0, 2, 3)) / positive.clamp(min=len(heat) / 4)).mean()
    predicted, wanted = (s.movedim(2, -1).movedim(1, 0) for s in (sides, target_sides))  # [3, B, h, w, 4]
    weight = weight.movedim(1, 0)
    signs = predicted.new_tensor([-1, -1, 1, 1])  # distances as boxes around the origin
    box_losses = []
    for kind in range(len(KINDS)):
        where = weight[kind] > 0
        if where.any():
            loss = generalized_box_iou_loss(predicted[kind][where] * signs, wanted[kind][where] * signs, reduction="none")
            box_losses.append((loss * weight[kind][where]).sum() / weight[kind][where].sum())
    return heat_loss, sum(box_losses, sides.sum() * 0) / len(KINDS)


@torch.inference_mode()
def measure_recall(model: S2CNet, photos: list[Photo], min_quality: float = 0.6) -> dict[str, float]:
    """Share of trusted boxes, by kind, found among a photo's top 10 proposals at IoU 0.5.

    Faces count from 4 % of the picture's width on.
    """
    found, total = np.zeros(len(KINDS)), np.zeros(len(KINDS))
    for photo in photos:
        height, width = photo.pixels.shape[:2]
        size = input_size(width, height, model.config.short_side)
        pixels = resize(photo.pixels, size, model.config.antialias)[None]
        proposals = model.proposal_head.propose(model.backbone(model.normalise(pixels)), size).first(RECALL_TOP)
        boxes = proposals.boxes[0].numpy() / np.float32([size[1], size[0]] * 2)
        kinds = proposals.kinds[0].numpy()
        labels = photo.boxes
        for kind, known in enumerate(labels.known):
            wanted = labels.boxes[(labels.kinds == kind) & (labels.quality >= min_quality)]
            if KINDS[kind] == "face":
                wanted = wanted[wanted[:, 2] - wanted[:, 0] >= 0.04]
            if not known or not len(wanted):
                continue
            overlap = iou_matrix(wanted, boxes[kinds == kind])
            found[kind] += (overlap.max(axis=1, initial=0) >= RECALL_IOU).sum()
            total[kind] += len(wanted)
    return {kind: float(found[i] / max(total[i], 1)) for i, kind in enumerate(KINDS)}
