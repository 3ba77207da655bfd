"""ASM-Net: patterns, pooling of boxes and circles, the score map and its statistics."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from s2crop.models.asmnet import (
    PATTERNS,
    ASMNet,
    ASMNetConfig,
    CompositionPooling,
    ScoreMap,
    circle_shares,
    composition_sensitivity,
    content_importance,
    integral_image,
)

PARTS = {
    "1x1": 1,
    "1x3": 3,
    "3x1": 3,
    "3x3": 9,
    "5x5": 25,
    "multi-rectangle": 3,
    "multi-direction": 8,
    "cross-rectangle": 12,
}
ATOL = 1e-5  # float32 maps, float64 sums


def made_map(partitions, height=70, width=90, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(1, partitions, height, width)).astype(np.float32))


def pool(pattern, scores, boxes, circle=False):
    pooling = CompositionPooling(PATTERNS[pattern])
    return pooling(integral_image(scores), torch.tensor(boxes, dtype=torch.float32)[None], circle)[0].numpy()


def test_patterns_have_the_papers_number_of_partitions():
    assert {name: len(np.unique(pattern)) for name, pattern in PATTERNS.items()} == PARTS
    assert np.bincount(PATTERNS["multi-direction"].ravel()).tolist() == [18] * 8  # 12x12 cells, 18 for each
    rings = PATTERNS["multi-rectangle"]
    assert rings.shape == (6, 6) and (rings[2:4, 2:4] == rings[2, 2]).all() and (rings[0] == rings[5]).all()
    cross = PATTERNS["cross-rectangle"]
    for half in (cross[:3, :3], cross[:3, 3:], cross[3:, :3], cross[3:, 3:]):  # each quadrant has three of its own
        assert len(np.unique(half)) == 3 and np.isin(cross, half).sum() == 9


def test_each_direction_is_where_its_number_says():
    pattern = PATTERNS["multi-direction"]
    for n, (x, y) in enumerate([(-2, -1), (-1, -2), (2, -1), (1, -2), (-2, 1), (-1, 2), (2, 1), (1, 2)]):
        assert pattern[int(6 + y * 2), int(6 + x * 2)] == n


@pytest.mark.parametrize("name", PATTERNS)
def test_pooling_equals_the_loop_over_pixels(name):
    """Eq. 1, on boxes whose cells hold whole pixels."""
    pattern = PATTERNS[name]
    rows, columns = pattern.shape
    scores = made_map(pattern.max() + 1)
    boxes = [[3, 5, 63, 65], [0, 10, 60, 70], [30, 0, 90, 60]]
    for box, found in zip(boxes, pool(name, scores, boxes), strict=True):
        x1, y1, x2, y2 = box
        total = sum(
            scores[0, pattern[(i - y1) * rows // 60, (j - x1) * columns // 60], i, j].item()
            for i in range(y1, y2)
            for j in range(x1, x2)
        )
        assert found == pytest.approx(total / 3600, abs=ATOL)


@pytest.mark.parametrize("name", PATTERNS)
def test_pooling_equals_the_mean_of_the_diagonal_of_cell_means(name):
    """Eq. 2, on boxes anywhere: a pixel counts by its share inside a cell."""
    pattern = PATTERNS[name]
    rows, columns = pattern.shape
    scores = made_map(pattern.max() + 1, seed=1)
    rng = np.random.default_rng(2)
    corner = rng.uniform(0, 40, (4, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 30, (4, 2))], axis=1)

    def covered(count, start, end):
        pixel = np.arange(count)
        return np.clip(np.minimum(pixel + 1, end) - np.maximum(pixel, start), 0, None)

    for (x1, y1, x2, y2), found in zip(np.float32(boxes), pool(name, scores, boxes), strict=True):
        y, x = np.linspace(y1, y2, rows + 1), np.linspace(x1, x2, columns + 1)
        diagonal = []
        for i, j in np.ndindex(rows, columns):
            weights = covered(70, y[i], y[i + 1])[:, None] * covered(90, x[j], x[j + 1])
            diagonal.append((weights * scores[0, pattern[i, j]].numpy()).sum() / weights.sum())
        assert found == pytest.approx(np.mean(diagonal), abs=1e-4)


@pytest.mark.parametrize("name", PATTERNS)
def test_circle_pooling_equals_the_loop_over_pixels(name):
    """Eq. 9: partitions of the square, pixels of its inscribed circle alone."""
    pattern = PATTERNS[name]
    rows, columns = pattern.shape
    coarse = made_map(pattern.max() + 1, 13, 13, seed=3)
    scores = F.interpolate(coarse, size=(260, 260), mode="bilinear")  # smooth: a circle's border cells count by share
    away = torch.linspace(-1, 1, 260) ** 2
    scores = scores + away + away[:, None]  # corners are worth more, so that circle and square differ
    x1, y1, side = 10, 14, 240
    total, count = 0.0, 0
    for i in range(side):
        for j in range(side):
            if (i + 0.5 - side / 2) ** 2 + (j + 0.5 - side / 2) ** 2 <= (side / 2) ** 2:
                total += scores[0, pattern[i * rows // side, j * columns // side], y1 + i, x1 + j].item()
                count += 1
    box = [[x1, y1, x1 + side, y1 + side]]
    circle, square = pool(name, scores, box, circle=True)[0], pool(name, scores, box)[0]
    assert circle == pytest.approx(total / count, abs=2e-3)
    assert abs(square - circle) > 0.05


def test_circle_ignores_the_corners_and_a_box_does_not():
    scores = torch.zeros(1, 12, 96, 96)
    scores[:, :, :12, :12] = scores[:, :, -12:, -12:] = 5.0
    box = [[0, 0, 96, 96]]
    assert pool("cross-rectangle", scores, box, circle=True)[0] == pytest.approx(0, abs=1e-6)
    assert pool("cross-rectangle", scores, box)[0] == pytest.approx(5 * 2 * 144 / 96**2, abs=1e-6)
    assert pool("cross-rectangle", torch.ones(1, 12, 96, 96), box, circle=True)[0] == pytest.approx(1)


def test_cells_inside_a_circle_add_up_to_its_area():
    shares = circle_shares((36, 36))
    assert shares.mean() == pytest.approx(np.pi / 4, abs=2e-4)
    assert shares[18, 18] == 1 and shares[0, 0] == 0 and 0 < shares[0, 14] < 1
    assert (shares == shares.T).all() and (shares == shares[::-1]).all()


def test_one_region_scores_by_its_place_in_a_crop():
    """By hand: only what lies in the upper left third is worth something."""
    scores = torch.zeros(1, 9, 30, 30)
    scores[:, 0, 12:15, 12:15] = 9.0
    assert pool("3x3", scores, [[12, 12, 21, 21], [9, 9, 18, 18], [0, 0, 30, 30]]) == pytest.approx([1, 0, 0], abs=1e-6)


def test_parts_of_a_box_outside_the_map_are_cut_off():
    scores = made_map(12)
    inside, outside = pool("cross-rectangle", scores, [[0, 0, 50, 40], [-9, -3, 50, 40]])
    assert inside == pytest.approx(outside)
    assert np.isfinite(pool("cross-rectangle", scores, [[-9, -9, -3, -3], [4, 4, 4, 4]])).all()


def test_gradients_reach_the_map_through_the_integral_image():
    scores = made_map(3, 8, 8).double().requires_grad_()
    pooling = CompositionPooling(PATTERNS["multi-rectangle"])
    boxes = torch.tensor([[[1.3, 0.2, 7.1, 6.4], [0, 0, 8, 8]]]).double()
    assert torch.autograd.gradcheck(lambda m: pooling(integral_image(m), boxes), scores)


def test_importance_and_sensitivity_equal_the_loops():
    scores = made_map(5, 3, 4)
    for i, j in np.ndindex(3, 4):
        m = [scores[0, k, i, j].item() for k in range(5)]
        mean = sum(m) / 5
        assert content_importance(scores)[0, i, j].item() == pytest.approx(mean, abs=ATOL)
        deviation = (sum((v - mean) ** 2 for v in m) / 5) ** 0.5
        assert composition_sensitivity(scores)[0, i, j].item() == pytest.approx(deviation, abs=ATOL)


def test_score_map_is_one_convolution_of_the_joined_maps():
    """Sec. 3.1: maps enlarged to the input's size, concatenated, 1x1 convolution."""
    torch.manual_seed(0)
    head = ScoreMap((4, 6, 8), 12, 0, 1)
    maps = tuple(torch.randn(2, c, 64 // s, 96 // s) for c, s in ((4, 8), (6, 16), (8, 32)))
    joined = torch.cat([F.interpolate(m, size=(64, 96), mode="bilinear") for m in maps], dim=1)
    torch.testing.assert_close(head(maps, (64, 96)), head.reduce(joined), atol=1e-5, rtol=1e-5)


def test_mixed_maps_have_the_stride_asked_for():
    head = ScoreMap((4, 6, 8), 12, 16, 4)
    maps = tuple(torch.randn(1, c, 64 // s, 96 // s) for c, s in ((4, 8), (6, 16), (8, 32)))
    assert head(maps, (64, 96)).shape == (1, 12, 16, 24)


@pytest.mark.parametrize(
    "config",
    [
        ASMNetConfig(),
        ASMNetConfig(map_stride=4, hidden_dim=16, pattern="5x5", proposal_head=True),
        ASMNetConfig(backbone="vgg16", pattern="3x3"),
    ],
)
def test_network_scores_a_batch_as_it_scores_single_pictures(config):
    torch.manual_seed(0)
    net = ASMNet(config).eval()
    image = torch.randn(2, 3, 64, 96)
    crops = torch.tensor([[0.0, 4, 8, 60, 40], [0, 0, 0, 96, 64], [1, 20, 10, 90, 50]])
    proposals = torch.tensor([[0.0, 0, 0, 96, 64], [1, 0, 0, 96, 64]])
    with torch.inference_mode():
        together = net(image, crops, proposals)
        features = net.features(image)
        assert features.scores.shape == (
            2,
            len(np.unique(PATTERNS[config.pattern])),
            64 // config.map_stride,
            96 // config.map_stride,
        )
        for b, rows in ((0, [0, 1]), (1, [2])):
            alone = net.rate(net.features(image[b, None]), crops[rows, 1:][None])[0]
            torch.testing.assert_close(together[rows], alone, atol=1e-4, rtol=1e-4)
        # the crop's score is the pooled map, in map cells
        mean = pool(config.pattern, features.scores[:1], [(crops[0, 1:] / config.map_stride).tolist()])[0]
        assert together[0].item() == pytest.approx(mean, abs=1e-4)


def test_choices_that_do_not_exist_are_refused():
    for wrong in (
        {"pattern": "4x4"},
        {"backbone": "resnet"},
        {"map_stride": 3},
        {"padding": "two"},
        {"hidden_dim": -1},
        {"backbone": "vgg16", "proposal_head": True},
    ):
        with pytest.raises(ValueError):
            ASMNetConfig(**wrong)
