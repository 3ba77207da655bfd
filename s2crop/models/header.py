"""What a weights file says of itself, read without torch, which takes seconds to import."""

import json
from pathlib import Path
from typing import NamedTuple

from s2crop.errors import WeightsError

FORMAT = "s2crop-1"
MAX_SIZE = 8192  # of any whole number in a configuration; the published networks have 1024 at most
MAX_HEADER_BYTES = 16 << 20  # the headers of ours take some 30 kB


class InputConfig(NamedTuple):
    """How pictures are made ready for a network."""

    short_side: int
    antialias: bool


def weights_folder() -> Path:
    """Where the shipped weights lie: in the installed package, or in the source tree."""
    package = Path(__file__).parents[1]
    installed = package / "_weights"
    return installed if installed.is_dir() else package.parent / "weights"


def shipped_file(name: str, folder: Path) -> tuple[Path, str]:
    """Path and SHA-256 of the default weights of a model, as the manifest has them. Raises WeightsError."""
    manifest = folder / "manifest.json"
    try:
        entry = json.loads(manifest.read_text())["models"][name]
        return folder / entry["file"], str(entry["sha256"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{manifest}: no usable entry for {name} ({error})") from None


def input_config(name: str, weights: Path | None) -> InputConfig | None:
    """How a weights file of ours wants its input; None where that cannot be told: the reader of its tensors says why.

    Args:
        weights: None for the shipped ones of that name.
    """
    try:
        path = shipped_file(name, weights_folder())[0] if weights is None else weights
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > MAX_HEADER_BYTES:
                return None
            metadata = json.loads(file.read(size))["__metadata__"]
        if metadata["format"] != FORMAT or metadata["model"] != name:
            return None
        config = json.loads(metadata["config"])
        found = InputConfig(config["short_side"], config["antialias"])
    except (OSError, KeyError, TypeError, ValueError, RecursionError, WeightsError):
        return None
    usable = type(found.short_side) is int and 0 < found.short_side <= MAX_SIZE and type(found.antialias) is bool
    return found if usable else None
