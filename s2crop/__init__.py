"""s2crop: automatic cropping with S2CNet, SFRC or ASM-Net.

from s2crop import Cropper

cropper = Cropper()
for crop in cropper.crop("a.jpg", ratios=["16:9", "1:1"]):
    crop.image.save(f"a_{crop.ratio.replace(':', 'x')}.jpg")
"""

from importlib import import_module
from typing import TYPE_CHECKING

from s2crop.choices import VERSION
from s2crop.errors import DeviceError, InputError, OutputError, S2CropError, VideoError, WeightsError

if TYPE_CHECKING:
    from s2crop.cropping.cropper import Cropper
    from s2crop.cropping.request import Crop, CropRequest
    from s2crop.models.weights import load_model
    from s2crop.video.covers import Frame, covers

__version__ = VERSION

# Loaded when first used: torch takes seconds to import, `s2crop --help` must not.
_LATER = {
    "Cropper": "s2crop.cropping.cropper",
    "Crop": "s2crop.cropping.request",
    "CropRequest": "s2crop.cropping.request",
    "load_model": "s2crop.models.weights",
    "covers": "s2crop.video.covers",
    "Frame": "s2crop.video.covers",
}
__all__ = [
    "Crop",
    "CropRequest",
    "Cropper",
    "DeviceError",
    "Frame",
    "InputError",
    "OutputError",
    "S2CropError",
    "VideoError",
    "WeightsError",
    "covers",
    "load_model",
]


if not TYPE_CHECKING:  # a checker sees the imports above, and reports names that are not there

    def __getattr__(name: str) -> object:
        if name in _LATER:
            return getattr(import_module(_LATER[name]), name)
        raise AttributeError(f"module 's2crop' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})
