"""RoIAlign and RoDAlign against a slow, obvious loop, and a 5x5 map that a person can check."""

import math

import pytest
import torch

from s2crop.models.align import rod_align_avg, roi_align_avg

TOLERANCE = 1e-5  # float32 sums of a few products of size one


def sample(plane, y, x):
    """One bilinear sample; the cell index is clamped to size - 2."""
    height, width = plane.shape
    row, column = min(math.floor(y), height - 2), min(math.floor(x), width - 2)
    dy, dx = y - row, x - column
    return (
        (1 - dy) * (1 - dx) * plane[row, column]
        + (1 - dy) * dx * plane[row, column + 1]
        + dy * (1 - dx) * plane[row + 1, column]
        + dy * dx * plane[row + 1, column + 1]
    )


def averaged(grid):
    size = len(grid) - 1
    return torch.tensor(
        [[sum(grid[i + a][j + b] for a in (0, 1) for b in (0, 1)) / 4 for j in range(size)] for i in range(size)]
    )


def roi_loop(plane, box, size, scale):
    height, width = plane.shape
    x1, y1, x2, y2 = (float(v) * scale for v in box)
    grid = [[0.0] * (size + 1) for _ in range(size + 1)]
    for i in range(size + 1):
        for j in range(size + 1):
            y, x = y1 + i * (y2 - y1 + 1) / size, x1 + j * (x2 - x1 + 1) / size
            if 0 <= y < height and 0 <= x < width:
                grid[i][j] = float(sample(plane, y, x))
    return averaged(grid)


def rod_loop(plane, box, size, scale):
    height, width = plane.shape
    x1, y1, x2, y2 = (float(v) * scale for v in box)
    grid = [[0.0] * (size + 1) for _ in range(size + 1)]
    for i in range(size + 1):
        for j in range(size + 1):
            y, x = i * (height - 1.001) / size, j * (width - 1.001) / size
            if not (y1 <= y <= y2 and x1 <= x <= x2):
                grid[i][j] = float(sample(plane, y, x))
    return averaged(grid)


@pytest.mark.parametrize(("fast", "slow"), [(roi_align_avg, roi_loop), (rod_align_avg, rod_loop)])
@pytest.mark.parametrize("size", [3, 9, 15])
def test_align_equals_the_loop(fast, slow, size):
    generator = torch.Generator().manual_seed(size)
    features = torch.randn(2, 3, 16, 24, generator=generator)
    corners = torch.rand(2, 5, 2, generator=generator) * torch.tensor([300.0, 180.0])
    boxes = torch.cat([corners, corners + torch.rand(2, 5, 2, generator=generator) * 150 + 1], dim=-1)
    boxes[0, 0] = torch.tensor([0.0, 0.0, 384.0, 256.0])  # the whole picture, past the last cell's centre
    boxes[0, 1] = torch.tensor([-40.0, -20.0, 60.0, 50.0])  # reaching off the map
    out = fast(features, boxes, size, 1 / 16)
    for b in range(2):
        for k in range(5):
            for c in range(3):
                expected = slow(features[b, c], boxes[b, k], size, 1 / 16)
                torch.testing.assert_close(out[b, k, c], expected, atol=TOLERANCE, rtol=1e-4)


def test_roi_align_of_a_ramp_is_the_mean_of_sample_positions():
    """On the map x + 10 y every average of four samples is the map at their mean position."""
    ramp = (torch.arange(5.0)[None] + 10 * torch.arange(5.0)[:, None])[None, None]
    # the box spans 3 - 1 + 1 = 3 cells an axis: samples at 1, 2, 3, 4 for three bins
    out = roi_align_avg(ramp, torch.tensor([[[1.0, 1.0, 3.0, 3.0]]]), 3, 1.0)[0, 0, 0]
    assert out.tolist() == [[16.5, 17.5, 18.5], [26.5, 27.5, 28.5], [36.5, 37.5, 38.5]]


def test_rod_align_removes_what_is_inside_and_keeps_the_rest():
    """A map of ones sampled at 0, .9998, 1.9995, 2.9993, 3.999; the box holds the middle point alone."""
    out = rod_align_avg(torch.ones(1, 1, 5, 5), torch.tensor([[[1.5, 1.5, 2.5, 2.5]]]), 4, 1.0)[0, 0, 0]
    expected = torch.ones(4, 4)
    expected[1:3, 1:3] = 0.75  # one of four samples is gone
    torch.testing.assert_close(out, expected)


def test_rod_align_counts_edges_as_inside():
    whole = rod_align_avg(torch.ones(1, 1, 5, 5), torch.tensor([[[0.0, 0.0, 4.0, 4.0]]]), 4, 1.0)
    assert whole.abs().max() == 0


def test_align_lets_gradients_through():
    features = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[[8.0, 4.0, 60.0, 70.0]]], dtype=torch.float64)
    for align in (roi_align_avg, rod_align_avg):
        assert torch.autograd.gradcheck(lambda f, align=align: align(f, boxes, 3, 1 / 16), features)
