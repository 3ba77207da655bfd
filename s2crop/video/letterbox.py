"""What frames show between their letterbox bars: where it lies, and a request for a frame as one for that part."""

from dataclasses import replace

import numpy as np

from s2crop.cropping.request import CropRequest, pixel_at
from s2crop.errors import InputError
from s2crop.video import shots
from s2crop.video.keyframes import Bars
from s2crop.video.reader import Video


def own_bars(video: Video, frame: np.ndarray, bars: Bars) -> Bars:
    """The bars of a frame in its own shape, of those that it has in the shape of the clip's first frame."""
    height, width = frame.shape[:2]
    if (width, height) == (video.width, video.height):
        return bars
    scale = min(video.width / width, video.height / height)
    shares = width * scale / video.width, height * scale / video.height
    added = [(1 - share) / 2 for share in shares]
    # The edge between bar and picture is known to a pixel of 160.
    left, top, right, bottom = (
        max(0.0, bar - added[i % 2] - 1 / shots.LONG_SIDE) / shares[i % 2] if added[i % 2] else bar
        for i, bar in enumerate(bars)
    )
    return left, top, right, bottom


def find_inside(frame: np.ndarray, bars: Bars) -> tuple[int, int, int, int]:
    """What a frame uint8 [h, w, 3] has between its letterbox bars: x1, y1, x2, y2.

    Args:
        bars: of its shot, left, top, right and bottom, as shares of the sides: known to a pixel in 160. The edge is
            looked for in the frame from there on, as far as two such pixels.
    """
    height, width = frame.shape[:2]
    black = shots.find_bars(frame[None])[0]
    if any(bars):  # dark edges that are no bars, as of a sky with stars, are not known to be black
        black = np.where(bars, shots.find_bars(frame[None], shots.STRAY_FRAC)[0], black)
    sides = []
    for bar, seen, length in zip(bars, black, (width, height) * 2, strict=True):
        near = round(bar * length)
        sides.append(int(np.clip(seen, near, near + round(2 * max(width, height) / shots.LONG_SIDE))))
    left, top, right, bottom = sides
    return left, top, width - right, height - bottom


def request_inside(request: CropRequest, size_wh: tuple[int, int], inside: tuple[int, int, int, int]) -> CropRequest:
    """The request for what lies between the bars: focus and keep as fractions of that.

    Raises:
        InputError: they lie in a bar, or outside the frame.
    """
    if inside == (0, 0, *size_wh):
        return request
    focus, keep = request.focus, request.keep
    if focus is not None:
        x, y, _, _ = _shares_of_inside("focus", (*focus, 0.0, 0.0), size_wh, inside)
        focus = x, y
    if keep is not None:
        keep = _shares_of_inside("keep", keep, size_wh, inside)
    return replace(request, focus=focus, keep=keep)


def _shares_of_inside(
    name: str, box: tuple[float, float, float, float], size_wh: tuple[int, int], inside: tuple[int, int, int, int]
) -> tuple[float, float, float, float]:
    """A box x, y, width, height as fractions of what lies between the bars; one to keep is cut off there.

    Args:
        name: "focus", whose box has no area and stands for the pixel that holds it, or "keep".
        box: in pixels of the frame, or fractions of it if none is above 1.
    """
    values = np.array(box, float)
    values *= np.tile(size_wh, 2) if (values <= 1).all() else 1
    low, high = values[:2], values[:2] + values[2:]
    if name == "keep":
        low, high = np.maximum(low, inside[:2]), np.minimum(high, inside[2:])
    end = np.maximum(high, pixel_at(low[0], low[1], size_wh)[2:]) if name == "focus" else high
    if (low < inside[:2]).any() or (end > inside[2:]).any() or (low > high).any():
        raise InputError("{option} lies outside of what this clip shows between its black bars", name)
    side = np.subtract(inside[2:], inside[:2])
    (x, y), (width, height) = ((low - inside[:2]) / side).tolist(), ((high - low) / side).tolist()
    return x, y, width, height
