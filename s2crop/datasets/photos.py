"""Training photos in memory, with their labels.

The folder holds `fcdb/photos`, `fcdb/labels_train.json`, `text/photos`, `text/boxes.json`, `unlabelled`,
`teacher_boxes.json.gz`, `osie_fixations.json`, `gaicd_boxes_mos_train.json`, `teachers`, and `fonts`, scalable
fonts that composites are lettered with (without them: Pillow's own). Besides, for subjects, `subjects`, `crowd`,
`people` and, if there is one, `main_subjects.json` (`datasets.subjects` says what is in them); for text,
`text_lines.json.gz` (`datasets.lines`); for animals, `animal_heads.json` (`datasets.animals`); for the appeal and the
choice, `editor_rankings.json` and others of its kind (`datasets.rankings`). All coordinates are fractions of the photo.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image

from s2crop.datasets.fcdb import CropLabels, read_fcdb
from s2crop.datasets.reading import read_json
from s2crop.geometry.boxes import iou_matrix
from s2crop.models.proposals import KINDS

OBJECT, FACE, TEXT = range(len(KINDS))
SAME_OBJECT_IOU = 0.6  # teacher boxes that overlap so much are one object with two labels


@dataclass
class Boxes:
    """Boxes of one photo, fractions of it."""

    boxes: np.ndarray  # [K, 4] float32
    kinds: np.ndarray  # [K] int64 index into KINDS
    quality: np.ndarray  # [K] float32, 1 for a human label, the teacher's trust otherwise
    known: tuple[bool, ...] = (True,) * len(KINDS)  # kinds that were looked for at all


@dataclass
class Photo:
    """One photo: pixels uint8 [H, W, 3] and what is known of it."""

    id: str
    path: Path
    boxes: Boxes
    labels: CropLabels | None = None
    fixations: np.ndarray | None = None  # [K, 2] fractions, where viewers looked
    pixels: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8), repr=False)


def load_photos(folder: Path, sources: Iterable[str]) -> list[Photo]:
    """Photos of "fcdb", "text" and "unlabelled", decoded (about 0.4 MB each)."""
    sources = set(sources)
    photos: list[Photo] = []
    teacher: dict[str, list[dict]] = {}
    if sources & {"fcdb", "unlabelled"}:
        teacher = read_json(folder / "teacher_boxes.json.gz")
    if "fcdb" in sources:
        labels = read_fcdb(folder / "fcdb/labels_train.json")
        for i in sorted(labels):
            photos.append(Photo(i, folder / f"fcdb/photos/{i}.webp", _teacher_boxes(teacher[i]), labels[i]))
    if "unlabelled" in sources:
        looks = read_json(folder / "osie_fixations.json")
        for path in sorted((folder / "unlabelled").glob("*.webp")):
            points = looks.get(path.stem.removeprefix("osie_"))
            fixations = None if points is None else np.array(points, np.float32).reshape(-1, 2)
            photos.append(Photo(path.stem, path, _teacher_boxes(teacher[path.stem]), fixations=fixations))
    if "text" in sources:
        for name, boxes in sorted(read_json(folder / "text/boxes.json").items()):
            path = folder / f"text/photos/{name}.webp"
            with Image.open(path) as image:
                lines = join_words(np.asarray(boxes, np.float32).reshape(-1, 4), image.width / image.height)
            known = Boxes(lines, np.full(len(lines), TEXT), np.ones(len(lines), np.float32), (False, False, True))
            photos.append(Photo(name, path, known))
    return decoded(photos)


def join_words(words: np.ndarray, aspect: float) -> np.ndarray:
    """Words side by side become lines, as the text teacher boxes them.

    Args:
        words: [K, 4] fractions of a photo of this aspect (width / height).
    """
    lines = [word * [aspect, 1, aspect, 1] for word in words]  # in photo heights
    joined = True
    while joined:
        joined = False
        for i, a in enumerate(lines):
            for j, b in enumerate(lines[:i]):
                heights = a[3] - a[1], b[3] - b[1]
                beside = min(a[3], b[3]) - max(a[1], b[1]) > 0.5 * max(heights)
                if beside and max(a[0], b[0]) - min(a[2], b[2]) < min(heights):
                    lines[j] = np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])
                    del lines[i]
                    joined = True
                    break
            if joined:
                break
    return np.array(lines, np.float32).reshape(-1, 4) / np.array([aspect, 1, aspect, 1], np.float32)


class _WithPixels(Protocol):
    path: Path
    pixels: np.ndarray


_Photo = TypeVar("_Photo", bound=_WithPixels)


def decoded(photos: list[_Photo]) -> list[_Photo]:
    """The same photos, with their pixels (about 0.4 MB each)."""
    with ThreadPoolExecutor() as pool:
        for photo, pixels in zip(photos, pool.map(decode, [p.path for p in photos]), strict=True):
            photo.pixels = pixels
    return photos


def decode(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _teacher_boxes(rows: list[dict]) -> Boxes:
    """A teacher's boxes as soft labels: weak ones dropped, an object with two labels counted once."""
    boxes: list[np.ndarray] = []
    kinds: list[int] = []
    quality: list[float] = []
    for row in sorted(rows, key=lambda r: -trust(r)):
        trusted, kind = trust(row), KINDS.index(row["kind"])
        if trusted < 0.2:
            continue
        box = np.array(row["box"], np.float32)
        same = [b for b, k in zip(boxes, kinds, strict=True) if k == kind]
        if kind == OBJECT and same and iou_matrix(box[None], np.stack(same)).max() > SAME_OBJECT_IOU:
            continue
        boxes.append(box)
        kinds.append(kind)
        quality.append(trusted)
    return Boxes(np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.int64), np.array(quality, np.float32))


def trust(row: dict) -> float:
    """How far a teacher's box is believed, 0 to 1."""
    score = row["score"]
    if row["kind"] == "face":  # false alarms mostly between 0.60 and 0.75
        return min(1.0, 0.3 + (score - 0.6) * 3.5)
    if row["kind"] == "text":
        return min(1.0, score + 0.1)
    if row["label"] == "generic":  # mostly noise below 0.2
        return min(1.0, score * 2) if score >= 0.18 else 0.0
    return min(1.0, score * 1.25)  # many loose boxes below 0.3
