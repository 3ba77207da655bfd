"""The split of photos into training and validation."""

import hashlib

VALIDATION_SHARE = 0.127  # of the photos: 170 of the 1,335 of FCDB


def is_validation(photo_id: str, fold: int = 0) -> bool:
    """Whether a photo is held out for validation: by a hash of its name, so the split never moves.

    Folds 0 to 6 are disjoint and cover 0.889 of the photos.
    """
    place = int.from_bytes(hashlib.sha256(photo_id.encode()).digest()[:4], "big") / 2**32
    return fold * VALIDATION_SHARE <= place < (fold + 1) * VALIDATION_SHARE


def in_split(photo_id: str, split: str, fold: int = 0) -> bool:
    """Whether a photo belongs to a split: "validation" (held out by the shipped recipes), "training" or "all"."""
    return split == "all" or is_validation(photo_id, fold) == (split == "validation")
