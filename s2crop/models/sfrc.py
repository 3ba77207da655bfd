"""SFRC: scores a crop from its region and from where it lies among what the backbone's layers respond to."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2crop.models.align import rod_align_avg, roi_align_avg
from s2crop.models.backbone import CUTS, LAYERS, Backbone, MultiScale
from s2crop.models.proposals import Proposals
from s2crop.models.scorer import Config, Heat, Scorer

CHUNK = 128  # candidates encoded at once: their first maps stay small enough for a processor's cache


@dataclass(frozen=True)
class SFRCConfig(Config):
    """Every choice in the network and its input.

    The defaults are the paper's where it names them (its sec. 4.2).
    """

    # region feature
    reduced_dim: int = 32  # channels of the multi-scale map
    align_size: int = 9  # h
    region_hidden_dim: int = 256  # between the two layers; not named
    region_dim: int = 256  # d_r
    # spatial-aware feature
    map_size: int = 64  # H and W of the activation maps
    attention_dim: int = 8  # of the squeeze; not named
    first_dim: int = 8  # channels of the encoder's convolutions; not named
    second_dim: int = 16
    spatial_dim: int = 256  # d_s

    def __post_init__(self) -> None:
        if self.padding not in ("one", "same"):
            raise ValueError(f"padding is one or same, not {self.padding!r}")
        for name, value in vars(self).items():
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if self.map_size % 4:
            raise ValueError(f"map_size is halved twice, so a multiple of 4, not {self.map_size}")


class Features(NamedTuple):
    """What one backbone pass gives for a batch of pictures."""

    maps: tuple[Tensor, ...]  # of the backbone, strides 4, 8, 16 and 32
    reduced: Tensor  # [B, C, H/16, W/16]
    attention: Tensor  # [B, k] weight of each layer
    weighted: Tensor  # [B, k, S, S] the layers' responses times their weights
    shared: Tensor  # [B, C1, S, S] the encoder's first convolution of them, but for the crop's mask
    size: tuple[int, int]  # (height, width) of the network input


class RegionFeature(nn.Module):
    """RoIAlign and RoDAlign of a box through two fully connected layers (sec. 3.2, F_r)."""

    def __init__(self, config: SFRCConfig):
        super().__init__()
        self.align_size = config.align_size
        joined = 2 * config.reduced_dim * config.align_size**2
        self.layers = nn.Sequential(
            nn.Linear(joined, config.region_hidden_dim),
            nn.ReLU(),
            nn.Linear(config.region_hidden_dim, config.region_dim),
            nn.ReLU(),
        )

    def forward(self, reduced: Tensor, crops: Tensor) -> Tensor:
        """Map [B, C, H/16, W/16] and crops [B, N, 4] in input pixels -> [B, N, d_r]."""
        parts = [
            align(reduced, crops, self.align_size, 1 / MultiScale.STRIDE).flatten(2)
            for align in (roi_align_avg, rod_align_avg)
        ]
        return self.layers(torch.cat(parts, dim=-1))


class ChannelAttention(nn.Module):
    """Squeeze and excitation (Hu et al. 2018) over layers: which ones to look at (sec. 3.2)."""

    def __init__(self, layers: int, hidden_dim: int):
        super().__init__()
        self.squeeze = nn.Linear(layers, hidden_dim)
        self.excite = nn.Linear(hidden_dim, layers)

    def forward(self, responses: Tensor) -> Tensor:
        """[B, k, S, S] -> weights [B, k], 0 to 1."""
        return self.excite(F.relu(self.squeeze(responses.mean(dim=(2, 3))))).sigmoid()


class SpatialEncoder(nn.Module):
    """The light encoder of a picture's weighted maps and a crop's mask (sec. 3.2, F_s).

    Two 5x5 convolutions, each with ReLU and 2x2 max pooling, and a fully connected layer. A
    convolution is a sum over its input's channels: what the first one makes of the k maps is
    the same for all crops of a picture, and only the mask's channel is left for each.
    """

    def __init__(self, layers: int, config: SFRCConfig):
        super().__init__()
        self.first = nn.Conv2d(layers + 1, config.first_dim, 5, padding=2)
        self.second = nn.Conv2d(config.first_dim, config.second_dim, 5, padding=2)
        self.out = nn.Linear(config.second_dim * (config.map_size // 4) ** 2, config.spatial_dim)

    def shared(self, weighted: Tensor) -> Tensor:
        """[B, k, S, S] -> [B, C1, S, S], the first convolution without the mask's channel."""
        return F.conv2d(weighted, self.first.weight[:, :-1], self.first.bias, padding=2)

    def forward(self, shared: Tensor, masks: Tensor) -> Tensor:
        """Of one picture: shared [C1, S, S] and masks [N, S, S] -> [N, d_s]."""
        x = shared + F.conv2d(masks[:, None], self.first.weight[:, -1:], padding=2)
        x = F.relu(F.max_pool2d(x, 2))  # the larger of two is also the larger after ReLU
        x = F.relu(F.max_pool2d(self.second(x), 2))
        return F.relu(self.out(x.flatten(1)))


class SFRC(Scorer[Features]):
    """The network of Wang et al., CVPR 2023 (fig. 2)."""

    config: SFRCConfig
    backbone: Backbone

    def __init__(self, config: SFRCConfig = SFRCConfig()):
        super().__init__(config)
        self.backbone = Backbone(config.padding)
        self.last_layer = nn.Conv2d(tuple(CUTS.values())[-1], 1280, 1)  # MobileNetV2's last, which the maps end before
        self.add_sight()
        self.multi_scale = MultiScale(config.reduced_dim)
        self.region = RegionFeature(config)
        layers = LAYERS + 1
        self.response_mean: Tensor
        self.response_std: Tensor
        # Responses are counted from a mean and in deviations, measured over training photos: layers differ in scale.
        self.register_buffer("response_mean", torch.zeros(layers))
        self.register_buffer("response_std", torch.ones(layers))
        self.attention = ChannelAttention(layers, config.attention_dim)
        self.encoder = SpatialEncoder(layers, config)
        crop_dim = config.region_dim + config.spatial_dim
        self.head = nn.Linear(crop_dim, 1)
        self.classifier = nn.Linear(2 * crop_dim, 1)  # whether the first of two crops is the better; for training

    def features(self, image: Tensor) -> Features:
        """One backbone pass. Args: image [B, 3, H, W], normalised; H and W multiples of 32."""
        maps, responses = self.look(image)
        return self.head_features(maps, responses, (image.shape[-2], image.shape[-1]))

    def look(self, image: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The backbone's four maps, and how strongly each of its k layers responds where: [B, k, S, S].

        Each layer's map is max-pooled over channels and resized (sec. 3.2, F-bar).
        """
        maps, responses = [], []
        for number, x in enumerate(self.backbone.activations(self.backbone_input(image))):
            responses.append(self._response(self.backbone.upright(x.amax(dim=1, keepdim=True)).float()))
            if number in CUTS:
                maps.append(self.backbone.upright(x).float())
        responses.append(self._response(F.relu6(self.last_layer(maps[-1])).amax(dim=1, keepdim=True)))
        return tuple(maps), torch.cat(responses, dim=1)

    def _response(self, strongest: Tensor) -> Tensor:
        return F.interpolate(strongest, size=(self.config.map_size,) * 2, mode="bilinear", align_corners=False)

    def head_features(self, maps: tuple[Tensor, ...], responses: Tensor, size: tuple[int, int]) -> Features:
        """What the head makes of `look`, of an input of (height, width)."""
        mean, std = self.response_mean.view(1, -1, 1, 1), self.response_std.view(1, -1, 1, 1)
        responses = (responses - mean) / std
        attention = self.attention(responses)
        weighted = responses * attention[..., None, None]
        return Features(maps, self.multi_scale(maps), attention, weighted, self.encoder.shared(weighted), size)

    def crop_features(self, features: Features, crops: Tensor) -> Tensor:
        """Region and spatial-aware feature side by side (F_rs): crops [B, N, 4] -> [B, N, d_r + d_s]."""
        masks = crop_masks(crops, features.size, self.config.map_size)
        spatial = [
            torch.cat([self.encoder(shared, part) for part in own.split(CHUNK)])
            for shared, own in zip(features.shared, masks, strict=True)
        ]
        return torch.cat([self.region(features.reduced, crops), torch.stack(spatial)], dim=-1)

    def rate(
        self, features: Features, crops: Tensor, proposals: Proposals | None = None, circle: bool = False
    ) -> Tensor:
        """Score crops [B, N, 4] -> [B, N]; proposals are not looked at, a circle is scored as its square."""
        return self.head(self.crop_features(features, crops)).squeeze(-1)

    def explain(self, features: Features, crop: Tensor, proposals: Proposals | None = None) -> list[Heat]:
        """Where the layers respond more than on average, each by its weight: the same map for every crop."""
        return [
            Heat(
                "What the layers respond to, by the weight of each layer", features.weighted[0].sum(dim=0).clamp(min=0)
            )
        ]

    def compare(self, crop_features: Tensor) -> Tensor:
        """Logits that crop i is better than crop j (sec. 3.3): [B, N, d] -> [B, N, N], at [i, j].

        The classifier is linear in the pair, so each crop goes through it once in each place.
        """
        first, second = self.classifier.weight.view(2, -1)
        return (crop_features @ first)[..., None] + (crop_features @ second)[..., None, :] + self.classifier.bias


def crop_masks(crops: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """1 in the cells of a side x side grid over the input whose centres lie in a crop, else 0.

    Args: crops [B, N, 4] in pixels of an input of (height, width). Returns: [B, N, side, side].
    """
    place = (torch.arange(side, device=crops.device) + 0.5) / side
    y, x = place * size[0], place * size[1]
    rows = (y >= crops[..., 1, None]) & (y < crops[..., 3, None])  # [B, N, side]
    columns = (x >= crops[..., 0, None]) & (x < crops[..., 2, None])
    return (rows[..., None] & columns[..., None, :]).to(crops.dtype)
