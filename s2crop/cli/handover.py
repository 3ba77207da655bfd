"""What the rest of the program is told of the options."""

from collections import Counter
from collections.abc import Container
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from s2crop.choices import DEFAULT_QUALITY
from s2crop.cli.options import Options, flag

if TYPE_CHECKING:
    from s2crop.cropping.request import CropRequest
    from s2crop.run.work import BatchOptions


def request(options: Options) -> "CropRequest":
    """What is asked of every picture: its fields have the names of the options'."""
    from s2crop.cropping.request import CropRequest

    return CropRequest(**{about.name: getattr(options, about.name) for about in fields(CropRequest)})


def batch(options: Options, protected: Container[Path], stream: BinaryIO | None) -> "BatchOptions":
    """How a run crops and writes: its fields have the names of the options', but for those that follow from several.

    Args:
        protected: the inputs, with links followed.
        stream: standard output.
    """
    from s2crop.run.work import BatchOptions

    otherwise: dict[str, Any] = {
        "request": request(options),
        "quality": DEFAULT_QUALITY if options.quality is None else options.quality,
        "ground": None if options.background == "auto" else options.background,
        "pad_with": options.pad_with or "blur",
        "weights": None if options.weights is None else _digest_of_file(options.weights),
        "protected": protected,
        "stream": stream if options.to_stdout else None,
        "stream_format": options.fmt,
        "spell": flag,
        "overlay_proposals": options.overlay and options.verbose,
        "thumbnails": options.sheet is not None,
        "covers": options.covers or 1,
    }
    same = {about.name for about in fields(BatchOptions)} - otherwise.keys()
    return BatchOptions(**otherwise, **{name: getattr(options, name) for name in same})


def _digest_of_file(path: Path) -> str:
    import hashlib

    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:16]
    except OSError:  # loading it will say what is wrong
        return str(path)


def filters(options: Options, passed_over: Counter[str]) -> dict[str, Any]:
    """What `find_sources` is told."""
    return {
        "recursive": options.recursive,
        "include": options.include,
        "exclude": options.exclude,
        "skip_folder": options.folder,
        "covers": options.cover,
        "passed_over": passed_over,
    }


def naming(options: Options) -> dict[str, Any]:
    """What a `Namer` is told."""
    return {
        "template": options.template,
        "sizes": options.sizes,
        "exact": not options.no_upscale,
        "folder": options.folder,
        "fmt": options.fmt,
        "circle": options.clear,
        "overlay": options.overlay,
        "heatmap": options.heatmap,
        "covers": options.covers or 1,
        "keep_frames": options.keep_frames,
    }
