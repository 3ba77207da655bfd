"""What can go wrong in the world outside; bugs keep their own exceptions."""

from collections.abc import Callable


class S2CropError(Exception):
    """Base of every error that a caller may meet.

    Args:
        message: one line; "{option}" in it stands for the option.
        option: the argument that the message is about, by the name it has in Python; the command spells it its way.
    """

    def __init__(self, message: str = "", option: str | None = None):
        super().__init__(message)
        self.option = option

    def __str__(self) -> str:
        return self.spelled(lambda option: option)

    def spelled(self, spell: Callable[[str], str]) -> str:
        """The message, with the option as the caller knows it."""
        message = super().__str__()
        return message if self.option is None else message.replace("{option}", spell(self.option))


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
