"""Values of options: how each is written, and what it becomes."""

import math
import re
from typing import Any

import click

from s2crop.files.formats import format_to_write
from s2crop.geometry.ratio import parse_ratio

_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,5}):([0-5]?\d(?:\.\d*)?)", re.ASCII)  # hours, minutes, seconds


def _number_or_percent(text: str) -> tuple[float, bool]:
    """A number, of a percentage the share, and whether it is one; NaN for what is neither."""
    percent = text.rstrip().endswith("%")
    try:
        number = float(text.rstrip().removesuffix("%"))
    except ValueError:
        return math.nan, percent
    return (number / 100 if percent else number), percent


class Ratios(click.ParamType):
    name = "R"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return [parse_ratio(part) for part in value.split(",")]
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Whole(click.ParamType):
    """A whole number within limits."""

    def __init__(self, name: str, lowest: int = 1, highest: int | None = None):
        self.name, self.lowest, self.highest = name, lowest, highest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = int(value) if re.fullmatch(r"\d{1,12}", str(value), re.ASCII) else -1
        if number < self.lowest or self.highest is not None and number > self.highest:
            upper = "" if self.highest is None else f" to {self.highest}"
            self.fail(f"{value!r} is not a whole number from {self.lowest}{upper}", param, ctx)
        return number


class Format(click.Choice):
    """An output format, by whatever suffix its files have, in any case: jpeg is jpg."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        known = format_to_write("." + str(value).removeprefix("."))
        return super().convert(str(value).lower() if known is None else known.choice, param, ctx)


class Sizes(click.ParamType):
    name = "S"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from s2crop.files.sizes import parse_sizes

        try:
            return parse_sizes(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Numbers(click.ParamType):
    """Coordinates: `X,Y` or `X,Y,W,H`, where W and H are above 0; percentages become fractions."""

    def __init__(self, name: str):
        self.name = name
        self.count = name.count(",") + 1

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        parts = [_number_or_percent(part) for part in value.split(",")]
        numbers = tuple(number for number, _ in parts)
        if len(numbers) != self.count or not all(math.isfinite(n) and n >= 0 for n in numbers):
            self.fail(f"{value!r} is not {self.name}: {self.count} numbers from 0 with commas between", param, ctx)
        if any(percent for _, percent in parts):
            if not all(percent or number == 0 for number, percent in parts):
                self.fail(f"{value!r} mixes percentages and others: give all in per cent, or none", param, ctx)
            if max(numbers) > 1:
                self.fail(f"{value!r} is more than 100 %", param, ctx)
        if not all(numbers[2:]):
            self.fail(f"{value!r} has no area: W and H must be above 0", param, ctx)
        return numbers


class Share(click.ParamType):
    """A number from 0 to 1, or a percentage."""

    name = "F"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        share = _number_or_percent(str(value))[0]
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is not a share: a number from 0 to 1, such as 0.8", param, ctx)
        return share


class Seconds(click.ParamType):
    """A time: seconds, or hours, minutes and seconds with colons between."""

    name = "S"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        match = _CLOCK.fullmatch(value)
        if match:
            hours, minutes, seconds = (float(part or 0) for part in match.groups())
            return 3600 * hours + 60 * minutes + seconds
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not (math.isfinite(seconds) and seconds >= 0):
            self.fail(f"{value!r} is not a time in seconds, such as 90 or 7.5, or 00:01:30", param, ctx)
        return seconds


class Shard(click.ParamType):
    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", value, re.ASCII)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            self.fail(f"{value!r} is not a part: 1/4 to 4/4 are the parts of four", param, ctx)
        return int(match[1]), int(match[2])


class Device(click.ParamType):
    name = "DEVICE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", value, re.ASCII):
            self.fail(f"{value!r} is not a device: auto, cpu, cuda, cuda:1 or mps", param, ctx)
        return value


class Ground(click.ParamType):
    """A colour that is laid under or beside pixels, or one of the words that stand for something else."""

    def __init__(self, *words: str):
        self.words = words
        self.name = "|".join((*words, "COLOUR"))

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from PIL import ImageColor

        if value is None or value in self.words:
            return value
        try:
            colour = ImageColor.getrgb(value)
        except ValueError:
            words = ", ".join(self.words)
            self.fail(f"{value!r} is not a colour: give {words}, a name such as white, or #rrggbb", param, ctx)
        if len(colour) > 3 and colour[3] < 255:
            self.fail(f"{value!r} is transparent itself", param, ctx)
        return "#" + "".join(f"{value:02x}" for value in colour[:3])
