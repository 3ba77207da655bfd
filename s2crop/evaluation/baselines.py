"""Crops of other tools, for comparison: centre, smartcrop.py, libvips attention.

smartcrop.py and pyvips are used where they are installed; s2crop does not depend on them.
"""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from PIL import Image

from s2crop.geometry.boxes import largest_of_ratio

Baseline = Callable[[np.ndarray, float], np.ndarray]  # (uint8 [H, W, 3], ratio) -> box [4] in pixels


def centre_crop(pixels: np.ndarray, ratio: float) -> np.ndarray:
    """The largest crop of a ratio, in the middle."""
    size = np.array(pixels.shape[1::-1])
    largest = np.array(largest_of_ratio(ratio, *size))
    return np.concatenate([(size - largest) / 2, (size + largest) / 2])


def smartcrop_crop(pixels: np.ndarray, ratio: float) -> np.ndarray:
    """What smartcrop.py gives for a ratio (edges, skin and saturation)."""
    import smartcrop

    width, height = map(int, largest_of_ratio(ratio, *pixels.shape[1::-1]))
    top = smartcrop.SmartCrop().crop(Image.fromarray(pixels), width, height)["top_crop"]
    return np.array([top["x"], top["y"], top["x"] + top["width"], top["y"] + top["height"]], float)


def vips_crop(pixels: np.ndarray, ratio: float) -> np.ndarray:
    """What libvips gives with the "attention" strategy, as `vipsthumbnail --smartcrop attention`."""
    import pyvips

    width, height = map(int, largest_of_ratio(ratio, *pixels.shape[1::-1]))
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).copy(interpretation="srgb")
    cropped = image.smartcrop(width, height, interesting="attention")
    x, y = -cropped.xoffset, -cropped.yoffset
    return np.array([x, y, x + width, y + height], float)


def baselines() -> dict[str, Baseline]:
    """The tools that are installed, by name."""
    found: dict[str, Baseline] = {"centre crop": centre_crop}
    if find_spec("smartcrop"):
        found["smartcrop.py"] = smartcrop_crop
    if find_spec("pyvips"):
        found["libvips attention"] = vips_crop
    return found
