"""The Flickr Cropping Dataset (Chen et al. 2017): IoU, Disp and agreement with votes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from s2crop.cropping.cropper import Cropper
from s2crop.cropping.request import CropRequest
from s2crop.datasets.fcdb import CropLabels, find_photo, read_fcdb
from s2crop.datasets.metrics import displacement, iou, pair_agreement
from s2crop.datasets.split import is_validation
from s2crop.errors import InputError
from s2crop.evaluation import markdown
from s2crop.evaluation.markdown import SCORER, Column
from s2crop.files.picture import Picture
from s2crop.geometry.ratio import Ratio

CENTRE = np.array([0.1, 0.1, 0.9, 0.9])  # the centre-crop baseline: 64 % of the picture
FULL = np.array([0.0, 0.0, 1.0, 1.0])


def evaluate(
    cropper: Cropper,
    photos: Path,
    labels_path: Path,
    *,
    split: str = "validation",
    fold: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """Measure a cropper, search and own proposals included, and three constant boxes.

    Args:
        photos: folder of `<id>.webp|jpg|jpeg|png`; labels_path: `labels_train.json`.
        split: "validation" (held out by the shipped recipes), "training" or "all".
    Returns:
        {"data", "split", "pictures", "rows": [{"scorer", "iou", "disp", "pairs", "pairs_3"[, "iou_ratio"]}]}.
        iou_ratio is the IoU where the ratio asked for is that of the crop that people chose.
    Raises:
        InputError: no photo of the split is there.
    """
    labels = read_fcdb(labels_path)
    aside = {i for i in labels if is_validation(i, fold)}
    chosen = {"validation": aside, "training": labels.keys() - aside, "all": labels.keys()}[split]
    paths = {i: path for i in sorted(chosen) if (path := find_photo(photos, i)) is not None}
    if not paths:
        raise InputError(f"{photos}: none of the {len(chosen)} photos of {labels_path} is there")
    wanted = [labels[i] for i in paths]
    best = np.stack([w.best for w in wanted])
    votes = np.concatenate([w.votes for w in wanted])
    mean = np.stack([labels[i].best for i in sorted(labels.keys() - aside)]).mean(axis=0)

    rows = [
        _constant(name, box, best, wanted, votes)
        for name, box in (
            ("full picture", FULL),
            ("centre crop, 80 % of each side", CENTRE),
            ("mean training box", mean),
        )
    ]
    free: list[np.ndarray] = []
    at_ratio: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    for done, (path, label) in enumerate(zip(paths.values(), wanted, strict=True)):
        with Picture.open(path) as picture:
            prepared = cropper.prepare(picture)
        scale = np.array([prepared.width, prepared.height] * 2)
        sides = (label.best[2:] - label.best[:2]) * scale[:2]
        request = CropRequest(ratios=(Ratio("free", None), Ratio("chosen", float(sides[0] / sides[1]))))
        (crops,) = cropper.rank([prepared], request)
        if isinstance(crops, InputError):
            raise crops
        free.append(np.array(crops[0].box) / scale)
        at_ratio.append(np.array(crops[1].box) / scale)
        scores.append(cropper.score_prepared(prepared, label.pairs.reshape(-1, 4) * scale, clip=False).reshape(-1, 2))
        progress(done + 1, len(paths))
    boxes, pair_scores = np.stack(free), np.concatenate(scores)
    rows.append(
        {
            "scorer": cropper.model,
            "iou": float(iou(boxes, best).mean()),
            "disp": float(displacement(boxes, best).mean()),
            "pairs": pair_agreement(pair_scores, votes)[0],
            "pairs_3": pair_agreement(pair_scores, votes, 3)[0],
            "iou_ratio": float(iou(np.stack(at_ratio), best).mean()),
        }
    )
    return {"data": f"FCDB, {labels_path.name}", "split": split, "pictures": len(paths), "rows": rows}


def _constant(name: str, box: np.ndarray, best: np.ndarray, wanted: list[CropLabels], votes: np.ndarray) -> dict:
    """A box that looks at no picture; of a pair it prefers the crop nearer to it by IoU."""
    pairs = np.concatenate([w.pairs for w in wanted])
    scores = iou(pairs, box)
    return {
        "scorer": name,
        "iou": float(iou(best, box).mean()),
        "disp": float(displacement(best, box).mean()),
        "pairs": pair_agreement(scores, votes)[0],
        "pairs_3": pair_agreement(scores, votes, 3)[0],
    }


COLUMNS = (
    Column("IoU", "iou", ".3f"),
    Column("Disp", "disp", ".4f"),
    Column("pairs", "pairs", ".3f"),
    Column("pairs, margin 3 and over", "pairs_3", ".3f"),
    Column("IoU at the chosen ratio", "iou_ratio", ".3f"),
)


def table(result: dict) -> str:
    """The result as a Markdown table."""
    return markdown.table((SCORER, *COLUMNS), result["rows"])
