"""What is known of a crop candidate besides what the networks say: what it holds, cuts and loses, and where it lies.

All are cheap: the maps are summed once for a picture, and hundreds of candidates of all ratios are measured in one
call.
"""

from collections.abc import Sequence

import numpy as np

from s2crop.cropping.content import Content
from s2crop.geometry.integral import Integral, area_shares, held_shares, strips

CONFIDENT_SHARE = 0.02  # of the picture that a subject map covers: below, the map says less and less
EDGE_FRAC = 0.02  # of the picture's longer side: thickness of the strip inside a border that is asked for what it cuts
TIGHT_FRAC = 0.06  # of the crop's side: thickness of the strip in which a subject is said to touch the border
HELD_BY_ANY = 0.2, 0.5  # shares of the subject that some candidate holds: at which cutting it counts nothing, and all
MAX_CUT = 2.0  # a border that cuts more than this, in roots of the subject's area, cuts no more
PROMINENT_AREA = 0.015  # from this share of the picture on a head or text counts in full
PROMINENT_PERSON = 0.1
TEXT_TRUST = 2  # power of a text's score: of what scores low, most are signs far back and false alarms
ANIMAL_TRUST = 2.2  # times the score of an animal's head, which few photos taught, and which is low
SIGN_SHARE = 0.2  # how much text in the picture matters, of what text that was put over it does
CIRCLE_SIDE = (np.pi / 4) ** 0.5  # of the square that has the area of the circle in a crop

NAMES = {
    "network": ("score", "appeal"),
    "place": ("scale", "zoom", "off_x", "off_x_far", "off_y_far"),
    "subject": (
        "lost",
        "lost_most",
        "top_lost",
        "cut_sides",
        "cut_top",
        "cut_bottom",
        "cut_worst",
        "cut_both_sides",
        "subject_off_x",
        "subject_off_x_far",
        "subject_off_y",
        "subject_off_y_far",
        "fill",
        "fill_much",
        "tight",
        "looks_held",
        "looks_held_most",
        "looks_cut",
        "unsure_off",
        "person_cut",
        "person_lost",
        "person_cut_worst",
        "object_cut",
        "object_lost",
        "object_cut_worst",
        "main_lost",
        "main_lost_most",
        "main_halved",
        "main_cut",
        "main_cut_worst",
        "main_off_x",
        "main_off_y",
        "main_off_y_size",
        "main_fill",
        "core_lost",
        "core_lost_most",
        "core_halved",
        "core_cut_worst",
    ),
    "face": ("head_cut", "head_lost", "head_cut_worst", "head_off_x", "eyes_cut", "eyes_lost"),
    "text": ("text_cut", "text_lost", "text_cut_worst"),
}
ALL_NAMES = tuple(name for names in NAMES.values() for name in names)
SCORE, APPEAL = (ALL_NAMES.index(name) for name in NAMES["network"])  # the columns of what the networks say


def columns(protect: str) -> np.ndarray:
    """Which features count: 1 or 0 for each of ALL_NAMES.

    Args:
        protect: "none" leaves score and appeal alone; "face", "text" or "subject" leave one group of what is
            protected; "all" leaves all.
    """
    groups = {"none": {"network"}, "all": set(NAMES)}.get(protect, {"network", "place", protect})
    return np.array([float(group in groups) for group, names in NAMES.items() for _ in names])


_CUTS = np.array(
    [name in NAMES["subject"] and name != "looks_cut" and ("cut" in name or "halved" in name or name == "tight")
     for name in ALL_NAMES]
)  # fmt: skip


def avoidable(content: Content, boxes: np.ndarray) -> np.ndarray:
    """How much each feature counts among candidates [N, 4], in fractions of the picture: [F], 0 to 1.

    What cuts a subject counts the less the smaller the part of it is that any of them holds: of a banner through a
    large subject, all cut it, and one that flees to an empty place would be the best.
    """
    most = 1.0
    if content.mask.any():
        most = float((content.mask_sums.over(boxes)[:, 0] / content.mask.mean()).max())
    low, enough = HELD_BY_ANY
    return np.where(_CUTS, np.clip((most - low) / (enough - low), 0, 1), 1.0)


def measure(content: Content, boxes: np.ndarray, scales: np.ndarray, circle: bool = False) -> np.ndarray:
    """Features of candidates, the networks' columns left at 0.

    Args:
        boxes: [N, 4] in fractions of the picture.
        scales: [N] longer side of each, as a share of the picture's side that bounds its ratio (1: as large as
            possible).
        circle: measure the crops' inscribed circles.
    Returns:
        [N, F], columns as ALL_NAMES.
    """
    inside = _in_circle(boxes) if circle else boxes
    found = _place(boxes, scales) | _subject(content, inside, boxes) | _main(content, inside, boxes)
    for kind in ("person", "object", "head", "eyes", "text"):
        found |= _parts(content, kind, boxes, circle)
    zero = np.zeros(len(boxes))
    return np.stack([found.get(name, zero) for name in ALL_NAMES], axis=1)


def _in_circle(boxes: np.ndarray) -> np.ndarray:
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * CIRCLE_SIDE
    return np.concatenate([centre - half, centre + half], axis=1)


def _place(boxes: np.ndarray, scales: np.ndarray) -> dict[str, np.ndarray]:
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5).T
    return {
        "scale": scales,
        "zoom": (1 - scales) ** 2,
        "off_x": np.abs(x),
        "off_x_far": x**2,
        "off_y_far": y**2,
    }


def _subject(content: Content, boxes: np.ndarray, crops: np.ndarray) -> dict[str, np.ndarray]:
    """Of the subject map and the map of looks. Args: boxes that count as inside; crops whose borders are asked."""
    total = content.subject.astype(float).mean()
    sure = float(np.clip(total / CONFIDENT_SHARE, 0, 1))  # near zero means "don't know", not "nothing worth keeping"
    held, held_x, held_y, held_top = content.moment_sums.over(boxes).T
    share = held / max(total, 1e-6)
    found = {"lost": sure * (1 - share), "lost_most": sure * (1 - share) ** 2}
    found["top_lost"] = sure * (1 - held_top / max(content.top.mean(), 1e-6))

    summed, looks = content.subject_sums, content.looks_sums
    left, top, right, bottom = cuts = sure * _cuts(summed, crops, content.size_wh, np.array([total]))[0]
    found |= {"cut_sides": left + right, "cut_top": top, "cut_bottom": bottom, "cut_worst": cuts.max(axis=0)}
    found["cut_both_sides"] = np.minimum(left, right)
    found["looks_cut"] = _along(looks, crops, content.size_wh)[0].sum(axis=0)
    found["looks_held"] = looks.over(boxes)[:, 0]
    found["looks_held_most"] = found["looks_held"] ** 2

    sides = crops[:, 2:] - crops[:, :2]
    x, y = _offsets(held, held_x, held_y, crops)
    there = sure * np.clip(2 * share, 0, 1)
    found |= {"subject_off_x": there * np.abs(x), "subject_off_x_far": there * x**2}
    found |= {"subject_off_y": there * y, "subject_off_y_far": there * y**2}
    fill = held / area_shares(boxes)
    found |= {"fill": sure * fill, "fill_much": sure * fill**2}
    tight = strips(crops, TIGHT_FRAC * sides)
    touching = summed.over(tight.reshape(-1, 4))[:, 0].reshape(4, -1) / area_shares(tight)
    found["tight"] = sure * touching.sum(axis=0)
    off = (crops[:, :2] + crops[:, 2:]) / 2 - 0.5
    found["unsure_off"] = (1 - sure) * (off**2).sum(axis=1)
    return found


def _main(content: Content, boxes: np.ndarray, crops: np.ndarray) -> dict[str, np.ndarray]:
    """Of main things, and of the core of the first. Args: boxes that count as inside; crops whose borders are asked."""
    held, held_x, held_y, core_held = content.main_sums.over(boxes).T
    totals, (peak, core_peak) = content.main.astype(float).mean(axis=(1, 2)), content.main.max(axis=(1, 2))
    cuts, core_cuts = _cuts(content.main_sums, crops, content.size_wh, totals, (0, 3))
    share = held / max(totals[0], 1e-6)
    found = {"main_cut": cuts.sum(axis=0), "main_fill": held / area_shares(boxes)}
    for name, sure, part, own in (
        ("main", peak, share, cuts),
        ("core", core_peak, core_held / max(totals[1], 1e-6), core_cuts),
    ):
        found |= {f"{name}_lost": sure * (1 - part), f"{name}_lost_most": sure * (1 - part) ** 2}
        found |= {f"{name}_halved": sure * 4 * part * (1 - part), f"{name}_cut_worst": own.max(axis=0)}
    x, y = _offsets(held, held_x, held_y, crops)
    there = peak * np.clip(2 * share, 0, 1)
    return found | {"main_off_x": there * np.abs(x), "main_off_y": there * y, "main_off_y_size": there * np.abs(y)}


def _offsets(held: np.ndarray, held_x: np.ndarray, held_y: np.ndarray, crops: np.ndarray) -> tuple[np.ndarray, ...]:
    """How far the middle of what crops hold of a map lies from theirs, in sides of theirs, across [N] and down [N].
    Args: what they hold of the map, of it times the columns and of it times the rows, [N] each.
    """
    middle = np.stack([held_x, held_y], axis=1) / np.maximum(held, 1e-6)[:, None]
    x, y = ((middle - crops[:, :2]) / (crops[:, 2:] - crops[:, :2]) - 0.5).T
    return x, y


def _along(summed: Integral, crops: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Means of maps in a strip inside each border (left, top, right, bottom) of crops, times its length: [C, 4, N].
    Args: crops and lengths in fractions.
    """
    edge = EDGE_FRAC * max(size_wh) / np.array(size_wh)  # across and down
    found = summed.over(strips(crops, edge).reshape(-1, 4))  # [4 N, C]
    return found.T.reshape(found.shape[1], 4, len(crops)) / np.tile(edge, 2)[:, None]


def _cuts(
    summed: Integral, crops: np.ndarray, size_wh: tuple[int, int], totals: np.ndarray, channels: Sequence[int] = (0,)
) -> np.ndarray:
    """Lengths of maps that crops' borders run through, in roots of the maps' areas: [K, 4, N].

    What the picture's own border cuts there is taken off, and borders that are the picture's cut nothing.

    Args:
        summed: the maps, of 1 where they fill the picture.
        crops: [N, 4] in fractions; size_wh: of the picture, in pixels.
        totals: [K] what the picture holds of each of K channels of the maps.
    """
    width, height = size_wh
    both = np.concatenate([crops, [[0, 0, 1, 1.0]]])  # the picture's own borders last
    cuts = _along(summed, both, size_wh)[list(channels)] * np.array([height, width, height, width])[:, None]
    inner = np.concatenate([crops[:, :2] > 1e-3, crops[:, 2:] < 1 - 1e-3], axis=1).T
    root = np.sqrt(np.maximum(totals, 0.005) * width * height)[:, None, None]  # pixels
    return np.minimum(inner * np.clip(cuts[..., :-1] - cuts[..., -1:], 0, None) / root, MAX_CUT)


def prominence(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """How much heads or texts matter, [M]: score times a quarter to 1, by size, as one of a crowd matters less.
    Args: boxes [M, 4] in fractions; scores [M].
    """
    return scores * (0.25 + 0.75 * np.clip(np.sqrt(area_shares(boxes) / PROMINENT_AREA), 0, 1))


def weights_of(content: Content, kind: str) -> np.ndarray:
    """How much each box of a kind matters: [M]."""
    boxes, scores = content.parts[kind]
    size = np.sqrt(area_shares(boxes))
    if kind == "head" and content.animals is not None:
        scores = np.where(content.animals, np.minimum(ANIMAL_TRUST * scores, 1), scores)
    if kind == "text":
        scores = scores**TEXT_TRUST
        if content.lettering is not None:  # what somebody put there is to be read, what happens to be there need not
            scores = scores * (SIGN_SHARE + (1 - SIGN_SHARE) * content.lettering)
    if kind == "person":
        return scores * np.clip(size / PROMINENT_PERSON**0.5, 0.1, 1)
    if kind == "object":  # an object matters as far as it belongs to the subject
        filled = content.subject_sums.over(boxes)[:, 0] / area_shares(boxes)
        weights = scores * size * np.clip(1.5 * filled, 0, 1)
    else:
        weights = prominence(boxes, scores)
    return weights if kind in ("head", "eyes") else weights / max(1.0, weights.sum())


def _parts(content: Content, kind: str, crops: np.ndarray, circle: bool) -> dict[str, np.ndarray]:
    boxes, _ = content.parts[kind]
    if not len(boxes):
        return {}
    weights = weights_of(content, kind)
    inside = held_shares(crops, boxes, circle)
    cut = 4 * inside * (1 - inside)
    in_all = max(1.0, weights.sum())
    found = {
        f"{kind}_cut": cut @ weights / in_all,
        f"{kind}_lost": (1 - inside) @ weights / in_all,
        f"{kind}_cut_worst": (cut * weights).max(axis=1),
    }
    if kind == "head":  # the most prominent one
        first = int(np.argmax(weights * np.sqrt(area_shares(boxes))))
        centre = (boxes[first, 0] + boxes[first, 2]) / 2
        width = crops[:, 2] - crops[:, 0]
        found["head_off_x"] = (inside[:, first] > 0.95) * np.abs((centre - crops[:, 0]) / width - 0.5)
    return found
