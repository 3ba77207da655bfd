"""Photos with the lines of text that can be read in them.

The folder holds, besides what `datasets.photos` names, `text_lines.json.gz`: {photo id: [{"box" (fractions), "score",
how surely it was read, 0 to 1}, ...]}, of a network that finds and reads text.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s2crop.datasets.photos import decode, join_words
from s2crop.datasets.reading import read_json
from s2crop.geometry.boxes import inside_share

PLACES = ("fcdb/photos", "unlabelled", "text/photos", "crowd/photos")
READ, HARDLY_READ = 0.8, 0.5  # scores of a line that counts in full, and of one that counts at all
HARDLY = 0.7  # how far one counts that was hardly read
FOUND = 0.5  # of a box inside a line that was read: the same text


@dataclass
class TextPhoto:
    """One photo: pixels uint8 [H, W, 3] and its text."""

    id: str
    path: Path
    lines: np.ndarray  # [K, 4] float32, fractions
    quality: np.ndarray  # [K] float32, 1 for what was read or marked by a human
    unsure: np.ndarray  # [K, 4] float32: places that may hold text
    pixels: np.ndarray = field(init=False, repr=False)


def load_text_photos(folder: Path) -> list[TextPhoto]:
    """All photos whose text was looked for, decoded (about 0.4 MB each)."""
    read = read_json(folder / "text_lines.json.gz")
    teacher = read_json(folder / "teacher_boxes.json.gz")
    words = read_json(folder / "text/boxes.json")
    paths = [path for place in PLACES for path in sorted((folder / place).glob("*.webp")) if path.stem in read]
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(decode, paths))
    photos = []
    for path, pixels in zip(paths, decoded, strict=True):
        name, aspect = path.stem, pixels.shape[1] / pixels.shape[0]
        marked = join_words(_boxes(words.get(name, [])), aspect)
        found = _boxes([row["box"] for row in teacher.get(name, []) if row["kind"] == "text"])
        photos.append(_labelled(name, path, read[name], marked, found))
        photos[-1].pixels = pixels
    return photos


def _labelled(name: str, path: Path, read: list[dict], marked: np.ndarray, found: np.ndarray) -> TextPhoto:
    """What was read counts by how surely; what a human marked counts; what a detector alone found is left open."""
    boxes, scores = _boxes([row["box"] for row in read]), np.array([row["score"] for row in read], np.float32)
    known = scores >= HARDLY_READ
    fresh = marked[_new(marked, boxes[known])]
    lines = np.concatenate([boxes[known], fresh])
    quality = np.concatenate([np.where(scores[known] >= READ, 1, HARDLY), np.ones(len(fresh))])
    unsure = np.concatenate([boxes[~known], found])
    return TextPhoto(name, path, lines, quality.astype(np.float32), unsure[_new(unsure, lines)])


def _new(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which boxes lie inside none of others."""
    return np.array([inside_share(others, box[None]).max(initial=0) < FOUND for box in boxes], bool)


def _boxes(rows: list) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)
