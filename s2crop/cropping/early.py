"""Pictures made ready for the network, also while that is still being loaded."""

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from s2crop.cropping import windows
from s2crop.cropping.request import Inside, Prepared
from s2crop.errors import WeightsError
from s2crop.files.bars import find_bars
from s2crop.files.picture import Picture
from s2crop.models.input import fit, input_size

if TYPE_CHECKING:
    from s2crop.cropping.cropper import Cropper  # takes torch along
    from s2crop.models.header import InputConfig


MIN_INSIDE = 32  # pixels of a picture made smaller that are left between bars


class _Input(Protocol):
    """`InputConfig`, and any network's configuration."""

    @property
    def short_side(self) -> int: ...

    @property
    def antialias(self) -> bool: ...


def prepare(picture: Picture, config: _Input, keep: bool = False) -> Prepared:
    """Decode a picture, no larger than needed, and resize it for a network. Thread-safe.

    Args:
        keep: keep the decoded pixels for the crops, until the picture is closed.
    """
    size = input_size(picture.width, picture.height, config.short_side)
    short_side = min(config.short_side, picture.width, picture.height)
    pixels = picture.reduced(short_side, keep=True)
    inside = _inside_bars(picture, pixels, config)
    if not keep:
        picture.close()
    return _prepared(pixels, size, picture.width, picture.height, config, inside)


def _prepared(
    pixels: np.ndarray, size: tuple[int, int], width: int, height: int, config: _Input, inside: Inside | None = None
) -> Prepared:
    """A picture, or a part of one, of that width and height. Args: pixels: uint8 [h, w, 3], it made smaller."""
    parts = windows.cut(pixels, width, height, config.short_side, config.antialias)
    return Prepared(fit(pixels, size, config.antialias), width, height, inside, parts)


def _inside_bars(picture: Picture, pixels: np.ndarray, config: _Input) -> Inside | None:
    """What of a picture lies between its bars, by its pixels made smaller; None where it has no bars."""
    (height, width), size_wh = pixels.shape[:2], (picture.width, picture.height)
    left, top, right, bottom = find_bars(pixels)
    # The ground that transparent pixels lie on is no bar.
    if (left, top, right, bottom) == (0, 0, width, height) or picture.is_transparent:
        return None
    # Where a picture was made smaller, the first line beside a bar may be a mean of both.
    margin = int(width < picture.width or height < picture.height)
    left, top = (edge + margin if edge else 0 for edge in (left, top))
    right, bottom = (edge - margin if edge < end else end for edge, end in ((right, width), (bottom, height)))
    if right - left < MIN_INSIDE or bottom - top < MIN_INSIDE:
        return None
    across, down = picture.width / width, picture.height / height
    box = (math.ceil(left * across), math.ceil(top * down), int(right * across), int(bottom * down))
    sides = box[2] - box[0], box[3] - box[1]
    size = input_size(*sides, config.short_side)
    # The part is made no smaller than a picture of its size would be, from pixels that are decoded already.
    whole_side = min(picture.width, picture.height)
    wanted = math.ceil(min(config.short_side, *sides) * whole_side / min(sides))
    pixels = picture.reduced(min(wanted, whole_side // picture.decoded_scale), keep=True)
    left, top, right, bottom = np.rint(np.array(box) * np.tile(np.divide(pixels.shape[1::-1], size_wh), 2)).astype(int)
    shown = np.ascontiguousarray(pixels[top:bottom, left:right])
    return Inside(box, _prepared(shown, size, *sides, config))


class EarlyCropper:
    """A `Cropper` that prepares pictures while its network is loaded; whatever else is asked of it waits for that.

    Args:
        model: its name.
        config: how its network wants pictures; None where that is not known before it is loaded.
        load: makes the cropper.
    """

    def __init__(self, model: str, config: "InputConfig | None", load: Callable[[], "Cropper"]):
        self.model = model
        self._config = config
        self._load = load
        self._cropper: Cropper | None = None
        self._lock = threading.Lock()
        self._tried = threading.Event()

    @property
    def device(self) -> str | None:
        """The device that the network runs on; None until it is loaded."""
        return None if self._cropper is None else self._cropper.device

    @property
    def loaded(self) -> "Cropper":
        """The cropper itself, loaded if it is not yet. Raises: see `load`."""
        return self._cropper or self.load()

    def load(self) -> "Cropper":
        """Load the network in the calling thread, if it is not yet.

        Raises:
            WeightsError: weights that cannot be used. DeviceError: a device that is not there.
        """
        with self._lock:
            try:
                if self._cropper is None:
                    cropper = self._load()
                    if self._config not in (None, (cropper.config.short_side, cropper.config.antialias)):
                        raise WeightsError(f"the weights of {self.model} changed while they were read")
                    self._cropper = cropper
            finally:
                self._tried.set()
            return self._cropper

    def prepare(self, picture: Picture, keep: bool = False) -> Prepared:
        """See `Cropper.prepare`."""
        if self._config is not None:
            return prepare(picture, self._config, keep)
        self._tried.wait()
        if self._cropper is None:
            raise WeightsError(f"{self.model} could not be loaded")
        return self._cropper.prepare(picture, keep)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loaded, name)
