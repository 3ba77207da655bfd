"""Boxes of pictures made smaller or larger, by Pillow or, once that is loaded anyway, by torch."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from s2crop.files.sizes import LEFT_TO_LANCZOS

LARGE_PIXELS = 1 << 20  # from which on it takes long to make a picture smaller
MOST_PIXELS = 1 << 24  # of a whole picture, up to which it is copied for torch
MOST_BY_TORCH = 4.0  # times smaller: beyond, Pillow is as fast, as means of blocks come first

Shrink = Callable[[np.ndarray, tuple[int, int]], np.ndarray]  # uint8 [H, W, 3] -> [h, w, 3] of (w, h)

_by_torch: Shrink | None = None


def resized(image: Image.Image, size_wh: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """A box of the image resized with a Lanczos filter (three lobes, widened where it shrinks), by Pillow.

    Means of blocks make a large picture smaller first, no further than the JPEG decoder may: on the photos that its
    limit was measured on, the loss is as small. Of a small picture, which is made soon, they leave more to the filter:
    where blocks begin would be seen.
    """
    gap: float | None = LEFT_TO_LANCZOS if _is_large(box) else 2 * LEFT_TO_LANCZOS
    gap = None if image.mode == "I;16" else gap  # Pillow takes the short cut in 8 bits only
    return image.resize(size_wh, Image.Resampling.LANCZOS, box, gap)


def is_for_torch(image: Image.Image, size_wh: tuple[int, int], box: tuple[float, float, float, float]) -> bool:
    """Whether `resized_by_torch` takes less time than `resized`."""
    if _by_torch is None or image.mode != "RGB" or image.width * image.height > MOST_PIXELS or not _is_large(box):
        return False
    shrinking = (box[2] - box[0]) / size_wh[0], (box[3] - box[1]) / size_wh[1]
    return min(shrinking) > 1 and max(shrinking) <= MOST_BY_TORCH


def resized_by_torch(
    pixels: np.ndarray, size_wh: tuple[int, int], box: tuple[float, float, float, float]
) -> Image.Image:
    """`resized` for an image that it is for. Args: pixels: its own, uint8 [H, W, 3]."""
    assert _by_torch is not None
    left, top = map(math.ceil, box[:2])
    right, bottom = map(math.floor, box[2:])
    return Image.fromarray(_by_torch(pixels[top:bottom, left:right], size_wh))


def _is_large(box: tuple[float, float, float, float]) -> bool:
    return (box[2] - box[0]) * (box[3] - box[1]) >= LARGE_PIXELS


def use_torch() -> None:
    """Let torch make large pictures smaller from now on, where it has that filter and the instructions to be fast.

    It is not imported for this alone: that takes longer than Pillow takes for thirty photos. On 12 megapixels torch
    takes a quarter of Pillow's time, and its values are hardly ever more than one of 255 away from Pillow's
    for the same whole pixels; where the JPEG decoder made a picture smaller, a box ends at whole pixels of that.
    """
    global _by_torch
    _by_torch = _torch_filter()


def _torch_filter() -> Shrink | None:
    """Its Lanczos filter on whole numbers; None where it has none, or a slow one."""
    import torch
    import torch.nn.functional as F

    def shrink(pixels: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
        tensor = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)  # colours stay innermost, and come out so
        made = F.interpolate(tensor, size=size_wh[::-1], mode="lanczos", antialias=True)
        return made.permute(0, 2, 3, 1)[0].contiguous().numpy()

    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return None
    try:
        shrink(np.zeros((6, 6, 3), np.uint8), (3, 3))
    except (NotImplementedError, ValueError):  # a filter without whole numbers; a torch without the filter, before 2.13
        return None
    return shrink
