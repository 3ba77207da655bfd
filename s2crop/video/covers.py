"""Cover frames: the key frames of a clip ranked by how well they crop.

HECATE (Song et al. 2016) gives the key frames; its ranking by the length of clusters, or by stillness, tells nothing of
beauty. Here they are ranked by the S2CNet score of their best crops, with sharpness, faces, and what tells them from
those ahead.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

from s2crop.choices import DEFAULT_COVERS
from s2crop.cropping.request import Crop, CropRequest, Heatmap, Prepared
from s2crop.errors import InputError, VideoError
from s2crop.files.picture import Picture
from s2crop.geometry.boxes import inside_share, moved
from s2crop.geometry.ratio import parse_ratios
from s2crop.video import keyframes, letterbox, scan, shots
from s2crop.video.keyframes import Winner
from s2crop.video.reader import Video

if TYPE_CHECKING:
    from s2crop.cropping.cropper import Cropper, Proposal

READ_AT_ONCE = 4  # frames at full resolution
KEPT_BYTES = 100 << 20  # of a clip's key frames at full resolution: 16 of 1920x1080

# What follows is in points of the MOS scale. On sample clips the best crops of a clip's key frames are 0.1 to 0.8
# apart: empty roads and hands before the lens at the lower end.
FOCUS_SIDE = 360  # pixels, at least, of the short side that sharpness is measured at
FOCUS_ENOUGH = 1.4  # in focus, see `shots.focus`; sharper than this is a matter of subject
FOCUS_WEIGHT = 1.0  # for each time that it is halved
FACE_WEIGHT = 0.3  # of a face that is sure, large and has open space around
FACE_AREA_FRAC = 0.015  # large
FACE_SPACE = 0.5  # open space: of the side of the face, to the edge of the frame
MOTION_WEIGHT = 2.0  # for each unit of unstillness
MAX_MOTION = 0.1  # what more there is counts no more
LENGTH_WEIGHT = 0.5  # of the root of the share of the clip that looks so, by which alone HECATE ranks
FLAT_WEIGHT = 0.5  # of a frame with nothing on it, falling to 0 where HECATE's limit for flat frames is
BAD_PENALTY = 1.0
# Crops that hold a subtitle whole are scored 0.8 to 1.1 higher than the same ones without it.
SUBTITLE_WEIGHT = 1.0  # of text that is there for sure and lies as subtitles do
SUBTITLE_SURE = 0.6  # score of text, from which on it is
SUBTITLE_TOP_FRAC = 0.6  # of the height, above which none lies
SUBTITLE_HEIGHT_FRAC = 0.03, 0.15  # of a line
SUBTITLE_OFF_FRAC = 0.15  # of the width: how far its middle may lie from the frame's
ALIKE_WEIGHT = 1.2  # of a frame that looks just like one ahead of it, falling to 0 where looks differ:
ALIKE_DISTANCE = 0.15  # see `keyframes.difference`; 0.02 to 0.1 within a shot, 0.2 to 0.6 between shots
SAME_DISTANCE = 0.03  # up to which they are the same picture
MIN_APART_S = 1.0  # between covers; less in clips that are shorter than twice that for each


@dataclass
class Frame:
    """A cover of a clip."""

    image: Image.Image  # upright, whole
    time_s: float | None  # None: a picture attached to the clip
    score: float  # what covers are ranked by: points of the MOS scale, also for what more than crops makes a good cover


@dataclass(frozen=True)
class Shown:
    """A key frame as it is scored: without letterbox bars, and small."""

    winner: Winner
    size_wh: tuple[int, int]  # of the upright frame
    inside: tuple[int, int, int, int]  # x1, y1, x2, y2 in its pixels: what is no bar
    focus: float  # see `shots.focus`
    prepared: Prepared
    frame: np.ndarray | None = field(default=None, compare=False)  # uint8 [h, w, 3], if it is kept


@dataclass(frozen=True)
class Cover:
    """A key frame that was chosen, and its crops."""

    time_s: float | None  # None: a picture attached to the clip
    good: bool  # False: dark, white, uniform, blurred or in a fade, for want of better
    score: float  # what covers are ranked by; see `choose`
    crops: list[Crop]  # boxes in pixels of the upright frame
    proposals: "list[Proposal]"  # boxes in pixels of the upright frame
    heatmaps: list[Heatmap] = field(default_factory=list)  # over the upright frame, of the first crop, if asked for
    art: int | None = None  # number of the attached picture
    frame: np.ndarray | None = field(default=None, compare=False)  # uint8 [h, w, 3], if it is kept


def covers(
    source: str | Path,
    top: int = DEFAULT_COVERS,
    *,
    ratios: Sequence[str] = ("free",),
    start_s: float | None = None,
    end_s: float | None = None,
    cropper: "Cropper | None" = None,
) -> list[Frame]:
    """The best frames of a clip for a cover, best first.

    Args:
        source: path of a video.
        top: how many at most; there are fewer where the clip has no more that differ.
        ratios: what they will be cropped to.
        start_s, end_s: the span to look at.
        cropper: to score with; None loads the default.
    Raises:
        VideoError: a clip that cannot be read, or that has no frames in the span.
        ValueError: an argument that makes no sense.
    """
    from s2crop.cropping.cropper import Cropper  # takes torch along, which takes seconds

    if not isinstance(top, Integral) or top < 1:
        raise ValueError(f"top is a whole number from 1, not {top!r}")
    for name, given in (("start_s", start_s), ("end_s", end_s)):
        if given is not None and not (isinstance(given, Real) and math.isfinite(given) and given >= 0):
            raise ValueError(f"{name} is a number of seconds from 0, not {given!r}")
    if start_s is not None and end_s is not None and start_s >= end_s:
        raise ValueError(f"start_s, {start_s:g}, is not before end_s, {end_s:g}")
    request = CropRequest(ratios=parse_ratios(ratios))
    video = Video.open(source, or_art=True)
    winners = find_winners(video, top, start_s, end_s)
    cropper = cropper or Cropper()
    chosen = rank(cropper, list(show(video, winners, cropper)), request, top)
    return [Frame(Image.fromarray(frame), cover.time_s, cover.score) for cover, frame in frames_of(video, chosen)]


_One = TypeVar("_One", Winner, Cover)


def find_winners(
    video: Video,
    count: int,
    start_s: float | None = None,
    end_s: float | None = None,
    on_time: Callable[[float], None] = lambda time_s: None,
    how: str = scan.AUTO,
) -> list[Winner]:
    """Key frames of a clip, about three times as many as covers are asked for, and the pictures attached to it.

    Args:
        start_s, end_s: the span to look at, in which attached pictures are not; titles and credits are left out only at
            an end that is not given.
        on_time: called now and then with the time reached; may raise to stop.
        how: see `scan.scan`; `video.looked_at` says what was done.
    Raises:
        VideoError: a clip that cannot be read, or that has no frames in the span.
    """
    if video.is_art:
        return [_of_art(video, 0)]
    found = scan.scan(video, count, start_s, end_s, on_time, how)
    what = "I-frames alone" if found.how == scan.KEY_FRAMES else "all frames"
    video.looked_at = f"looked at {what}, {found.looked_at}"
    pictures = video.art() if start_s is None and end_s is None else []
    return found.winners + [_of_art(picture, number) for number, picture in enumerate(pictures)]


def _of_art(picture: Video, number: int) -> Winner:
    """An attached picture as a key frame that stands for no part of the clip.

    Raises:
        VideoError: it cannot be read.
    """
    watched = keyframes.watch(picture.frames())
    if watched is None:
        raise VideoError("no frames")
    (winner, *_) = keyframes.find_winners(*watched, 1)
    return replace(winner, length_s=0.0, unstillness=0.0, art=number)


def show(video: Video, winners: Sequence[Winner], cropper: "Cropper", keep_bars: bool = False) -> Iterator[Shown]:
    """Read key frames and prepare them for scoring; they are kept as long as there is room for them.

    Args:
        keep_bars: letterbox bars count as picture.
    Raises:
        VideoError: the clip cannot be read any more.
    """
    room = KEPT_BYTES
    for winner, frame in frames_of(video, winners):
        bars = winner.bars if winner.art is not None else letterbox.own_bars(video, frame, winner.bars)
        inside = (0, 0, frame.shape[1], frame.shape[0]) if keep_bars else letterbox.find_inside(frame, bars)
        x1, y1, x2, y2 = inside
        picture = Picture.open(np.ascontiguousarray(frame[y1:y2, x1:x2]))
        grey = picture.reduced(FOCUS_SIDE) @ shots.LUMA / 255
        kept = frame if frame.nbytes <= room else None
        room -= frame.nbytes if kept is not None else 0
        yield Shown(winner, frame.shape[1::-1], inside, shots.focus(grey), cropper.prepare(picture), kept)


def frames_of(video: Video, chosen: Sequence[_One]) -> Iterator[tuple[_One, np.ndarray]]:
    """Key frames or covers at full resolution, uint8 [h, w, 3]: those that were kept, the others read again,
    a few at once.

    Raises:
        VideoError: the clip cannot be read any more.
    """
    pictures = None
    for i in range(0, len(chosen), READ_AT_ONCE):
        group = chosen[i : i + READ_AT_ONCE]
        kept = [one.frame if isinstance(one, Cover) else None for one in group]
        missing = [
            one.time_s
            for one, frame in zip(group, kept, strict=True)
            if frame is None and one.art is None and one.time_s is not None
        ]
        read = iter(video.frames_at(missing) if missing else [])
        for one, frame in zip(group, kept, strict=True):
            if frame is not None:
                yield one, frame
            elif one.art is None:
                yield one, next(read)
            else:
                pictures = ([video] if video.is_art else video.art()) if pictures is None else pictures
                yield one, _only_frame(pictures, one.art)


def _only_frame(pictures: Sequence[Video], number: int) -> np.ndarray:
    for _, frame in pictures[number].frames(None) if number < len(pictures) else ():
        return frame
    raise VideoError("its attached picture could not be read again")


def rank(
    cropper: "Cropper", shown: Sequence[Shown], request: CropRequest, count: int, heatmaps: bool = False
) -> list[Cover]:
    """Score key frames and choose covers, best first, among those that can be cropped to the most ratios.

    Args:
        heatmaps: make those of the covers too.
    Returns:
        The covers; none where on no frame a crop of any ratio holds what the request requires.
    Raises:
        InputError: the request cannot be met on any of them.
    """
    ranked: list[list[Crop] | InputError] = [[] for _ in shown]
    proposals: list[list[Proposal]] = [[] for _ in shown]
    for place in dict.fromkeys((one.size_wh, one.inside) for one in shown):  # all frames at once, unless bars differ
        members = [i for i, one in enumerate(shown) if (one.size_wh, one.inside) == place]
        try:
            crops, boxes = cropper.rank_and_propose(
                [shown[i].prepared for i in members], letterbox.request_inside(request, *place)
            )
        except InputError as error:
            crops, boxes = [error] * len(members), [[]] * len(members)
        for i, found, own in zip(members, crops, boxes, strict=True):
            ranked[i], proposals[i] = found, own
    usable = [
        (one, crops, own)
        for one, crops, own in zip(shown, ranked, proposals, strict=True)
        if crops and not isinstance(crops, InputError)
    ]
    if not usable:
        for found in ranked:
            if isinstance(found, InputError):
                raise found
        return []
    met = [len({crop.ratio for crop in crops}) for _, crops, _ in usable]
    usable = [one for one, count_met in zip(usable, met, strict=True) if count_met == max(met)]
    scores = [float(np.mean([crop.score for crop in crops if crop.rank == 1])) for _, crops, _ in usable]
    faces = [open_face(own, one.prepared.width, one.prepared.height) for one, _, own in usable]
    subtitles = [_held_subtitle(one, crops, own) for one, crops, own in usable]
    kept = [one for one, _, _ in usable]
    chosen = []
    for i, score in choose([one.winner for one in kept], worth(kept, scores, faces, subtitles), count).items():
        one, found, own = usable[i]
        bars = request.counts_bars(found[0].ratio)
        maps = cropper.heatmaps_prepared(one.prepared, found[0].box, bars) if heatmaps else []
        chosen.append(_cover(one, score, found, own, maps))
    return chosen


def notes(chosen: Sequence[Cover], count: int) -> list[str]:
    """What to tell of the covers of a clip, one line each."""
    told = []
    if not all(cover.good for cover in chosen):
        told.append("no stretch of it is bright, sharp and free of fades: the least bad was taken")
    if len(chosen) < count and any(cover.time_s is not None for cover in chosen):  # a sound file has one picture
        told.append(f"{len(chosen)} of {count} covers: nothing else in it is good and different")
    return told


def choose(winners: Sequence[Winner], worth: np.ndarray, count: int) -> dict[int, float]:
    """Winners to take, best first: one after the other what is worth most, less where it looks like one before.

    There are fewer than `count` where the rest is too near in time, or the same picture.

    Returns:
        Their numbers, and what each was worth when it was taken, which never rises from one to the next.
    """
    # An attached picture stands at no time.
    times = np.array([winner.time_s if winner.art is None else np.nan for winner in winners])
    looks = np.stack([winner.features for winner in winners])
    known = times[~np.isnan(times)]
    apart_s = min(MIN_APART_S, np.ptp(known) / (2 * count)) if len(known) else 0.0
    chosen: dict[int, float] = {}
    free, distance = np.ones(len(winners), bool), np.full(len(winners), np.inf)
    while free.any() and len(chosen) < count:
        alike = np.clip(1 - distance / ALIKE_DISTANCE, 0, 1)
        left = np.where(free, worth - ALIKE_WEIGHT * alike, -np.inf)
        best = int(left.argmax())
        chosen[best] = float(left[best])
        distance = np.minimum(distance, keyframes.difference(looks, looks[best]))
        free &= (distance > SAME_DISTANCE) & ~(np.abs(times - times[best]) < apart_s)
        free[best] = False
    return chosen


def worth(
    shown: Sequence[Shown], scores: Sequence[float], faces: Sequence[float], subtitles: Sequence[float]
) -> np.ndarray:
    """What key frames are worth, [N] on the MOS scale: scores, and what else tells a good cover.

    Args:
        scores: of their crops.
        faces: of `open_face`; subtitles: of `subtitle`, in the crops.
    """
    focus = np.array([one.focus for one in shown])
    enough = min(FOCUS_ENOUGH, focus.max())
    blur = np.maximum(np.log2(enough / focus), 0)
    bad = np.array([not one.winner.good for one in shown])
    motion = np.minimum([one.winner.unstillness for one in shown], MAX_MOTION)
    flat = np.maximum(1 - np.array([one.winner.gradient for one in shown]) / shots.MIN_GRADIENT, 0)
    length_s = np.array([one.winner.length_s for one in shown])
    merits = FACE_WEIGHT * np.array(faces) + LENGTH_WEIGHT * np.sqrt(length_s / max(length_s.sum(), 1e-6))
    # Where every frame has one, none is the worse for it; and what is written on a slide is no subtitle.
    added = np.array(subtitles) - min(subtitles)
    added[bad & [one.winner.drawn for one in shown]] = 0
    faults = FOCUS_WEIGHT * blur + MOTION_WEIGHT * motion + FLAT_WEIGHT * flat + BAD_PENALTY * bad
    faults += SUBTITLE_WEIGHT * added
    return np.array(scores) + merits - faults


def open_face(proposals: "Sequence[Proposal]", width: int, height: int) -> float:
    """0 to 1: how sure, large and free of the edges the best face of a picture is."""
    best = 0.0
    for (x1, y1, x2, y2), score, kind in proposals:
        if kind == "face":
            large = np.sqrt((x2 - x1) * (y2 - y1) / (FACE_AREA_FRAC * width * height))
            space = min(min(x1, width - x2) / (x2 - x1), min(y1, height - y2) / (y2 - y1)) / FACE_SPACE
            best = max(best, score * float(np.clip(large, 0, 1) * np.clip(space, 0, 1)))
    return best


def _held_subtitle(shown: Shown, crops: Sequence[Crop], proposals: "Sequence[Proposal]") -> float:
    """`subtitle` of what the best crops show, mean of the ratios."""
    size_wh = shown.prepared.width, shown.prepared.height
    best = np.array([crop.box for crop in crops if crop.rank == 1], float)
    shares = inside_share(best, np.array([box for box, _, _ in proposals], float).reshape(-1, 4))
    return float(np.mean([subtitle(list(compress(proposals, row > 0)), *size_wh) for row in shares]))


def subtitle(proposals: "Sequence[Proposal]", width: int, height: int) -> float:
    """0 to 1: how sure it is that a picture has a line of text where subtitles lie, low and in the middle."""
    least, most = SUBTITLE_HEIGHT_FRAC
    return max(
        (
            min(score / SUBTITLE_SURE, 1.0)
            for (x1, y1, x2, y2), score, kind in proposals
            if kind == "text"
            and y1 >= SUBTITLE_TOP_FRAC * height
            and least * height <= y2 - y1 <= most * height
            and abs(x1 + x2 - width) / 2 <= SUBTITLE_OFF_FRAC * width
        ),
        default=0.0,
    )


def _cover(
    shown: Shown, score: float, crops: Sequence[Crop], proposals: "Sequence[Proposal]", heatmaps: Sequence[Heatmap]
) -> Cover:
    """A cover with its boxes in the whole frame."""
    place, part_wh = shown.inside[:2], (shown.prepared.width, shown.prepared.height)
    winner = shown.winner
    return Cover(
        winner.time_s if winner.art is None else None,
        winner.good or winner.drawn,
        score,
        [crop.moved(place, part_wh, shown.size_wh) for crop in crops],
        [(moved(box, place), score, kind) for box, score, kind in proposals],
        [heat.moved(place) for heat in heatmaps],
        winner.art,
        shown.frame,
    )
