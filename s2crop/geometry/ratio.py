"""Aspect ratios as people write them."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

FREE = "free"
ORIGINAL = "original"

_PAIR = re.compile(r"(\d+(?:\.\d+)?)\s*[:x/]\s*(\d+(?:\.\d+)?)", re.ASCII)
_DECIMAL = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
MAX_RATIO = 20.0  # past 20:1 a crop is a line, and more likely a typing error


@dataclass(frozen=True)
class Ratio:
    """An aspect ratio: its label and width over height (None where the picture decides)."""

    label: str  # "16:9", "1.91", "free", "original"
    value: float | None

    def for_size(self, width: int, height: int) -> float | None:
        """Width over height for a picture of this size; None when any ratio will do."""
        return width / height if self.label == ORIGINAL else self.value

    @property
    def file_label(self) -> str:
        """The label without characters that file systems refuse: "16x9"."""
        return self.label.replace(":", "x")


def parse_ratio(text: str) -> Ratio:
    """Read `16:9`, `4x3`, `1.91`, `square`, `original` or `free`.

    Raises:
        ValueError: anything else, or a ratio beyond 20:1 or 1:20.
    """
    if not isinstance(text, str):
        raise ValueError(f"an aspect ratio is text, as '1.91', not {text!r}")
    word = text.strip().lower()
    if word in (FREE, ORIGINAL):
        return Ratio(word, None)
    if word == "square":
        return Ratio("1:1", 1.0)
    if pair := _PAIR.fullmatch(word):
        label = f"{pair[1]}:{pair[2]}"
        width, height = float(pair[1]), float(pair[2])
        value = width / height if height else math.inf
    elif _DECIMAL.fullmatch(word):
        label, value = word, float(word)
    else:
        raise ValueError(f"not an aspect ratio: {text!r} (like 16:9, 4x3, 1.91, square, original, free)")
    if not 1 / MAX_RATIO <= value <= MAX_RATIO:
        raise ValueError(f"aspect ratio out of range: {text!r} (between 1:{MAX_RATIO:g} and {MAX_RATIO:g}:1)")
    return Ratio(label, value)


def parse_ratios(texts: str | Iterable[str]) -> tuple[Ratio, ...]:
    """Read several, or one; what names a ratio once more is passed over. Raises ValueError as `parse_ratio` does."""
    found = map(parse_ratio, [texts] if isinstance(texts, str) else texts)
    return tuple({ratio.label: ratio for ratio in found}.values())
