"""Look through a clip for key frames: all of its frames, or of a long one its I-frames and a moment behind the best.

Encoders set an I-frame at most cuts and every few seconds between. Decoding these alone takes about a sixteenth of the
time that the whole clip takes, and an hour of film has hundreds of them; then a second or two behind each winner tell
which frame there is still and sharp, and what lies in a fade.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace

import numpy as np

from s2crop.errors import VideoError
from s2crop.video import keyframes, shots
from s2crop.video.keyframes import Winner
from s2crop.video.reader import Video
from s2crop.video.shots import Measures

AUTO, FULL, KEY_FRAMES = "auto", "full", "keyframes"

MAX_SLOTS = 4000  # 32 MB of features
UNKNOWN_SLOT_S = 1.0  # where the duration is not known
MIN_DECODED_FRAC = 0.67  # of the span; a cover of less of a damaged clip would be an accident
LONG_S = 120.0  # from which on a clip is not decoded whole
# I-frames further apart than this, on average, pass over scenes; common encoders set them every 0.5 to 10 s, and at
# cuts.
MAX_APART_S = 8.0
MIN_APART_S = 0.3  # nearer than this they are nearly all of the clip, as in motion JPEG, and nothing is gained
ENOUGH_APART = 20  # I-frames that tell how far they are apart

BEHIND_S = 2.1  # of a clip decoded behind an I-frame that won
FADE_S = max(shots.BLEND_SPANS_S)  # what must be known on both sides of a frame to tell that it lies in no fade
MAX_OTHER_LOOKS = 0.15  # from the I-frame: see `keyframes.difference`


@dataclass(frozen=True)
class Scan:
    """What was found in a clip."""

    winners: list[Winner]
    how: str  # FULL or KEY_FRAMES
    looked_at: int  # frames, or I-frames


def scan(
    video: Video,
    count: int,
    start_s: float | None = None,
    end_s: float | None = None,
    on_time: Callable[[float], None] = lambda time_s: None,
    how: str = AUTO,
) -> Scan:
    """Find key frames of a clip.

    Args:
        count: covers asked for; about three times as many key frames are found.
        start_s, end_s: the span to look at; titles and credits are left out only at an end that is not given.
        on_time: called now and then with the time reached; may raise to stop.
        how: AUTO takes I-frames where the span is long and they come often enough.
    Raises:
        VideoError: a clip that cannot be read, or that has no frames in the span.
    """
    looked_for = _Span(video, count, start_s, end_s, on_time)
    long_enough = looked_for.length_s is not None and looked_for.length_s > LONG_S and video.has_times
    if how == KEY_FRAMES or how == AUTO and long_enough:
        found = looked_for.by_key_frames(strictly=how == AUTO)
        if found:
            return found
    return looked_for.by_all_frames()


class _Span:
    """A span of a clip, and how to look through it."""

    def __init__(
        self,
        video: Video,
        count: int,
        start_s: float | None,
        end_s: float | None,
        on_time: Callable[[float], None],
    ) -> None:
        self._video, self._count, self._on_time = video, count, on_time
        self._start_s, self._end_s = start_s, end_s
        end = video.duration_s if end_s is None else min(end_s, video.duration_s or end_s)
        self._last_s = end
        self.length_s = None if end is None else max(0.0, end - (start_s or 0.0))

    def by_all_frames(self) -> Scan:
        """One pass over all frames."""
        watched = self._watch()
        if watched and self._is_mostly_lost(watched[0]):
            self._video.lenient = True  # rather traces of a damage than nothing
            # what is left out is told anew
            self._video.warnings[:] = [line for line in self._video.warnings if not line.startswith("damaged")]
            watched = self._watch()
            if watched and self._is_mostly_lost(watched[0]):
                last_s = watched[0].time_s[-1]
                raise VideoError(
                    f"damaged: nothing can be decoded behind {last_s:.1f} s "
                    f"({{option}} {last_s:.1f} takes what is there)",
                    "end_s",
                )
        if watched is None:
            whole = self._start_s is None and self._end_s is None
            raise VideoError("no frames" if whole else "no frames in the span asked for")
        found = keyframes.find_winners(*watched, self._count, head=self._start_s is None, tail=self._end_s is None)
        return Scan(found, FULL, len(watched[0]))

    def by_key_frames(self, strictly: bool) -> Scan | None:
        """One pass over the I-frames, and then a moment behind each winner.

        Args:
            strictly: None where I-frames are too far apart, or so near that nothing is gained.
        """
        try:
            watched = self._watch(strictly=strictly, keys_only=True)
        except _WrongDistance:
            return None
        except VideoError:
            watched = None
        if watched is None or self._is_mostly_lost(watched[0]):
            return None
        measures, samples = watched
        if strictly and self.length_s and self.length_s / len(measures) > MAX_APART_S:
            return None
        head, tail = self._start_s is None, self._end_s is None
        # The clip goes on behind the last I-frame.
        rough = keyframes.find_winners(
            measures, samples, self._count, head=head, tail=tail, sparse=True, last_s=self._last_s
        )
        features = {float(measures.time_s[sample.frame]): sample.features for sample in samples}
        of_clip = keyframes.widest_bars(measures)
        refined = [self._refined(winner, features, of_clip) for winner in rough]
        found = [winner for winner in refined if winner is not None]
        found.sort(key=lambda winner: (-winner.length_s, winner.time_s))
        # Where few of them are found again, times mean nothing.
        return Scan(found, KEY_FRAMES, len(measures)) if len(found) > len(rough) // 2 else None

    def _watch(self, strictly: bool = False, keys_only: bool = False) -> tuple[Measures, list[keyframes.Sample]] | None:
        length_s = self.length_s
        slot_s = UNKNOWN_SLOT_S if length_s is None else max(keyframes.SLOT_S, length_s / MAX_SLOTS)
        with closing(self._video.frames(start_s=self._start_s, end_s=self._end_s, keys_only=keys_only)) as frames:
            return keyframes.watch(_checked(frames) if strictly else frames, slot_s, self._on_time)

    def _is_mostly_lost(self, measures: Measures) -> bool:
        first_s = self._start_s or 0.0
        return bool(
            self._video.warnings
            and self._last_s is not None
            and measures.time_s[-1] - first_s < MIN_DECODED_FRAC * (self._last_s - first_s)
            and any(line.startswith(("damaged", "ends at")) for line in self._video.warnings)
        )

    def _refined(self, winner: Winner, features: dict[float, np.ndarray], of_clip: np.ndarray) -> Winner | None:
        """The stillest of the sharp frames behind an I-frame,
        or behind another of its cluster if there is no good one.
        """
        best = None
        for time_s in (winner.time_s, *winner.others_s):
            found = self._look_behind(winner, time_s, features[time_s], of_clip)
            if found and (best is None or found.good):
                best = found
            if best and best.good:
                break
        return best

    def _look_behind(self, winner: Winner, key_s: float, looks: np.ndarray, of_clip: np.ndarray) -> Winner | None:
        self._on_time(key_s)
        end_s = min(key_s + BEHIND_S, math.inf if self._end_s is None else self._end_s)
        # The container may tell only about where the I-frame is.
        for preroll_s in (0.0, None):
            kept: list[tuple[float, np.ndarray]] = []
            with (
                suppress(VideoError),
                closing(self._video.frames(start_s=key_s, end_s=end_s, more=True, preroll_s=preroll_s)) as frames,
            ):
                kept = list(frames)
            if kept and abs(kept[0][0] - key_s) < 1e-3:
                return _stillest(kept, winner, looks, of_clip)
        return None


class _WrongDistance(Exception):
    """I-frames are too far apart, or too near each other, to be looked through alone."""


def _checked(frames: Iterator[tuple[float, np.ndarray]]) -> Iterator[tuple[float, np.ndarray]]:
    first_s = None
    for number, (time_s, frame) in enumerate(frames):
        first_s = time_s if first_s is None else first_s
        if number >= ENOUGH_APART and not MIN_APART_S <= (time_s - first_s) / number <= MAX_APART_S:
            raise _WrongDistance
        yield time_s, frame


def _stillest(frames: list[tuple[float, np.ndarray]], winner: Winner, looks: np.ndarray, of_clip: np.ndarray) -> Winner:
    """The winner moved to the stillest frame of the shot that the first of these frames begins.
    Args: of_clip: see `keyframes.bars`.
    """
    watched = keyframes.watch(frames)
    assert watched is not None  # there is a frame at least
    measures, _ = watched
    time_s, unstill = measures.time_s, shots.unstillness(measures)
    cuts = np.flatnonzero(measures.step[1:] >= shots.CUT_STEP) + 1
    shot = slice(0, int(cuts[0]) if len(cuts) else len(time_s))
    bad = shots.find_bad(measures) | measures.blended
    unknown = (time_s < time_s[0] + FADE_S) | (time_s > time_s[shot][-1] - FADE_S)  # whether they lie in a fade
    # Of two frames next to each other the sharper one counts as a little stiller.
    order = np.lexsort((unstill / np.maximum(measures.focus, 1e-3), unknown, bad))
    order = order[order < shot.stop]
    chosen, found = order[0], looks
    for i in order:
        found = keyframes.features(frames[i][1])
        if keyframes.difference(found[None], looks)[0] <= MAX_OTHER_LOOKS:
            chosen = i
            break
    else:
        found = keyframes.features(frames[chosen][1])
    return replace(
        winner,
        time_s=float(time_s[chosen]),
        features=found,
        unstillness=float(unstill[chosen]),
        gradient=float(measures.gradient[chosen]),
        good=not bad[chosen],
        drawn=bool(shots.is_drawn(measures)[chosen] and not measures.blended[chosen]),
        bars=keyframes.bars(measures, (shot.start, shot.stop), of_clip),
    )
