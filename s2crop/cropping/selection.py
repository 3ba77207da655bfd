"""The crops of one picture: the best of its candidates in each ratio, or what is filled up in their place."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from s2crop.cropping.content import Content
from s2crop.cropping.features import APPEAL, SCORE, avoidable, columns, measure
from s2crop.cropping.padding import HELD, MATTERS, around, fits, largest_around, misses, needed, padded_box, replaces
from s2crop.cropping.protect import cut_and_lost, focus_of
from s2crop.cropping.request import Crop, CropRequest, Prepared, required
from s2crop.geometry.boxes import iou_matrix, largest_of_ratio, to_pixels
from s2crop.geometry.pads import Pads, pads_around
from s2crop.geometry.ratio import Ratio
from s2crop.geometry.search import SAME_CROP_IOU, SearchConfig, can_hold, candidates, choose, neighbours, scales, worth
from s2crop.models.s2cnet import MOS_MEAN, MOS_STD

ROUNDING = 1e-4  # of a scale: boxes are rounded to a thousandth of a pixel
ROOM_FRAC = 0.2  # of the sides of the largest crop: what is required gets as much room, so that no point is at an edge
MARK_STEP = 1 / 512  # scores and appeals are taken to this: a last bit that depends on the company decides nothing

OfBoxes = Callable[[np.ndarray], np.ndarray]  # something of each of boxes [N, 4] in pixels of a picture: [N, ...]


class NotFiniteError(Exception):
    """A score is no number, which half precision may be the cause of."""


class _Rated(NamedTuple):
    """Candidates of a ratio of which one may be given."""

    boxes: np.ndarray  # [K, 4]
    scores: np.ndarray  # [K], normalised; not a number where the network was not asked
    utilities: np.ndarray  # [K]; minus infinity where the network was not asked

    def joined(self, others: "_Rated") -> "_Rated":
        """These and others."""
        return _Rated(*map(np.concatenate, zip(self, others, strict=True)))


class _Chosen(NamedTuple):
    """A crop before it is described."""

    box: tuple[int, int, int, int]
    score: float | None  # normalised; None where the network has not rated it yet
    worth: float
    padded: Pads | None = None


class Candidates:
    """The candidates of one picture from which its search begins, by ratio.

    Raises:
        InputError: what is asked for cannot be met.
    """

    def __init__(self, picture: Prepared, request: CropRequest, search: SearchConfig):
        self.size_wh = picture.width, picture.height
        self.request, self.search = request, search
        self.must = required(request, self.size_wh)
        self.ratios: list[tuple[Ratio, float | None]] = []  # and what each is on this picture
        self.boxes: list[np.ndarray] = []  # [N, 4] of each
        self.too_narrow: list[tuple[Ratio, float]] = []  # ratios of which no crop holds what is required
        for ratio in request.ratios:
            value = ratio.for_size(*self.size_wh)
            fits = self.must is None or can_hold(value, self.size_wh, self.must)
            if not fits and request.pad != "never" and ratio.value is not None:
                self.too_narrow.append((ratio, ratio.value))
            else:
                self.ratios.append((ratio, value))
                self.boxes.append(self._first(value))

    def near(self, boxes: np.ndarray, ratio: float | None) -> np.ndarray:
        """Those around good ones of a ratio, [M, 4]."""
        return self._large(neighbours(boxes, ratio, self.size_wh, self._roomy(ratio)))

    def _first(self, ratio: float | None) -> np.ndarray:
        must = self._roomy(ratio)
        boxes = self._large(candidates(ratio, self.size_wh, must, self.search.method))
        if not len(boxes):  # the published grid stops short of the borders
            boxes = self._large(candidates(ratio, self.size_wh, must))
        return boxes

    def _roomy(self, ratio: float | None) -> np.ndarray | None:
        """What every candidate contains: what is required, and room around it where that is as small as a point."""
        if self.must is None:
            return None
        sides = np.array(self.size_wh if ratio is None else largest_of_ratio(ratio, *self.size_wh))
        more = np.maximum(ROOM_FRAC * sides - (self.must[2:] - self.must[:2]), 0) / 2
        grown = self.must + np.concatenate([-more, more])
        return np.clip(grown, 0, np.tile(self.size_wh, 2))

    def _large(self, boxes: np.ndarray) -> np.ndarray:
        """Those boxes that are as large as was asked for."""
        least = self.request.min_scale
        return boxes if not least else boxes[scales(boxes, self.size_wh) >= least - ROUNDING]


class Selection:
    """The choice among the candidates of one picture.

    Scores and appeals are taken to MARK_STEP, so that a ratio's crops do not depend on which others are rated with it.

    Args:
        content: what was found in the picture.
        scores: normalised scores [N] of boxes [N, 4] in pixels of the picture.
        appeals: their appeals [N]; None where the network has no head for them.
        weights: of the features, for ratios that are given (False) and free (True).
    """

    def __init__(
        self,
        of: Candidates,
        content: Content,
        scores: OfBoxes,
        appeals: OfBoxes | None,
        weights: dict[bool, np.ndarray],
    ):
        self._candidates, self._request, self._size_wh = of, of.request, of.size_wh
        self._content = content
        self._scores = partial(_stepped, scores)
        self._appeals = None if appeals is None else partial(_stepped, appeals)
        protected = columns(of.request.protect)
        self._weights = [
            weights[value is None] * protected * avoidable(content, boxes / np.tile(of.size_wh, 2))
            for (_, value), boxes in zip(of.ratios, of.boxes, strict=True)
        ]

    def crops(self) -> list[Crop]:
        """The best crops of each ratio.

        Raises:
            NotFiniteError: a score is no number.
        """
        of, request = self._candidates, self._request
        crops: list[Crop] = []
        for (ratio, value), found in zip(of.ratios, self._rated(), strict=True):
            worths = self._worths(found)
            rows = choose(found.boxes, worths, request.top, found.utilities)
            chosen = [self._chosen(found, worths, i, value) for i in rows]
            if request.pad != "never" and ratio.value is not None:
                first = self._instead(chosen[0], ratio.value, found, worths)
                if request.pad == "always":
                    chosen = [first]
                elif first is not chosen[0]:
                    others = [one for one in chosen if _overlap(one.box, first.box) < SAME_CROP_IOU]
                    chosen = [first, *others][: request.top]
            crops += self._told(ratio, chosen)
        for ratio, needs in of.too_narrow:
            crops += self._told(ratio, [self._filled_up(needs, 0.0)])
        return crops

    def _rated(self) -> list[_Rated]:
        """Of each ratio the candidates that one is chosen of.

        All ratios are measured and rated in one call for the candidates, and in one for neighbours of the best.
        """
        of, search = self._candidates, self._candidates.search
        if not of.ratios:
            return []
        if search.method == "argmax":
            return [_Rated(boxes, s, s) for boxes, s in zip(of.boxes, _each(self._scores, of.boxes), strict=True)]
        first = self._stage(of.boxes, search.scored)
        near = []
        for found, (_, ratio) in zip(first, of.ratios, strict=True):
            best = np.argsort(-self._worths(found), kind="stable")[: search.refined]
            near.append(of.near(found.boxes[best], ratio))
        if not any(map(len, near)):
            return first
        return list(map(_Rated.joined, first, self._stage(near, search.scored_near)))

    def _stage(self, boxes: list[np.ndarray], scored: int) -> list[_Rated]:
        """Candidates of each ratio, rated. What costs more is asked of fewer: of a given ratio, appeals of those that
        are best by what they hold, cut and lose, and scores of the best of these.

        Args:
            boxes: [N, 4] of each ratio.
            scored: how many of a given one the network scores.
        """
        features = _each(self._measured, boxes)
        rated = self._candidates.search.rated
        rows = self._best(features, rated)
        boxes, features = _rows(boxes, rows), _rows(features, rows)
        if self._appeals is not None:
            for part, appeals in zip(features, _each(self._appeals, boxes), strict=True):
                part[:, APPEAL] = appeals
        rows = self._best(features, rated if self._appeals is None else scored)
        found = []
        told = _each(self._scores, _rows(boxes, rows))
        for own, part, asked, scores, weights in zip(boxes, features, rows, told, self._weights, strict=True):
            part[asked, SCORE] = scores
            one = _Rated(own, np.full(len(own), np.nan), np.full(len(own), -np.inf))
            one.scores[asked], one.utilities[asked] = scores, part[asked] @ weights
            found.append(one)
        return found

    def _best(self, features: list[np.ndarray], most: int) -> list[np.ndarray]:
        """Those of each ratio that what is known speaks for, in the order that they have; of a free one, or where
        nothing that counts is known yet, all.
        """
        found = []
        for part, own, (_, ratio) in zip(features, self._weights, self._candidates.ratios, strict=True):
            marks = part @ own
            all_of_them = ratio is None or not marks.any()
            found.append(np.arange(len(part)) if all_of_them else np.sort(np.argsort(-marks, kind="stable")[:most]))
        return found

    def _worths(self, rated: _Rated) -> np.ndarray:
        """What each of a ratio's candidates is worth: [K]."""
        search = self._candidates.search
        if search.method == "argmax":
            return rated.utilities
        return worth(rated.boxes, rated.utilities, search.temperature)

    def _chosen(self, rated: _Rated, worths: np.ndarray, row: int, ratio: float | None) -> _Chosen:
        score = float(rated.scores[row])
        box = self._to_pixels(rated.boxes[row], ratio)
        return _Chosen(box, None if math.isnan(score) else score, float(worths[row]))

    def _measured(self, boxes: np.ndarray) -> np.ndarray:
        """Features of boxes [N, 4], the networks' columns left at 0: [N, F]."""
        sizes = scales(boxes, self._size_wh)
        return measure(self._content, boxes / np.tile(self._size_wh, 2), sizes, self._request.circle)

    def _instead(self, best: _Chosen, ratio: float, rated: _Rated, worths: np.ndarray) -> _Chosen:
        """What takes the place of the best crop of a ratio, and its worth, where that misses what matters or all is
        asked for; else that crop.
        """
        protect, circle = self._request.protect, self._request.circle
        if self._request.pad == "always":
            return self._filled_up(ratio, best.worth)
        if not misses(self._content, np.array([best.box]), protect, circle)[0]:
            return best
        hold = np.flatnonzero(replaces(self._content, rated.boxes, np.array(best.box), protect, circle))
        if len(hold):  # another crop of the ratio holds it all
            i = hold[choose(rated.boxes[hold], worths[hold], 1)[0]]
            return self._chosen(rated, worths, i, ratio)._replace(worth=best.worth)
        return self._filled_up(ratio, best.worth)

    def _filled_up(self, ratio: float, worth: float) -> _Chosen:
        """A crop that holds what matters, or all, with pads if it needs any."""
        request, size_wh, must = self._request, self._size_wh, self._candidates.must
        if request.pad == "always":
            box = np.array([0, 0, *size_wh], float)
        else:
            need, all_of_it = (
                around([needed(self._content, request.protect, least), must]) for least in (MATTERS, HELD)
            )
            assert need is not None and all_of_it is not None  # it is missed, or required
            if not request.circle and fits(need, size_wh, ratio):
                return _Chosen(self._to_pixels(largest_around(need, size_wh, ratio), ratio), None, worth)
            box = padded_box(all_of_it, size_wh, ratio, request.circle, request.min_scale * min(size_wh))
        x1, y1, x2, y2 = whole = self._to_pixels(box, None)
        pads = pads_around((x2 - x1, y2 - y1), ratio, request.circle)
        return _Chosen(self._to_pixels(box, ratio) if pads is None else whole, None, worth, pads)

    def _told(self, ratio: Ratio, chosen: Sequence[_Chosen]) -> list[Crop]:
        """Crops of a ratio, best first, with what is told of each."""
        crops = []
        for rank, one in enumerate(chosen, start=1):
            mark = self._scores(np.array([one.box], float))[0] if one.score is None else one.score
            cut, lost = cut_and_lost(self._content, one.box, self._request.protect)
            crops.append(
                Crop(
                    one.box,
                    float(to_mos(mark)),
                    ratio.label,
                    rank,
                    worth=one.worth,
                    cut=cut,
                    lost=lost,
                    focus=focus_of(self._content, one.box),
                    padded=one.padded,
                )
            )
        return crops

    def _to_pixels(self, box: np.ndarray, ratio: float | None) -> tuple[int, int, int, int]:
        return to_pixels(box, self._size_wh, ratio, self._candidates.must)


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    return float(iou_matrix(np.array([a], float), np.array([b], float))[0, 0])


def _each(function: OfBoxes, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a function of boxes gives for each of several sets, in one call."""
    return np.split(function(np.concatenate(parts)), np.cumsum([len(part) for part in parts])[:-1])


def _rows(parts: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Some rows of each of several arrays."""
    return [part[chosen] for part, chosen in zip(parts, rows, strict=True)]


def _stepped(marks: OfBoxes, boxes: np.ndarray) -> np.ndarray:
    """Scores or appeals of boxes, in steps. Raises NotFiniteError."""
    found = marks(boxes)
    if not np.isfinite(found).all():
        raise NotFiniteError
    return np.round(found / MARK_STEP) * MARK_STEP


def to_mos(scores: np.ndarray | float, clip: bool = True) -> np.ndarray:
    """Normalised network scores to the MOS scale, 1 to 5."""
    mos = np.asarray(MOS_MEAN + MOS_STD * scores)
    return np.clip(mos, 1.0, 5.0) if clip else mos
