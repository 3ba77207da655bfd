"""What a crop cuts through or leaves out of what is protected, to be told."""

import numpy as np

from s2crop.cropping.content import Content
from s2crop.cropping.features import EDGE_FRAC
from s2crop.cropping.request import Thing
from s2crop.geometry.integral import Integral, held_shares, strips

KINDS = {"face": "head", "text": "text"}  # as users name them, and as they were found; faces stand for whole heads
REPORTED_SCORE = {"face": 0.4, "text": 0.4}  # weaker boxes sway the choice a little, and are not told
WHOLE, LOST = 0.95, 0.05  # shares of a box inside a crop
SUBJECT_CUT = 0.05  # roots of the subject's area that a border may run through
SUBJECT_MIN_AREA = 0.005  # of the picture; a smaller subject is not told


def cut_and_lost(content: Content, box: tuple[int, ...], protect: str) -> tuple[list[Thing], list[Thing]]:
    """What of the protected things a crop cuts through, and what it leaves out.

    A face or text is cut from 5 % to 95 % inside. A subject is cut where a border that is not the picture's runs
    through more than a twentieth of the root of its area.

    Args:
        box: the crop, in pixels of the upright picture.
        protect: one of PROTECT.
    """
    scale = np.tile(content.size_wh, 2)
    crop = np.array(box) / scale
    cut: list[Thing] = []
    lost: list[Thing] = []
    for kind, part in KINDS.items():
        boxes, scores = content.parts[part]
        boxes = boxes[scores >= REPORTED_SCORE[kind]]
        if protect not in (kind, "all") or not len(boxes):
            continue
        for part_box, share in zip(boxes, held_shares(crop[None], boxes)[0], strict=True):
            if share < WHOLE:
                (cut if share > LOST else lost).append(_thing(kind, part_box * scale))
    if protect in ("subject", "all") and (around := subject_box(content.mask)) is not None:
        held, through = mask_at_borders(content.mask_sums, crop[None], content.size_wh)
        if held[0] <= LOST:
            lost.append(_thing("subject", around * scale))
        elif through.max() > SUBJECT_CUT:
            cut.append(_thing("subject", around * scale))
    return cut, lost


def mask_inside(mask: np.ndarray, crop: np.ndarray, size_wh: tuple[int, int]) -> tuple[float, float]:
    """How much of a subject a crop holds, and how far a border of it runs through the subject.

    Args:
        mask: bool [h, w], not empty; crop: [4] in fractions of a picture of size_wh pixels.
    Returns:
        Share of the mask inside, and the longest way through it of a border that is not the picture's, in roots of its
        area.
    """
    held, through = mask_at_borders(Integral(mask[None] / mask.size), crop[None], size_wh)
    return float(held[0]), float(through.max())


def mask_at_borders(summed: Integral, crops: np.ndarray, size_wh: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Shares of a mask inside crops [N, 4]: [N]; and the ways through it of their borders that are not the picture's,
    left, top, right and bottom, in roots of its area: [N, 4].

    Args: summed: the mask, as `Content.mask_sums` has it.
    """
    width, height = size_wh
    (area,) = summed.whole
    held = summed.over(crops)[:, 0] / area
    edge = EDGE_FRAC * max(width, height) / np.array([width, height])
    along = summed.over(strips(crops, edge).reshape(-1, 4)).reshape(4, -1).T  # [N, 4]
    along = along / np.tile(edge, 2) * [height, width, height, width]
    inner = np.concatenate([crops[:, :2] > 1e-3, crops[:, 2:] < 1 - 1e-3], axis=1)
    return held, inner * along / np.sqrt(area * width * height)


def _thing(kind: str, box: np.ndarray) -> Thing:
    x1, y1, x2, y2 = (int(round(edge)) for edge in box)
    return Thing(kind, (x1, y1, x2, y2))


def subject_box(mask: np.ndarray) -> np.ndarray | None:
    """The box [4] around a subject's mask, bool [h, w], in fractions; None where there is next to nothing."""
    if mask.mean() < SUBJECT_MIN_AREA:
        return None
    edges = []
    for axis, size in ((0, mask.shape[1]), (1, mask.shape[0])):
        there = np.flatnonzero(mask.any(axis=axis))
        edges.append((there[0] / size, (there[-1] + 1) / size))
    (x1, x2), (y1, y2) = edges
    return np.array([x1, y1, x2, y2])


def focus_of(content: Content, box: tuple[int, ...]) -> tuple[float, float]:
    """Where in the picture a crop's subject is, in fractions: the middle of what of subject and looks lies inside.

    Args: box in pixels of the upright picture.
    """
    crop = np.array(box) / np.tile(content.size_wh, 2)
    held, x, y = content.focus_sums.over(crop[None])[0]
    if held <= 1e-6:
        return float(crop[0] + crop[2]) / 2, float(crop[1] + crop[3]) / 2
    return float(np.clip(x / held, crop[0], crop[2])), float(np.clip(y / held, crop[1], crop[3]))
