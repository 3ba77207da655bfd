"""Grid-anchor data sets without pictures: how well boxes and proposals alone rank the rated crops."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from s2crop.cropping.cropper import Cropper
from s2crop.datasets.gaicd import read_gaicd_boxes, score_boxes
from s2crop.datasets.metrics import acc_n, pcc, srcc
from s2crop.datasets.split import in_split
from s2crop.errors import InputError
from s2crop.evaluation import markdown
from s2crop.evaluation.markdown import SCORER, Column
from s2crop.models.s2cnet import S2CNet

MEASURES = ("srcc", "pcc", "acc5", "acc10")


def evaluate(
    cropper: Cropper,
    path: Path,
    *,
    split: str = "validation",
    fold: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """SRCC, PCC, ACC5 and ACC10 from geometry alone, averaged over pictures.

    Args:
        path: JSON, a list of {id, width, height, proposals, candidates, mos}, boxes in fractions.
        split: "validation" (held out by the shipped recipes), "training" or "all".
    Raises:
        InputError: weights that cannot score without pixels, or no picture in the split.
    """
    net = cropper.net
    if not isinstance(net, S2CNet) or not net.config.node_geometry:
        raise InputError("these weights score pixels only: they know nothing of boxes alone")
    ratings = [r for r in read_gaicd_boxes(path) if in_split(r.id, split, fold)]
    if not ratings:
        raise InputError(f"{path}: no picture in the {split} split")
    measures = []
    for done, rating in enumerate(ratings, start=1):
        scores = score_boxes(net, rating)
        measures.append(
            [
                srcc(scores, rating.mos),
                pcc(scores, rating.mos),
                acc_n(scores, rating.mos, 5),
                acc_n(scores, rating.mos, 10),
            ]
        )
        progress(done, len(ratings))
    mean = np.nanmean(measures, axis=0)
    return {
        "data": path.name,
        "split": split,
        "pictures": len(ratings),
        "rows": [
            {
                "scorer": f"{cropper.model}, boxes alone",
                **dict(zip(MEASURES, map(float, mean), strict=True)),
            }
        ],
    }


def table(result: dict) -> str:
    """The result as a Markdown table."""
    columns = [Column(name.upper(), name, ".3f") for name in MEASURES]
    return markdown.table((SCORER, *columns), result["rows"])
