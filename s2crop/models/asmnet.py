"""ASM-Net: scores a crop by pooling a map that says what each place is worth in each part of a crop."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2crop.models.backbone import Backbone, MultiScale
from s2crop.models.proposals import Proposals
from s2crop.models.scorer import Config, Heat, Scorer

CIRCLE_CELLS = 36  # a circle is pooled in at least so many cells an axis
CIRCLE_SAMPLES = 16  # points an axis in each of them, to find its share inside the circle


def _grid(rows: int, columns: int) -> np.ndarray:
    return np.arange(rows * columns).reshape(rows, columns)


def _rings() -> np.ndarray:
    """Centre, middle and outer ring of a 6x6 grid."""
    near = np.minimum(np.arange(6), np.arange(6)[::-1])
    return 2 - np.minimum(near[:, None], near)


def _quadrants() -> np.ndarray:
    half = np.arange(6) // 3
    return 2 * half[:, None] + half


def _octants() -> np.ndarray:
    """Eight directions in a 12x12 grid, between its axes and diagonals.

    A diagonal runs through the middle of its cells; they go to its two sides in turn, so that
    each direction has 18.
    """
    y, x = np.meshgrid(np.arange(12) - 5.5, np.arange(12) - 5.5, indexing="ij")
    steep = np.where(np.abs(x) == np.abs(y), np.abs(x) % 2 == 0.5, np.abs(y) > np.abs(x))
    return 4 * (y > 0) + 2 * (x > 0) + steep


# Partition of each cell of a crop, [rows, columns] (fig. 3 and table 1). The figure's multi-rectangle
# has 3 partitions where the table counts 5. Cross-rectangle is read as the rings cut by a cross: 3 x 4.
PATTERNS = {
    "1x1": _grid(1, 1),
    "1x3": _grid(1, 3),
    "3x1": _grid(3, 1),
    "3x3": _grid(3, 3),
    "5x5": _grid(5, 5),
    "multi-rectangle": _rings(),
    "multi-direction": _octants(),
    "cross-rectangle": 4 * _rings() + _quadrants(),
}


@dataclass(frozen=True)
class ASMNetConfig(Config):
    """Every choice in the network and its input."""

    backbone: str = "mobilenetv2"  # or "vgg16", as published
    pattern: str = "cross-rectangle"  # how a crop is divided: one of PATTERNS
    # deviations from the paper, off by default
    map_stride: int = 1  # input pixels for each cell of the score map
    hidden_dim: int = 0  # channels mixed over neighbouring cells before the score map; 0 for none

    def __post_init__(self) -> None:
        for name, allowed in (
            ("backbone", BACKBONES),
            ("padding", ("one", "same")),
            ("pattern", PATTERNS),
            ("map_stride", (1, 2, 4, 8)),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {', '.join(map(str, allowed))}, not {getattr(self, name)!r}")
        if self.short_side < 1 or self.hidden_dim < 0:
            raise ValueError("short_side is at least 1 and hidden_dim at least 0")
        if self.proposal_head and self.backbone != "mobilenetv2":
            raise ValueError("the proposal head needs the maps of mobilenetv2")


class Vgg16(nn.Module):
    """VGG16's convolutions (Simonyan and Zisserman 2014, configuration D), torchvision's keys.

    The paper joins "feature maps from different layers" without naming them; these are the last
    ones before the third, fourth and fifth pooling.
    """

    CUTS = {15: 256, 22: 512, 29: 512}  # layer -> channels of the maps at strides 4, 8 and 16

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import vgg16  # here, because importing torchvision takes a second

        self.features = vgg16(weights=None).features[: max(self.CUTS) + 1]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, H, W] -> maps [B, 256, H/4, W/4], [B, 512, H/8, W/8] and [B, 512, H/16, W/16]."""
        maps = []
        for number, layer in enumerate(self.features):
            image = layer(image)
            if number in self.CUTS:
                maps.append(image)
        return tuple(maps)


# name -> how to make it from a configuration, channels of its maps
BACKBONES = {
    "mobilenetv2": (lambda config: Backbone(config.padding), MultiScale.CHANNELS),
    "vgg16": (lambda config: Vgg16(), tuple(Vgg16.CUTS.values())),
}


class Features(NamedTuple):
    """What one backbone pass gives for a batch of pictures."""

    maps: tuple[Tensor, ...]  # of the backbone: strides 4 to 32 of MobileNetV2, 4 to 16 of VGG16
    scores: Tensor  # [B, L, h, w] the aesthetic score map M
    integral: Tensor  # [B, L, h+1, w+1] its sums over all cells above and to the left
    size: tuple[int, int]  # (height, width) of the network input


class ScoreMap(nn.Module):
    """The aesthetic score map M (sec. 3.1): joined maps of the backbone through a 1x1 convolution.

    A 1x1 convolution and a bilinear resize commute, so each map is reduced first and resized with
    few channels. With `hidden_dim`, a deviation, cells see their neighbours before they are scored:
    two depthwise separable 5x5 convolutions at the finest map's stride.
    """

    BLOCKS = 2

    def __init__(self, channels: tuple[int, ...], partitions: int, hidden_dim: int, stride: int):
        super().__init__()
        self.channels, self.stride = channels, stride
        self.reduce = nn.Conv2d(sum(channels), hidden_dim or partitions, 1)
        self.mix: nn.ModuleList | None = None
        self.out: nn.Conv2d | None = None
        if hidden_dim:
            self.mix = nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(hidden_dim, hidden_dim, 5, 1, 2, groups=hidden_dim), nn.Conv2d(hidden_dim, hidden_dim, 1)
                )
                for _ in range(self.BLOCKS)
            )
            self.out = nn.Conv2d(hidden_dim, partitions, 1)

    def forward(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> Tensor:
        """Maps, finest first, of an input of (height, width) -> M [B, L, height/stride, width/stride]."""
        final = size[0] // self.stride, size[1] // self.stride
        maps = maps[-len(self.channels) :]  # MobileNetV2's first is for proposals alone
        joined = (maps[0].shape[-2], maps[0].shape[-1]) if self.out else final
        weights = self.reduce.weight.split(self.channels, dim=1)
        biases = (self.reduce.bias, *[None] * (len(maps) - 1))
        finest, *others = (_resize(F.conv2d(m, w, b), joined) for m, w, b in zip(maps, weights, biases, strict=True))
        x = sum(others, start=finest)
        if self.out is None or self.mix is None:
            return x
        for block in self.mix:
            x = x + block(F.relu(x))
        return _resize(self.out(F.relu(x)), final)


class CompositionPooling(nn.Module):
    """Composition-aware pooling of boxes (eq. 1 and 2) and of their inscribed circles (eq. 9).

    Each cell of a pattern adds the integral of its partition's channel, which is four values of the
    integral image. Between cells of one partition they cancel, and what is left, the corners of the
    partitions, is the same for every crop. A circle's cells count by their share inside it.
    """

    def __init__(self, pattern: np.ndarray):
        super().__init__()
        self.partitions = int(pattern.max()) + 1
        rows, columns = (-(-CIRCLE_CELLS // count) for count in pattern.shape)
        fine = pattern.repeat(rows, axis=0).repeat(columns, axis=1)
        for shape, cells, shares in (
            ("box", pattern, np.ones(pattern.shape)),
            ("circle", fine, circle_shares(fine.shape)),
        ):
            for name, values in zip(("partition", "place", "weight"), corners(cells, shares), strict=True):
                self.register_buffer(f"_{shape}_{name}", torch.from_numpy(values), persistent=False)

    def forward(self, integral: Tensor, boxes: Tensor, circle: bool = False) -> Tensor:
        """Mean of the map over each crop, every cell by the channel of its partition.

        Args:
            integral: [B, L, h+1, w+1] from `integral_image`.
            boxes: [B, N, 4] in map cells; what lies outside the map is cut off.
            circle: pool the ellipse that a box circumscribes alone.
        Returns:
            [B, N] in the integral's type.
        """
        shape = "circle" if circle else "box"
        partition, place, weight = (getattr(self, f"_{shape}_{name}") for name in ("partition", "place", "weight"))
        height, width = (side - 1 for side in integral.shape[-2:])
        limit = boxes.new_tensor([width, height, width, height])
        boxes = boxes.clamp(min=0).minimum(limit).to(integral.dtype)
        sides = boxes[..., None, 2:] - boxes[..., None, :2]  # [B, N, 1, 2]
        points = boxes[..., None, :2] + sides * place.to(integral.dtype)  # [B, N, P, 2]
        values = _look_up(integral, partition.expand(points.shape[:-1]), points)
        return values @ weight.to(integral.dtype) / sides.prod(-1).squeeze(-1).clamp(min=1e-6)


def corners(pattern: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a pattern reads the integral image.

    Args:
        pattern: [rows, columns] partition of each cell; shares: how much each cell counts.
    Returns:
        For each of P points its channel [P], its place (x, y) in the crop [P, 2], 0 to 1, and what
        its value counts [P], in crop areas.
    """
    rows, columns = pattern.shape
    counts = np.zeros((pattern.max() + 1, rows + 1, columns + 1))
    for i, j in np.ndindex(rows, columns):
        counts[pattern[i, j], i : i + 2, j : j + 2] += shares[i, j] * np.array([[1, -1], [-1, 1]])
    partition, i, j = np.nonzero(np.abs(counts) > 1e-9)
    weight = counts[partition, i, j] * rows * columns / shares.sum()
    return partition, np.stack([j / columns, i / rows], axis=1), weight


def circle_shares(shape: tuple[int, int]) -> np.ndarray:
    """How much of each cell of a grid lies inside the circle that touches its four borders."""
    y, x = ((np.arange(count * CIRCLE_SAMPLES) + 0.5) / (count * CIRCLE_SAMPLES) - 0.5 for count in shape)
    inside = y[:, None] ** 2 + x**2 <= 0.25
    return inside.reshape(shape[0], CIRCLE_SAMPLES, shape[1], CIRCLE_SAMPLES).mean(axis=(1, 3))


def integral_image(scores: Tensor) -> Tensor:
    """[B, L, h, w] -> [B, L, h+1, w+1] sums over all cells above and to the left; float64 where the device has it."""
    exact = torch.float32 if scores.device.type == "mps" else torch.float64  # small crops are differences of large sums
    return F.pad(scores.to(exact).cumsum(dim=2).cumsum(dim=3), (1, 0, 1, 0))


def _look_up(integral: Tensor, channels: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of an integral image: exact for a map that is constant within its cells.

    Args:
        channels: [B, N, P] of points [B, N, P, 2] (x, y).
    """
    batch, _, height, width = integral.shape
    cell = points.detach().floor()
    column = cell[..., 0].long().clamp(max=width - 2)
    row = cell[..., 1].long().clamp(max=height - 2)
    right, down = points[..., 0] - column, points[..., 1] - row
    flat = integral.reshape(batch, -1)
    first = ((channels * height + row) * width + column).flatten(1)
    top_left, top_right, low_left, low_right = (
        flat.gather(1, first + step).view_as(right) for step in (0, 1, width, width + 1)
    )
    return (1 - down) * torch.lerp(top_left, top_right, right) + down * torch.lerp(low_left, low_right, right)


class ASMNet(Scorer[Features]):
    """The network of Tu et al., AAAI 2020 (fig. 2)."""

    config: ASMNetConfig

    def __init__(self, config: ASMNetConfig = ASMNetConfig()):
        super().__init__(config)
        make, channels = BACKBONES[config.backbone]
        self.backbone = make(config)
        self.add_sight()
        self.pooling = CompositionPooling(PATTERNS[config.pattern])
        self.score_map = ScoreMap(channels, self.pooling.partitions, config.hidden_dim, config.map_stride)

    def features(self, image: Tensor) -> Features:
        """One backbone pass. Args: image [B, 3, H, W], normalised; H and W multiples of 32."""
        maps = self.backbone(self.backbone_input(image))
        return self.head_features(tuple(m.float() for m in maps), (image.shape[-2], image.shape[-1]))

    def head_features(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> Features:
        """What the head makes of the backbone's maps, of an input of (height, width)."""
        scores = self.score_map(maps, size)
        return Features(maps, scores, integral_image(scores), size)

    def rate(
        self, features: Features, crops: Tensor, proposals: Proposals | None = None, circle: bool = False
    ) -> Tensor:
        """Score crops [B, N, 4], or the circles inscribed in them -> [B, N]; proposals are not looked at."""
        return self.pooling(features.integral, crops / self.config.map_stride, circle).to(crops.dtype)

    def explain(self, features: Features, crop: Tensor, proposals: Proposals | None = None) -> list[Heat]:
        """The two statistics of the score map (eq. 5 and 6), the same for every crop."""
        return [
            Heat("Content-important: what good crops contain", content_importance(features.scores)[0]),
            Heat(
                "Composition-sensitive: what has to be in the right place", composition_sensitivity(features.scores)[0]
            ),
        ]


def content_importance(scores: Tensor) -> Tensor:
    """Mean over partitions (eq. 5): places that good crops contain. [B, L, h, w] -> [B, h, w]."""
    return scores.mean(dim=1)


def composition_sensitivity(scores: Tensor) -> Tensor:
    """Deviation over partitions (eq. 6): places that need the right position. [B, L, h, w] -> [B, h, w]."""
    return scores.std(dim=1, correction=0)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)
