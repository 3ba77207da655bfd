"""The key frames of a clip: one for each cluster of frames that look alike.

HECATE's second half (Song et al. 2016, "To Click or Not To Click: Automatic Selection of Beautiful Thumbnails from
Videos"). It clusters all frames; here each quarter of a second gives one, so that an hour costs little more than
decoding it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from s2crop.video import shots
from s2crop.video.shots import Measures

STRETCH = 16  # frames measured at once
SLOT_S = 0.25  # gives one sample
COLOUR_BINS = 128  # a channel of HSV
EDGE_BINS = 8
SPREAD_BINS = 8  # from which distance on colours are others, in `difference`
HISTOGRAMS = 25  # hue, saturation, value, orientation and magnitude, of the frame and its quarters

HEAD_FRAC, TAIL_FRAC = 0.05, 0.10  # of the time, left out at the ends: titles and credits
MIN_WINNERS, MANY_WINNERS = 5, 12
MAX_SUBSHOT_CLUSTERS = 64
THUMBNAILS_KEPT = 2048  # frames, 5 MB; what is found with them is kept of the rest
STEADY = 1.5 / 90  # of the height or width: what the width of a bar that stays may seem to change by
MOSTLY = 0.8  # of the good frames: what must be left without the ends, where shots are shorter than they should be
MOST_OTHERS = 3  # key frames kept besides each winner


@dataclass(frozen=True)
class Sample:
    """The best frame of a slot."""

    frame: int  # its number among those measured
    features: np.ndarray  # float32 [2000]


Bars = tuple[float, float, float, float]  # left, top, right, bottom: shares of width and height


@dataclass(frozen=True)
class Winner:
    """The key frame that stands for a cluster: a candidate for a cover."""

    time_s: float
    length_s: float  # how much of the clip the cluster stands for
    features: np.ndarray  # float32 [2000]
    unstillness: float  # see `shots.unstillness`
    gradient: float  # see `shots.Measures`
    bars: Bars  # of its shot
    good: bool  # False: dark, white, uniform, blurred or in a fade, for want of better
    drawn: bool = False  # white or uniform at most: bright and sharp, and in no fade
    others_s: tuple[float, ...] = ()  # times of others of its cluster, the stillest first
    art: int | None = None  # number of the attached picture that it is, in place of a frame


def watch(
    frames: Iterable[tuple[float, np.ndarray]],
    slot_s: float = SLOT_S,
    on_time: Callable[[float], None] = lambda time_s: None,
) -> tuple[Measures, list[Sample]] | None:
    """Measure the frames of a clip and sample them as they stream by.

    Args:
        frames: (time in seconds, uint8 [h, w, 3]), all of one size.
        slot_s: time that gives one sample; a cut begins a new slot.
        on_time: called now and then with the time reached.
    Returns:
        None if there are no frames.
    """
    parts: list[Measures] = []
    blends = _Blends()
    sampler = _Sampler(slot_s)
    before = None
    for time_s, stretch in _stretches(frames):
        part = shots.measure(time_s, stretch, before)
        blends.add(part)
        sampler.add(part, stretch)
        parts.append(replace(part, small=part.small[:, :0, :0].copy()))
        before = stretch[-1]
        on_time(time_s[-1])
    if not parts:
        return None
    measures = Measures.joined(parts)
    return replace(measures, blended=shots.near(measures.time_s, blends.finished())), sampler.finished()


def features(frame: np.ndarray) -> np.ndarray:
    """HECATE's features of a frame uint8 [h, w, 3], float32 [2000].

    Histograms of hue, saturation and value (128 bins each) and of the orientations (weighted by the magnitudes, as
    those of flat areas are noise) and magnitudes of edges (8 bins each), of the whole frame and of its quarters; each
    has the sum 1.
    """
    height, width = frame.shape[:2]
    quarter = 2 * (np.arange(height) >= height // 2)[:, None] + (np.arange(width) >= width // 2)  # [h, w]
    hsv = np.asarray(Image.fromarray(frame).convert("HSV")) // (256 // COLOUR_BINS)
    x, y = shots.sobel(np.pad(frame @ shots.LUMA / 255, 2, "edge")[None])
    magnitude, turn = np.hypot(x, y)[0], np.arctan2(y, x)[0] / (2 * np.pi)
    histograms = [(hsv[..., channel], COLOUR_BINS, None) for channel in range(3)]
    # the bins have upright and level edges, which are many, in their middle
    histograms.append((np.rint(turn * EDGE_BINS).astype(int) % EDGE_BINS, EDGE_BINS, magnitude.ravel()))
    histograms.append((np.minimum(magnitude * EDGE_BINS, EDGE_BINS - 1).astype(int), EDGE_BINS, None))
    found = []
    for bins, count, weights in histograms:
        quarters = np.bincount((quarter * count + bins).ravel(), weights, 4 * count).reshape(4, count)
        parts = np.vstack([quarters.sum(axis=0), quarters])
        found.append((parts / np.maximum(parts.sum(axis=1, keepdims=True), 1e-6)).ravel())
    return np.concatenate(found).astype(np.float32)


def difference(rows: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How different features [N, D] are from others [D], 0 to 1: the share of the pixels in other bins,
    mean of the histograms.

    Colours are spread over neighbouring bins first: else the noise of the codec makes flat pictures differ from
    themselves.
    """
    both = np.vstack([rows, other])
    colours, edges = np.split(both, [15 * COLOUR_BINS], axis=1)  # each channel of the frame and its quarters
    gap = np.abs(np.subtract.outer(np.arange(COLOUR_BINS), np.arange(COLOUR_BINS)))
    spread = []
    for channel, gaps in zip(np.split(colours, 3, axis=1), (np.minimum(gap, COLOUR_BINS - gap), gap, gap), strict=True):
        weights = np.clip(1 - gaps / SPREAD_BINS, 0, None)
        weights /= weights.sum(axis=1, keepdims=True)
        spread.append((channel.reshape(-1, COLOUR_BINS) @ weights).reshape(channel.shape))
    looks = np.concatenate([*spread, edges], axis=1)
    return np.abs(looks[:-1] - looks[-1]).sum(axis=1) / (2 * HISTOGRAMS)


def kmeans(rows: np.ndarray, count: int, *, seed: int = 0, starts: int = 3, rounds: int = 30) -> np.ndarray:
    """Labels, int [N], of rows [N, D] by k-means++ (Arthur and Vassilvitskii 2007), the best of a few seeded starts.

    There are at most `count` clusters, fewer where rows are equal.
    """
    rng = np.random.default_rng(seed)
    rows = rows.astype(np.float64)
    best, least = np.zeros(len(rows), int), np.inf
    for _ in range(starts):
        centres = rows[[rng.integers(len(rows))]]
        nearest = _distances(rows, centres)[:, 0]
        while len(centres) < count and nearest.sum() > 1e-9:
            centres = np.vstack([centres, rows[rng.choice(len(rows), p=nearest / nearest.sum())]])
            nearest = np.minimum(nearest, _distances(rows, centres[-1:])[:, 0])
        labels = np.full(len(rows), -1)
        for _ in range(rounds):
            distances = _distances(rows, centres)
            previous, labels = labels, distances.argmin(axis=1)
            if (labels == previous).all():
                break
            for label in np.unique(labels):
                centres[label] = rows[labels == label].mean(axis=0)
        cost = distances.min(axis=1).sum()
        if cost < least:
            best, least = labels, cost
    return best


def find_winners(
    measures: Measures,
    samples: Sequence[Sample],
    count: int,
    *,
    head: bool = True,
    tail: bool = True,
    sparse: bool = False,
    last_s: float | None = None,
) -> list[Winner]:
    """The key frames of the clusters, those that stand for most of the clip first.

    Args:
        count: covers asked for; up to three times as many are found, or half as many again where that is over 12.
        head, tail: leave out the first 5 % and the last 10 % of the time, if as many good frames as covers are asked
            for are left.
        sparse: the frames are seconds apart, so that their neighbours do not tell cuts and fades.
        last_s: when the clip ends, if not with the last frame.
    Returns:
        At least one: where no shot is good those that HECATE would take, and else the stillest frame.
    """
    wanted = max(MIN_WINNERS, min(3 * count, max(MANY_WINNERS, count + count // 2)))
    unstill = shots.unstillness(measures)
    blended = measures.blended & (not sparse)
    bad = shots.find_bad(measures) | blended
    drawn = shots.is_drawn(measures) & ~blended
    within = _within(measures, head, tail, last_s)
    found, candidates = _candidates(measures, samples, bad, unstill, within, sparse, count)
    keys = _key_frames(measures, found, candidates, unstill, wanted)
    labels = kmeans(np.stack([key.sample.features for key in keys]), wanted)
    winners = []
    for label in np.unique(labels):
        members = [key for key, own in zip(keys, labels, strict=True) if own == label]
        members.sort(key=lambda key: unstill[key.sample.frame])
        key = members[0]
        winners.append(
            Winner(
                time_s=float(measures.time_s[key.sample.frame]),
                length_s=sum(key.length_s for key in members),
                features=key.sample.features,
                unstillness=float(unstill[key.sample.frame]),
                gradient=float(measures.gradient[key.sample.frame]),
                bars=bars(measures, key.shot),
                good=not bad[key.sample.frame],
                drawn=bool(drawn[key.sample.frame]),
                others_s=tuple(float(measures.time_s[o.sample.frame]) for o in members[1 : 1 + MOST_OTHERS]),
            )
        )
    return sorted(winners, key=lambda winner: (-winner.length_s, winner.time_s))


class _Blends:
    """Finds fades and dissolves as the frames stream by, and keeps few of their thumbnails."""

    def __init__(self) -> None:
        self._parts: list[Measures] = []
        self._found: list[np.ndarray] = []  # times

    def add(self, part: Measures) -> None:
        self._parts.append(part)
        if sum(map(len, self._parts)) >= THUMBNAILS_KEPT:
            self._look()

    def finished(self) -> np.ndarray:
        """Times of frames within blends, float64 [N], in order."""
        if self._parts:
            self._look()
        return np.unique(np.concatenate(self._found)) if self._found else np.zeros(0)

    def _look(self) -> None:
        measures = Measures.joined(self._parts)
        self._found.append(measures.time_s[shots.blend_centres(measures)])
        # those to come need what lies up to twice the longest span before them
        end_s = self._parts[-1].time_s[-1]
        kept = [part for part in self._parts if part.time_s[-1] >= end_s - 2.1 * max(shots.BLEND_SPANS_S)]
        self._parts = kept[-(THUMBNAILS_KEPT // (2 * STRETCH)) :]


class _Sampler:
    """Keeps the features of the best frame of each slot: one that is not bad, if there is any,
    and of those the stillest.
    """

    def __init__(self, slot_s: float):
        self._slot_s = slot_s
        self._slot_end_s = -np.inf
        self._samples: list[Sample] = []
        self._count = 0  # frames seen
        self._last: tuple[bool, float, np.ndarray] | None = None  # the frame before, whose next step was not known
        self._best: tuple[tuple[bool, float], int, np.ndarray] | None = None

    def add(self, part: Measures, frames: np.ndarray) -> None:
        for bad, step, time_s, frame in zip(shots.find_bad(part), part.step, part.time_s, frames, strict=True):
            self._settle(step)
            if time_s >= self._slot_end_s or step >= shots.CUT_STEP:
                self._close()
                self._slot_end_s = time_s + self._slot_s
            self._last = bad, step, frame
            self._count += 1

    def finished(self) -> list[Sample]:
        self._settle(np.inf)
        self._close()
        return self._samples

    def _settle(self, step: float) -> None:
        """Let the frame before compete in its slot."""
        if self._last is None:
            return
        bad, step_before, frame = self._last
        worth = bad, step_before + step
        if self._best is None or worth < self._best[0]:
            self._best = worth, self._count - 1, frame

    def _close(self) -> None:
        if self._best is not None:
            self._samples.append(Sample(self._best[1], features(self._best[2])))
            self._best = None


def _stretches(frames: Iterable[tuple[float, np.ndarray]]) -> Iterator[tuple[list[float], np.ndarray]]:
    times, waiting = [], []
    for time_s, frame in frames:
        times.append(time_s)
        waiting.append(frame)
        if len(waiting) == STRETCH:
            yield times, np.stack(waiting)
            times, waiting = [], []
    if waiting:
        yield times, np.stack(waiting)


def _within(measures: Measures, head: bool, tail: bool, last_s: float | None) -> np.ndarray:
    time_s = measures.time_s
    first_s, last_s = time_s[0], max(time_s[-1], last_s or 0.0)
    span_s = last_s - first_s
    return (time_s >= first_s + HEAD_FRAC * span_s * head) & (time_s <= last_s - TAIL_FRAC * span_s * tail)


_Found = tuple[list[tuple[int, int]], list[Sample]]


def _candidates(
    measures: Measures,
    samples: Sequence[Sample],
    bad: np.ndarray,
    unstill: np.ndarray,
    within: np.ndarray,
    sparse: bool,
    count: int,
) -> _Found:
    """Shots, and the samples that lie in them.

    Args:
        within: bool [F], what is neither title nor credits.
        count: how many there should be, where as many are good.
    """
    worst, transitions = shots.find_worst(measures), shots.find_transitions(measures) & (not sparse)
    good = ~bad

    def within_shots(kept: np.ndarray, left_out: np.ndarray, short_too: bool = False) -> _Found:
        found = shots.find_shots(measures, kept, short_too=short_too)
        owners = _owners(found, len(measures))
        return found, [sample for sample in samples if owners[sample.frame] >= 0 and not left_out[sample.frame]]

    inner = within & good
    # from what is wanted to the least that will do
    rules = [(inner & ~worst & ~transitions, False), (inner, False), (inner, True), (good, True)]
    if inner.sum() < MOSTLY * good.sum():
        del rules[2]  # of a few pictures the ends are no titles and credits
    most: _Found = [], []
    for kept, short_too in rules:
        most = max(most, within_shots(kept, bad, short_too), key=lambda one: len(one[1]))  # of equals the first
        if len(most[1]) >= count:
            break
    if not most[1]:
        most = within_shots(within & ~transitions, worst)  # not cut up for being dark or flat
    if most[1]:
        return most
    return [(0, len(measures))], [min(samples, key=lambda sample: (bad[sample.frame], unstill[sample.frame]))]


def _owners(found: Sequence[tuple[int, int]], count: int) -> np.ndarray:
    """The number of each frame's shot, -1 where it has none: int [F]."""
    owners = np.full(count, -1)
    for number, (start, end) in enumerate(found):
        owners[start:end] = number
    return owners


@dataclass(frozen=True)
class _Key:
    """The stillest sample of a sub-shot."""

    shot: tuple[int, int]
    sample: Sample
    length_s: float  # of the sub-shot


def _key_frames(
    measures: Measures, found: Sequence[tuple[int, int]], candidates: Sequence[Sample], unstill: np.ndarray, wanted: int
) -> list[_Key]:
    """One for each sub-shot: consecutive candidates of one shot and one cluster.

    HECATE makes as many clusters as there are shots; here there are at least as many as wanted, for the sake of clips
    of one shot.
    """
    clusters = max(1, min(len(candidates) // 2, max(len(found), wanted), MAX_SUBSHOT_CLUSTERS))
    labels = kmeans(np.stack([sample.features for sample in candidates]), clusters)
    owners = _owners(found, len(measures))[[sample.frame for sample in candidates]]
    edges = np.flatnonzero((np.diff(owners) != 0) | (np.diff(labels) != 0)) + 1
    in_shot, ends_s = np.bincount(owners), measures.ends_s
    keys = []
    for members in np.split(np.arange(len(candidates)), edges):
        shot = found[owners[members[0]]]
        shot_s = ends_s[shot[1] - 1] - measures.time_s[shot[0]]
        sample = min((candidates[i] for i in members), key=lambda sample: unstill[sample.frame])
        keys.append(_Key(shot, sample, float(shot_s * len(members) / in_shot[owners[members[0]]])))
    return keys


def widest_bars(measures: Measures) -> np.ndarray:
    """Bars at the left, top, right and bottom as wide as in one frame of ten: [4]."""
    return np.quantile(measures.bars, 0.9, axis=0, method="lower")


def bars(measures: Measures, shot: tuple[int, int], of_clip: np.ndarray | None = None) -> Bars:
    """Letterbox bars of a shot: there in three of four of its frames, and as wide on both sides. Subtitles may stand on
    one of them, if that is as wide as the other in one frame of ten of the shot, or of the clip.

    Args:
        of_clip: its `widest_bars`, if the measures are not of all of it.
    """
    of_clip = widest_bars(measures) if of_clip is None else of_clip
    seen = measures.bars[slice(*shot)]
    usual, widest = (np.quantile(seen, share, axis=0, method="lower") for share in (0.25, 0.9))
    found = np.minimum(usual, usual[[2, 3, 0, 1]])
    for side, other in ((0, 2), (1, 3), (2, 0), (3, 1)):
        stays = widest[side] - usual[side] <= STEADY
        for wide in widest[other], of_clip[other]:
            if stays and usual[other] < usual[side] - STEADY <= wide <= usual[side] + STEADY:
                found[[side, other]] = min(usual[side], wide)
    left, top, right, bottom = found.tolist()
    return left, top, right, bottom


def _distances(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances, [N, K]."""
    squares = (rows**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
    return np.maximum(squares - 2 * rows @ centres.T, 0)
