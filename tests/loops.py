"""The graph written out for one crop, node by node and head by head: what the fast one is measured against."""

import torch
import torch.nn.functional as F

from s2crop.models.s2cnet import S2CNet, S2CNetConfig, overlap_features

SIZE = (256, 384)


def make(**choices):
    torch.manual_seed(1)
    net = S2CNet(S2CNetConfig(align_size=5, num_proposals=3, node_dim=32, relation_dim=16, mlp_dim=48, **choices))
    for parameter in net.graph.parameters():  # biases and norms away from zero and one
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net.eval()


def random_boxes(*shape):
    corner = torch.rand(*shape, 2) * torch.tensor([200.0, 120.0])
    return torch.cat([corner, corner + 20 + torch.rand(*shape, 2) * 100], dim=-1)


def one_crop_scores(net, crop_node, proposal_nodes, crop, proposals, attention=None):
    """Equations 1 to 7 for a single crop, written out; the crop's weights [n] of each layer and head go to a list."""
    graph, config = net.graph, net.config
    x = torch.cat([crop_node[None], proposal_nodes])  # [n, E]
    boxes = torch.cat([crop[None], proposals])
    n, heads = len(x), config.heads
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / torch.tensor([SIZE[1], SIZE[0]])
    bias, product = torch.zeros(heads, n, n), torch.ones(n, n)
    if config.semantic_bias:
        edge = graph.semantic.theta(x) @ graph.semantic.phi(x).T / config.relation_dim**0.5
        per_head = graph.semantic_heads(edge[..., None]).permute(2, 0, 1)
        bias, product = bias + per_head, product * per_head.mean(0)
    if config.spatial_bias and config.spatial_edges == "disemb":
        a, b = graph.spatial.theta(centres), graph.spatial.phi(centres)
        edge = torch.stack([torch.stack([(a[i] - b[j]).norm() for j in range(n)]) for i in range(n)])
        per_head = graph.spatial_heads((edge / config.relation_dim**0.5)[..., None]).permute(2, 0, 1)
        bias, product = bias + per_head, product * per_head.mean(0)
    elif config.spatial_bias:
        pixels = centres * torch.tensor([SIZE[1], SIZE[0]])
        distance = torch.cdist(pixels, pixels) / SIZE[1]  # in picture widths
        per_head = (graph.spatial.psi(distance[..., None]) * (distance <= config.drop_threshold)[..., None]).permute(
            2, 0, 1
        )
        bias, product = bias + per_head, product * per_head.mean(0)
    if not (config.semantic_bias or config.spatial_bias):
        product = torch.zeros(n, n)
    hidden = None
    if graph.messages is not None:
        overlaps = overlap_features(crop[None, None], proposals[None])[0, 0]
        hidden = F.gelu(graph.messages.overlap(overlaps) + graph.messages.proposal(proposal_nodes))
    for number, layer in enumerate(graph.layers):
        normed = layer.norm(x)
        gated = normed
        if config.gate:
            gated = F.relu(graph.gate_norm(graph.gate(product.softmax(-1) @ x)))
        query, key, value = layer.query(gated), layer.key(normed), layer.value(normed)
        pooled, width = [], config.node_dim // heads
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            logits = query[:, part] @ key[:, part].T / config.node_dim**0.5 + bias[head]
            values = value[:, part].expand(n, n, width).clone()
            if hidden is not None:
                logits[0, 1:] += graph.messages.biases[number](hidden)[:, head]
                values[0, 1:] += graph.messages.values[number](hidden)[:, part]
            weights = logits.softmax(-1)
            if attention is not None:
                attention.append(weights[0])
            pooled.append(torch.einsum("ij,ijd->id", weights, values))
        x = x + layer.out(torch.cat(pooled, dim=1))
        x = x + layer.mlp(layer.mlp_norm(x))
    return net.head(x[0] if config.head == "crop" else x.flatten())[0]


CHOICES = [
    {},
    {"gate": False},
    {"semantic_bias": False},
    {"spatial_bias": False},
    {"semantic_bias": False, "spatial_bias": False},
    {"gate": False, "semantic_bias": False, "spatial_bias": False},
    {"spatial_edges": "disdrop"},
    {"head": "all"},
    {"depth": 1},
    {"depth": 3},
    {"depth": 3, "head": "all"},
    {"overlap_messages": True, "node_geometry": True},
    {"overlap_messages": True, "head": "all"},
    {"overlap_messages": True, "depth": 1},
]
