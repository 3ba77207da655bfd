"""Whether a frame shows two moments in alternating rows, though its stream does not say so."""

import numpy as np

from s2crop.video.shots import LUMA

_TOOTH = 12.0  # of 255: how far a row is from those above and below, both ways alike
_MIN_TIMES = 3.0  # as many as there are between columns, where no field makes them
_MIN_TEETH = 0.002  # share of the pixels; up to 0.001 on sharp photographs, where as many stand upright


def is_combed(frame: np.ndarray) -> bool:
    """Whether a frame uint8 [h, w, 3] has the comb of two fields:
    rows unlike their neighbours and like the rows behind these.
    """
    if min(frame.shape[:2]) < 5:
        return False
    grey = frame.astype(np.float32) @ LUMA
    teeth = _teeth(grey)
    return teeth >= _MIN_TEETH and teeth >= _MIN_TIMES * _teeth(grey.T)


def _teeth(grey: np.ndarray) -> float:
    row, above, below = grey[2:-2], grey[1:-3], grey[3:-1]
    apart = np.minimum(np.abs(row - above), np.abs(row - below))
    teeth = (apart > _TOOTH) & ((row > above) == (row > below))
    alike = np.maximum(np.abs(above - below), np.maximum(np.abs(row - grey[:-4]), np.abs(row - grey[4:])))
    return float((teeth & (2 * alike < apart)).mean())
