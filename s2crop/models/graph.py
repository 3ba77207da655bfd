"""The adaptive attention graph: edges, gate and attention over crop and proposal nodes.

Each crop candidate has a graph of its own: node 0 is the crop, nodes 1 to D are the proposals.
The proposals are the same in all graphs of a picture, so whatever depends on them alone is
computed once for a picture, and where only the crop node is read the last layer computes only
that node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from s2crop.models.s2cnet import S2CNetConfig


class SemanticEdges(nn.Module):
    """Appearance similarity of two nodes in an embedding space (S2CNet, eq. 1)."""

    def __init__(self, node_dim: int, relation_dim: int):
        super().__init__()
        self.theta = nn.Linear(node_dim, relation_dim)
        self.phi = nn.Linear(node_dim, relation_dim)

    def forward(self, crops: Tensor, proposals: Tensor) -> Tensor:
        """[B, N, E], [B, D, E] -> [B, N, D+1, D+1]."""
        theta_crop, theta_proposal = self.theta(crops), self.theta(proposals)
        phi_crop, phi_proposal = self.phi(crops), self.phi(proposals)
        edges = _assemble(
            (theta_crop * phi_crop).sum(-1),
            theta_crop @ phi_proposal.mT,
            phi_crop @ theta_proposal.mT,
            theta_proposal @ phi_proposal.mT,
        )
        return edges * self.theta.out_features**-0.5


class DisEmb(nn.Module):
    """Spatial edges from embedded box centres (S2CNet, eq. 3).

    The published networks take the Euclidean norm itself, not its square, and divide it by
    sqrt(dim). The difference of two linear maps of (x, y) is linear in (x_i, y_i, x_j, y_j, 1), so
    its squared norm is a quadratic form: no [.., dim] vectors are made.
    """

    def __init__(self, relation_dim: int):
        super().__init__()
        self.theta = nn.Linear(2, relation_dim)
        self.phi = nn.Linear(2, relation_dim)

    def forward(self, crops: Tensor, proposals: Tensor) -> Tensor:
        """Centres in fractions of width and height, [B, N, 2], [B, D, 2] -> [B, N, D+1, D+1]."""
        # float64, where the device has it: close pairs are small differences of large sums
        exact = torch.float32 if crops.device.type == "mps" else torch.float64
        theta, phi = self.theta.weight.to(exact), self.phi.weight.to(exact)
        offset = (self.theta.bias - self.phi.bias).to(exact)
        nodes = _join_nodes(crops, proposals).to(exact)  # [B, N, D+1, 2]
        start = (nodes @ (theta.T @ theta) * nodes).sum(-1) + 2 * (nodes @ (theta.T @ offset)) + offset @ offset
        end = (nodes @ (phi.T @ phi) * nodes).sum(-1) - 2 * (nodes @ (phi.T @ offset))
        between = nodes @ (-2 * theta.T @ phi) @ nodes.mT  # [B, N, D+1, D+1]
        squared = (between + start[..., None] + end[:, :, None]) / theta.shape[0]
        return squared.clamp(min=1e-12).sqrt().to(crops.dtype)


class DisDrop(nn.Module):
    """Spatial edges from the distance itself, 0 beyond a threshold (S2CNet, eq. 2).

    Distances are in picture widths: eq. 2 compares with epsilon times the width.
    """

    HIDDEN = 64

    def __init__(self, heads: int, threshold: float):
        super().__init__()
        self.threshold = threshold
        self.psi = nn.Sequential(nn.Linear(1, self.HIDDEN), nn.ReLU(), nn.Linear(self.HIDDEN, heads))

    def forward(self, crops: Tensor, proposals: Tensor, aspect: float) -> Tensor:
        """Centres as for DisEmb; aspect is height over width -> [B, N, D+1, D+1, heads]."""
        centres = _join_nodes(crops, proposals)
        difference = centres[:, :, :, None] - centres[:, :, None]
        distance = torch.hypot(difference[..., 0], difference[..., 1] * aspect)[..., None]
        return self.psi(distance) * (distance <= self.threshold)


class GraphAttention(nn.Module):
    """Spatial-semantic oriented self-attention and feed-forward (S2CNet, eq. 6 and 7).

    Keys and values come from the normalised nodes; queries from the gate. The logits are scaled
    by the full width, E^-0.5, not the head's, as in the published networks.
    """

    def __init__(self, dim: int, heads: int, mlp_dim: int):
        super().__init__()
        self.heads, self.scale = heads, dim**-0.5
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.softmax = nn.Softmax(dim=3)  # a module, so that hooks see the weights
        self.out = nn.Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_dim), nn.GELU(), nn.Linear(mlp_dim, dim))

    def shared(
        self, crops: Tensor, proposals: Tensor, gated: Tensor, bias: Tensor | None, messages: Messages | None
    ) -> Tensor:
        """First layer: nodes [B, N, E] and [B, D, E], proposals not yet different for each crop.

        There are far fewer different nodes than rows in all graphs, so the maps before and after
        the attention move to the nodes: (Q g)'k = g'(Q'k), and O (sum w v) = sum w (O v).

        Returns:
            All nodes of all graphs, [B, N, D+1, E].
        """
        batch, count, nodes, dim = gated.shape
        # keys and values: [B, N, h*E] of crops, [B, D, h*E] of proposals
        crop_key, crop_value = self._moved_maps(self.norm(crops))
        proposal_key, proposal_value = self._moved_maps(self.norm(proposals))
        to_proposals = gated.flatten(1, 2) @ proposal_key.reshape(batch, -1, dim).mT  # [B, N*(D+1), D*h]
        to_proposals = to_proposals.view(batch, count, nodes, -1, self.heads)
        to_crop = gated @ crop_key.view(batch, count, self.heads, dim).mT  # [B, N, D+1, h]
        weights = self._softmax(torch.cat([to_crop[:, :, :, None], to_proposals], dim=3), bias, messages)
        pooled = weights[:, :, :, 1:].reshape(batch, count * nodes, -1) @ proposal_value.reshape(batch, -1, dim)
        pooled = pooled.view(batch, count, nodes, dim)
        pooled = pooled + weights[:, :, :, 0] @ crop_value.view(batch, count, self.heads, dim) + self.out.bias
        if messages is not None:
            pooled[:, :, 0] += messages.gather(weights) @ self.out.weight.T
        return self._feed_forward(_join_nodes(crops, proposals) + pooled)

    def _moved_maps(self, normed: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes [B, K, E] -> Q'(key) and O(value) of each head, [B, K, h*E] both."""
        split = (self.heads, -1)
        query = self.query.weight.unflatten(0, split)  # [h, d, E]
        out = self.out.weight.unflatten(1, split)  # [E, h, d]
        key = torch.einsum("bkhd,hde->bkhe", self.key(normed).unflatten(-1, split), query)
        value = torch.einsum("bkhd,ehd->bkhe", self.value(normed).unflatten(-1, split), out)
        return key.flatten(2), value.flatten(2)

    def every_node(self, nodes: Tensor, gated: Tensor, bias: Tensor | None, messages: Messages | None) -> Tensor:
        """A later layer, all nodes: [B, N, D+1, E] -> the same."""
        batch, count, size, dim = nodes.shape
        normed = self.norm(nodes)
        query, key, value = (
            self._node_heads(f(x)) for f, x in ((self.query, gated), (self.key, normed), (self.value, normed))
        )  # [B, h, N, D+1, d]
        weights = self._softmax((query @ key.mT).permute(0, 2, 3, 4, 1), bias, messages)
        pooled = (weights.permute(0, 4, 1, 2, 3) @ value).permute(0, 2, 3, 1, 4).reshape(batch, count, size, dim)
        if messages is not None:
            pooled[:, :, 0] += messages.gather(weights)
        return self._feed_forward(nodes + self.out(pooled))

    def crop_node(self, nodes: Tensor, gated: Tensor, bias: Tensor | None, messages: Messages | None) -> Tensor:
        """A later layer, crop node alone: nodes [B, N, D+1, E], gated [B, N, E] -> [B, N, E].

        With one query, key and value maps move to its side: q'(K x) = (K'q)'x and
        sum w (V x) = V (sum w x), so no node is mapped.
        """
        batch, count, _, dim = nodes.shape
        normed = self.norm(nodes)
        query = self.query(gated).view(batch, count, self.heads, -1)  # [B, N, h, d]
        key = self.key.weight.view(self.heads, -1, dim)  # [h, d, E]
        query = torch.einsum("bnhd,hde->bnhe", query, key)
        logits = (normed @ query.mT)[:, :, None]  # [B, N, 1, D+1, h]
        weights = self._softmax(logits, None if bias is None else bias[:, :, :1], messages)
        summed = weights[:, :, 0].mT @ normed  # [B, N, h, E]
        value = self.value.weight.view(self.heads, -1, dim)
        pooled = torch.einsum("bnhe,hde->bnhd", summed, value).reshape(batch, count, dim)
        if messages is not None:
            pooled = pooled + messages.gather(weights)
        return self._feed_forward(nodes[:, :, 0] + self.out(pooled))

    def _node_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).permute(0, 3, 1, 2, 4)  # [B, h, N, D+1, d]

    def _softmax(self, logits: Tensor, bias: Tensor | None, messages: Messages | None) -> Tensor:
        """Attention weights over dimension 3: [B, N, rows, D+1, h], heads last for speed."""
        logits = logits * self.scale
        if bias is not None:
            logits = logits + bias
        if messages is not None:  # the crop's row, proposals' columns
            logits[:, :, 0, 1:] += messages.bias
        return self.softmax(logits)

    def _feed_forward(self, nodes: Tensor) -> Tensor:
        return nodes + self.mlp(self.mlp_norm(nodes))


@dataclass
class Messages:
    """What a crop is told about each proposal, for one layer."""

    bias: Tensor  # [B, N, D, heads], added to the logits of the crop's row
    hidden: Tensor  # [B, N, D, HIDDEN]
    value: Tensor  # [E, HIDDEN], maps hidden to what is added to the values

    def gather(self, weights: Tensor) -> Tensor:
        """What the crop's row of the weights [B, N, .., D+1, heads] gathers: [B, N, E]."""
        summed = weights[:, :, 0, 1:].mT @ self.hidden  # [B, N, h, HIDDEN]
        value = self.value.unflatten(0, (summed.shape[2], -1))  # [h, d, HIDDEN]
        return torch.einsum("bnhk,hdk->bnhd", summed, value).flatten(2)


class OverlapMessages(nn.Module):
    """How a crop holds, cuts or loses each proposal, as relative keys and values.

    A deviation from the paper, in the manner of Shaw et al. 2018 (eq. 3 and 4): edges that carry
    their own key and value. Centre distances alone do not say whether a face is cut.
    """

    FEATURES = 8
    HIDDEN = 64

    def __init__(self, node_dim: int, heads: int, depth: int):
        super().__init__()
        self.overlap = nn.Linear(self.FEATURES, self.HIDDEN)
        self.proposal = nn.Linear(node_dim, self.HIDDEN, bias=False)
        self.values = nn.ModuleList(nn.Linear(self.HIDDEN, node_dim, bias=False) for _ in range(depth))
        self.biases = nn.ModuleList(nn.Linear(self.HIDDEN, heads) for _ in range(depth))

    def forward(self, overlaps: Tensor, proposals: Tensor) -> list[Messages]:
        """[B, N, D, FEATURES], proposal nodes [B, D, E] -> one Messages for each layer."""
        hidden = F.gelu(self.overlap(overlaps) + self.proposal(proposals)[:, None])
        return [
            Messages(bias(hidden), hidden, cast(nn.Linear, value).weight)
            for bias, value in zip(self.biases, self.values, strict=True)
        ]


class AttentionGraph(nn.Module):
    """Edges, feature aggregation gate and stacked graph-aware attention (S2CNet, eq. 1 to 7).

    Faithful to the published networks where they differ from the paper: the edges feed the
    attention separately for each head through a 1-to-heads map; the gate's adjacency is the
    softmax over j of the product of the head means, in place of eq. 4; the gate ends in
    LayerNorm and ReLU, is shared by all layers, and gives the queries alone.
    """

    def __init__(self, config: S2CNetConfig):
        super().__init__()
        dim, heads = config.node_dim, config.heads
        self.config = config
        self.semantic = SemanticEdges(dim, config.relation_dim) if config.semantic_bias else None
        self.semantic_heads = nn.Linear(1, heads) if config.semantic_bias else None
        self.spatial: DisEmb | DisDrop | None = None
        self.spatial_heads: nn.Linear | None = None
        if config.spatial_bias and config.spatial_edges == "disemb":
            self.spatial, self.spatial_heads = DisEmb(config.relation_dim), nn.Linear(1, heads)
        elif config.spatial_bias:
            self.spatial = DisDrop(heads, config.drop_threshold)
        self.gate = nn.Linear(dim, dim, bias=False) if config.gate else None
        self.gate_norm = nn.LayerNorm(dim) if config.gate else None
        self.messages = OverlapMessages(dim, heads, config.depth) if config.overlap_messages else None
        self.layers = nn.ModuleList(GraphAttention(dim, heads, config.mlp_dim) for _ in range(config.depth))

    def forward(
        self,
        crops: Tensor,
        proposals: Tensor,
        crop_centres: Tensor,
        proposal_centres: Tensor,
        aspect: float,
        overlaps: Tensor | None = None,
        crop_only: bool = True,
    ) -> Tensor:
        """Pass messages.

        Args:
            crops: [B, N, E] crop nodes; proposals: [B, D, E] proposal nodes.
            crop_centres, proposal_centres: [B, N, 2], [B, D, 2] in fractions of width and height.
            aspect: height over width of the input.
            overlaps: [B, N, D, 8], where the configuration asks for them.
            crop_only: return the crop nodes alone.
        Returns:
            [B, N, E], or all nodes [B, N, D+1, E].
        """
        bias, adjacency = self._edges(crops, proposals, crop_centres, proposal_centres, aspect)
        messages: Sequence[Messages | None] = [None] * len(self.layers)
        if self.messages is not None:
            messages = self.messages(overlaps, proposals)
        first, *later = cast("list[GraphAttention]", list(self.layers))
        nodes = first.shared(crops, proposals, self._gate_shared(first, crops, proposals, adjacency), bias, messages[0])
        for number, layer in enumerate(later, start=1):
            if crop_only and number == len(later):
                gated = self._gate(layer, nodes, adjacency, rows=1)[:, :, 0]
                return layer.crop_node(nodes, gated, bias, messages[number])
            nodes = layer.every_node(nodes, self._gate(layer, nodes, adjacency), bias, messages[number])
        return nodes[:, :, 0] if crop_only else nodes

    def _edges(
        self, crops: Tensor, proposals: Tensor, crop_centres: Tensor, proposal_centres: Tensor, aspect: float
    ) -> tuple[Tensor | None, Tensor | None]:
        """Attention bias [B, N, D+1, D+1, heads] (or None) and the gate's adjacency [B, N, D+1, D+1]."""
        per_head: list[tuple[nn.Linear | None, Tensor]] = []
        if self.semantic is not None:
            per_head.append((self.semantic_heads, self.semantic(crops, proposals)))
        if isinstance(self.spatial, DisEmb):
            per_head.append((self.spatial_heads, self.spatial(crop_centres, proposal_centres)))
        elif self.spatial is not None:
            per_head.append((None, self.spatial(crop_centres, proposal_centres, aspect)))
        bias: Tensor | None = None
        product: Tensor | None = None
        for linear, edge in per_head:
            if linear is None:
                heads, mean = edge, edge.mean(-1)
            else:  # a 1-to-heads map; its mean over the heads is again a line
                weight, offset = linear.weight[:, 0], linear.bias
                heads = edge[..., None] * weight + offset
                mean = edge * weight.mean() + offset.mean()
            bias = heads if bias is None else bias + heads
            product = mean if product is None else product * mean
        if self.gate is None:
            return bias, None
        if product is None:  # neither edge: every node counts the same
            nodes = proposals.shape[1] + 1
            product = crops.new_zeros(*crops.shape[:2], nodes, nodes)
        return bias, product.softmax(dim=-1)

    def _gate_shared(self, layer: GraphAttention, crops: Tensor, proposals: Tensor, adjacency: Tensor | None) -> Tensor:
        if self.gate is None or self.gate_norm is None or adjacency is None:
            return layer.norm(_join_nodes(crops, proposals))
        # A (X Z) = (A X) Z: each node goes through Z once for a picture
        mapped_crops, mapped_proposals = self.gate(crops), self.gate(proposals)
        batch, count, nodes, _ = adjacency.shape
        mixed = adjacency[..., 1:].reshape(batch, count * nodes, -1) @ mapped_proposals
        mixed = mixed.view(batch, count, nodes, -1) + adjacency[..., :1] * mapped_crops[:, :, None]
        return F.relu(self.gate_norm(mixed))

    def _gate(self, layer: GraphAttention, nodes: Tensor, adjacency: Tensor | None, rows: int | None = None) -> Tensor:
        """Feature aggregation gate (eq. 5) for the first `rows` nodes of each graph."""
        if self.gate is None or self.gate_norm is None or adjacency is None:
            return layer.norm(nodes[:, :, :rows])
        return F.relu(self.gate_norm(self.gate(adjacency[:, :, :rows] @ nodes)))


def _assemble(crop_crop: Tensor, crop_proposal: Tensor, proposal_crop: Tensor, proposal_proposal: Tensor) -> Tensor:
    """Blocks [B, N], [B, N, D], [B, N, D], [B, D, D] -> [B, N, D+1, D+1]."""
    count = crop_crop.shape[1]
    top = torch.cat([crop_crop[..., None], crop_proposal], dim=-1)[:, :, None]
    bottom = torch.cat([proposal_crop[..., None], proposal_proposal[:, None].expand(-1, count, -1, -1)], dim=-1)
    return torch.cat([top, bottom], dim=2)


def _join_nodes(crops: Tensor, proposals: Tensor) -> Tensor:
    """[B, N, E], [B, D, E] -> [B, N, D+1, E], crop first."""
    count = crops.shape[1]
    return torch.cat([crops[:, :, None], proposals[:, None].expand(-1, count, -1, -1)], dim=2)
