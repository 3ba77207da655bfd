"""Grid-anchor data sets in the layout of GAICD (Zeng et al. 2019): rank correlation and top-N accuracy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from s2crop.cropping.cropper import Cropper
from s2crop.datasets.gaicd import read_gaic
from s2crop.datasets.metrics import acc, acc_n, pcc, srcc
from s2crop.errors import InputError
from s2crop.evaluation import markdown
from s2crop.evaluation.markdown import SCORER, Column
from s2crop.files.picture import Picture


def evaluate(
    cropper: Cropper,
    folder: Path,
    *,
    split: str = "test",
    own_proposals: bool = False,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
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
            row |= {f"acc{k}_{n}": acc(scores, picture.mos, k, n) for k in range(1, 5)} | {
                f"acc{n}": acc_n(scores, picture.mos, n)
            }
        for name, value in row.items():
            measures.setdefault(name, []).append(value)
        progress(done, len(rated))
    if not measures:
        raise InputError(f"{folder}: no picture of {split} has two rated crops")
    return {
        "data": folder.name,
        "split": split,
        "pictures": len(measures["srcc"]),
        "proposals": "bbox" if use_files else "own",
        "rows": [{"scorer": cropper.model} | {name: float(np.nanmean(values)) for name, values in measures.items()}],
    }


def table(result: dict) -> str:
    """The result as a Markdown table."""
    names = [name for name in result["rows"][0] if name != "scorer"]
    columns = [Column(name.upper().replace("_", "/"), name, ".3f") for name in names]
    return markdown.table((SCORER, *columns), result["rows"])
