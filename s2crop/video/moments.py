"""The frames of a clip at times that are known, without looking through it."""

import numpy as np

from s2crop.errors import VideoError
from s2crop.video.reader import Video

_ROUNDING_S = 0.0006  # times in reports are rounded to a millisecond


def frame_at(video: Video, time_s: float) -> np.ndarray:
    """The frame that a run reported at this time, at full resolution, uint8 [h, w, 3].

    Raises:
        VideoError: there is none, or it cannot be read.
    """
    start_s = max(0.0, time_s - _ROUNDING_S) if video.has_times else None
    for lenient in (False, True):  # a frame with traces of a damage is better than none, as it was for covers
        video.lenient = lenient
        times = [found for found, _ in video.frames(start_s=start_s, end_s=time_s + _ROUNDING_S)]
        nearest = min(times, key=lambda found: abs(found - time_s), default=None)
        if nearest is not None and abs(nearest - time_s) <= _ROUNDING_S:
            return video.frames_at([nearest])[0]
    raise VideoError(f"there is no frame at {time_s:.3f} s")


def attached_picture(video: Video, size_wh: tuple[int | None, int | None]) -> np.ndarray:
    """The picture that is attached to a clip, uint8 [h, w, 3].

    Args:
        size_wh: which one of several, as far as known.
    Raises:
        VideoError: there is none, or more than one, or it cannot be read.
    """
    pictures = [video] if video.is_art else video.art()
    fitting = [one for one in pictures if size_wh in ((None, None), (one.width, one.height))]
    if len(fitting) != 1:
        count = f"{len(fitting)} pictures are" if fitting else "no picture is"
        sides = "" if size_wh == (None, None) else f" of {size_wh[0]}x{size_wh[1]}"
        raise VideoError(f"{count} attached to it{sides}")
    for _, frame in fitting[0].frames(None):
        return frame
    raise VideoError("its attached picture cannot be read")
