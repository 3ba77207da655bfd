"""What draws the eye, without learning: the spectral residual of Hou and Zhang (CVPR 2007)."""

from typing import Literal

import numpy as np
from PIL import Image

WIDTH = 64  # pixels that the picture is reduced to (their sec. 4)
MEAN_SIDE = 3  # of the filter that takes the average log spectrum
BLUR = 2.5  # deviation of the Gaussian over the result, in pixels


def spectral_residual(pixels: np.ndarray) -> np.ndarray:
    """Saliency map of a picture (eq. 1 to 6).

    The logarithm of the amplitude spectrum less its local mean is what is unexpected in the
    picture; with the phases as they are it is turned back, squared and blurred.

    Args:
        pixels: uint8 [H, W, 3].
    Returns:
        float32 [h, 64], from 0 to 1; all 0 for a picture of one colour.
    """
    height, width = pixels.shape[:2]
    size_wh = WIDTH, max(8, round(WIDTH * height / width))
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize(size_wh, Image.Resampling.BOX), float)
    if np.ptp(grey) == 0:
        return np.zeros(grey.shape, np.float32)
    spectrum = np.fft.fft2(grey)
    log_amplitude = np.log(np.abs(spectrum) + 1e-8)
    residual = log_amplitude - _filtered(log_amplitude, np.ones(MEAN_SIDE) / MEAN_SIDE)
    saliency = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    reach = np.arange(-round(3 * BLUR), round(3 * BLUR) + 1)
    gaussian = np.exp(-0.5 * (reach / BLUR) ** 2)
    saliency = _filtered(saliency, gaussian / gaussian.sum(), mode="symmetric")
    saliency -= saliency.min()
    return (saliency / saliency.max()).astype(np.float32)


def _filtered(values: np.ndarray, kernel: np.ndarray, mode: Literal["wrap", "symmetric"] = "wrap") -> np.ndarray:
    """A separable filter; a spectrum goes on at its other end, a picture is mirrored at its border."""
    reach = len(kernel) // 2
    for axis in (0, 1):
        pad = [(reach, reach) if a == axis else (0, 0) for a in (0, 1)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, pad, mode=mode), len(kernel), axis=axis)
        values = windows @ kernel
    return values
