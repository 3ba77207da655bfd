"""Views of photos that finders of boxes learn from: batches of one shape, what their maps should say, and losses."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import get_all_start_methods
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from s2crop.models.proposals import STRIDE

SHAPES = ((256, 384), (256, 320), (256, 256), (320, 256), (384, 256))  # (height, width) of a batch
GAUSSIAN = 0.54 / 6  # sigma of a target in box sides (Liu et al. 2020, TTFNet: alpha 0.54)
CORE = 0.4  # cells above this share of the Gaussian learn the box's sides
GIOU_EPS = 1e-7  # as torchvision has it
MAX_WORKERS = 15  # processes that make views


class _WithPixels(Protocol):
    pixels: np.ndarray  # uint8 [H, W, 3]


_Photo = TypeVar("_Photo", bound=_WithPixels)
Shape = tuple[int, int]  # (height, width) of a view in pixels
Views = tuple[Shape, list[_Photo]]  # a batch: the shape of its views, and the photos that they are of
Arrays = tuple[np.ndarray | np.float32, ...]  # a view, and the targets of it


def draw_groups(photos: list[_Photo], batch_size: int, rng: np.random.Generator) -> list[Views[_Photo]]:
    """Shuffled batches of one epoch: the shape of the views, and the photos that are nearest to it.

    All are whole, as a GPU has to be made ready for each size of them: the last of a shape is filled up with others.
    """
    by_shape: dict[Shape, list[_Photo]] = {}
    for photo in photos:
        height, width = photo.pixels.shape[:2]
        shape = min(SHAPES, key=lambda s: abs(np.log(s[1] / s[0] * height / width) + rng.normal(0, 0.05)))
        by_shape.setdefault(shape, []).append(photo)
    groups: list[Views[_Photo]] = []
    for shape, members in by_shape.items():
        order = rng.permutation(len(members))
        order = np.resize(order, -(-len(order) // batch_size) * batch_size)
        groups += [(shape, [members[i] for i in order[k : k + batch_size]]) for k in range(0, len(order), batch_size)]
    return [groups[i] for i in rng.permutation(len(groups))]


class _Made(Dataset[list[Tensor]]):
    """Batches that are made when they are asked for."""

    def __init__(self, jobs: Sequence[Callable[[], list[Tensor]]]):
        self.jobs = jobs

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, number: int) -> list[Tensor]:
        return self.jobs[number]()


def batches(
    groups: list[Views[_Photo]], make: Callable[[_Photo, Shape, np.random.Generator], Arrays], rng: np.random.Generator
) -> Iterator[list[Tensor]]:
    """Augmented views of each group as tensors, made ahead of the training step by the other processors.

    Args:
        groups: as `draw_groups` gives them.
        make: gives a view of a photo and its targets.
    """

    def stacked(members: list[_Photo], shape: Shape, seeds: np.ndarray) -> list[Tensor]:
        views = [make(p, shape, np.random.default_rng(s)) for p, s in zip(members, seeds, strict=True)]
        return [torch.from_numpy(np.stack(parts)) for parts in zip(*views, strict=True)]

    jobs = [partial(stacked, members, shape, rng.integers(2**32, size=len(members))) for shape, members in groups]
    workers = min(MAX_WORKERS, (os.cpu_count() or 2) - 1, len(jobs))
    if "fork" not in get_all_start_methods():  # what is made cannot be sent to processes that begin anew
        workers = 0
    yield from DataLoader(
        _Made(jobs), batch_size=None, num_workers=workers, multiprocessing_context="fork" if workers else None
    )


def random_window(size_wh: tuple[int, int], shape: Shape, min_area: float, rng: np.random.Generator) -> np.ndarray:
    """A window of about a view's shape, [4] fractions of a photo; three in ten show all that the shape allows."""
    width, height = size_wh
    area = rng.uniform(min_area, 1.0) if rng.random() < 0.7 else 1.0
    aspect = shape[1] / shape[0] * np.exp(rng.uniform(-0.15, 0.15))  # of the window, in pixels
    w = min(width, np.sqrt(area * width * height * aspect))
    h = min(height, np.sqrt(area * width * height / aspect))
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return np.array([x / width, y / height, (x + w) / width, (y + h) / height], np.float32)


def shown(pixels: np.ndarray, window: np.ndarray, shape: Shape) -> np.ndarray:
    """What a window of a picture shows, uint8 [H, W, 3], at a view's shape."""
    extent = tuple(window * np.array([pixels.shape[1], pixels.shape[0]] * 2, np.float32))
    return np.asarray(Image.fromarray(pixels).resize(shape[::-1], Image.Resampling.BILINEAR, box=extent))


def in_window(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Boxes [..., 4] in fractions of a window, both in fractions of a picture before."""
    return (boxes - np.tile(window[:2], 2)) / np.tile(window[2:] - window[:2], 2)


def shift_colours(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pixels float32 [H, W, 3] of another saturation, contrast, brightness and tint; a few are grey."""
    grey = pixels.mean(axis=2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.6, 1.4)
    pixels = grey + (pixels - grey) * saturation
    pixels = (pixels - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-30, 30)
    return np.ascontiguousarray((pixels + rng.uniform(-8, 8, 3)).clip(0, 255), np.float32)


class BoxTargets(NamedTuple):
    """What the maps of a view should say of K kinds of boxes."""

    heat: np.ndarray  # [K, h, w], soft
    # [K, h, w] weights of the heat loss: 0 where a box is too far outside the view to say, where it is not sure, or
    # where the kind was not labelled
    known: np.ndarray
    sides: np.ndarray  # [K, 4, h, w] pixels
    weight: np.ndarray  # [K, h, w] of the box loss


def box_targets(
    boxes: np.ndarray,
    kinds: np.ndarray,
    quality: np.ndarray,
    known: tuple[bool, ...],
    shape: Shape,
    unsure: Sequence[tuple[int, np.ndarray]] = (),
    stride: int = STRIDE,
) -> BoxTargets:
    """Targets of one view.

    Args:
        boxes: [K, 4] fractions of the view, which may reach past it.
        known: of each of K kinds, whether it was looked for.
        unsure: kind and box of places that may hold one.
        stride: of the maps, in pixels.
    """
    h, w = shape[0] // stride, shape[1] // stride
    heat = np.zeros((len(known), h, w), np.float32)
    mask = np.ones_like(heat) * np.array(known, np.float32)[:, None, None]
    sides = np.zeros((len(known), 4, h, w), np.float32)
    weight = np.zeros_like(heat)
    scale = np.array([shape[1], shape[0]] * 2, np.float32)
    x, y = (np.arange(w) + 0.5) * stride, (np.arange(h) + 0.5) * stride
    for kind, box in unsure:
        x1, y1, x2, y2 = box * scale
        mask[kind][((y >= y1) & (y <= y2))[:, None] & ((x >= x1) & (x <= x2))] = 0
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
        column = min(int((x1 + x2) / 2 / stride), w - 1)
        row = min(int((y1 + y2) / 2 / stride), h - 1)
        gaussian_x = np.exp(-0.5 * ((x - x[column]) / max(GAUSSIAN * (x2 - x1), stride / 4)) ** 2)
        gaussian_y = np.exp(-0.5 * ((y - y[row]) / max(GAUSSIAN * (y2 - y1), stride / 4)) ** 2)
        gaussian = gaussian_y[:, None] * gaussian_x
        heat[kind] = np.maximum(heat[kind], gaussian * quality[i])
        core = gaussian > CORE
        mask[kind][core] = known[kind]
        grid = np.broadcast_arrays(x - x1, (y - y1)[:, None], x2 - x, (y2 - y)[:, None])
        sides[kind][:, core] = np.stack(grid)[:, core].clip(min=1)
        weight[kind][core] = gaussian[core] * quality[i]
    return BoxTargets(heat, mask, sides, weight)


def proposal_losses(
    heat: Tensor, sides: Tensor, target: Tensor, known: Tensor, target_sides: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """`focal_loss` of the heat and `box_loss` of the sides. Args: heat logits, sides, then batched `BoxTargets`."""
    return focal_loss(heat, target, known, weight), box_loss(sides, target_sides, weight)


def focal_loss(heat: Tensor, target: Tensor, known: Tensor, weight: Tensor) -> Tensor:
    """Quality focal loss (Li et al. 2020, GFL eq. 5, beta 2), averaged for each kind on its own:
    there are ten objects to a face.

    Args: heat [B, K, h, w] logits; target, known and the boxes' weight of the same shape.
    """
    probability = heat.sigmoid()
    focal = (target - probability).abs().pow(2) * F.binary_cross_entropy_with_logits(heat, target, reduction="none")
    positive = (target * (weight > 0)).sum(dim=(0, 2, 3))  # [K]
    return ((focal * known).sum(dim=(0, 2, 3)) / positive.clamp(min=len(heat) / 4)).mean()


def box_loss(sides: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """GIoU loss of boxes, averaged for each kind on its own.
    Args: sides, wanted [B, K, 4, h, w]; weight [B, K, h, w].
    """
    predicted, wanted = (s.movedim(2, -1).movedim(1, 0) for s in (sides, wanted))  # [K, B, h, w, 4]
    weight = weight.movedim(1, 0)
    signs = predicted.new_tensor([-1, -1, 1, 1])  # distances as boxes around the origin
    losses = []
    for own, target, count in zip(predicted, wanted, weight, strict=True):
        where = count > 0
        if where.any():
            loss = giou_loss(own[where] * signs, target[where] * signs)
            losses.append((loss * count[where]).sum() / count[where].sum())
    return sum(losses, sides.sum() * 0) / len(weight)


def giou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """1 - GIoU (Rezatofighi et al. 2019, eq. 2) of boxes [K, 4] with others, one by one: [K], 0 to 2."""

    def area(starts: Tensor, ends: Tensor) -> Tensor:
        sides = (ends - starts).clamp(min=0)
        return sides[:, 0] * sides[:, 1]

    starts, ends, other_starts, other_ends = boxes[:, :2], boxes[:, 2:], targets[:, :2], targets[:, 2:]
    inside = area(torch.maximum(starts, other_starts), torch.minimum(ends, other_ends))
    hull = area(torch.minimum(starts, other_starts), torch.maximum(ends, other_ends))
    union = area(starts, ends) + area(other_starts, other_ends) - inside
    return 1 - inside / (union + GIOU_EPS) + (hull - union) / (hull + GIOU_EPS)
