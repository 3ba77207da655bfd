"""Photos with what they are about: subject masks, looks, main things, heads and persons.

The folder holds, besides what `datasets.photos` names, `subjects/<set>.npz` (a uint8 mask for each photo),
`crowd/labels.json` (heads and fixations), `people/labels.json` (a head and a person each), and, if there is one,
`main_subjects.json`: {photo id: {"main": [box, ...], "weight": [1 or less, ...], "core": box or null}}, boxes in
fractions: what a photo is about, whole, the most important first, how much each matters, and the part of the first that
must be seen where the whole does not fit.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s2crop.datasets.photos import decoded, trust
from s2crop.datasets.reading import read_json
from s2crop.models.subjects import FACE_MARGIN, FIGURES

SETS = {
    "fcdb": "fcdb/photos",
    "unlabelled": "unlabelled",
    "text": "text/photos",
    "crowd": "crowd/photos",
    "people": "people/photos",
}
HEAD, PERSON = range(len(FIGURES))
MASK_WEIGHTS = {
    "fcdb": 1.0,
    "unlabelled": 1.0,
    "text": 0.6,
    "crowd": 0.0,
    "people": 1.0,
}  # few of a crowd are in its mask
MIN_MASK = 26  # largest value of a mask that says anything: below, it means "don't know"
SURE_FACE, SURE_PERSON, MAYBE_PERSON = (
    0.5,
    0.35,
    0.2,
)  # trust in a teacher's box from which it is a target, or left open
HEAD_OF_PERSON = 0.45  # of a person's height, from the top: where a head may be that no face was found of


@dataclass
class Figures:
    """Heads and persons of one photo, fractions of it."""

    boxes: np.ndarray  # [K, 4] float32
    kinds: np.ndarray  # [K] int64 index into FIGURES
    quality: np.ndarray  # [K] float32, 1 for a human label, the teacher's trust otherwise
    known: tuple[bool, bool]  # whether heads, and persons, were looked for at all
    unsure: list[tuple[int, np.ndarray]] = field(default_factory=list)  # kind and box of places that may hold one


@dataclass
class Main:
    """What an editor would keep of one photo, fractions of it."""

    boxes: np.ndarray  # [K, 4] whole things, the most important first
    weights: np.ndarray  # [K] how much each matters
    core: np.ndarray | None  # [4] what of the first must be seen; None where none was marked


@dataclass
class SubjectPhoto:
    """One photo: pixels uint8 [H, W, 3] and what it is about."""

    id: str
    source: str  # one of SETS
    path: Path
    mask: np.ndarray  # uint8 [h, w]
    mask_weight: float
    figures: Figures
    fixations: np.ndarray | None  # [K, 2] fractions
    main: Main | None = None  # where it is known
    pixels: np.ndarray = field(init=False, repr=False)


def load_subject_photos(folder: Path) -> list[SubjectPhoto]:
    """All photos that have a mask, decoded (about 0.4 MB each)."""
    teacher = read_json(folder / "teacher_boxes.json.gz")
    looks = read_json(folder / "osie_fixations.json")
    crowd = read_json(folder / "crowd/labels.json")
    people = read_json(folder / "people/labels.json")
    marks = folder / "main_subjects.json"
    marked = read_json(marks) if marks.exists() else {}
    marked |= {name: {"main": [row["person"]], "weight": [1], "core": row["head"]} for name, row in people.items()}
    photos = []
    for source, place in SETS.items():
        with np.load(folder / f"subjects/{source}.npz") as masks:
            for name in masks.files:
                fixations = crowd[name]["fixations"] if source == "crowd" else looks.get(name.removeprefix("osie_"))
                mask = masks[name]
                photos.append(
                    SubjectPhoto(
                        name,
                        source,
                        folder / place / f"{name}.webp",
                        mask,
                        MASK_WEIGHTS[source] * (mask.max() >= MIN_MASK),
                        _figures(source, teacher.get(name, []), crowd.get(name), people.get(name)),
                        None if fixations is None else np.array(fixations, np.float32).reshape(-1, 2),
                        _main(marked.get(name)),
                    )
                )
    return decoded(photos)


def _main(row: dict | None) -> Main | None:
    if row is None:
        return None
    core = None if row["core"] is None else np.array(row["core"], np.float32)
    return Main(np.array(row["main"], np.float32).reshape(-1, 4), np.array(row["weight"], np.float32), core)


def _figures(source: str, teacher: list[dict], crowd: dict | None, people: dict | None) -> Figures:
    if source == "crowd":
        assert crowd is not None
        return _made([(head["box"], HEAD, 1.0) for head in crowd["heads"]], (True, False))
    if source == "people":
        assert people is not None
        return _made([(people["head"], HEAD, 1.0), (people["person"], PERSON, 1.0)], (True, True))
    if source == "text":
        return _made([], (False, False))
    rows, unsure = [], []
    for row in teacher:
        box = np.array(row["box"], np.float32)
        width, height = box[2:] - box[:2]
        outwards = np.array([-width, -height, width, height], np.float32)
        if row["kind"] == "face":
            head = np.clip(box + np.array(FACE_MARGIN, np.float32) * outwards, 0, 1)
            if trust(row) >= SURE_FACE:
                rows.append((head, HEAD, trust(row)))
            else:
                unsure.append((HEAD, head))
        elif row["label"] == "person" and row["score"] >= MAYBE_PERSON:
            if row["score"] >= SURE_PERSON:
                rows.append((box, PERSON, trust(row)))
            else:
                unsure.append((PERSON, box))
            top = box + np.array([0.05, 0.05, 0.05, 0], np.float32) * outwards
            top[3] = box[1] + HEAD_OF_PERSON * height
            unsure.append((HEAD, np.clip(top, 0, 1)))
    return _made(rows, (True, True), unsure)


def _made(rows: list[tuple], known: tuple[bool, bool], unsure: list | None = None) -> Figures:
    boxes, kinds, quality = zip(*rows, strict=True) if rows else ((), (), ())
    return Figures(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(kinds, np.int64),
        np.array(quality, np.float32),
        known,
        unsure or [],
    )
