"""Grid-anchor data sets in the layout of GAICD (Zeng et al. 2019): rank correlation and top-N accuracy."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2crop.cropper import Cropper
from s2crop.errors import InputError
from s2crop.evaluation.metrics import acc, acc_n, pcc, srcc
from s2crop.inputs import Picture

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
UNRATED = -2.0  # in place of a score
SPLITS = ("test", "val", "train")


@dataclass
class RatedPicture:
    """One picture, its rated crops and, where the set has them, its detector boxes; all in its pixels."""

    path: Path
    crops: np.ndarray  # [N, 4]
    mos: np.ndarray  # [N]
    proposals: np.ndarray | None  # [D, 4]


def read_gaic(folder: Path, split: str) -> list[RatedPicture]:
    """Pictures of `images/<split>` with `annotations/<id>.txt` and, if there, `bbox/<id>.txt`.

    Annotation rows are y1 x1 y2 x2 score, -2 for unrated; proposal rows y1 x1 y2 x2.

    Raises:
        InputError: no such folder, no pictures, or a file that is not laid out so.
    """
    pictures = sorted(p for p in (folder / "images" / split).glob("*") if p.suffix.lower() in SUFFIXES)
    if not pictures:
        raise InputError(f"{folder / 'images' / split}: no pictures there")
    rated = []
    for path in pictures:
        rows = _rows(folder / "annotations" / f"{path.stem}.txt", 5)
        rows = rows[rows[:, 4] != UNRATED]
        boxes_path = folder / "bbox" / f"{path.stem}.txt"
        proposals = _rows(boxes_path, 4)[:, [1, 0, 3, 2]] if boxes_path.is_file() else None
        rated.append(RatedPicture(path, rows[:, [1, 0, 3, 2]], rows[:, 4], proposals))
    return rated


def _rows(path: Path, columns: int) -> np.ndarray:
    try:
        rows = [[float(word) for word in line.split()[:columns]] for line in path.read_text().splitlines() if line.strip()]
        return np.array(rows).reshape(-1, columns)
    except OSError:
        raise InputError(f"{path}: not there") from None
    except ValueError:
        raise InputError(f"{path}: not rows of {columns} numbers") from None


def evaluate(cropper: Cropper, folder: Path, *, split: str = "test", own_proposals: bool = False, limit: int | None = None,
             progress: Callable[[int, int], None] = lambda done, total: None) -> dict:
    """SRCC, PCC, ACC_{K/N} for K 1 to 4 and N 5 and 10, ACC5 and ACC10, averaged over pictures.

    Args:
        own_proposals: the cropper's in place of those in `bbox/`.
        limit: the first so many pictures only.
    Returns:
        {"data", "split", "pictures", "proposals", "rows": [{"scorer", "srcc", "pcc", "acc1_5", ..., "acc5", "acc10"}]}.
    """
    rated = read_gaic(folder, split)[:limit]
    use_files = not own_proposals and all(r.proposals is not None and len(r.proposals) for r in rated)
    measures: dict[str, list[float]] = {}
    for done, picture in enumerate(rated, start=1):
        if len(picture.mos) < 2:
            continue
        with Picture.open(picture.path) as opened:
            prepared = cropper.prepare(opened)
        scores = cropper.score_prepared(prepared, picture.crops, picture.proposals if use_files else None, clip=False)
        row = {"srcc": srcc(scores, picture.mos), "pcc": pcc(scores, picture.mos)}
        for n in (5, 10):
            row |= {f"acc{k}_{n}": acc(scores, picture.mos, k, n) for k in range(1, 5)} | {f"acc{n}": acc_n(scores, picture.mos, n)}
        for name, value in row.items():
            measures.setdefault(name, []).append(value)
        progress(done, len(rated))
    if not measures:
        raise InputError(f"{folder}: no picture of {split} has two rated crops")
    return {"data": folder.name, "split": split, "pictures": len(measures["srcc"]), "proposals": "bbox" if use_files else "own",
            "rows": [{"scorer": cropper.model} | {name: float(np.nanmean(values)) for name, values in measures.items()}]}


def table(result: dict) -> str:
    """The result as a Markdown table."""
    names = [name for name in result["rows"][0] if name != "scorer"]
    titles = [name.upper().replace("_", "/") for name in names]
    lines = [f"| scorer | {' | '.join(titles)} |", "|---|" + "---|" * len(names)]
    for row in result["rows"]:
        lines.append(f"| {row['scorer']} | " + " | ".join(f"{row[name]:.3f}" for name in names) + " |")
    return "\n".join(lines)
