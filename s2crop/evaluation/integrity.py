"""Whether crops hold faces and text whole: how many that a crop could hold are cut or lost."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from s2crop.cropper import Cropper, CropRequest
from s2crop.errors import InputError
from s2crop.evaluation.fcdb import find_photo
from s2crop.geometry.boxes import inside_share, largest_of_ratio
from s2crop.geometry.ratio import parse_ratio
from s2crop.inputs import Picture
from s2crop.training.data import is_validation

RATIOS = ("1:1", "16:9", "9:16", "4:5")
WHOLE = 0.95  # of a box inside the crop: a detector's box is not exact to the pixel
LOST = 0.05
MIN_SCORE = {"face": 0.75, "text": 0.75}  # teachers' boxes below are too often false alarms


def evaluate(cropper: Cropper, photos: Path, boxes_path: Path, *, split: str = "validation", fold: int = 0,
             progress: Callable[[int, int], None] = lambda done, total: None) -> dict:
    """Count faces and text blocks that crops of fixed ratios cut or lose.

    Only boxes that fit into the largest crop of a ratio count for that ratio.

    Args:
        photos: folder of `<id>.webp|jpg|jpeg|png`.
        boxes_path: JSON, gzipped or not: {id: [{"box" (fractions), "score", "kind"}, ...]}.
        split: "validation", "training" or "all", as in `fcdb`.
    Returns:
        {"data", "split", "pictures", "rows": [{"scorer", "kind", "boxes", "cut", "lost"}]}: shares of boxes.
    Raises:
        InputError: no photo of the split with such a box is there.
    """
    raw = boxes_path.read_bytes()
    rows = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    wanted = {}
    for name, found in sorted(rows.items()):
        kept = [(r["box"], r["kind"]) for r in found if r["score"] >= MIN_SCORE.get(r["kind"], np.inf)]
        in_split = split == "all" or is_validation(name, fold) == (split == "validation")
        if kept and in_split and (path := find_photo(photos, name)) is not None:
            wanted[path] = kept
    if not wanted:
        raise InputError(f"{photos}: no photo of the {split} split with a face or text in {boxes_path} is there")
    scorers = {cropper.model: "all", f"{cropper.model}, --protect none": "none", "centre crop": None}
    ratios = tuple(map(parse_ratio, RATIOS))
    inside: dict[tuple[str, str], list[float]] = {}
    for done, (path, kept) in enumerate(wanted.items(), start=1):
        with Picture.open(path) as picture:
            prepared = cropper.prepare(picture)
        size = np.array([prepared.width, prepared.height])
        parts = np.array([box for box, _ in kept]) * np.tile(size, 2)
        for scorer, protect in scorers.items():
            boxes = {}
            if protect is not None:  # all ratios from one backbone pass
                (crops,) = cropper.rank([prepared], CropRequest(ratios, protect=protect))
                boxes = {crop.ratio: np.array(crop.box) for crop in crops}
            for ratio in ratios:
                largest = np.array(largest_of_ratio(ratio.value, *size))
                box = boxes.get(ratio.label, np.concatenate([(size - largest) / 2, (size + largest) / 2]))
                shares = inside_share(box[None].astype(float), parts)[0]
                fits = (parts[:, 2:] - parts[:, :2] <= largest).all(axis=1)
                for share, fit, (_, kind) in zip(shares, fits, kept, strict=True):
                    if fit:
                        inside.setdefault((scorer, kind), []).append(share)
        progress(done, len(wanted))
    result = [{"scorer": scorer, "kind": kind, "boxes": len(shares), "cut": float(np.mean([LOST < s < WHOLE for s in shares])),
               "lost": float(np.mean([s <= LOST for s in shares]))} for (scorer, kind), shares in sorted(inside.items())]
    return {"data": boxes_path.name, "split": split, "pictures": len(wanted), "rows": result}


def table(result: dict) -> str:
    """The result as a Markdown table."""
    lines = ["| scorer | kind | boxes | cut | lost | cut or lost |", "|---|---|---|---|---|---|"]
    for row in result["rows"]:
        lines.append(f"| {row['scorer']} | {row['kind']} | {row['boxes']} | {row['cut']:.3f} | {row['lost']:.3f} "
                     f"| {row['cut'] + row['lost']:.3f} |")
    return "\n".join(lines)
