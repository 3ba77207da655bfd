"""The graph against one that builds every node of every crop and loops over heads and pairs."""

import pytest
import torch

from loops import CHOICES, SIZE, make, one_crop_scores, random_boxes
from s2crop.models.graph import DisDrop, DisEmb

TOLERANCE = 2e-5  # float32, a few hundred terms of size one


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
