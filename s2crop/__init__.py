"""s2crop: automatic cropping with S2CNet, SFRC or ASM-Net.

from s2crop import Cropper

cropper = Cropper()
for crop in cropper.crop("a.jpg", ratios=["16:9", "1:1"]):
    crop.image.save(f"a_{crop.ratio.replace(':', 'x')}.jpg")
"""

from importlib import import_module

from s2crop.errors import DeviceError, InputError, OutputError, S2CropError, VideoError, WeightsError

__version__ = "0.1.0"

# Loaded when first used: torch takes seconds to import, `s2crop --help` must not.
_LATER = {
    "Cropper": "s2crop.cropping.cropper",
    "Crop": "s2crop.cropping.request",
    "CropRequest": "s2crop.cropping.request",
    "load_model": "s2crop.models.weights",
    "covers": "s2crop.video.covers",
    "Frame": "s2crop.video.covers",
}
__all__ = ["DeviceError", "InputError", "OutputError", "S2CropError", "VideoError", "WeightsError", *_LATER]


def __getattr__(name: str):
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 's2crop' has no attribute {name!r}")
