"""Whether crops hold faces and text whole: how many that a crop could hold are cut or lost."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from s2crop.cropping.cropper import Cropper
from s2crop.cropping.request import CropRequest
from s2crop.datasets.fcdb import find_photo
from s2crop.datasets.lettering import letter
from s2crop.datasets.split import in_split
from s2crop.errors import InputError
from s2crop.evaluation.baselines import baselines
from s2crop.files.picture import Picture
from s2crop.geometry.boxes import inside_share, largest_of_ratio
from s2crop.geometry.ratio import parse_ratio

RATIOS = ("1:1", "16:9", "9:16", "4:5")
WHOLE = 0.95  # of a box inside the crop: a detector's box is not exact to the pixel
LOST = 0.05
MIN_SCORE = {"face": 0.75, "text": 0.75}  # teachers' boxes below are too often false alarms
LAYOUTS = ("banner", "title", "subtitle", "lyrics")  # of the composites
MEASURES = ("boxes", "cut", "lost", "holdable", "missed")


def evaluate(
    cropper: Cropper,
    photos: Path,
    boxes_path: Path,
    *,
    split: str = "validation",
    fold: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """Count faces, text and lettering that crops of fixed ratios cut or lose, beside other croppers.

    Only boxes that fit into the largest crop of a ratio count for that ratio. "Lettering" are the
    lines of banners, titles, subtitles and lyrics drawn over copies of the same photos.

    Args:
        photos: folder of `<id>.webp|jpg|jpeg|png`.
        boxes_path: JSON, gzipped or not: {id: [{"box" (fractions), "score", "kind"}, ...]}.
        split: "validation", "training" or "all", as in `fcdb`.
    Returns:
        {"data", "split", "pictures", "rows": [{"scorer", "kind", "boxes", "cut", "lost", "holdable", "missed"}]}.
        cut, lost: shares of the boxes. holdable: how many boxes of a kind a crop can hold at once, summed over
        pictures and ratios. missed: the share of those that were not held whole.
    Raises:
        InputError: no photo of the split with such a box is there.
    """
    wanted = _wanted(photos, boxes_path, split, fold)
    ratios = tuple(map(parse_ratio, RATIOS))
    counts: dict[tuple[str, str], np.ndarray] = {}
    for done, (path, parts) in enumerate(wanted.items(), start=1):
        with Picture.open(path) as picture:
            pixels = np.array(picture.crop((0, 0, picture.width, picture.height)).convert("RGB"))
        scale = np.tile(pixels.shape[1::-1], 2)
        rng = np.random.default_rng(int.from_bytes(path.stem.encode()[-4:]))
        lettered, lines, _ = letter(pixels, rng, layout=LAYOUTS[done % len(LAYOUTS)])
        for shown, shown_parts in (
            (pixels, {kind: boxes * scale for kind, boxes in parts.items()}),
            (lettered, {"lettering": lines}),
        ):
            for scorer, crops in _crops(cropper, shown, ratios):
                for kind, boxes in shown_parts.items():
                    for ratio, crop in zip(ratios, crops, strict=True):
                        largest = np.array(largest_of_ratio(ratio.value, *scale[:2]))
                        fits = (boxes[:, 2:] - boxes[:, :2] <= largest).all(axis=1)
                        row = counts.setdefault((scorer, kind), np.zeros(len(MEASURES)))
                        row += count(crop, boxes[fits], largest)
        progress(done, len(wanted))
    rows = []
    for (scorer, kind), (boxes, cut, lost, holdable, missed) in sorted(counts.items(), key=lambda item: item[0][::-1]):
        rows.append(
            {
                "scorer": scorer,
                "kind": kind,
                "boxes": int(boxes),
                "cut": cut / max(boxes, 1),
                "lost": lost / max(boxes, 1),
                "holdable": int(holdable),
                "missed": missed / max(holdable, 1),
            }
        )
    return {"data": boxes_path.name, "split": split, "pictures": len(wanted), "rows": rows}


def count(crop: np.ndarray, boxes: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The MEASURES of one crop, as numbers of boxes.

    Args:
        crop: [4]; boxes: [K, 4] that fit, each alone, into `largest`: width and height of the largest crop of the ratio.
    """
    shares = inside_share(crop[None], boxes)[0] if len(boxes) else np.zeros(0)
    whole, lost = (shares >= WHOLE).sum(), (shares <= LOST).sum()
    holdable = most_held(boxes, largest)
    return np.array([len(boxes), len(boxes) - whole - lost, lost, holdable, max(0, holdable - whole)], float)


def most_held(boxes: np.ndarray, largest: np.ndarray) -> int:
    """How many boxes one crop of a size can hold whole at once. Args: boxes [K, 4]; largest (width, height)."""
    best = 0
    for left in boxes[:, 0]:  # of the best crops one starts with a box, on either axis
        for top in boxes[:, 1]:
            inside = (boxes[:, :2] >= [left, top]).all(axis=1) & (boxes[:, 2:] <= [left, top] + largest).all(axis=1)
            best = max(best, int(inside.sum()))
    return best


def _crops(cropper: Cropper, pixels: np.ndarray, ratios) -> list[tuple[str, list[np.ndarray]]]:
    """Each scorer's crops [4] of a picture, one for each ratio."""
    prepared = cropper.prepare(Picture.open(pixels))
    found = []
    for name, protect in ((cropper.model, "all"), (f"{cropper.model}, --protect none", "none")):
        (crops,) = cropper.rank([prepared], CropRequest(ratios=ratios, protect=protect))
        found.append((name, [np.array(crop.box, float) for crop in crops]))
    return found + [(name, [crop(pixels, ratio.value) for ratio in ratios]) for name, crop in baselines().items()]


def _wanted(photos: Path, boxes_path: Path, split: str, fold: int) -> dict[Path, dict[str, np.ndarray]]:
    """For each photo of a split that shows some: its trusted boxes of each kind, [K, 4] fractions."""
    raw = boxes_path.read_bytes()
    rows = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    wanted = {}
    for name, found in sorted(rows.items()):
        if not in_split(name, split, fold) or (path := find_photo(photos, name)) is None:
            continue
        parts = {
            kind: np.array([r["box"] for r in found if r["kind"] == kind and r["score"] >= least])
            for kind, least in MIN_SCORE.items()
        }
        parts = {kind: boxes for kind, boxes in parts.items() if len(boxes)}
        if parts:
            wanted[path] = parts
    if not wanted:
        raise InputError(f"{photos}: no photo of the {split} split with a face or text in {boxes_path} is there")
    return wanted


def table(result: dict) -> str:
    """The result as a Markdown table."""
    lines = [
        "| kind | scorer | boxes | cut | lost | cut or lost | missed of what fits together |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['kind']} | {row['scorer']} | {row['boxes']} | {row['cut']:.3f} | {row['lost']:.3f} "
            f"| {row['cut'] + row['lost']:.3f} | {row['missed']:.3f} |"
        )
    return "\n".join(lines)
