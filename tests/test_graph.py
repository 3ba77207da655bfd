"""The graph against one that builds every node of every crop and loops over heads and pairs."""

import pytest
import torch
import torch.nn.functional as F

from s2crop.models.graph import DisDrop, DisEmb
from s2crop.models.s2cnet import S2CNet, S2CNetConfig, overlap_features

TOLERANCE = 2e-5  # float32, a few hundred terms of size one
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


@pytest.mark.parametrize("choices", CHOICES, ids=lambda c: "-".join(f"{k}={v}" for k, v in c.items()) or "paper")
def test_graph_equals_one_graph_for_each_crop(choices):
    net = make(**choices)
    crops, proposals = random_boxes(2, 4), random_boxes(2, 3)
    crops[0, 0] = proposals[0, 0]  # equal centres
    reduced = torch.randn(2, 8, 16, 24)
    attributes = torch.rand(2, 3, 4) if net.config.node_geometry else None
    with torch.inference_mode():
        scores = net.score(reduced, crops, proposals, SIZE, attributes)
        crop_nodes, proposal_nodes = net.nodes(reduced, crops, proposals, SIZE, attributes)
        expected = torch.stack(
            [
                torch.stack(
                    [
                        one_crop_scores(net, crop_nodes[b, k], proposal_nodes[b], crops[b, k], proposals[b])
                        for k in range(4)
                    ]
                )
                for b in range(2)
            ]
        )
    assert expected.std() > 1e-3  # the cases tell crops apart
    torch.testing.assert_close(scores, expected, atol=TOLERANCE, rtol=1e-4)


def test_disemb_of_near_points_keeps_its_precision():
    torch.manual_seed(0)
    edges = DisEmb(256)
    edges.phi.load_state_dict(edges.theta.state_dict())  # then a point's distance to itself is 0
    points = torch.tensor([[[0.5, 0.5], [0.5001, 0.5]]])
    with torch.inference_mode():
        distances = edges(points, points)[0, 0]
        a = edges.theta(points.double().float())[0]
    assert distances[1, 1] < 1e-5
    exact = (a[0].double() - a[1].double()).norm() / 16
    assert abs(distances[0, 2] - exact) < 1e-6


def test_disdrop_drops_what_is_far():
    edges = DisDrop(heads=4, threshold=0.2)
    crops, proposals = torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[0.6, 0.5], [0.9, 0.5]]])
    with torch.inference_mode():
        out = edges(crops, proposals, aspect=1.0)[0, 0]
    assert out[0, 1].abs().max() > 0 and out[0, 2].abs().max() == 0


def test_batch_equals_single_and_any_crop_order():
    net = make()
    image = torch.randn(2, 3, 64, 96)
    crops = torch.cat([torch.tensor([[0.0], [0], [1], [0], [1]]), random_boxes(5) * 0.3], dim=1)
    proposals = torch.cat([torch.tensor([[0.0], [0], [0], [1], [1], [1]]), random_boxes(6) * 0.3], dim=1)
    with torch.inference_mode():
        together = net(image, crops, proposals)
        shuffled = net(image, crops[[4, 2, 0, 1, 3]], proposals)
        for b in range(2):
            mine = crops[crops[:, 0] == b] * torch.tensor([0.0, 1, 1, 1, 1])
            own = proposals[proposals[:, 0] == b] * torch.tensor([0.0, 1, 1, 1, 1])
            alone = net(image[b : b + 1], mine, own)
            torch.testing.assert_close(together[crops[:, 0] == b], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(shuffled, together[[4, 2, 0, 1, 3]], atol=1e-5, rtol=1e-4)


def test_unequal_proposal_counts_are_refused():
    net = make()
    rows = torch.tensor([[0.0, 1, 1, 9, 9], [0, 1, 1, 9, 9], [1, 1, 1, 9, 9]])
    with pytest.raises(ValueError, match="same number of proposals"):
        net(torch.randn(2, 3, 64, 64), torch.tensor([[0.0, 0, 0, 50, 50], [1, 0, 0, 50, 50]]), rows)
    with pytest.raises(ValueError, match="multiples of 32"):
        net.features(torch.randn(1, 3, 60, 64))
