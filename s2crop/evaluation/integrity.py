"""Whether crops hold faces, heads, persons, text, main things and subjects whole:
how many that a crop could hold are cut or lost.
"""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from s2crop.cropping.content import SUBJECT_LEVEL
from s2crop.cropping.cropper import Cropper
from s2crop.cropping.protect import LOST, SUBJECT_CUT, WHOLE, mask_inside, subject_box
from s2crop.cropping.request import CropRequest
from s2crop.datasets.fcdb import SUFFIXES
from s2crop.datasets.lettering import letter
from s2crop.datasets.reading import laid_out_as, read_json
from s2crop.datasets.split import in_split
from s2crop.errors import InputError
from s2crop.evaluation import markdown
from s2crop.evaluation.baselines import baselines
from s2crop.evaluation.markdown import SCORER, Column
from s2crop.files.picture import Picture
from s2crop.geometry.boxes import inside_share, largest_of_ratio
from s2crop.geometry.ratio import Ratio, parse_ratio

RATIOS = ("1:1", "16:9", "9:16", "4:5")
MIN_SCORE = {"face": 0.75, "text": 0.75}  # teachers' boxes below are too often false alarms
PROMINENT = {"face": 0, "text": 1, "lettering": 1}  # kinds, and the side that is compared with the picture's
PROMINENT_FRAC = 0.04  # of the picture's width or height, from which a face's width or a line's height is prominent
LAYOUTS = ("banner", "title", "subtitle", "lyrics")  # of the composites
MEASURES = ("boxes", "cut", "lost", "holdable", "missed")


def evaluate(
    cropper: Cropper,
    photos: Path,
    boxes_path: Path,
    *,
    split: str = "validation",
    fold: int = 0,
    masks: Path | None = None,
    pad: str = "never",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """Count faces, text, lettering and what else was marked that crops of fixed ratios cut or lose, beside others'.

    Only boxes that fit into the largest crop of a ratio count for that ratio. "Lettering" are the
    lines of banners, titles, subtitles and lyrics drawn over copies of the photos that show a face or text.
    With a pad, faces from 4 % of the picture's width and lines from 4 % of its height count once more as
    "prominent": pads are for those, as `cropping.padding.MATTERS` has it, and passers-by are left to the crop.

    Args:
        photos: folder of `<id>.webp|jpg|jpeg|png`, however deep.
        boxes_path: JSON, gzipped or not: {id: [{"box" (fractions), "score", "kind"}, ...]} of detectors, or human
            labels {id: {"heads": [{"box", "kind"}, ...], "head": box, "person": box}}, or what an editor marked, as
            `datasets.subjects` reads it: {id: {"main": [box, ...], "core": box or null}}, of which the first counts.
        masks: .npz of a uint8 mask of its subject for each photo.
        split: "validation", "training" or "all", as in `fcdb`.
        pad: "auto" or "always" measures crops that may be filled up, in place of other croppers.
    Returns:
        {"data", "split", "pictures", "rows": [{"scorer", "kind", "boxes", "cut", "lost", "holdable", "missed"}],
        "padded"}. cut, lost: shares of the boxes. holdable: how many boxes of a kind a crop can hold at once, summed
        over pictures and ratios. missed: the share of those that were not held whole. padded: by ratio, the share of
        pictures that were filled up, and of lettered copies; only with a pad.
    Raises:
        InputError: no photo of the split with such a box is there.
    """
    wanted = _wanted(photos, boxes_path, split, fold)
    subjects = _read_masks(masks)
    ratios = tuple(map(parse_ratio, RATIOS))
    counts: dict[tuple[str, str], np.ndarray] = {}
    filled: dict[str, list[list[bool]]] = {"photos": [], "lettered copies": []}

    def add(scorer: str, kind: str, found: np.ndarray) -> None:
        counts.setdefault((scorer, kind), np.zeros(len(MEASURES)))[:] += found

    for done, (path, parts) in enumerate(wanted.items(), start=1):
        with Picture.open(path) as picture:
            pixels = np.array(picture.crop((0, 0, picture.width, picture.height)).convert("RGB"))
        scale = np.tile(pixels.shape[1::-1], 2)
        shown = [(pixels, {kind: boxes * scale for kind, boxes in parts.items()}, subjects.get(path.stem))]
        if parts.keys() & MIN_SCORE.keys():
            rng = np.random.default_rng(int.from_bytes(path.stem.encode()[-4:]))
            lettered, lines, _ = letter(pixels, rng, layout=LAYOUTS[done % len(LAYOUTS)])
            shown.append((lettered, {"lettering": lines}, None))
        for image, image_parts, mask in shown:
            scored = _crops(cropper, image, ratios, alone=pad != "never")
            if pad != "never":
                image_parts |= _prominent(image_parts, scale)
                crops, was_filled = _padded(cropper, image, ratios, pad)
                scored.append((f"{cropper.model}, --pad {pad}", crops))
                filled["lettered copies" if "lettering" in image_parts else "photos"].append(was_filled)
            for scorer, crops in scored:
                for ratio, crop in zip(ratios, crops, strict=True):
                    assert ratio.value is not None
                    largest = np.array(largest_of_ratio(ratio.value, *scale[:2]), float)
                    for kind, boxes in image_parts.items():
                        fits = (boxes[:, 2:] - boxes[:, :2] <= largest).all(axis=1)
                        add(scorer, kind, count(crop, boxes[fits], largest))
                    if mask is not None:
                        add(scorer, "subject", count_subject(crop / scale, mask, largest / scale[:2], tuple(scale[:2])))
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
    told: dict = {"data": boxes_path.name, "split": split, "pictures": len(wanted), "rows": rows}
    if pad != "never":
        told["padded"] = {
            name: dict(zip(RATIOS, np.mean(those, axis=0).tolist(), strict=True))
            for name, those in filled.items() if those
        }  # fmt: skip
    return told


def count(crop: np.ndarray, boxes: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The MEASURES of one crop, as numbers of boxes.

    Args:
        crop: [4]; boxes: [K, 4] that fit, each alone, into `largest`: width and height of the largest crop of the
            ratio.
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


def count_subject(crop: np.ndarray, mask: np.ndarray, largest: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """The MEASURES of a subject's mask: cut where a border that is not the picture's runs through it.

    Args:
        crop: [4] fractions; mask: bool [h, w]; largest: width and height of the largest crop of the ratio, fractions;
        size_wh: of the picture in pixels.
    """
    around = subject_box(mask)
    if around is None:
        return np.zeros(len(MEASURES))
    fits = bool((around[2:] - around[:2] <= largest + 1e-9).all())
    share, through = mask_inside(mask, crop, size_wh)
    lost = share <= LOST
    cut = not lost and through > SUBJECT_CUT
    return np.array([1, cut, lost, fits, fits and (cut or lost)], float)


def _read_masks(path: Path | None) -> dict[str, np.ndarray]:
    """The masks of an .npz, bool [h, w] by photo; empty where they say nothing."""
    if path is None:
        return {}
    try:
        with np.load(path, allow_pickle=False) as masks:
            return {name: masks[name] > 255 * SUBJECT_LEVEL for name in masks.files}
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a file of masks ({error})") from None


def _crops(
    cropper: Cropper, pixels: np.ndarray, ratios: tuple[Ratio, ...], alone: bool
) -> list[tuple[str, list[np.ndarray]]]:
    """Each scorer's crops [4] of a picture, one for each ratio. Args: alone leaves other croppers out."""
    prepared = cropper.prepare(Picture.open(pixels))
    found = []
    for name, protect in ((cropper.model, "all"), (f"{cropper.model}, --protect none", "none"))[: 1 if alone else 2]:
        (crops,) = cropper.rank([prepared], CropRequest(ratios=ratios, protect=protect))
        if isinstance(crops, InputError):
            raise crops
        found.append((name, [np.array(crop.box, float) for crop in crops]))
    values = [ratio.value for ratio in ratios if ratio.value is not None]
    return (
        found
        if alone
        else found + [(name, [crop(pixels, value) for value in values]) for name, crop in baselines().items()]
    )


def _padded(
    cropper: Cropper, pixels: np.ndarray, ratios: tuple[Ratio, ...], pad: str
) -> tuple[list[np.ndarray], list[bool]]:
    """Boxes [4] of a picture's crops that may be filled up, one for each ratio, and which of them are."""
    (crops,) = cropper.rank([cropper.prepare(Picture.open(pixels))], CropRequest(ratios=ratios, pad=pad))
    assert not isinstance(crops, InputError)  # nothing is required of the crops
    return [np.array(crop.box, float) for crop in crops], [crop.padded is not None for crop in crops]


def _prominent(parts: dict[str, np.ndarray], scale: np.ndarray) -> dict[str, np.ndarray]:
    """Of faces, text and lettering, boxes [K, 4] in pixels, those that are large. Args: scale [4] of the picture."""
    return {
        f"{kind}, prominent": large
        for kind, axis in PROMINENT.items()
        if kind in parts
        and len(large := parts[kind][parts[kind][:, axis + 2] - parts[kind][:, axis] >= PROMINENT_FRAC * scale[axis]])
    }


def _wanted(photos: Path, boxes_path: Path, split: str, fold: int) -> dict[Path, dict[str, np.ndarray]]:
    """For each photo of a split that shows some: its trusted boxes of each kind, [K, 4] fractions."""
    rows = read_json(boxes_path)
    paths = {path.stem: path for path in sorted(photos.rglob("*")) if path.suffix.lower() in SUFFIXES}
    wanted = {}
    with laid_out_as("boxes", boxes_path):
        for name, found in sorted(rows.items()):
            if not in_split(name, split, fold) or (path := paths.get(name)) is None:
                continue
            parts: dict[str, list] = {}
            for kind, box in _marked(found) if isinstance(found, dict) else _trusted(found):
                parts.setdefault(kind, []).append(box)
            if parts:
                wanted[path] = {kind: np.array(boxes, float).reshape(-1, 4) for kind, boxes in parts.items()}
    if not wanted:
        raise InputError(f"{photos}: no photo of the {split} split with anything in {boxes_path} is there")
    return wanted


def _trusted(rows: list[dict]) -> Iterator[tuple[str, list[float]]]:
    """Kind and box of what a detector found and is believed."""
    for row in rows:
        if row["score"] >= MIN_SCORE.get(row["kind"], np.inf):
            yield row["kind"], row["box"]


def _marked(labels: dict) -> Iterator[tuple[str, list[float]]]:
    """Kind and box of what was marked in a photo: heads, of groups by how they are seen; persons; the main thing."""
    for head in labels.get("heads", []):
        yield f"head, {head['kind']}", head["box"]
    for kind in ("head", "person", "core"):
        if labels.get(kind):
            yield kind, labels[kind]
    for box in labels.get("main", [])[:1]:
        yield "main thing", box


COLUMNS = (
    Column("kind", "kind"),
    SCORER,
    Column("boxes", "boxes"),
    Column("cut", "cut", ".3f"),
    Column("lost", "lost", ".3f"),
    Column("cut or lost", lambda row: row["cut"] + row["lost"], ".3f"),
    Column("missed of what fits together", "missed", ".3f"),
)


def table(result: dict) -> str:
    """The result as a Markdown table."""
    lines = [markdown.table(COLUMNS, result["rows"])]
    for name, shares in result.get("padded", {}).items():
        told = ", ".join(f"{share:.3f} at {ratio}" for ratio, share in shares.items())
        lines += ["", f"Filled up, of {name}: {told}"]
    return "\n".join(lines)
