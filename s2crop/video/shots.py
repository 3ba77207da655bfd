"""What is measured of every frame of a clip, and the shots that follow from it.

The first steps of HECATE (Song et al. 2016, "To Click or Not To Click: Automatic Selection of Beautiful Thumbnails from
Videos", with the authors' published program for the constants): frames that are dark, flat or uniform and those in
transitions are left out, runs of what is left are shots. Frames are 160 pixels long, as there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

LONG_SIDE = 160  # pixels of the frames that are measured
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)

# A frame beyond one of these is bad. HECATE drops at most the worst 15 % by each measure, so that half a clip may still
# be black; here they are all dropped as long as a shot is left, and HECATE's rule is what comes next.
MIN_LUMINANCE = 0.075
MAX_LUMINANCE = 0.925  # white frames, which HECATE leaves to uniformity
MAX_UNIFORMITY = 0.80
MIN_FOCUS = 1.2  # ours: a lens blur of 8 pixels in 1280 gives 1.15 to 1.35 on photographs, sharp ones 1.75 and over
# HECATE's measure of blur. Photographs that are blurred beyond use have 0.06 to 0.22, an empty road in focus has 0.035:
# it tells how much is to be seen. Good soft pictures fall below it too, hence at most the worst 15 % are dropped.
MIN_GRADIENT = 0.08
MIN_DRAWN_ENERGY = 5e-4  # slides with a few words have 0.0025 and over; noise on a blank wall 0.00003
WORST_FRAC = 0.15  # most that are dropped by one measure

MIN_STEP = 0.14  # of full scale; HECATE's 0.5 in its own units is 0.136 at 160x90
MIN_EDGE_CHANGE = 0.10
CUT_STEP = 0.20  # of full scale; ends a shot even where no frame is dropped, as between the pictures of a slide show
TRANSITION_FRAC = 0.10  # most that are dropped as transitions by one measure
EDGE_REACH = 5  # pixels that an edge may move between frames: the dilation by 11
MIN_EDGES_FRAC = 0.002  # of the pixels; with fewer their change says nothing

# Ours: on clips with dissolves and fades of 0.4 to 2 s put in, these find all of them, 70 to 100 % of their frames, and
# next to nothing elsewhere but true changes of exposure; slow pans are told apart by their edges, which do not fade.
BLEND_SPANS_S = (0.2, 0.5)  # to both sides; short fades and long ones
MIN_BLEND_STEP = 0.03  # of full scale, between the ends of the span
MAX_BLEND_REST = 0.35  # of that: how far the frame is from the mean of the ends
MIN_BLEND_DIP = 0.05  # how much the ends have more energy in their edges than the frame, of its own
BLEND_MARGIN_S = 0.2  # the beginning and the end of a blend are too faint to be found

BLACK = 32  # of 255; brightest pixel of a row of a letterbox bar, noise of the codec included
RIM_FRAC = 0.16  # of the sides: what lies that near to the edges of a frame tells nothing of its sharpness
MIN_MIDDLE_ENERGY = 1e-4  # see `_edge_energy`; below it there is nothing to see in the middle
STRAY_FRAC = 0.005  # of the pixels of a row of a bar, which may be brighter: codecs leave them beside an edge
MIN_SIDE = 5  # pixels; narrower frames are padded, for the gradient takes four off
SMALL_SIDE = 16  # pixels of the long side of the thumbnails that blends are found on

LONG_SHOT_S = 6.0  # shots as long are split
SPLIT_S = 2.0  # least distance of the cuts then
SHORT_RUN_FRAMES = 5  # runs as short are dropped
SHORT_RUN_S = 0.5  # unless they last: a slide show has one frame for each picture


@dataclass(frozen=True)
class Measures:
    """Measures of F frames in order; luminances and distances are fractions of full scale,
    bars are left out of them.
    """

    time_s: np.ndarray  # float64 [F]
    luminance: np.ndarray  # [F], mean
    gradient: np.ndarray  # [F], mean magnitude of the 3x3 Sobel gradient of the smoothed grey frame
    focus: np.ndarray  # [F], see `focus`; of what lies between the bars
    energy: np.ndarray  # [F], mean square of the differences between neighbouring pixels
    uniformity: np.ndarray  # [F], share of the pixels in the 6 fullest of 128 bins of grey
    step: np.ndarray  # [F], RMS distance in colour from the frame before; infinite for the first
    edge_change: np.ndarray  # [F], share of edges that appear or vanish against the frame before
    bars: (
        np.ndarray
    )  # float32 [F, 4], of black at the left, top, right and bottom: shares of width and height; 0 in black frames
    small: np.ndarray  # uint8 [F, h, w], grey thumbnails; [F, 0, 0] where they have served
    blended: np.ndarray  # bool [F], within a fade or dissolve; all False until `keyframes.watch` has seen the frames

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def ends_s(self) -> np.ndarray:
        """When each frame gives way to the next, float64 [F]; the last is taken to last as long as most do."""
        usual_s = np.median(np.diff(self.time_s)) if len(self) > 1 else 0.0
        return np.append(self.time_s[1:], self.time_s[-1] + usual_s)

    @classmethod
    def joined(cls, parts: "Sequence[Measures]") -> "Measures":
        """Those of consecutive stretches, as one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def measure(time_s: Sequence[float], frames: np.ndarray, before: np.ndarray | None) -> Measures:
    """Measure consecutive frames; the result does not depend on how a clip is cut into such stretches.

    Args:
        time_s: when each is shown.
        frames: uint8 [F, h, w, 3], RGB.
        before: uint8 [h, w, 3], the frame before; None at the start.
    """
    if before is not None:
        frames = np.concatenate([before[None], frames])
    lack = [max(0, MIN_SIDE - side) for side in frames.shape[1:3]]
    if any(lack):
        frames = np.pad(frames, [(0, 0), (0, lack[0]), (0, lack[1]), (0, 0)], "edge")
    colours = frames.astype(np.float32) / 255
    grey = colours @ LUMA  # [F, h, w]
    height, width = grey.shape[1:]
    bars = find_bars(frames)
    beside_bars = _inside(bars, height, width, margin=1)
    near, far, pairs = _edge_energy(grey, beside_bars)
    magnitude = np.hypot(*sobel(grey))
    inside = _inside(bars, height, width)
    measures = Measures(
        time_s=np.asarray(time_s, np.float64),
        luminance=_mean(grey, inside),
        gradient=_mean(magnitude, _inside(bars, height, width, margin=2, cut=2)),
        focus=_focus(grey, beside_bars, (near, far, pairs)),
        energy=near / pairs,
        uniformity=_uniformity(grey, inside),
        step=np.append(np.inf, _steps(colours, inside)),
        edge_change=np.append(0, _edge_changes(magnitude, grey)),
        bars=(bars / np.array([width, height, width, height])).astype(np.float32),
        small=_small(grey),
        blended=np.zeros(len(frames), bool),
    )
    if before is None:
        return measures
    return Measures(measures.time_s, *(getattr(measures, field.name)[1:] for field in fields(Measures)[1:]))


def find_bars(frames: np.ndarray, stray: float = 0.0) -> np.ndarray:
    """Black columns and rows at the left, top, right and bottom of frames uint8 [F, h, w, 3]: int [F, 4].

    0 in frames that are black all over. Args: stray: share of their pixels that may be brighter.
    """
    bright = (
        np.maximum(np.maximum(frames[..., 0], frames[..., 1]), frames[..., 2]) > BLACK
    )  # far quicker than max(axis=3)
    sides = []
    for axis in (1, 2):
        strays = int(stray * bright.shape[axis])
        seen = bright.sum(axis=axis) > strays if strays else bright.any(axis=axis)  # columns [F, w], then rows [F, h]
        black = ~seen.any(axis=1)
        sides += [np.where(black, 0, seen.argmax(axis=1)), np.where(black, 0, seen[:, ::-1].argmax(axis=1))]
    left, right, top, bottom = sides
    return np.stack([left, top, right, bottom], axis=1)


def focus(grey: np.ndarray) -> float:
    """How abrupt the edges of a picture [h, w] are: energy of differences over one pixel against half those over two.

    Towards 1 where all is blurred, 2 for steps from one pixel to the next, whatever the contrast. Strong edges count
    most, so that a blurred background does no harm. 1 without any edge. Of the middle alone, where there is anything to
    see in it: logos of channels and subtitles are sharp whatever the picture is.
    """
    grey = grey[None]
    return float(_focus(grey, None, _edge_energy(grey, None))[0])


def sobel(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """3x3 Sobel derivatives along x and y, each [F, h - 4, w - 4],
    of frames [F, h, w] smoothed by 3x3 (weights 1, 2, 1).
    """
    smooth = _doubled(_doubled(grey, 1), 2) / 16
    x, y = _doubled(smooth, 1), _doubled(smooth, 2)
    return np.subtract(*_apart(x, 2, 2)), np.subtract(*_apart(y, 1, 2))


def unstillness(measures: Measures) -> np.ndarray:
    """Mean distance of each frame [F] from its two neighbours; low is still.

    The first and the last are infinitely unstill: with one neighbour only, or none, they would be the stillest of all,
    and they are often black.
    """
    return (measures.step + np.append(measures.step[1:], np.inf)) / 2


def near(time_s: np.ndarray, centres_s: np.ndarray) -> np.ndarray:
    """Which frames, bool [F], lie about a blend, of which these times are within."""
    found = np.zeros(len(time_s), bool)
    for centre_s in centres_s:
        start, end = np.searchsorted(time_s, [centre_s - BLEND_MARGIN_S, centre_s + BLEND_MARGIN_S])
        found[start:end] = True
    return found


def blend_centres(measures: Measures) -> np.ndarray:
    """Which frames, bool [F], have those around them at the ends of a fade or dissolve; they need the thumbnails.

    Such a frame is the mean of what is shown shortly before and after, in picture but not in the energy of the edges:
    it grows with the square of the contrast, and edges of two pictures do not add up.
    """
    time_s, small, energy = measures.time_s, measures.small.reshape(len(measures), -1), measures.energy
    found = np.zeros(len(time_s), bool)
    for span_s in BLEND_SPANS_S:
        earlier, later = (np.searchsorted(time_s, time_s + side * span_s, "right") - 1 for side in (-1, 1))
        whole = np.flatnonzero((earlier >= 0) & (time_s + span_s <= time_s[-1]))
        dips = (energy[earlier[whole]] + energy[later[whole]]) / 2 >= (1 + MIN_BLEND_DIP) * energy[whole]
        whole = whole[dips]
        for part in (whole[i : i + 4096] for i in range(0, len(whole), 4096)):
            ends = small[earlier[part]].astype(np.float32), small[later[part]].astype(np.float32)
            step, rest = _rms(ends[1] - ends[0]), _rms(small[part] - (ends[0] + ends[1]) / 2)
            found[part] |= (step >= 255 * MIN_BLEND_STEP) & (rest <= MAX_BLEND_REST * step)
    return found


def find_bad(measures: Measures) -> np.ndarray:
    """Frames, bool [F], that are no cover where there is any other: dark, white, uniform or blurred."""
    return (
        (measures.luminance <= MIN_LUMINANCE) | (measures.luminance >= MAX_LUMINANCE)
        | (measures.uniformity >= MAX_UNIFORMITY) | (measures.focus <= MIN_FOCUS)
    )  # fmt: skip


def is_drawn(measures: Measures) -> np.ndarray:
    """Frames, bool [F], that are bright and sharp, however white or uniform: slides, drawings, writing."""
    return (
        (measures.luminance > MIN_LUMINANCE) & (measures.focus > MIN_FOCUS) & (measures.energy >= MIN_DRAWN_ENERGY)
    )  # fmt: skip


def find_worst(measures: Measures) -> np.ndarray:
    """Frames, bool [F], that HECATE's rule drops: dark, flat or uniform, at most 15 % by each measure."""
    return (
        _worst(-measures.luminance, -MIN_LUMINANCE, WORST_FRAC) | _worst(-measures.gradient, -MIN_GRADIENT, WORST_FRAC)
        | _worst(measures.uniformity, MAX_UNIFORMITY, WORST_FRAC)
    )  # fmt: skip


def find_transitions(measures: Measures) -> np.ndarray:
    """Frames, bool [F], around cuts and in quick transitions, at most 10 % by each measure."""
    inner = np.nan_to_num(unstillness(measures), posinf=0.0)
    return _worst(inner, MIN_STEP, TRANSITION_FRAC) | _worst(measures.edge_change, MIN_EDGE_CHANGE, TRANSITION_FRAC)


def find_shots(measures: Measures, kept: np.ndarray, *, short_too: bool = False) -> list[tuple[int, int]]:
    """Shots as (first frame, frame behind the last): runs of kept frames without a cut, the long ones split,
    the short ones dropped.

    Args:
        kept: bool [F].
        short_too: do not drop the short ones.
    """
    runs = np.cumsum(np.append(True, (np.diff(kept.astype(int)) != 0) | (measures.step[1:] >= CUT_STEP)))
    starts = np.flatnonzero(np.diff(runs, prepend=0)).tolist()
    shots = [
        part for start, end in zip(starts, [*starts[1:], len(kept)], strict=True) if kept[start]
        for part in _split(measures, start, end)
    ]  # fmt: skip
    ends_s = measures.ends_s
    return [
        (start, end) for start, end in shots
        if short_too or end - start > SHORT_RUN_FRAMES or ends_s[end - 1] - measures.time_s[start] >= SHORT_RUN_S
    ]  # fmt: skip


def _split(measures: Measures, start: int, end: int) -> list[tuple[int, int]]:
    """A run of 6 s and more cut at its largest steps, at least 2 s apart and from the ends."""
    time_s = measures.time_s[start:end]
    if time_s[-1] - time_s[0] < LONG_SHOT_S:
        return [(start, end)]
    free = (time_s - time_s[0] >= SPLIT_S) & (time_s[-1] - time_s >= SPLIT_S)
    cuts = []
    for i in np.argsort(-measures.step[start:end], kind="stable"):
        if free[i]:
            cuts.append(start + int(i))
            free &= np.abs(time_s - time_s[i]) >= SPLIT_S
    cuts = [start, *sorted(cuts), end]
    return list(zip(cuts[:-1], cuts[1:], strict=True))


def _worst(values: np.ndarray, limit: float, most_frac: float) -> np.ndarray:
    """The highest values that reach a limit, at most a share of them all; bool like the values."""
    worst = np.argsort(-values, kind="stable")[: int(most_frac * len(values))]
    found = np.zeros(len(values), bool)
    found[worst] = values[worst] >= limit
    return found


def _energy(values: np.ndarray) -> np.ndarray:
    """Sum of squares of each frame: [F, ...] -> [F]."""
    rows = np.ascontiguousarray(values).reshape(len(values), math.prod(values.shape[1:]))
    return np.einsum("ij,ij->i", rows, rows)


def _rms(rows: np.ndarray) -> np.ndarray:
    """Root of the mean square: [N, D] -> [N]."""
    return np.sqrt(_energy(rows) / rows.shape[1])


def _inside(bars: np.ndarray, height: int, width: int, margin: int = 0, cut: int = 0) -> np.ndarray | None:
    """What lies between the bars and a margin beside them, bool [F, h, w]; None if no frame has bars.

    Args:
        cut: pixels that are missing at each side of what the mask is for.
    """
    if not bars.any():
        return None
    left, top, right, bottom = (bars + margin * (bars > 0)).T[:, :, None]
    x, y = np.arange(cut, width - cut), np.arange(cut, height - cut)
    return ((y >= top) & (y < height - bottom))[:, :, None] & ((x >= left) & (x < width - right))[:, None, :]


def _mean(values: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
    """Of each frame: [F, h, w] -> [F]."""
    if inside is None:
        return values.mean(axis=(1, 2))
    return (values * inside).sum(axis=(1, 2)) / np.maximum(inside.sum(axis=(1, 2)), 1)


def _apart(values: np.ndarray, axis: int, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Two views of an array whose like places are so many pixels apart along an axis."""
    rest = (slice(None),) * axis
    return values[*rest, distance:], values[*rest, :-distance]


def _doubled(values: np.ndarray, axis: int) -> np.ndarray:
    """Sums with weights 1, 2, 1 along an axis, which gets shorter by two."""
    for _ in range(2):
        values = np.add(*_apart(values, axis, 1))
    return values


_Energies = tuple[np.ndarray, np.ndarray, np.ndarray]


def _edge_energy(grey: np.ndarray, inside: np.ndarray | None) -> _Energies:
    """Sums of the squared differences over one pixel and of half those over two, and the number of the first:
    [F] each.
    """
    near, far, pairs = np.zeros(len(grey)), np.zeros(len(grey)), np.zeros(len(grey))
    for axis in (1, 2):
        one, two = (np.subtract(*_apart(grey, axis, distance)) for distance in (1, 2))
        if inside is None:
            pairs += one[0].size
        else:
            kept = [np.logical_and(*_apart(inside, axis, distance)) for distance in (1, 2)]
            one, two = one * kept[0], two * kept[1]
            pairs += kept[0].sum(axis=(1, 2))
        near += _energy(one)
        far += _energy(two) / 4
    return near, far, np.maximum(pairs, 1)


def _focus(grey: np.ndarray, inside: np.ndarray | None, whole: _Energies) -> np.ndarray:
    """`focus` of frames [F, h, w]: [F]. Args: inside: what counts; whole: `_edge_energy` of that."""
    height, width = grey.shape[1:]
    down, across = int(RIM_FRAC * height), int(RIM_FRAC * width)
    middle = (slice(None), slice(down, height - down), slice(across, width - across))
    near, far, pairs = _edge_energy(grey[middle], None if inside is None else inside[middle])
    seen = far / pairs >= MIN_MIDDLE_ENERGY
    near, far = (np.where(seen, own, all_of_it) for own, all_of_it in zip((near, far), whole[:2], strict=True))
    return np.where(far > 1e-6, near / np.maximum(far, 1e-6), 1.0)


def _uniformity(grey: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
    count, bins = len(grey), 128
    index = np.minimum((grey * bins).astype(np.intp), bins - 1)
    if inside is not None:
        index[~inside] = bins  # one more, which is left out
    index += (np.arange(count) * (bins + 1))[:, None, None]
    histogram = np.bincount(index.ravel(), minlength=count * (bins + 1)).reshape(count, bins + 1)[:, :bins]
    return np.sort(histogram, axis=1)[:, -6:].sum(axis=1) / np.maximum(histogram.sum(axis=1), 1)


def _steps(colours: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
    """RMS distance between consecutive frames [F, h, w, 3], over what one of the two has inside: [F - 1]."""
    rows = colours.reshape(len(colours), -1)
    values = np.full(len(rows) - 1, rows.shape[1])
    if inside is not None:
        values = 3 * np.maximum((inside[1:] | inside[:-1]).sum(axis=(1, 2)), 1)
    return np.sqrt(_energy(rows[1:] - rows[:-1]) / values)


def _edge_changes(magnitude: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Edge-change ratio of consecutive frames, [F - 1]: the larger of the shares of edges that appear and that vanish.

    Edges are where the gradient exceeds the mean luminance of the frame, which stands in for Otsu's threshold.
    """
    edges = magnitude > grey.mean(axis=(1, 2))[:, None, None]
    near = edges
    for axis in (1, 2):
        near = _dilated(near, axis)
    count = edges.sum(axis=(1, 2))
    appear = 1 - (edges[1:] & near[:-1]).sum(axis=(1, 2)) / np.maximum(count[1:], 1)
    vanish = 1 - (edges[:-1] & near[1:]).sum(axis=(1, 2)) / np.maximum(count[:-1], 1)
    telling = np.minimum(count[1:], count[:-1]) >= MIN_EDGES_FRAC * edges[0].size
    return np.where(telling, np.maximum(appear, vanish), 0.0)


def _dilated(edges: np.ndarray, axis: int) -> np.ndarray:
    """bool [F, h, w] spread by 5 pixels along an axis, both ways."""
    pads = [(0, 0)] * 3
    pads[axis] = EDGE_REACH, EDGE_REACH
    edges, width = np.pad(edges, pads), 1
    while width < 2 * EDGE_REACH + 1:
        shift = min(width, 2 * EDGE_REACH + 1 - width)
        edges = np.logical_or(*_apart(edges, axis, shift))
        width += shift
    return edges


def _small(grey: np.ndarray) -> np.ndarray:
    """Thumbnails uint8 [F, h, w]: means of square blocks of grey frames of 0 to 1;
    what is left over at the end is cut off.
    """
    block = max(1, min(max(grey.shape[1:]) // SMALL_SIDE, *grey.shape[1:]))
    height, width = (side // block for side in grey.shape[1:])
    blocks = grey[:, : height * block, : width * block].reshape(len(grey), height, block, width, block)
    return np.rint(255 * blocks.mean(axis=(2, 4))).astype(np.uint8)
