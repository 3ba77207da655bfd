"""Where the outputs of one input go."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

STDOUT = Path("-")  # the output path that stands for standard output

Key = tuple[str, int] | tuple[str, int, str]  # of a crop: ratio label, rank, and its size where several are asked for


def key_of(ratio: str, rank: int, size: str | None = None) -> Key:
    """What a crop's output is planned under. Args: size: as a record has it."""
    return (ratio, rank) if size is None else (ratio, rank, size)


@dataclass(frozen=True)
class Plan:
    """Where the outputs of a picture go, and of a clip those of each of its covers."""

    crops: Mapping[Key, Path] = field(default_factory=dict)
    overlay: Path | None = None  # for the input with its crops drawn on it
    heatmap: Path | None = None  # for the input with what drove its scores drawn over it
    frame: Path | None = None  # for the whole frame of a cover
    covers: tuple["Plan", ...] = ()  # best first

    def paths(self) -> Iterator[Path]:
        """Of the picture itself, without those of covers."""
        yield from self.crops.values()
        yield from (path for path in (self.overlay, self.heatmap, self.frame) if path is not None)

    def all_paths(self) -> Iterator[Path]:
        """Of the picture and of the covers."""
        yield from self.paths()
        for cover in self.covers:
            yield from cover.paths()
