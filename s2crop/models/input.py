"""The networks' input: its size, and pixels made ready for it. Works without torch, which takes seconds to import."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

MAX_LONG_SIDE = 1024  # network-input pixels; beyond 4:1 a picture is squeezed
MIN_SIDE = 64  # so that the map has four cells
GRID = 32  # the network's sides are multiples of its largest stride
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def input_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """(height, width) of the network input: short side as configured, both multiples of 32."""
    scale = min(short_side / min(width, height), MAX_LONG_SIDE / max(width, height))
    rows, columns = (max(MIN_SIDE, round(side * scale / GRID) * GRID) for side in (height, width))
    return rows, columns


def fit(pixels: np.ndarray, size: tuple[int, int], antialias: bool) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [3, h, w], bilinear."""
    if antialias:
        image = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(image).transpose(2, 0, 1).copy()
    import torch  # the published networks saw what its resize gives, to the last bit
    import torch.nn.functional as F

    tensor = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
    return F.interpolate(tensor, size=size, mode="bilinear", align_corners=False)[0].round().to(torch.uint8).numpy()


def resize(pixels: np.ndarray, size: tuple[int, int], antialias: bool) -> "torch.Tensor":
    """`fit` as a tensor."""
    import torch

    return torch.from_numpy(fit(pixels, size, antialias))
