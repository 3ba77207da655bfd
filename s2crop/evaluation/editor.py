"""How well crops of a ratio agree with an editor who ranked some, or who corrected those that were given: pairs, and
what the own choice comes nearest to."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from s2crop.cropping.cropper import Cropper
from s2crop.cropping.request import CropRequest
from s2crop.datasets.fcdb import SUFFIXES
from s2crop.datasets.fixes import is_fixes, read_fixes
from s2crop.datasets.rankings import Ranking, check_size, input_path, read_rankings
from s2crop.datasets.split import in_split
from s2crop.errors import InputError
from s2crop.evaluation import markdown
from s2crop.evaluation.baselines import baselines
from s2crop.evaluation.markdown import SCORER, Column
from s2crop.files.picture import Picture
from s2crop.geometry.boxes import iou_matrix
from s2crop.geometry.ratio import FREE, parse_ratio

MEASURES = ("best", "bad", "near")


def evaluate(
    cropper: Cropper,
    rankings_path: Path,
    photos: Path,
    *,
    split: str | None = None,
    fold: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """Compare a cropper, with and without protection, and other croppers with editor rankings.

    Args:
        rankings_path: as `datasets.rankings` or `datasets.fixes` reads it.
        photos: folder with the photos, however deep; of corrections, see `datasets.rankings.input_path`.
        split: "validation", "training" or "all"; None: "validation" of rankings, "all" of corrections. fold: which
            part is held out.
    Returns:
        {"data", "split", "pictures", "rows": [{"scorer", "pairs", "best", "bad", "near"}]}. pairs: share of ranked
        pairs ordered right, of those who score. best, bad: how often the candidate nearest to the own choice is among
        the best, or would be refused; near: mean IoU with it. Of corrections, best, bad: how often it is a better
        frame, or the one that was given; near: mean IoU with the better frame. "corrections" then says how many
        there are and what was passed over.
    Raises:
        InputError: no photo of the split is there; of corrections, any is missing or of another size.
    """
    corrected = is_fixes(rankings_path)
    split = split or ("all" if corrected else "validation")
    told = {}
    if corrected:
        fixes = read_fixes(rankings_path)
        told = {"corrections": fixes.text()}
        wanted = [r for r in fixes.rankings if r.ratio != FREE and in_split(r.photo, split, fold)]
        if len(wanted) < len(fixes.rankings):
            told["corrections"] += f"; {len(wanted)} of them of a ratio that was given, in the {split} split"
        paths = {r.photo: input_path(photos, r.photo) for r in wanted}
    else:
        paths = {path.stem: path for path in sorted(photos.rglob("*")) if path.suffix.lower() in SUFFIXES}
        wanted = [r for r in read_rankings(rankings_path) if r.photo in paths and in_split(r.photo, split, fold)]
    if not wanted:
        if corrected:
            raise InputError(f"{rankings_path}: nothing to measure by in the {split} split ({told['corrections']})")
        raise InputError(f"{photos}: no photo of the {split} split that {rankings_path} ranks crops of is there")
    judge = judged_correction if corrected else judged
    found: dict[str, list[np.ndarray]] = {}
    right: dict[str, list[float]] = {}
    for done, ranking in enumerate(wanted, start=1):
        with Picture.open(paths[ranking.photo]) as picture:
            check_size(ranking, (picture.width, picture.height))
            pixels = np.array(picture.crop((0, 0, picture.width, picture.height)).convert("RGB"))
            prepared = cropper.prepare(picture)
        scale = np.tile(pixels.shape[1::-1], 2)
        ratio = parse_ratio(ranking.ratio)
        value = ratio.for_size(prepared.width, prepared.height)
        assert value is not None  # rankings are of crops of one ratio
        chosen = {}
        for name, protect in ((cropper.model, "all"), (f"{cropper.model}, --protect none", "none")):
            (crops,) = cropper.rank([prepared], CropRequest(ratios=(ratio,), protect=protect))
            assert not isinstance(crops, InputError)  # nothing is required of the crops
            chosen[name] = np.array(crops[0].box)
            utilities = cropper.utilities_prepared(prepared, ranking.candidates * scale, protect)
            right.setdefault(name, []).extend(ordered(ranking, utilities))
        chosen |= {name: crop(pixels, value) for name, crop in baselines().items()}
        for name, box in chosen.items():
            found.setdefault(name, []).append(judge(ranking, box / scale))
        progress(done, len(wanted))
    rows = [
        {
            "scorer": name,
            **({"pairs": float(np.mean(right[name]))} if name in right else {}),
            **dict(zip(MEASURES, np.mean(values, axis=0).tolist(), strict=True)),
        }
        for name, values in found.items()
    ]
    return {"data": rankings_path.name, "split": split, "pictures": len(wanted), "rows": rows} | told


def ordered(ranking: Ranking, utilities: np.ndarray) -> list[float]:
    """For each pair of differently ranked crops 1 where it is ordered right, 0.5 where not at all."""
    better, worse = ranking.pairs()
    margin = utilities[better] - utilities[worse]
    return list((margin > 0) + 0.5 * (margin == 0))


def judged(ranking: Ranking, box: np.ndarray) -> np.ndarray:
    """The MEASURES of one crop, [4] in fractions."""
    ious = iou_matrix(box[None], ranking.candidates)[0]
    nearest = int(ious.argmax())
    return np.array([nearest in ranking.groups[0], nearest in ranking.bad, ious[nearest]], float)


def judged_correction(ranking: Ranking, box: np.ndarray) -> np.ndarray:
    """The MEASURES of one crop, [4] in fractions, where the last of the ranked ones was given and others are better."""
    ious = iou_matrix(box[None], ranking.candidates)[0]
    nearest = int(ious.argmax())
    return np.array([nearest in ranking.groups[0], nearest in ranking.groups[-1], ious[list(ranking.groups[0])].max()])


COLUMNS = (
    Column("pairs ordered right", "pairs", ".3f"),
    Column("own choice among the best", "best", ".3f"),
    Column("own choice refused", "bad", ".3f"),
    Column("IoU with the nearest ranked crop", "near", ".3f"),
)
COLUMNS_OF_CORRECTIONS = (
    Column("pairs ordered right", "pairs", ".3f"),
    Column("own choice nearest to the corrected frame", "best", ".3f"),
    Column("own choice nearest to the one that was given", "bad", ".3f"),
    Column("IoU with the corrected frame", "near", ".3f"),
)


def table(result: dict) -> str:
    """The result as a Markdown table."""
    columns = COLUMNS_OF_CORRECTIONS if "corrections" in result else COLUMNS
    lines = [markdown.table((SCORER, *columns), result["rows"])]
    if "corrections" in result:
        lines += ["", result["corrections"]]
    return "\n".join(lines)
