"""Editor rankings: crops of one ratio of a photo, ranked, with those that would be refused."""

import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

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
        return [
            Ranking(
                row["photo"],
                row["ratio"],
                np.array(row["candidates"], float).reshape(-1, 4),
                tuple(map(tuple, row["rank"])),
                frozenset(map(int, row["bad"])),
            )
            for row in json.loads(path.read_text())
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a file of rankings ({error})") from None


def photo_path(data: Path, name: str) -> Path:
    """Where the photo of a name lies below the data folder. Raises InputError where it does not."""
    for folder in FOLDERS:
        if (path := data / folder / f"{name}.webp").is_file():
            return path
    raise InputError(f"{data}: no photo {name}")
