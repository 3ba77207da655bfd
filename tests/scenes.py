"""Frames for clips: scenes of a seed's own colours and blocks, and what is made of them."""

import numpy as np
from PIL import Image, ImageFilter

SIZE = 90, 160  # height, width


def scene(seed, size=SIZE):
    """A picture of a seed's own colours and blocks, uint8 [h, w, 3]: bright, sharp, not uniform."""
    rng = np.random.default_rng(seed)
    height, width = size
    ground = np.linspace(rng.uniform(60, 120, 3), rng.uniform(130, 220, 3), width)
    frame = np.repeat(ground[None], height, axis=0)
    for _ in range(25):
        y, x = rng.integers(height * 3 // 4), rng.integers(width * 3 // 4)
        frame[y : y + rng.integers(4, height // 3), x : x + rng.integers(4, width // 4)] = rng.integers(20, 236, 3)
    return frame.astype(np.uint8)


def blurred(frame, radius):
    return np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(radius)))


def between(first, second, count):
    """A dissolve."""
    return [
        np.rint(first + (second.astype(float) - first) * (i + 1) / (count + 1)).astype(np.uint8) for i in range(count)
    ]


BLACK, WHITE = np.zeros((*SIZE, 3), np.uint8), np.full((*SIZE, 3), 255, np.uint8)
