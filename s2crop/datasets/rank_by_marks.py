"""Rank crops by what was marked in photos as what they are about.

    python -m s2crop.datasets.rank_by_marks DATA

reads `main_subjects.json` in the data folder, what each photo is about, as `datasets.subjects` says, and writes
`mark_rankings.json`, which `datasets.rankings` reads: some candidates of four ratios of each photo, ordered by what of
the marks they hold and cut. A photo that is marked once so ranks any number of crops.

The weights were fitted to the training part of `editor_rankings.json`: by them alone .770 of the ranked pairs of photos
that were left out are ordered right, and .884 of those that lie at least 1 apart.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from s2crop.datasets.rankings import photo_path
from s2crop.datasets.reading import read_json
from s2crop.errors import InputError
from s2crop.files.picture import Picture
from s2crop.geometry.anchors import ratio_anchors
from s2crop.geometry.boxes import inside_share, largest_of_ratio
from s2crop.geometry.ratio import parse_ratio

RATIOS = ("1:1", "16:9", "9:16", "4:5")
WEIGHTS = {
    "zoom": -2.27,
    "off_x": -4.42,
    "off_y": -4.24,
    "cut": -0.9,
    "lost": -2.59,
    "cut_worst": -0.83,
    "core_cut": -1.59,
    "core_lost": -1.4,
    "core_lost_most": -0.95,
    "first_off_x": -0.75,
    "first_off_y": -0.4,
}
APART = 1.2  # utility by which a crop is worse than another
REFUSED = 3.0  # and by which it would be refused
LEAST_SCALE = 0.68  # of the largest crop of the ratio
GOOD, ANY = 3, 4  # candidates ranked, beside the best and one of the largest: of the best sixth, and of all


def utilities(subject: dict, crops: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """How well crops [N, 4] in fractions keep what was marked in a photo.

    Args:
        subject: as the file has it, at least one box.
        scales: [N] sides of the crops, of the largest of their ratio.
    """
    boxes, weight = np.array(subject["main"], float), np.array(subject["weight"], float)
    held = inside_share(crops, boxes)
    cut, in_all = 4 * held * (1 - held), max(1.0, weight.sum())
    middle, sides = (boxes[0, :2] + boxes[0, 2:]) / 2, crops[:, 2:] - crops[:, :2]
    off = np.abs((middle - crops[:, :2]) / sides - 0.5).clip(max=0.5)
    found = {
        "zoom": (1 - scales) ** 2,
        "off_x": ((crops[:, 0] + crops[:, 2]) / 2 - 0.5) ** 2,
        "off_y": ((crops[:, 1] + crops[:, 3]) / 2 - 0.5) ** 2,
        "cut": cut @ weight / in_all,
        "lost": (1 - held) @ weight / in_all,
        "cut_worst": (cut * weight).max(axis=1),
        "first_off_x": off[:, 0],
        "first_off_y": off[:, 1],
    }
    if subject["core"] is not None:
        core = inside_share(crops, np.array([subject["core"]], float))[:, 0]
        found["core_cut"] = weight[0] * 4 * core * (1 - core)
        found["core_lost"] = weight[0] * (1 - core)
        found["core_lost_most"] = weight[0] * (1 - core) ** 2
    return np.sum([WEIGHTS[name] * values for name, values in found.items()], axis=0)


def ranked(subject: dict, ratio: float, size_wh: tuple[int, int], rng: np.random.Generator) -> dict | None:
    """Some candidates of a ratio of a photo, ranked; None where none is worse than another.

    Returns:
        {"candidates", "rank", "bad"}, as `datasets.rankings` reads them.
    """
    boxes = ratio_anchors(ratio, *size_wh)
    scales = (boxes[:, 2] - boxes[:, 0]) / largest_of_ratio(ratio, *size_wh)[0]
    crops = boxes / np.tile(size_wh, 2)
    liked = utilities(subject, crops, scales)
    order = np.array([i for i in np.argsort(-liked, kind="stable") if scales[i] >= LEAST_SCALE])
    best = order[: max(GOOD, len(order) // 6)]
    largest = np.flatnonzero(scales > scales.max() - 0.01)
    drawn = [rng.choice(rows, min(most, len(rows)), replace=False) for rows, most in ((best, GOOD), (order, ANY))]
    chosen = np.unique(np.concatenate([order[:1], *drawn, rng.choice(largest, 1)]))
    groups: list[list[int]] = []
    for i in np.argsort(-liked[chosen], kind="stable"):
        if not groups or liked[chosen[groups[-1][0]]] - liked[chosen[i]] > APART:
            groups.append([])
        groups[-1].append(int(i))
    if len(groups) == 1:
        return None
    bad = {str(i): "S" for i in np.flatnonzero(liked[chosen] < liked[order[0]] - REFUSED)}
    return {"candidates": crops[chosen].round(4).tolist(), "rank": groups, "bad": bad}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder as s2crop/datasets/photos.py says")
    data = parser.parse_args().data
    rng = np.random.default_rng(0)
    rankings = []
    try:
        marks = read_json(data / "main_subjects.json")
    except (OSError, InputError) as error:
        sys.exit(f"rank_by_marks: {error}")
    for name, subject in sorted(marks.items()):
        if not subject["main"]:
            continue
        with Picture.open(photo_path(data, name)) as picture:
            size_wh = picture.width, picture.height
        for ratio in RATIOS:
            value = parse_ratio(ratio).for_size(*size_wh)
            assert value is not None  # none of them is free
            if found := ranked(subject, value, size_wh, rng):
                rankings.append({"photo": name, "ratio": ratio, **found})
    (data / "mark_rankings.json").write_text(json.dumps(rankings))
    print(f"{len(rankings)} rankings")


if __name__ == "__main__":
    main()
