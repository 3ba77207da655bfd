"""One pass over a clip's frames: what is kept of it, and which of its frames no damage has touched."""

import math
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence, Set

from s2crop.video import ffmpeg

_REORDERED = 16  # frames by which what is decoded from a damaged one may be shown before it
_SETTLING_S = 1.0  # behind a damage, until most of the picture has been sent anew, even without whole pictures
_RESTART_S = 1.0  # of a clip is decoded in about the time that ffmpeg takes to begin


Gap = tuple[float | None, float | None]  # last frame before a damage, first after it, in s; None for the clip's ends


class Pass:
    """What is kept of the frames that `Video.frames` gave: times and checksums, 16 bytes a frame,
    and changes of size.
    """

    def __init__(self, long_side: int | None, start_s: float, end_s: float = math.inf, keys_only: bool = False) -> None:
        self.long_side, self.start_s, self.end_s, self.keys_only = long_side, start_s, end_s, keys_only
        self.is_interlaced = False  # any of its frames
        self._times, self._checksums = array("d"), array("L")
        self._whole = array("d", [0.0])  # times of whole pictures
        self._sizes: list[tuple[float, tuple[int, int]]] = []  # from when on frames have which size, in square pixels

    def add(self, frame: ffmpeg.Packet) -> None:
        assert frame.told is not None
        self._times.append(frame.time_s)
        self._checksums.append(zlib.adler32(frame.data))
        self.is_interlaced |= frame.told.is_interlaced
        if frame.told.is_whole:
            self._whole.append(frame.time_s)
        if not self._sizes or self._sizes[-1][1] != frame.told.size_wh:
            self._sizes.append((frame.time_s, frame.told.size_wh))

    def __contains__(self, time_s: float) -> bool:
        i = bisect_left(self._times, time_s)
        return i < len(self._times) and self._times[i] == time_s

    def agrees(self, frame: ffmpeg.Packet) -> bool:
        """False if the frame that was given at this time was another one."""
        i = bisect_left(self._times, frame.time_s)
        return frame.time_s not in self or self._checksums[i] == zlib.adler32(frame.data)

    def size_wh(self, time_s: float) -> tuple[int, int]:
        """The size, in square pixels, of the frame that was given at a time."""
        return next(size_wh for begun_s, size_wh in reversed(self._sizes) if begun_s <= time_s)

    def in_runs(self, times_s: Set[float]) -> list[set[float]]:
        """The times in groups: within each, decoding on costs less than beginning anew at a whole picture."""
        groups: list[set[float]] = []
        for time_s in sorted(times_s):
            whole_s = self._whole[max(0, bisect_right(self._whole, time_s) - 1)]
            if not groups or whole_s > max(groups[-1]) + _RESTART_S:
                groups.append(set())
            groups[-1].add(time_s)
        return groups


class Sieve:
    """Tells sound frames from those that a damage has touched.

    Args:
        exact: the decoder tells where damages are; otherwise there are no more frames from the first one on.
        start_s, end_s: the span wanted.
        lenient: some seconds behind a damage frames count as sound even without a whole picture.
    """

    def __init__(self, exact: bool, start_s: float, end_s: float, lenient: bool) -> None:
        self._exact, self._start_s, self._end_s, self._lenient = exact, start_s, end_s, lenient
        self.last_s: float | None = None  # time of the last frame given
        self.is_past_end = False  # of the span
        self.gaps: list[Gap] = []

    def sound(self, decoder: ffmpeg.Decoder) -> Iterator[ffmpeg.Packet]:
        held: deque[ffmpeg.Packet] = deque()  # they may be found to be damaged yet
        told, coming = 0, []  # damages taken from the decoder, and those of them that are not reached yet
        now_s, damaged_s, hidden = -math.inf, -math.inf, False
        for frame in decoder.packets():
            assert frame.told is not None
            if frame.time_s <= now_s:
                continue
            if not self._exact and frame.told.damages:
                return
            now_s = frame.time_s
            new = decoder.damaged_s[told:]
            told += len(new)
            coming += new
            reached = [damage for damage in coming if damage[0] <= now_s]
            coming = [damage for damage in coming if damage[0] > now_s]
            if reached:
                self._open_gap(hidden)
                hidden, damaged_s = True, now_s
                held.clear()
            is_whole = frame.told.is_whole and not any(in_frame for _, in_frame in reached)
            if hidden and (is_whole or self._lenient and now_s > damaged_s + _SETTLING_S):
                hidden = False
                self.gaps[-1] = (self.gaps[-1][0], now_s)
            if now_s > self._end_s:
                self.is_past_end = True
                break
            if not hidden and now_s >= self._start_s:
                held.append(frame)
            if len(held) > _REORDERED:
                self.last_s = held[0].time_s
                yield held.popleft()
        if not self.is_past_end:
            decoder.wait()
            if decoder.damages and not self._exact:
                return
            if coming or told < len(decoder.damaged_s):
                self._open_gap(hidden)
                held.clear()
        for frame in held:
            self.last_s = frame.time_s
            yield frame
        if self.gaps and self.is_past_end and self.gaps[-1][1] is None:
            self.gaps[-1] = (self.gaps[-1][0], self._end_s)
        # Damages before the span do not matter.
        self.gaps = [gap for gap in self.gaps if gap[1] is None or gap[1] > self._start_s]

    def _open_gap(self, hidden: bool) -> None:
        if self.gaps and (hidden or self.gaps[-1][0] == self.last_s):
            self.gaps[-1] = (self.gaps[-1][0], None)
        else:
            self.gaps.append((self.last_s, None))


def gaps_line(gaps: Sequence[Gap]) -> str:
    spans = [_gap_words(*gap) for gap in gaps]
    places = ", ".join(spans[:3]) + (f" and in {len(gaps) - 3} more places" if len(gaps) > 3 else "")
    rest = "" if gaps[-1][1] is not None else " and everything behind"
    return f"damaged {places}: frames there{rest} were left out"


def _gap_words(before: float | None, after: float | None) -> str:
    if before is None:
        return "at the start" if after is None else f"before {after:.1f} s"
    return f"after {before:.1f} s" if after is None else f"between {before:.1f} and {after:.1f} s"
