"""A cropper that is at work while its network is still being loaded."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from s2crop.cropping.prepare import prepare
from s2crop.cropping.request import Prepared
from s2crop.errors import WeightsError
from s2crop.files.picture import Picture

if TYPE_CHECKING:
    from s2crop.cropping.cropper import Cropper  # takes torch along
    from s2crop.models.header import InputConfig


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
