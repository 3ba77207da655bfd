"""Photos as the trainings on a frozen backbone see them: cached maps, batches, candidates drawn for each.

Photos come as they are and mirrored; those with fixations also as lettered copies, whose lines of text teach too.
"""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from s2crop.datasets.fcdb import CropLabels
from s2crop.datasets.lettering import letter
from s2crop.datasets.photos import Photo
from s2crop.datasets.split import is_validation
from s2crop.geometry.boxes import inside_share, largest_of_ratio, mirrored
from s2crop.geometry.search import candidates
from s2crop.models.input import input_size, resize
from s2crop.models.s2cnet import S2CNet
from s2crop.training.parts import proposal_head

HELD_RATIOS = (0.45, 2.4)  # of the crops that learn from fixations, from narrow to wide
WHOLE_LINE = 0.95  # of a line of text inside a crop
SANITY_PHOTOS = 10


@dataclass(frozen=True)
class PhotoRecipe:
    """Choices that all trainings on cached photos have; a TOML file sets them."""

    batch_size: int = 8  # photos
    candidates: int = 64  # drawn for each photo, besides its pairs
    weight_decay: float = 0.05
    average: float = 0.998
    sharpness: float = 0.1  # of the soft target over candidates, in IoU
    vote_weight: float = 1.0
    best_weight: float = 1.0
    held_weight: float = 0.5
    lettered: bool = True  # learn from lettered copies of the fixation photos too
    fold: int = 0  # which photos are held out
    seed: int = 0


@dataclass
class Sample:
    """A photo as the graph sees it: maps of the frozen backbone, proposals, labels."""

    size: tuple[int, int]
    maps: tuple[Tensor, Tensor, Tensor]  # float16, strides 8, 16, 32
    proposals: Tensor  # [D, 4] input pixels
    attributes: Tensor  # [D, 4]
    labels: CropLabels | None  # of FCDB photos
    fixations: np.ndarray | None = None  # [K, 2] fractions, of OSIE photos
    lines: np.ndarray | None = None  # [K, 4] fractions, of lettered ones
    extra: Tensor | None = None  # what a network wants to know of it besides

    @property
    def source(self) -> str:
        return "labels" if self.labels else "unlabelled" if self.fixations is None else "fixations"


Pair = tuple[Sample, Sample]  # of a photo, as it is and mirrored


@dataclass
class Material:
    """Photos that are learned from, with the maps of the frozen backbone."""

    photos: list[Photo]
    samples: list[Pair]  # of each photo
    lettered: list[Pair | None]  # of each photo that has fixations


class Cache(Protocol):
    """`cache_sample` for one network."""

    def __call__(self, photo: Photo, flipped: bool, lines: np.ndarray | None = None) -> Sample: ...


def cache_photos(cache: Cache, photos: list[Photo], fonts: tuple[Path, ...], with_lettered: bool) -> Material:
    """Photos as they are and mirrored, and lettered copies of those with fixations."""
    samples = [(cache(p, False), cache(p, True)) for p in photos]
    lettered: list[Pair | None] = []
    for number, photo in enumerate(photos):
        if photo.fixations is None or not with_lettered:
            lettered.append(None)
            continue
        pixels, lines, _ = letter(photo.pixels, np.random.default_rng(number), fonts)
        copied = dataclasses.replace(photo, pixels=pixels)
        lettered.append((cache(copied, False, lines), cache(copied, True, lines)))
    return Material(photos, samples, lettered)


@torch.inference_mode()
def cache_sample(
    model: S2CNet,
    photo: Photo,
    flipped: bool,
    lines: np.ndarray | None = None,
    extra: Callable[[Tensor], Tensor] | None = None,
) -> Sample:
    """Backbone maps and proposals of a photo, resized as for cropping.

    Args:
        lines: [K, 4] pixels of a lettered photo.
        extra: what is kept besides, of the network input, uint8 [1, 3, h, w].
    Raises:
        InputError: the network finds no proposals.
    """
    model.eval()
    device = next(model.parameters()).device
    height, width = photo.pixels.shape[:2]
    size = input_size(width, height, model.config.short_side)
    pixels = resize(photo.pixels, size, model.config.antialias)[None].to(device)
    pixels = pixels.flip(3) if flipped else pixels
    maps = model.backbone(model.normalise(pixels))
    found = proposal_head(model).propose(maps, size).first(model.config.num_proposals)
    labels, fixations = photo.labels, photo.fixations
    lines = None if lines is None else lines / np.array([width, height] * 2, np.float32)
    if flipped:
        labels = labels and mirror(labels)
        fixations = None if fixations is None else np.abs(fixations - [1, 0])
        lines = None if lines is None else mirrored(lines)
    # cloned: inference tensors cannot take part in training
    return Sample(
        size,
        tuple(m[0].half().clone() for m in maps[-3:]),
        found.boxes[0].clone(),
        found.attributes()[0].clone(),
        labels,
        fixations,
        lines,
        None if extra is None else extra(pixels),
    )


def mirror(labels: CropLabels) -> CropLabels:
    return CropLabels(labels.size_wh, mirrored(labels.best), mirrored(labels.pairs), labels.votes)


def split(material: Material, fold: int) -> tuple[list[Pair], list[Sample]]:
    """What is trained on, with lettered copies, and what is held out and has labels."""
    training: list[Pair] = []
    validation: list[Sample] = []
    for photo, pair, lettered in zip(material.photos, material.samples, material.lettered, strict=True):
        if not is_validation(photo.id, fold):
            training += [pair] if lettered is None else [pair, lettered]
        elif pair[0].source != "unlabelled":
            validation.append(pair[0])
    return training, validation


_Item = TypeVar("_Item")


def batched(
    items: Sequence[_Item], shape: Callable[[_Item], Hashable], batch_size: int, rng: np.random.Generator
) -> list[list[_Item]]:
    """Items of one shape in batches, shuffled within each shape."""
    by_shape: dict[Hashable, list[_Item]] = {}
    for i in rng.permutation(len(items)):
        by_shape.setdefault(shape(items[i]), []).append(items[i])
    return [same[k : k + batch_size] for same in by_shape.values() for k in range(0, len(same), batch_size)]


def photo_batches(training: Sequence[Pair], batch_size: int, rng: np.random.Generator) -> list[list[Sample]]:
    """Batches of photos of one size and with the same kind of labels, each mirrored or not, by chance."""
    photos = [pair[rng.integers(2)] for pair in training]
    return batched(photos, lambda sample: (sample.size, sample.source), batch_size, rng)


def labels_of(group: Sequence[Sample]) -> list[CropLabels]:
    """The labels of photos that all have them."""
    found = [sample.labels for sample in group if sample.labels is not None]
    assert len(found) == len(group)
    return found


def extras_of(group: Sequence[Sample]) -> list[Tensor]:
    """What was kept besides of photos, where something was."""
    found = [sample.extra for sample in group if sample.extra is not None]
    assert len(found) == len(group)
    return found


def random_candidates(sample: Sample, count: int, rng: np.random.Generator) -> np.ndarray:
    """[count, 4] fractions: half from the search's own candidates, half anywhere,
    some near the best crop if there is one.
    """
    height, width = sample.size
    own = candidates(None, (width, height)) / [width, height, width, height]
    own = own[rng.permutation(len(own))[: count // 2]]
    near = sample.labels.best + rng.normal(0, 0.06, (count // 8, 4)) if sample.labels else np.zeros((0, 4))
    start = rng.uniform(0, 0.5, (count - len(own) - len(near), 2)) * (
        rng.random((count - len(own) - len(near), 2)) > 0.25
    )
    end = 1 - rng.uniform(0, 0.5, start.shape) * (rng.random(start.shape) > 0.25)
    boxes = np.concatenate([own, near, np.concatenate([start, end], axis=1)]).clip(0, 1)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.1).clip(max=1)
    boxes[:, :2] = np.minimum(boxes[:, :2], boxes[:, 2:] - 0.1)
    return boxes


def fixated_crops(group: list[Sample], count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Crops of one ratio and size for each photo with fixations, [B, K, 4] input pixels, and what share each holds,
    float32 [B, K].
    """
    height, width = group[0].size
    crops, held = [], []
    for sample in group:
        assert sample.fixations is not None
        ratio = np.exp(rng.uniform(*np.log(HELD_RATIOS)))
        sides = np.array(largest_of_ratio(ratio, width, height)) * rng.uniform(0.7, 1.0)
        start = rng.uniform(0, 1, (count, 2)) * ([width, height] - sides)
        boxes = np.concatenate([start, start + sides], axis=1)
        crops.append(boxes)
        share = held_share(boxes, sample.fixations * np.array([width, height]))
        if sample.lines is not None:
            whole = inside_share(boxes, sample.lines * np.array([width, height] * 2)) > WHOLE_LINE
            share = (share + whole.mean(axis=1)) / 2
        held.append(share)
    return np.stack(crops), np.stack(held).astype(np.float32)


def held_share(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Share of the points [K, 2] inside each box [N, 4] -> [N]."""
    inside = (points >= boxes[:, None, :2]) & (points <= boxes[:, None, 2:])
    return inside.all(axis=2).mean(axis=1)


def stacked_maps(group: list[Sample]) -> tuple[Tensor, ...]:
    """The maps of several photos as one batch, [B, C, h, w] each."""
    return tuple(torch.stack(maps).float() for maps in zip(*(s.maps for s in group), strict=True))


def score_as_they_are(model: S2CNet, group: list[Sample], crops: Tensor) -> Tensor:
    """Normalised scores [B, N] of crops [B, N, 4] in input pixels; nothing jittered, nothing left out."""
    proposals, attributes = torch.stack([s.proposals for s in group]), torch.stack([s.attributes for s in group])
    return model.score(model.multi_scale(stacked_maps(group)), crops, proposals, group[0].size, attributes)
