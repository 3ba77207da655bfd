"""S2CNet: scores crop candidates of a picture from what is inside, outside and around them."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2crop.models.align import rod_align_avg, roi_align_avg
from s2crop.models.backbone import Backbone, MultiScale
from s2crop.models.graph import AttentionGraph, OverlapMessages
from s2crop.models.proposals import KINDS, Proposals
from s2crop.models.scorer import Config, Heat, Scorer

MOS_MEAN, MOS_STD = 2.95, 0.8  # the networks' scores are MOS less this mean, over this deviation


@dataclass(frozen=True)
class S2CNetConfig(Config):
    """Every choice in the network and its input.

    The defaults are the paper's. `GAICv1` and `GAICv2`, the published checkpoints, differ in
    align size, number of proposals and head. The switches give the paper's tables 1 to 3.
    """

    # input
    pixel_scale: float = 256.0  # S2CNet divides pixels by 256, not 255
    antialias: bool = False  # the reference resizes bilinearly without antialiasing
    # features
    reduced_dim: int = 8  # channels C of the multi-scale map
    align_size: int = 15  # A; GAICv1 was published with 9
    num_proposals: int = 10  # D (N in the paper's table 2)
    # graph
    node_dim: int = 256  # E
    relation_dim: int = 256
    depth: int = 2
    heads: int = 4
    mlp_dim: int = 1024
    gate: bool = True  # feature aggregation gate (G in table 3)
    semantic_bias: bool = True  # M_a in table 3
    spatial_bias: bool = True  # M_p in table 3
    spatial_edges: str = "disemb"  # or "disdrop" (table 1)
    drop_threshold: float = 0.2  # DisDrop's epsilon, in picture widths
    head: str = "crop"  # score from the crop node, or from "all" nodes
    # deviations from the paper, all off by default
    node_geometry: bool = False  # nodes know their box, kind and detector score
    overlap_messages: bool = False  # a crop is told how it holds or cuts each proposal

    def __post_init__(self) -> None:
        for name, allowed in (
            ("padding", ("one", "same")),
            ("spatial_edges", ("disemb", "disdrop")),
            ("head", ("crop", "all")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        for name in ("short_side", "reduced_dim", "align_size", "num_proposals", "node_dim", "depth", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.node_dim % self.heads:
            raise ValueError(f"node_dim {self.node_dim} is not a multiple of heads {self.heads}")


class Features(NamedTuple):
    """What one backbone pass gives for a batch of pictures."""

    maps: tuple[Tensor, ...]  # of the backbone, strides 4, 8, 16 and 32
    reduced: Tensor  # [B, C, H/16, W/16]
    size: tuple[int, int]  # (height, width) of the network input


class NodeEmbedding(nn.Module):
    """RoIAlign and RoDAlign of a box, side by side in each channel, to one node vector."""

    GEOMETRY = 9

    def __init__(self, config: S2CNetConfig):
        super().__init__()
        self.align_size = config.align_size
        self.pixels = nn.Linear(2 * config.reduced_dim * config.align_size**2, config.node_dim)
        self.norm = nn.LayerNorm(config.node_dim)
        self.geometry = self.kinds = None
        if config.node_geometry:
            self.geometry = nn.Linear(self.GEOMETRY, config.node_dim, bias=False)
            self.kinds = nn.Linear(len(KINDS) + 1, config.node_dim, bias=False)

    def forward(
        self, reduced: Tensor | None, crops: Tensor, proposals: Tensor, size: tuple[int, int], attributes: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Crops [B, N, 4] and proposals [B, D, 4] in input pixels -> nodes [B, N, E] and [B, D, E].

        Without a map, nodes are made of geometry alone.
        """
        boxes = torch.cat([crops, proposals], dim=1)
        if reduced is None:
            nodes = self.pixels.bias.expand(*boxes.shape[:2], -1)
        else:
            scale = 1 / MultiScale.STRIDE
            roi = roi_align_avg(reduced, boxes, self.align_size, scale)
            rod = rod_align_avg(reduced, boxes, self.align_size, scale)
            nodes = self.pixels(torch.cat([roi.flatten(3), rod.flatten(3)], dim=3).flatten(2))
        if self.geometry is not None:
            nodes = nodes + self.geometry(box_geometry(boxes, size))
        counts = [crops.shape[1], proposals.shape[1]]
        crop_nodes, proposal_nodes = nodes.split(counts, dim=1)
        if self.kinds is not None and attributes is not None:
            proposal_nodes = proposal_nodes + self.kinds(attributes)
        return self.activate(crop_nodes), self.activate(proposal_nodes)

    def activate(self, nodes: Tensor) -> Tensor:
        return F.relu(self.norm(nodes))


class S2CNet(Scorer[Features]):
    """The network of Su et al., AAAI 2024 (fig. 2).

    `forward` takes what the published reference takes. Callers that score several sets of
    candidates of one picture call `features` once and `rate` or `score` for each set.
    """

    config: S2CNetConfig
    backbone: Backbone

    def __init__(self, config: S2CNetConfig = S2CNetConfig()):
        super().__init__(config)
        self.num_proposals = config.num_proposals
        self.backbone = Backbone(config.padding)
        self.multi_scale = MultiScale(config.reduced_dim)
        self.add_sight()
        self.nodes = NodeEmbedding(config)
        self.graph = AttentionGraph(config)
        self.head: nn.Module
        if config.head == "crop":
            self.head = nn.Linear(config.node_dim, 1)
        else:  # the published 16x16, 1x1 and 1x1 convolutions over [D+1, 16, 16], as linear layers
            self.head = nn.Sequential(
                nn.Linear((config.num_proposals + 1) * config.node_dim, 768),
                nn.ReLU(),
                nn.Linear(768, 128),
                nn.ReLU(),
                nn.Linear(128, 1),
            )

    def features(self, image: Tensor) -> Features:
        """One backbone pass. Args: image [B, 3, H, W], normalised; H and W multiples of 32."""
        maps = tuple(m.float() for m in self.backbone(self.backbone_input(image)))
        return Features(maps, self.multi_scale(maps), (image.shape[-2], image.shape[-1]))

    def rate(self, features: Features, crops: Tensor, proposals: Proposals, circle: bool = False) -> Tensor:
        """See `Scorer.rate`; a circle is scored as its square."""
        attributes = proposals.attributes() if self.config.node_geometry else None
        return self.score(features.reduced, crops, proposals.boxes, features.size, attributes)

    def explain(self, features: Features, crop: Tensor, proposals: Proposals) -> list[Heat]:
        """The attention that the crop's node pays to each proposal (eq. 6), mean over layers and heads.
        See `Scorer.explain`.
        """
        weights: list[Tensor] = []  # the crop's row in each layer, [1, 1, D+1, heads], its own entry first
        hooks = [
            module.register_forward_hook(lambda module, given, made: weights.append(made[:, :, 0]))
            for module in self.graph.modules()
            if isinstance(module, nn.Softmax)  # each layer has one
        ]
        try:
            self.rate(features, crop, proposals)
        finally:
            for hook in hooks:
                hook.remove()
        attention = torch.stack(weights).mean(dim=(0, -1)).flatten()
        own, shares = attention[0], attention[1:]
        real = shares * (proposals.scores[0] > 0)
        values = (real[:, None, None] * box_bumps(proposals.boxes[0], features.size)).sum(dim=0)
        return [Heat(f"Attention of the crop to what was found; {float(own):.0%} to itself", values, shares)]

    def score(
        self,
        reduced: Tensor | None,
        crops: Tensor,
        proposals: Tensor,
        size: tuple[int, int],
        attributes: Tensor | None = None,
    ) -> Tensor:
        """Score candidates on one backbone pass.

        Args:
            reduced: [B, C, H/16, W/16] of `features`; None scores from geometry alone, which only
                a configuration with node_geometry can.
            crops: [B, N, 4]; proposals: [B, D, 4]; (x1, y1, x2, y2) in network-input pixels.
            size: (height, width) of the network input.
            attributes: [B, D, 4] kind of each proposal (one-hot) and its detector score; zeros or
                None where unknown.
        Returns:
            [B, N] scores, normalised: MOS is 2.95 + 0.8 times the score.
        """
        if self.config.head == "all" and proposals.shape[1] != self.config.num_proposals:
            raise ValueError(f"this head takes {self.config.num_proposals} proposals, not {proposals.shape[1]}")
        crop_nodes, proposal_nodes = self.nodes(reduced, crops, proposals, size, attributes)
        overlaps = overlap_features(crops, proposals) if self.graph.messages is not None else None
        crop_only = self.config.head == "crop"
        out = self.graph(
            crop_nodes,
            proposal_nodes,
            _centres(crops, size),
            _centres(proposals, size),
            size[0] / size[1],
            overlaps,
            crop_only,
        )
        return self.head(out if crop_only else out.flatten(2)).squeeze(-1)


def _centres(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    return (boxes[..., :2] + boxes[..., 2:]) * boxes.new_tensor([0.5 / width, 0.5 / height])


def box_bumps(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """A soft hill over each box, 1 in its middle and 1/e at the middle of an edge,
    in a cell for each 4x4 pixels of the input.

    Args: boxes [D, 4] in pixels of an input of (height, width). Returns: [D, height/4, width/4].
    """
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=1) / 2
    x, y = (torch.arange(2, side, 4, device=boxes.device) for side in reversed(size))
    across = torch.exp(-(((x - centre[:, :1]) / half[:, :1]) ** 4))  # [D, width/4]
    down = torch.exp(-(((y - centre[:, 1:]) / half[:, 1:]) ** 4))
    return down[:, :, None] * across[:, None]


def box_geometry(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """[..., 4] in input pixels -> [..., 9]: corners, width, height and area as fractions, log ratios."""
    height, width = size
    corners = boxes / boxes.new_tensor([width, height, width, height])
    sides = (corners[..., 2:] - corners[..., :2]).clamp(min=1e-3)
    ratio = (sides[..., :1] / sides[..., 1:]).log()
    picture = torch.full_like(ratio, width / height).log()
    return torch.cat([corners, sides, sides.prod(-1, keepdim=True), ratio + picture, picture], dim=-1)


def overlap_features(crops: Tensor, proposals: Tensor) -> Tensor:
    """How each crop holds each proposal: [B, N, 4], [B, D, 4] -> [B, N, D, 8].

    Share of the proposal inside, how far it is cut (0 whole or lost, 1 halved), IoU, share of
    the crop that it fills, its centre in the crop's frame and its size in crop sides.
    """
    crop, proposal = crops[:, :, None], proposals[:, None]  # [B, N, 1, 4], [B, 1, D, 4]
    crop_sides = (crop[..., 2:] - crop[..., :2]).clamp(min=1)
    sides = (proposal[..., 2:] - proposal[..., :2]).clamp(min=1)
    overlap = torch.minimum(crop[..., 2:], proposal[..., 2:]) - torch.maximum(crop[..., :2], proposal[..., :2])
    intersection = overlap.clamp(min=0).prod(-1)
    crop_area, area = crop_sides.prod(-1), sides.prod(-1)
    inside = (intersection / area).clamp(max=1)
    iou = intersection / (crop_area + area - intersection)
    centre = ((proposal[..., :2] + proposal[..., 2:]) / 2 - crop[..., :2]) / crop_sides - 0.5
    scalars = torch.stack([inside, 4 * inside * (1 - inside), iou, intersection / crop_area], dim=-1)
    relative = torch.cat([centre.clamp(-1, 1), (sides / crop_sides).clamp(max=2)], dim=-1)
    features = torch.cat([scalars, relative], dim=-1)
    assert features.shape[-1] == OverlapMessages.FEATURES
    return features
