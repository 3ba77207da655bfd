"""Photos with the heads of animals in them.

The folder holds, besides what `datasets.photos` names, `animal_heads.json`: {photo id: [box (fractions), ...]} of
photos that were looked at. Of others, those where a detector saw no animal show none, and the rest are left out.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s2crop.datasets.photos import decoded
from s2crop.datasets.reading import read_json

PLACES = ("fcdb/photos", "unlabelled", "crowd/photos", "people/photos")
ANIMALS = frozenset(("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"))
MAYBE = 0.15  # score of a detector from which a photo may show an animal
LAST_ANIMAL = "in_n02510455"  # photos of ImageNet's classes up to this one are of animals


@dataclass
class AnimalPhoto:
    """One photo: pixels uint8 [H, W, 3] and the animals' heads in it."""

    id: str
    path: Path
    heads: np.ndarray  # [K, 4] float32, fractions
    pixels: np.ndarray = field(init=False, repr=False)


def load_animal_photos(folder: Path) -> list[AnimalPhoto]:
    """Photos of which it is known what animals they show, decoded (about 0.4 MB each)."""
    marked = read_json(folder / "animal_heads.json")
    teacher = read_json(folder / "teacher_boxes.json.gz")
    photos = []
    for place in PLACES:
        for path in sorted((folder / place).glob("*.webp")):
            name = path.stem
            if name in marked or not _may_show_one(name, teacher.get(name, [])):
                photos.append(AnimalPhoto(name, path, np.array(marked.get(name, []), np.float32).reshape(-1, 4)))
    return decoded(photos)


def _may_show_one(name: str, found: list[dict]) -> bool:
    seen = any(row["label"] in ANIMALS and row["score"] >= MAYBE for row in found)
    return seen or "in_" <= name <= LAST_ANIMAL
