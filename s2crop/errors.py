"""What can go wrong in the world outside; bugs keep their own exceptions."""


class S2CropError(Exception):
    """Base of every error that a caller may meet."""


class InputError(S2CropError):
    """A picture that cannot be read, or not as what it claims to be."""


class VideoError(S2CropError):
    """A clip that cannot be read."""


class WeightsError(S2CropError):
    """A weights file that is missing, damaged or not what it says."""


class DeviceError(S2CropError):
    """A device that was named and is not there."""


class OutputError(S2CropError):
    """An output that cannot or must not be written."""
