"""What one picture is about, as crops are judged by it: maps and boxes in fractions of the picture."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from s2crop.geometry.boxes import inside_share, iou_matrix
from s2crop.geometry.integral import Integral
from s2crop.models.proposals import KINDS
from s2crop.models.scorer import Seen
from s2crop.models.subjects import FACE_MARGIN, FIGURES

MIN_SCORE = {
    "text": 0.3,
    "object": 0.3,
    "face": 0.3,
    "head": 0.25,
    "person": 0.3,
    "animal": 0.22,
}  # boxes below are not looked at
EYES = (0.0, -0.1, 0.0, -0.35)  # of a face's sides, from the brow to the nose: what matters most of a face
TOP_SHARE = 0.25  # of a subject's mass, from above: a head, a roof, a masthead
SUBJECT_LEVEL = 0.5  # of the map, from which a place belongs to the subject
LOOKS_SHARE = 0.25  # of the subject's mass, that looks count for where a crop's focus is
SAME_HEAD = 0.5  # of a face inside a head that was found already


@dataclass(frozen=True)
class Content:
    """What was found in one picture. Boxes are [M, 4] in fractions of it, scores [M] from 0 to 1."""

    size_wh: tuple[int, int]  # of the upright picture, in pixels
    subject: np.ndarray  # [h, w] how far each place belongs to what the picture is about, 0 to 1
    looks: np.ndarray  # [h, w] share of people's looks, of 1 in all
    main: np.ndarray  # [2, h, w] how much an editor would keep each place: main things, and the core of the first
    parts: dict[
        str, tuple[np.ndarray, np.ndarray]
    ]  # kind -> boxes and scores; MIN_SCORE's kinds, and the "eyes" of faces
    lettering: np.ndarray | None = None  # [M] how surely each text was put over the picture; None where nobody knows
    animals: np.ndarray | None = None  # [M] which heads are of animals; None where nobody looked for any

    @cached_property
    def subject_sums(self) -> Integral:
        """The subject map, of 1 where it fills the picture."""
        return Integral(self.subject[None].astype(float) / self.subject.size)

    @cached_property
    def looks_sums(self) -> Integral:
        """The map of looks."""
        return Integral(self.looks[None].astype(float))

    @cached_property
    def moment_sums(self) -> Integral:
        """The subject map as it is, times the column of each place and times its row, in fractions; and its top."""
        return _moments(self.subject.astype(float), self.top)

    @cached_property
    def main_sums(self) -> Integral:
        """The map of main things, that times the column of each place and times its row, in fractions; and the core."""
        return _moments(*self.main.astype(float))

    @cached_property
    def mask(self) -> np.ndarray:
        """Where the subject is: bool [h, w]."""
        found: np.ndarray = self.subject > SUBJECT_LEVEL
        return found

    @cached_property
    def mask_sums(self) -> Integral:
        """That mask, of 1 where it fills the picture."""
        return Integral(self.mask[None] / self.mask.size)

    @cached_property
    def focus_sums(self) -> Integral:
        """What a crop's focus is the middle of, subject and looks, and that times the column and the row of each place,
        in fractions.
        """
        subject, looks = self.subject.astype(float), self.looks.astype(float)
        weight = subject + LOOKS_SHARE * subject.sum() * _enlarged(looks, subject.shape)
        return _moments(weight)

    @cached_property
    def top(self) -> np.ndarray:
        """The subject map down to where TOP_SHARE of it lies, 0 below: [h, w]."""
        subject = self.subject.astype(float)
        down = subject.sum(axis=1).cumsum()
        return subject * (np.arange(len(down)) <= np.searchsorted(down, TOP_SHARE * down[-1]))[:, None]


def _moments(map_: np.ndarray, *beside: np.ndarray) -> Integral:
    """A map [h, w], that times the column of each place and times its row, in fractions, and other maps."""
    rows, columns = ((np.arange(n) + 0.5) / n for n in map_.shape)
    return Integral(np.stack([map_, map_ * columns, map_ * rows[:, None], *beside]) / map_.size)


def _enlarged(looks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A map of shares spread over a finer grid, of the same sum."""
    by = shape[0] // looks.shape[0], shape[1] // looks.shape[1]
    return np.repeat(np.repeat(looks, by[0], axis=0), by[1], axis=1) / (by[0] * by[1])


def contents(seen: Seen, sizes_wh: list[tuple[int, int]], size: tuple[int, int]) -> list[Content]:
    """What was found in each picture of a batch. Args: size (height, width) of the network input."""
    scale = np.array([size[1], size[0]] * 2)
    of = seen.subjects
    subject, looks, main = (_array(part) for part in (of.subject, of.looks, of.main))
    found = [
        (names, [_array(part) for part in parts])
        for names, parts in ((KINDS, seen.proposals), (FIGURES, (of.boxes, of.scores, of.kinds)))
    ]
    lines = None if seen.lines is None else [_array(part) for part in seen.lines]
    animals = None if seen.animals is None else [_array(part) for part in seen.animals]
    result = []
    for row, size_wh in enumerate(sizes_wh):
        parts = {}
        for names, (boxes, scores, kinds) in found:
            for number, name in enumerate(names):
                chosen = (kinds[row] == number) & (scores[row] >= MIN_SCORE[name])
                parts[name] = boxes[row, chosen].astype(float) / scale, scores[row, chosen].astype(float)
        lettering = of_animals = None
        if lines is not None:
            boxes, scores, over = (part[row] for part in lines)
            chosen = scores >= MIN_SCORE["text"]
            parts["text"] = boxes[chosen].astype(float) / scale, scores[chosen].astype(float)
            lettering = over[chosen].astype(float)
        faces, scores = parts.pop("face")
        parts["eyes"] = grown(faces, EYES), scores
        parts["head"] = with_faces(parts["head"], (faces, scores))
        if animals is not None:
            boxes, scores = (part[row] for part in animals)
            chosen = scores >= MIN_SCORE["animal"]
            people = len(parts["head"][0])
            parts["head"] = _joined(parts["head"], boxes[chosen].astype(float) / scale, scores[chosen].astype(float))
            of_animals = np.arange(len(parts["head"][0])) >= people
        result.append(Content(size_wh, subject[row], looks[row], main[row], parts, lettering, of_animals))
    return result


def _array(part: Tensor) -> np.ndarray:
    array: np.ndarray = part.float().cpu().numpy()
    return array


def with_faces(
    heads: tuple[np.ndarray, np.ndarray], faces: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Heads, and those faces of which no head was found, grown to heads."""
    boxes, scores = faces
    if not len(boxes):
        return heads
    fresh = inside_share(heads[0], boxes).max(axis=0, initial=0) < SAME_HEAD
    return np.concatenate([heads[0], grown(boxes[fresh], FACE_MARGIN)]), np.concatenate([heads[1], scores[fresh]])


def _joined(
    heads: tuple[np.ndarray, np.ndarray], boxes: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Heads, and those of animals that are not among them."""
    fresh = iou_matrix(heads[0], boxes).max(axis=0, initial=0) < SAME_HEAD
    return np.concatenate([heads[0], boxes[fresh]]), np.concatenate([heads[1], scores[fresh]])


def grown(boxes: np.ndarray, margin: tuple[float, ...]) -> np.ndarray:
    """Boxes [M, 4] in fractions with their borders moved outwards by shares of their sides, inside the picture."""
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return np.clip(boxes + np.array(margin) * sides * [-1, -1, 1, 1], 0, 1)
