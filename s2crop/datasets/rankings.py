"""Editor rankings: crops of one ratio of a photo, ranked, with those that would be refused."""

import os
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from s2crop.datasets.reading import laid_out_as, read_json
from s2crop.errors import InputError

FOLDERS = ("fcdb/photos", "unlabelled", "text/photos", "crowd/photos", "people/photos")  # where a photo may lie


@dataclass(frozen=True)
class Ranking:
    """Crops of one ratio of one photo, ranked by an editor."""

    photo: str
    ratio: str
    candidates: np.ndarray  # [K, 4] fractions
    groups: tuple[tuple[int, ...], ...]  # numbers of candidates from best to worst; those of a group are as good
    bad: frozenset[int]  # that would be refused though a better one of that ratio was possible
    size_wh: tuple[int, int] | None = None  # of the photo, where it is known

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the better and the worse crop of each pair in different groups."""
        found = [(a, b) for better, worse in combinations(self.groups, 2) for a in better for b in worse]
        better, worse = zip(*found, strict=True) if found else ((), ())
        return np.array(better, int), np.array(worse, int)


def read_rankings(path: Path) -> list[Ranking]:
    """Rankings from a JSON list of {"photo", "ratio", "candidates", "rank", "bad"}.

    Raises:
        InputError: the file is not such a list.
    """
    try:
        rows = read_json(path)
    except OSError as error:
        raise InputError(f"{path}: not a file of rankings ({error.strerror})") from None
    with laid_out_as("rankings", path):
        return [
            Ranking(
                row["photo"],
                row["ratio"],
                np.array(row["candidates"], float).reshape(-1, 4),
                tuple(map(tuple, row["rank"])),
                frozenset(map(int, row["bad"])),
            )
            for row in rows
        ]


def photo_path(data: Path, name: str) -> Path:
    """Where the photo of a name lies below the data folder, or of a path as an input of s2crop was named.

    Raises:
        InputError: it does not.
    """
    for folder in FOLDERS:
        if os.path.isfile(path := data / folder / f"{name}.webp"):
            return path
    return input_path(data, name)


def input_path(folder: Path, name: str) -> Path:
    """The file of an input as it was named: below a folder, with that folder's own name or without, or below the
    current one. Raises InputError where it is in none."""
    own = folder.resolve()
    for path in (folder / name, *([own.parent / name] if Path(name).parts[:1] == (own.name,) else []), Path(name)):
        if os.path.isfile(path):  # of any name: one that is too long for a file is none
            return path
    raise InputError(f"{folder}: no photo {name}")


def check_size(ranking: Ranking, size_wh: tuple[int, int]) -> None:
    """Raises InputError where the photo that is there is not the one that crops were ranked of, by its sides."""
    if ranking.size_wh is not None and ranking.size_wh != size_wh:
        (width, height), (w, h) = ranking.size_wh, size_wh
        raise InputError(f"{ranking.photo}: the picture has {w}x{h} pixels, and its crops are of {width}x{height}")
