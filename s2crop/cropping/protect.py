"""What crops should not cut: faces, as whole heads, and text."""

import numpy as np

from s2crop.cropping.request import Prepared
from s2crop.geometry.search import Protected
from s2crop.models.proposals import KINDS, Proposals

PROTECT_MIN_SCORE = 0.3  # faces and text below this are not protected
PROTECT_KINDS = {"none": (), "face": ("face",), "text": ("text",), "all": ("face", "text")}
PROMINENT_AREA_FRAC = 0.015  # from this share of the picture on, a face or text counts in full
TEXT_WEIGHT = 0.5  # of a text block, where a face has 1: writing on a sail matters less than who sails
MAX_TEXT = 1.0  # all text of a picture together counts as much as this many blocks
FACE_MARGIN = (0.15, 0.45, 0.15, 0.2)  # of a face's sides, left, top, right, bottom: detectors leave out hair and chin
EYES = (0.0, -0.1, 0.0, -0.35)  # likewise, from the brow to the nose: what matters most of a face
TEXT_MARGIN = (0.05, 0.15, 0.05, 0.15)


def protect(proposals: Proposals, row: int, picture: Prepared, what: str) -> Protected:
    """Faces (heads) and text of one picture that crops should not cut."""
    kinds = [KINDS.index(kind) for kind in PROTECT_KINDS[what]]
    found = proposals.kinds[row].cpu().numpy()
    scores = proposals.scores[row].cpu().numpy().astype(float)
    chosen = np.isin(found, kinds) & (scores >= PROTECT_MIN_SCORE)
    if not chosen.any():
        return Protected.nothing()
    boxes = proposals.boxes[row].cpu().numpy()[chosen] / picture.scale
    face = (found[chosen] == KINDS.index("face"))[:, None]
    margins = np.where(face, FACE_MARGIN, TEXT_MARGIN)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    share = (sides[:, 0] * sides[:, 1]) / (picture.width * picture.height)
    prominence = 0.25 + 0.75 * np.clip(np.sqrt(share / PROMINENT_AREA_FRAC), 0, 1)  # one of a crowd matters less
    outwards, limit = sides * [-1, -1, 1, 1], [picture.width, picture.height] * 2
    cores = np.where(face, boxes + np.array(EYES) * outwards, boxes)
    boxes = boxes + margins * outwards
    weights = scores[chosen] * prominence
    text = found[chosen] == KINDS.index("text")
    weights[text] *= TEXT_WEIGHT / max(1.0, weights[text].sum() / MAX_TEXT)
    return Protected(np.clip(boxes, 0, limit), weights, np.clip(cores, 0, limit))
