"""RoIAlign and RoDAlign in the grid-anchor variant, as products of small matrices.

Both poolings are separable: with the sampling and the 2x2 average of each axis in one small
matrix, a box's pooled map is `Wy F Wx^T`. Boxes of one picture share the left product.
"""

import torch
from torch import Tensor

ROD_SHRINK = 1.001  # RoDAlign's last sample stays 0.001 cells inside the map, as in the reference


def roi_align_avg(features: Tensor, boxes: Tensor, size: int, scale: float) -> Tensor:
    """Pool the region of interest: the inside of each box.

    Grid-anchor variant (Zeng et al. 2019, sec. 3.3), not torchvision's: on the map a box spans
    x2 - x1 + 1 cells; size + 1 single samples an axis stand at equal spacing from its start;
    samples off the map are 0; inside, the cell index is clamped to the last but one; then a 2x2
    average with stride 1.

    Args:
        features: [B, C, H, W] feature map.
        boxes: [B, K, 4] (x1, y1, x2, y2) in network-input pixels.
        size: output side A, in bins.
        scale: map cells for each input pixel, 1/16 here.
    Returns:
        [B, K, C, A, A].
    """
    starts = boxes[..., :2] * scale
    steps = (boxes[..., 2:] * scale - starts + 1.0).clamp(min=0) / size
    height, width = features.shape[-2:]
    rows = _average(_sampling(starts[..., 1], steps[..., 1], size + 1, height))  # [B, K, A, H]
    columns = _average(_sampling(starts[..., 0], steps[..., 0], size + 1, width))  # [B, K, A, W]
    return _pool(features, rows, columns)


def rod_align_avg(features: Tensor, boxes: Tensor, size: int, scale: float) -> Tensor:
    """Pool the region of discard: the map without the inside of each box.

    Grid-anchor variant (Zeng et al. 2019, sec. 3.3): the whole map is sampled on size + 1 points
    an axis, the points inside the box (edges included) are set to 0, then a 2x2 average with
    stride 1. The grid is sampled once for a picture; what a box removes is again separable.

    Args:
        features: [B, C, H, W] feature map.
        boxes: [B, K, 4] (x1, y1, x2, y2) in network-input pixels.
        size: output side A, in bins.
        scale: map cells for each input pixel, 1/16 here.
    Returns:
        [B, K, C, A, A].
    """
    height, width = features.shape[-2:]
    rows, y = _whole_map_sampling(height, size + 1, features)
    columns, x = _whole_map_sampling(width, size + 1, features)
    grid = rows @ features @ columns.T  # [B, C, A+1, A+1]
    low, high = boxes[..., None, :2] * scale, boxes[..., None, 2:] * scale  # [B, K, 1, 2]
    inside_y = ((y >= low[..., 1]) & (y <= high[..., 1])).to(grid.dtype)  # [B, K, A+1]
    inside_x = ((x >= low[..., 0]) & (x <= high[..., 0])).to(grid.dtype)
    removed = _pool(grid, _average(torch.diag_embed(inside_y)), _average(torch.diag_embed(inside_x)))
    averaged = _average(_average(grid).mT).mT  # [B, C, A, A]
    return averaged[:, None] - removed


def _sampling(start: Tensor, step: Tensor, points: int, size: int) -> Tensor:
    """Bilinear sampling matrices [..., points, size] for points at start + k * step."""
    position = start[..., None] + step[..., None] * torch.arange(points, device=start.device, dtype=start.dtype)
    cell = position.floor().clamp(max=size - 2)
    ratio = (position - cell)[..., None]
    cell = cell[..., None]
    cells = torch.arange(size, device=start.device, dtype=start.dtype)
    weights = torch.where(cells == cell, 1 - ratio, torch.where(cells == cell + 1, ratio, 0.0))
    inside = (position >= 0) & (position < size)
    return weights * inside[..., None]


def _whole_map_sampling(size: int, points: int, like: Tensor) -> tuple[Tensor, Tensor]:
    start = torch.zeros((), device=like.device, dtype=like.dtype)
    step = start + (size - ROD_SHRINK) / (points - 1)
    return _sampling(start, step, points, size), step * torch.arange(points, device=like.device, dtype=like.dtype)


def _average(samples: Tensor) -> Tensor:
    """Mean of neighbours along the last but one axis: half of the 2x2 average."""
    return (samples[..., :-1, :] + samples[..., 1:, :]) * 0.5


def _pool(features: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """[B, C, H, W], [B, K, A, H], [B, K, A, W] -> [B, K, C, A, A]."""
    batch, channels, height, width = features.shape
    count, size = rows.shape[1:3]
    # All rows of all boxes of a picture in one product, then each box's columns.
    left = rows.reshape(batch, count * size, height) @ features.permute(0, 2, 1, 3).reshape(batch, height, -1)
    left = left.view(batch, count, size * channels, width)
    pooled = left @ columns.mT  # [B, K, A*C, A]
    return pooled.view(batch, count, size, channels, size).transpose(2, 3)
