"""Even bars at the edges of a still picture: letterboxes, screenshots of films, frames of product shots."""

import numpy as np

_EVEN = 10.0  # grey levels: how far a bar's pixels may lie from its colour; JPEG rings by as much
_GREY_SPREAD = 12.0  # grey levels between the colours of what is black, white or grey
_MIN_FRAC = 0.02  # of the side: thinner ones are no bars
_MAX_FRAC = 0.85  # of the side that the bars of it may take together
_ALIKE = 0.4  # of the wider of two opposite bars: the other one is at least so wide
_BAR_SHARE = (
    0.98  # of a bar's pixels have its colour; the rest may be lettering, such as the time of day on a telephone
)
_EDGE_SHARE = 0.7  # of the picture's first line that is not of the bar's colour
_INNER_SHARE = 0.5  # the same of bars beside what lies between others of their colour, where there is less doubt
_PLAIN_SHARE = 0.7  # of what lies inside has one colour: that is no picture
_PLAIN_STEP = 40.0  # grey levels at least from that colour to the ground's
_GROUND_SHARE = 0.6  # of what lies inside has the colour of the bars: a drawing on their ground, and no picture
_MAX_ASPECT = 4.5  # of the sides of what lies inside: lights along a dark shore are longer
_MAX_LONGER = 3.0  # times as long for its height it may be as the whole in any case: a panorama has bars too
_EDGE_LINES = 3  # from the last line of a bar to the first one of the picture: blur and blocks of JPEG
_RINGING_LINES = 8  # of a bar beside the picture: a block of JPEG
_RINGING_SHARE = 0.03  # of these, in the mean, has another colour
_EDGE_STEP = 12.0  # grey levels between a bar and the picture's first line, in the mean: a sky fades instead

Box = tuple[int, int, int, int]


def find_bars(pixels: np.ndarray) -> Box:
    """What of a picture lies inside its even bars of black, white or grey.

    Bars lie at two opposite sides or all around, have one colour and similar widths, and end at a straight edge along
    most of the picture. A dark night sky fades and has no bar opposite; what stands on the white ground of a studio has
    no straight edges; what is of one colour in the main is a sign, and what is of the ground's own a drawing.

    Args:
        pixels: uint8 [H, W, 3].
    Returns:
        (x1, y1, x2, y2), x2 and y2 exclusive; the whole picture where there are no bars.
    """
    height, width = pixels.shape[:2]
    box = _inside_bars(pixels) if min(height, width) >= 16 else None
    return box if box is not None and _is_picture(pixels, box) else (0, 0, width, height)


def _is_picture(pixels: np.ndarray, box: Box) -> bool:
    """Whether a box may hold a picture: no line, no drawing on the ground around it, and no sign or logo, of which most
    is of one colour far from the ground's."""
    x1, y1, x2, y2 = box
    aspect, whole = (max(w, h) / min(w, h) for w, h in ((x2 - x1, y2 - y1), pixels.shape[1::-1]))
    inside, ground = pixels[y1:y2, x1:x2].reshape(-1, 3).astype(np.int16), _ground(pixels, box)
    colour = np.median(inside, axis=0)
    as_ground, alike = ((np.abs(inside - one).max(axis=1) <= _EVEN).mean() for one in (ground, colour))
    is_plain = alike >= _PLAIN_SHARE and np.abs(colour - ground).max() >= _PLAIN_STEP
    return bool(aspect <= max(_MAX_ASPECT, _MAX_LONGER * whole) and as_ground < _GROUND_SHARE and not is_plain)


def _ground(pixels: np.ndarray, box: Box) -> np.ndarray:
    """The colour of the bars."""
    return np.median(pixels[0] if box[1] else pixels[:, 0], axis=0)


def _inside_bars(pixels: np.ndarray) -> Box | None:
    turned = pixels.transpose(1, 0, 2)
    for lines, is_turned in ((pixels, False), (turned, True)):
        colour = _colour(lines[0], lines[-1])
        if colour is None:
            continue
        apart = _apart(lines, colour)
        span = _between_bars(apart)
        if span is not None:
            # Within a letterboxed picture there may be the bars of another shape.
            inner = _between_bars(apart[span[0] : span[1]].T, _INNER_SHARE) or (0, apart.shape[1])
            return (span[0], inner[0], span[1], inner[1]) if is_turned else (inner[0], span[0], inner[1], span[1])
        if (framed := _inside_frame(apart)) is not None:
            x1, y1, x2, y2 = framed
            return (y1, x1, y2, x2) if is_turned else framed
    return None


def _colour(first: np.ndarray, last: np.ndarray) -> np.ndarray | None:
    """The colour of two opposite edges, if it is black, white or grey, and that of both."""
    a, b = np.median(first, axis=0), np.median(last, axis=0)
    if np.abs(a - b).max() > _EVEN or np.ptp(a) > _GREY_SPREAD:
        return None
    return a


def _apart(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """[H, W], how many grey levels each pixel lies from the colour."""
    return np.abs(pixels.astype(np.int16) - colour.astype(np.int16)).max(axis=-1).astype(np.uint8)


def _between_bars(apart: np.ndarray, share: float = _EDGE_SHARE) -> tuple[int, int] | None:
    """The lines between a bar at the top and one at the bottom, both as long as the picture is wide."""
    other = (apart > _EVEN).mean(axis=1)
    edge = (other >= share) & (apart.mean(axis=1) >= _EDGE_STEP)
    if not edge.any():
        return None
    start, end = int(np.argmax(edge)), len(edge) - int(np.argmax(edge[::-1]))
    if not _alike(start, len(edge) - end, len(edge)):
        return None
    return (start, end) if _is_bar(other[:start]) and _is_bar(other[end:][::-1]) else None


def _is_bar(other: np.ndarray) -> bool:
    """Whether lines, the one beside the picture last, are a bar: by the share of each that is not of its colour."""
    ends_sharply = min(other[-_EDGE_LINES:]) <= 1 - _BAR_SHARE or other[-_RINGING_LINES:-1].mean() <= _RINGING_SHARE
    return bool(ends_sharply and other[:-_EDGE_LINES].mean() <= 1 - _BAR_SHARE)


def _inside_frame(apart: np.ndarray) -> Box | None:
    """The rectangle that bars lie all around of."""
    other = apart > _EVEN
    rows, columns = _reach(other), _reach(other.T)
    if rows is None or columns is None:
        return None
    (y1, y2), (x1, x2) = rows, columns
    if not (_alike(y1, len(apart) - y2, len(apart)) and _alike(x1, apart.shape[1] - x2, apart.shape[1])):
        return None
    box = apart[y1:y2, x1:x2]
    for lines in (box, box[::-1], box.T, box.T[::-1]):
        sharpest = (lines[:_EDGE_LINES] > _EVEN).mean(axis=1) >= _EDGE_SHARE
        steps = lines[:_EDGE_LINES].mean(axis=1) >= _EDGE_STEP
        if not (sharpest & steps).any():
            return None
    return x1, y1, x2, y2


def _reach(other: np.ndarray) -> tuple[int, int] | None:
    """The first and, exclusive, the last line that are not the bar's colour but for a stray pixel."""
    lines = other.mean(axis=1) > 0.004
    return (int(np.argmax(lines)), len(lines) - int(np.argmax(lines[::-1]))) if lines.any() else None


def _alike(first: int, second: int, side: int) -> bool:
    """Whether two opposite bars are wide enough, leave enough of the side, and are about as wide as each other."""
    low, high = sorted((first, second))
    return low >= max(_EDGE_LINES + 1, _MIN_FRAC * side) and low >= _ALIKE * high and low + high <= _MAX_FRAC * side
