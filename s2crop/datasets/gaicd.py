"""Grid-anchor data sets: GAICD (Zeng et al. 2019), in its own layout and as boxes without pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from s2crop.datasets.reading import laid_out_as, read_json
from s2crop.errors import InputError
from s2crop.models.input import input_size
from s2crop.models.s2cnet import S2CNet

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
UNRATED = -2.0  # in place of a score


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
        rows = [
            [float(word) for word in line.split()[:columns]] for line in path.read_text().splitlines() if line.strip()
        ]
        return np.array(rows).reshape(-1, columns)
    except OSError:
        raise InputError(f"{path}: not there") from None
    except ValueError:
        raise InputError(f"{path}: not rows of {columns} numbers") from None


@dataclass
class Ratings:
    """Rated crops of one GAICD picture, without its pixels."""

    id: str
    size_wh: tuple[int, int]
    proposals: np.ndarray  # [10, 4]
    candidates: np.ndarray  # [K, 4]
    mos: np.ndarray  # [K]


def read_gaicd_boxes(path: Path) -> list[Ratings]:
    """GAICD candidates with mean opinion scores and detector boxes (Zeng et al. 2019).

    Raises:
        InputError: the file is not one of them.
    """
    rows = read_json(path)
    with laid_out_as("rated crops", path):
        return [
            Ratings(
                row["id"],
                (row["width"], row["height"]),
                np.array(row["proposals"], np.float32).reshape(-1, 4),
                np.array(row["candidates"], np.float32).reshape(-1, 4),
                np.array(row["mos"], np.float32).reshape(-1),
            )
            for row in rows
        ]


@torch.inference_mode()
def score_boxes(model: S2CNet, rating: Ratings) -> np.ndarray:
    """Normalised scores [K] of the candidates of a picture from its boxes alone."""
    size = input_size(*rating.size_wh, model.config.short_side)
    scale = np.array([size[1], size[0]] * 2, np.float32)
    device = next(model.parameters()).device
    crops, proposals = (torch.from_numpy(b * scale)[None].to(device) for b in (rating.candidates, rating.proposals))
    return model.score(None, crops, proposals, size)[0].cpu().numpy()
