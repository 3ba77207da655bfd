"""The Flickr Cropping Dataset (Chen et al. 2017)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2crop.datasets.reading import laid_out_as, read_json

SUFFIXES = (".webp", ".jpg", ".jpeg", ".png")


@dataclass
class CropLabels:
    """FCDB labels of one photo: the best crop, and voted pairs."""

    size_wh: tuple[int, int]
    best: np.ndarray  # [4]
    pairs: np.ndarray  # [P, 2, 4]
    votes: np.ndarray  # [P, 2] votes for each crop of a pair


def read_fcdb(path: Path) -> dict[str, CropLabels]:
    """Read the labels of the Flickr Cropping Dataset (Chen et al. 2017), best crops clipped to the photo.

    Raises:
        InputError: the file is not one of such labels.
    """
    rows, labels = read_json(path), {}
    with laid_out_as("crop labels", path):
        for row in rows:
            pairs = [[p["a"], p["b"]] for p in row["pairs"]]
            votes = [[p["votes_a"], p["votes_b"]] for p in row["pairs"]]
            labels[row["id"]] = CropLabels(
                (row["width"], row["height"]),
                np.clip(np.array(row["best"], np.float32).reshape(4), 0, 1),
                np.array(pairs, np.float32).reshape(-1, 2, 4),
                np.array(votes, np.float32).reshape(-1, 2),
            )
    return labels


def find_photo(folder: Path, name: str) -> Path | None:
    """The file of a photo, whichever of SUFFIXES it has; None where there is none."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()), None)
