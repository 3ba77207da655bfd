"""Whether a crop misses what matters, and the box that is filled up to the ratio in its place.

What matters was chosen on the best crops that people drew freely on photos of FCDB, which crop well by definition, and
on crops that an editor refused for a head, lettering or a subject that was cut or lost (`datasets/rankings.py`): of the
former 4 in 100 miss a head by the measure here, 4 lettering and 3 the subject, of the latter 65, 63 and 36. Most of
those few leave out a passer-by, a sign at the border, or a part of a subject that has no clear end. Of 80 crops of 40
photos of signs and groups, at 1:1 and 9:16, 36 were found to miss something; 30 became filled up, and of three the crop
was as good.
"""

from collections.abc import Sequence

import numpy as np

from s2crop.cropping.content import Content
from s2crop.cropping.features import prominence
from s2crop.cropping.protect import KINDS, REPORTED_SCORE, mask_at_borders, subject_box
from s2crop.geometry.boxes import inside_circle_share, largest_of_ratio
from s2crop.geometry.integral import held_shares

MATTERS = {"face": 0.4, "text": 0.35}  # score times prominence of a head or text, above which a crop is not to miss it
HELD = {"face": 0.15, "text": 0.15}  # the same of what is held once a picture is filled up anyway
MISSED = {"face": 0.25, "text": 0.15}  # of one outside of a crop counts as missing all of it, less in proportion
CROWD = {0.4: 15, 0.25: 45}  # score times prominence: of more heads above it than this, none matters by itself
SUBJECT_MATTERS = 0.42  # of a subject that is outside while a border runs through it as long, in roots of its area
BOTH_SIDES = 0.2  # the same where opposite borders run through the subject, which then does not fit
SUBJECT_LESS = 0.2  # of a subject that the best crop holds: a crop without more of it does not take its place
TAIL = 0.01  # of a subject on each side that a box need not hold
MARGIN = 0.04  # of the picture's longer side, around what a box is to hold
LEAST_PAD = 0.08  # of a side: a box is widened, where it can be, until its pads together take as much


def misses(content: Content, boxes: np.ndarray, protect: str, circle: bool = False) -> np.ndarray:
    """Which crops, or their inscribed circles, miss something that matters: bool [N].

    Args:
        boxes: [N, 4] in pixels of the picture; protect: one of PROTECT.
    """
    crops = boxes / np.tile(content.size_wh, 2)
    found = np.zeros(len(crops), bool)
    for kind in KINDS:
        things, weights = _things(content, kind, protect)
        if len(things):
            outside = np.clip((1 - held_shares(crops, things, circle)) / MISSED[kind], 0, 1)
            found |= (outside * weights).max(axis=1) > MATTERS[kind]
    mask = content.mask
    if protect in ("subject", "all") and subject_box(mask) is not None:
        if circle:
            rows, columns = np.nonzero(mask)
            cells = np.stack([columns, rows, columns + 1, rows + 1], axis=1) / np.tile(mask.shape[::-1], 2)
            for i, crop in enumerate(crops):  # one at a time: of many cells and crops the points fill memory
                found[i] |= (inside_circle_share(crop[None], cells) < 0.5).mean() > SUBJECT_MATTERS
        else:
            held, through = mask_at_borders(content.mask_sums, crops, content.size_wh)
            both_sides = np.minimum(through[:, :2], through[:, 2:]).max(axis=1)
            found |= np.minimum(1 - held, through.max(axis=1)) > SUBJECT_MATTERS
            found |= np.minimum(1 - held, both_sides) > BOTH_SIDES
    return found


def replaces(content: Content, boxes: np.ndarray, best: np.ndarray, protect: str, circle: bool = False) -> np.ndarray:
    """Which crops hold what matters where the best one, [4], misses some, and no less of the subject: bool [N].

    A sign or a watermark is not worth a subject that the best crop holds.
    """
    found = ~misses(content, boxes, protect, circle)
    if protect in ("subject", "all") and subject_box(content.mask) is not None:
        both = np.concatenate([best[None], boxes]) / np.tile(content.size_wh, 2)
        held, _ = mask_at_borders(content.mask_sums, both, content.size_wh)
        found &= held[1:] >= held[0] - SUBJECT_LESS
    return found


def needed(content: Content, protect: str, least: dict[str, float]) -> np.ndarray | None:
    """The box [4], in pixels of the picture, around what a crop is to hold; None where there is nothing.

    Args:
        least: prominence from which heads ("face") and texts are to be held.
    """
    boxes: list[np.ndarray] = []
    for kind in KINDS:
        things, weights = _things(content, kind, protect)
        boxes += list(things[weights > least[kind]])
    if protect in ("subject", "all") and subject_box(content.mask) is not None:
        boxes.append(_middle(content.mask))
    found = around(boxes)
    return None if found is None else found * np.tile(content.size_wh, 2)


def around(boxes: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The box [4] around those boxes that there are."""
    there = [box for box in boxes if box is not None]
    if not there:
        return None
    found = np.array(there)
    return np.concatenate([found[:, :2].min(axis=0), found[:, 2:].max(axis=0)])


def fits(need: np.ndarray, size_wh: tuple[int, int], ratio: float) -> bool:
    """Whether a crop of a ratio holds what is needed, [4] in pixels."""
    return bool((need[2:] - need[:2] <= np.array(largest_of_ratio(ratio, *size_wh)) + 0.5).all())


def largest_around(need: np.ndarray, size_wh: tuple[int, int], ratio: float) -> np.ndarray:
    """The largest crop [4] of a ratio that holds what is needed, which is in its middle as far as there is room."""
    sides = np.array(largest_of_ratio(ratio, *size_wh))
    start = np.clip((need[:2] + need[2:] - sides) / 2, 0, np.array(size_wh) - sides)
    return np.concatenate([start, start + sides])


def padded_box(
    need: np.ndarray, size_wh: tuple[int, int], ratio: float, circle: bool = False, least_side: float = 0.0
) -> np.ndarray:
    """The box [4] that is to be filled up to a ratio, in pixels: the smallest that holds what is needed, with margins.

    It spans the picture along the axis on which it is filled up, as what fills it is worth less than any of the
    picture; in a circle it is as near to a square as the picture allows.

    Args:
        need: [4] in pixels.
        circle: it will lie in a circle; least_side: of the longer one then.
    """
    size = np.array(size_wh, float)
    margin = MARGIN * size.max()
    low, high = np.maximum(need[:2] - margin, 0), np.minimum(need[2:] + margin, size)
    if circle:
        sides = np.minimum(max((high - low).max(), least_side), size)
    else:
        excess = (need[2:] - need[:2]) / size[::-1] * [1 / ratio, ratio]
        long = int(np.argmax(excess))
        sides = size.copy()
        least = size[1 - long] * (ratio if long == 0 else 1 / ratio) * (1 + LEAST_PAD)
        sides[long] = min(max(high[long] - low[long], least), size[long])
    start = np.clip((low + high - sides) / 2, 0, size - sides)
    end = start + sides
    # What little would be left of the picture beside the box, the box takes too.
    return np.concatenate([np.where(start < margin / 2, 0, start), np.where(end > size - margin / 2, size, end)])


def _things(content: Content, kind: str, protect: str) -> tuple[np.ndarray, np.ndarray]:
    """Heads ("face") or texts [M, 4] that are protected, and how much each matters [M]; none of a crowd, and none so
    unsure that nobody is told of it.
    """
    things, scores = content.parts[KINDS[kind]]
    sure = scores >= REPORTED_SCORE[kind]
    things, scores = things[sure], scores[sure]
    weights = prominence(things, scores)
    is_crowd = kind == "face" and any((weights > least).sum() > most for least, most in CROWD.items())
    return (things[:0], weights[:0]) if is_crowd or protect not in (kind, "all") else (things, weights)


def _middle(mask: np.ndarray) -> np.ndarray:
    """The box [4] in fractions around a mask, less what of it lies far out."""
    ends = []
    for axis in (0, 1):
        along = mask.sum(axis=axis).cumsum() / mask.sum()
        ends.append(((along <= TAIL).sum() / len(along), ((along < 1 - TAIL).sum() + 1) / len(along)))
    (x1, x2), (y1, y2) = ends
    return np.array([x1, y1, x2, y2])
