"""`Cropper`: one picture in, ranked crops out. Coordinates change from picture to network here alone."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from s2crop.cropping import windows
from s2crop.cropping.content import Content, contents
from s2crop.cropping.early import prepare
from s2crop.cropping.features import columns, measure, with_scores
from s2crop.cropping.padding import HELD, MATTERS, around, fits, largest_around, misses, needed, padded_box, replaces
from s2crop.cropping.protect import cut_and_lost, focus_of
from s2crop.cropping.request import Crop, CropRequest, Heatmap, Inside, Prepared, Thing, required
from s2crop.errors import InputError, WeightsError
from s2crop.files.pad import BLUR, checked
from s2crop.files.picture import Picture
from s2crop.geometry.boxes import iou_matrix, to_pixels
from s2crop.geometry.pads import Pads, pads_around
from s2crop.geometry.ratio import ORIGINAL, Ratio, parse_ratio
from s2crop.geometry.search import SAME_CROP_IOU, SearchConfig, candidates, choose, neighbours, scales, worth
from s2crop.models.device import find_device, find_precision
from s2crop.models.proposals import KINDS, Proposals, load_detector
from s2crop.models.s2cnet import MOS_MEAN, MOS_STD
from s2crop.models.scorer import unknown
from s2crop.models.subjects import Subjects
from s2crop.models.weights import load_model

CANDIDATES_AT_ONCE = 720  # on the CPU: what the network makes of more of them does not stay in its caches
WINDOWS_AT_ONCE = 4  # of a long picture
ROUNDING = 1e-4  # of a scale: boxes are rounded to a thousandth of a pixel
SCORE_STEP = 1 / 512  # scores are taken to this, so that a last bit that depends on the company decides nothing

Proposal = tuple[tuple[float, float, float, float], float, str]  # box in pixels of the upright picture, score, kind


class _NotFinite(Exception):
    """A score is no number, which half precision may be the cause of."""


class Cropper:
    """A loaded network with its proposals and search.

    Args:
        model: "s2cnet", "sfrc" or "asmnet".
        weights: a file of ours or a published S2CNet checkpoint; None for the shipped ones.
        device: "auto" (CUDA, else CPU), "cpu", "cuda", "cuda:1", "mps".
        precision: of the backbone, "fp32", "bf16", "fp16" or "auto" (fp16 on CUDA, else fp32).
        proposals: "builtin" (the shipped head on the backbone's maps), "torchvision" (Faster R-CNN,
            where its published weights are at hand) or "auto" (builtin).
        search: how crops are chosen; SearchConfig(method="argmax") is the published way.
    Raises:
        WeightsError: weights that cannot be used. DeviceError: a device that is not there.
    """

    def __init__(
        self,
        model: str = "s2cnet",
        weights: str | Path | None = None,
        device: str = "auto",
        *,
        precision: str = "auto",
        proposals: str = "auto",
        search: SearchConfig = SearchConfig(),
    ):
        self._device = find_device(device)
        self._dtype = find_precision(precision, self._device)
        self.model, self.device, self.search = model, str(self._device), search
        self.net = load_model(model, weights, self._device)
        self.config = self.net.config
        self.net.backbone.to(self._dtype)
        # A published checkpoint sees no proposals or subjects, nor does a network of another kind that was trained
        # without; its backbone is not the one ours was trained on.
        whole = self.net.proposal_head is not None and self.net.subject_head is not None
        self._sight = self.net if whole else load_model("s2cnet", None, self._device)
        self._choice = {free: self._sight.choice.weights(free).double().cpu().numpy() for free in (False, True)}
        if proposals not in ("auto", "builtin", "torchvision"):
            raise ValueError(f"proposals are auto, builtin or torchvision, not {proposals!r}")
        self._detector = load_detector(self._device) if proposals == "torchvision" else None
        self._in_full = partial(Cropper, model, weights, device, precision="fp32", proposals=proposals, search=search)
        self._full: Cropper | None = None  # once it was needed

    def prepare(self, picture: Picture, keep: bool = False) -> Prepared:
        """Decode a picture, no larger than needed, and resize it for the network. Thread-safe.

        Args:
            keep: keep the decoded pixels for the crops, until the picture is closed.
        """
        return prepare(picture, self.config, keep)

    def rank(self, prepared: Sequence[Prepared], request: CropRequest) -> list[list[Crop] | InputError]:
        """Ranked crops of several pictures, like-shaped ones in one batch.

        Returns:
            For each picture its crops, ratio by ratio, best first in each; or the InputError of
            a picture on which the request cannot be met.
        """
        return self.rank_and_propose(prepared, request)[0]

    def rank_and_propose(
        self, prepared: Sequence[Prepared], request: CropRequest
    ) -> tuple[list[list[Crop] | InputError], list[list[Proposal]]]:
        """`rank`, and the `proposals_prepared` of each picture out of the same pass through the backbone."""
        results: list[list[Crop] | InputError] = [[] for _ in prepared]
        proposals: list[list[Proposal]] = [[] for _ in prepared]
        views: list[tuple[int, Prepared, CropRequest, Inside | None]] = []
        for i, picture in enumerate(prepared):
            try:
                views += [(i, *view) for view in _views(picture, request)]
            except InputError as error:
                results[i] = error
        by_shape: dict[tuple[int, int], list[tuple[int, Prepared, CropRequest, Inside | None]]] = {}
        for view in views:
            by_shape.setdefault(view[1].shape, []).append(view)
        most = max(WINDOWS_AT_ONCE, len(prepared))
        batches = [same[k : k + most] for same in by_shape.values() for k in range(0, len(same), most)]
        in_windows: dict[tuple[int, str], list[list[Crop]]] = {}
        for members in batches:
            ranked, found = self._rank_batch([(picture, asked) for _, picture, asked, _ in members])
            for (i, _, _, inside), crops, own in zip(members, ranked, found, strict=True):
                if inside is not None:
                    own = [(_moved(box, inside.box), score, kind) for box, score, kind in own]
                    if not isinstance(crops, InputError):
                        crops = [_in_picture(crop, prepared[i], inside) for crop in crops]
                is_window = inside is not None and inside is not prepared[i].inside
                proposals[i] = proposals[i] + own if is_window else proposals[i] or own
                done = results[i]
                if isinstance(done, InputError):
                    continue
                if isinstance(crops, InputError):
                    results[i] = crops
                elif is_window:
                    for ratio, some in groupby(crops, key=lambda crop: crop.ratio):
                        in_windows.setdefault((i, ratio), []).append(list(some))
                else:
                    done += crops
        for (i, _), parts in in_windows.items():
            done = results[i]
            if not isinstance(done, InputError):
                done += windows.merged(parts, request.top, self.search.temperature * MOS_STD)
        order = {ratio.label: number for number, ratio in enumerate(request.ratios)}
        for crops in results:
            if not isinstance(crops, InputError):
                crops.sort(key=lambda crop: order[crop.ratio])  # stable: ranks stay in order
        return results, proposals

    def crop(
        self,
        image,
        ratios: Sequence[str] = ("free",),
        top: int = 1,
        *,
        focus=None,
        keep=None,
        protect: str = "all",
        circle: bool = False,
        keep_bars: bool = False,
        min_scale: float = 0.0,
        pad: str = "never",
        pad_with: str = BLUR,
    ) -> list[Crop]:
        """Crop one picture.

        Args:
            image: path, PIL image, or uint8 array [H, W, 3].
            ratios: like "16:9", "1.91", "square", "original", "free".
            top: crops for each ratio.
            focus, keep: point (x, y) or box (x, y, width, height) that every crop contains, in
                pixels of the upright picture, or in fractions of it where no number exceeds 1.
            protect: what a crop should not cut through: "none", "face", "text" or "all".
            circle: the crops' inscribed circles are what counts: faces and text are held in those, and "asmnet" scores
                them.
            keep_bars: even black or white bars at the edges count as picture; crops leave them out otherwise, but for
                the ratio "original".
            min_scale: least share of the largest crop of a ratio, by its sides, 0 to 1; 1 is as large as possible.
            pad: fill up to a ratio that was given: "never", "auto" (what does not fit it and matters) or "always" (the
                whole picture).
            pad_with: what `Crop.image` is filled up with: see `files.pad.padded`.
        Raises:
            ValueError: an option that makes no sense.
            InputError: a picture that cannot be read, or that cannot be cropped as asked.
        """
        if isinstance(ratios, str):
            ratios = [ratios]
        request = CropRequest(
            ratios=tuple(map(parse_ratio, ratios)),
            top=top,
            focus=focus,
            keep=keep,
            protect=protect,
            circle=circle,
            keep_bars=keep_bars,
            min_scale=min_scale,
            pad=pad,
        )
        checked(pad_with)
        picture = Picture.open(image)
        (crops,) = self.rank([self.prepare(picture)], request)
        if isinstance(crops, InputError):
            raise crops
        return [dataclasses.replace(crop, picture=picture, pad_with=pad_with) for crop in crops]

    def score(self, image, boxes) -> np.ndarray:
        """Scores on the MOS scale, float32 [N], of any boxes [N, 4] in pixels of the upright picture."""
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        if not (np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()):
            raise ValueError("boxes are rows x1, y1, x2, y2 with x1 < x2 and y1 < y2")
        if not len(boxes):
            return np.zeros(0, np.float32)
        return self.score_prepared(self.prepare(Picture.open(image)), boxes)

    def score_prepared(
        self, prepared: Prepared, boxes: np.ndarray, proposals: np.ndarray | None = None, *, clip: bool = True
    ) -> np.ndarray:
        """`score` for a picture that is already prepared.

        Args:
            proposals: [D, 4] boxes in pixels of the picture, in place of the cropper's own.
            clip: keep scores between 1 and 5; ranks want them as they are.
        """
        if proposals is None and prepared.windows:
            return self._score_in_windows(prepared, boxes, clip)
        if proposals is None:
            features, found, _ = self._look([prepared])
        else:
            features, _ = self._features([prepared])
            found = unknown(torch.from_numpy((proposals * prepared.scale).astype(np.float32))[None].to(self._device))
        return to_mos(self._score(features, found, [boxes * prepared.scale])[0], clip).astype(np.float32)

    def _score_in_windows(self, prepared: Prepared, boxes: np.ndarray, clip: bool) -> np.ndarray:
        """Scores of boxes of a long picture: of each in the window in whose middle it lies, if one holds it."""
        whole = dataclasses.replace(prepared, windows=())
        where = [windows.holding(prepared, box) for box in boxes]
        scores = np.zeros(len(boxes), np.float32)
        for part in dict.fromkeys(map(id, where)):
            rows = [k for k, window in enumerate(where) if id(window) == part]
            window = where[rows[0]]
            view, place = (whole, (0, 0)) if window is None else (window.prepared, window.box[:2])
            scores[rows] = self.score_prepared(view, boxes[rows] - np.tile(place, 2), clip=clip)
        return scores

    def features_prepared(self, prepared: Prepared, boxes: np.ndarray) -> np.ndarray:
        """Features of boxes [N, 4] in pixels of a picture that is already prepared, the network's score as it is:
        [N, F].

        Columns are `features.ALL_NAMES`; circles and what is left out of protection have no part in them.
        """
        features, proposals, subjects = self._look([prepared])
        size_wh = prepared.width, prepared.height
        (content,) = contents(proposals, subjects, [size_wh], features.size)
        measured = measure(content, boxes / np.tile(size_wh, 2), scales(boxes, size_wh))
        return with_scores(measured, self._score(features, proposals, [boxes * prepared.scale])[0])

    def utilities_prepared(self, prepared: Prepared, boxes: np.ndarray, protect: str = "all") -> np.ndarray:
        """What an editor who asks for their ratio gives for each of boxes [N, 4] in pixels of a picture: [N]."""
        return self.features_prepared(prepared, boxes) @ (self._choice[False] * columns(protect))

    def proposals(self, image) -> list[Proposal]:
        """Object, face and text proposals (box in pixels of the upright picture, score, kind), best first."""
        return self.proposals_prepared(self.prepare(Picture.open(image)))

    def proposals_prepared(self, prepared: Prepared) -> list[Proposal]:
        """`proposals` of a picture that is already prepared."""
        _, found, _ = self._look([prepared])
        return _in_pixels(found, 0, prepared)

    @torch.inference_mode()
    def heatmaps_prepared(self, prepared: Prepared, box: Sequence[float]) -> list[Heatmap]:
        """What the score of a box, in pixels of the picture, rests on: maps of a picture that is already prepared."""
        inside = prepared.inside
        if inside is None or not inside.holds(box):
            inside = windows.holding(prepared, box)
        if inside is not None:
            x, y = inside.box[:2]
            return [
                dataclasses.replace(
                    heat,
                    place=_moved(heat.place, inside.box),
                    marks=[(_moved(mark, inside.box), share, kind) for mark, share, kind in heat.marks],
                )
                for heat in self.heatmaps_prepared(inside.prepared, (box[0] - x, box[1] - y, box[2] - x, box[3] - y))
            ]
        features, found, _ = self._look([prepared])
        first = found.first(self.net.num_proposals)
        crop = torch.from_numpy((np.array(box) * prepared.scale).astype(np.float32)).to(self._device).view(1, 1, 4)
        boxes = first.boxes[0].cpu().numpy() / prepared.scale
        maps = []
        for title, values, shares in self.net.explain(features, crop, first):
            marks = (
                []
                if shares is None
                else [
                    (tuple(map(float, box)), float(share), KINDS[kind])
                    for box, share, kind, score in zip(boxes, shares, first.kinds[0], first.scores[0], strict=True)
                    if score > 0
                ]
            )
            maps.append(Heatmap(title, values.float().cpu().numpy(), marks, (0, 0, prepared.width, prepared.height)))
        return maps

    @torch.inference_mode()
    def _features(self, prepared: Sequence[Prepared]) -> tuple[NamedTuple, torch.Tensor]:
        """One backbone pass over like-shaped pictures, and their pixels on the device."""
        pixels = torch.from_numpy(np.stack([p.pixels for p in prepared]))
        if self._device.type == "cuda":
            pixels = pixels.pin_memory().to(self._device, non_blocking=True)
        else:
            pixels = pixels.to(self._device)
        return self.net.features(self.net.normalise(pixels)), pixels

    @torch.inference_mode()
    def _look(self, prepared: Sequence[Prepared]) -> tuple[NamedTuple, Proposals, Subjects]:
        """One backbone pass over like-shaped pictures, their proposals, and what they are about."""
        features, pixels = self._features(prepared)
        maps = features.maps
        if self._sight is not self.net:
            maps = self._sight.backbone(self._sight.normalise(pixels))
        proposals, subjects = self._sight.see(maps, features.size)
        if self._detector is not None:
            proposals = self._detector.propose(pixels)
        return features, proposals, subjects

    @torch.inference_mode()
    def _score(
        self, features: NamedTuple, proposals: Proposals, boxes: Sequence[np.ndarray], circle: bool = False
    ) -> list[np.ndarray]:
        """Normalised scores of each picture's boxes, which are in network-input pixels."""
        count = max(map(len, boxes))
        if count == 0:
            return [np.zeros(0) for _ in boxes]
        filler = np.array([[0.0, 0, features.size[1], features.size[0]]])
        padded = np.stack([np.concatenate([b, np.repeat(filler, count - len(b), axis=0)]) for b in boxes])
        crops = torch.from_numpy(padded.astype(np.float32)).to(self._device)
        first = proposals.first(self.net.num_proposals)
        at_once = max(1, CANDIDATES_AT_ONCE // len(boxes)) if self._device.type == "cpu" else count
        parts = [self.net.rate(features, part, first, circle) for part in crops.split(at_once, dim=1)]
        scores = torch.cat(parts, dim=1).cpu().double().numpy()
        return [row[: len(b)] for row, b in zip(scores, boxes, strict=True)]

    def _rank_batch(
        self, asked: Sequence[tuple[Prepared, CropRequest]]
    ) -> tuple[list[list[Crop] | InputError], list[list[Proposal]]]:
        """Crops and proposals of like-shaped pictures, of each what is asked of it."""
        prepared = [picture for picture, _ in asked]
        results: list[list[Crop] | InputError] = [[] for _ in asked]
        told: list[list[Proposal]] = [[] for _ in asked]
        found: dict[int, _Candidates] = {}
        for i, (picture, request) in enumerate(asked):
            try:
                found[i] = _Candidates(picture, request, self.search)
            except InputError as error:
                results[i] = error
        if not found:
            return results, told
        features, proposals, subjects = self._look([prepared[i] for i in found])
        seen = contents(proposals, subjects, [one.size_wh for one in found.values()], features.size)
        for row, (i, one) in enumerate(found.items()):
            part = type(features)(*(_row(value, row) for value in features))
            own = Proposals(*(value[row : row + 1] for value in proposals))

            picture, request = asked[i]

            def score(boxes: np.ndarray, part=part, own=own, picture=picture, request=request) -> np.ndarray:
                found = self._score(part, own, [boxes * picture.scale], request.circle)[0]
                return np.round(found / SCORE_STEP) * SCORE_STEP

            try:
                results[i] = one.crops(seen[row], score, self._choice, request)
                told[i] = _in_pixels(proposals, row, prepared[i])
            except _NotFinite:
                results[i], told[i] = self._rank_in_full(picture, request)
        return results, told

    def _rank_in_full(self, picture: Prepared, request: CropRequest) -> tuple[list[Crop] | InputError, list[Proposal]]:
        """Crops and proposals of a picture whose scores half precision made no numbers of."""
        if self._dtype == torch.float32:
            return InputError("the network's score is not a number"), []
        if self._full is None:
            try:
                self._full = self._in_full()
            except WeightsError as error:  # the file changed meanwhile
                return InputError(f"the network's score is not a number, and in full precision: {error}"), []
        (crops,), (proposals,) = self._full._rank_batch([(picture, request)])
        return crops, proposals


def _views(picture: Prepared, request: CropRequest) -> list[tuple[Prepared, CropRequest, Inside | None]]:
    """What to look at for a request: the picture, what lies between its bars, or each for some of the ratios; of a long
    one its windows for ratios whose crops lie in them.

    Raises:
        InputError: what the request requires lies outside the picture.
    """
    return [part for view in _between_bars(picture, request) for part in _in_windows(*view)]


def _in_windows(
    picture: Prepared, request: CropRequest, inside: Inside | None
) -> list[tuple[Prepared, CropRequest, Inside | None]]:
    """A view, or in place of it those of its windows that hold what the request requires."""
    near = tuple(
        one for one in request.ratios if windows.holds_ratio(picture, one.for_size(picture.width, picture.height))
    )
    must = required(request, (picture.width, picture.height)) if near else None
    parts = [one for one in picture.windows if must is None or one.holds(must)]
    if not near or not parts:
        return [(picture, request, inside)]
    place = (0, 0) if inside is None else inside.box
    views: list[tuple[Prepared, CropRequest, Inside | None]] = [
        (
            part.prepared,
            dataclasses.replace(part.request(request, must), ratios=near),
            part._replace(box=_moved(part.box, place)),
        )
        for part in parts
    ]
    if far := tuple(one for one in request.ratios if one not in near):
        views.append((picture, dataclasses.replace(request, ratios=far), inside))
    return views


def _between_bars(picture: Prepared, request: CropRequest) -> list[tuple[Prepared, CropRequest, Inside | None]]:
    """The picture, what lies between its bars, or each for some of the ratios.

    Bars count as picture for the ratio "original", and where the request cannot be met between them.

    Raises:
        InputError: what the request requires lies outside the picture.
    """
    inside = picture.inside
    if inside is None or request.keep_bars:
        return [(picture, request, None)]
    must = required(request, (picture.width, picture.height))
    if must is not None and not inside.holds(must):
        return [(picture, request, None)]
    original = tuple(ratio for ratio in request.ratios if ratio.label == ORIGINAL)
    others = tuple(ratio for ratio in request.ratios if ratio.label != ORIGINAL)
    try:
        for ratio in others if must is not None and request.pad == "never" else ():
            part = inside.prepared
            candidates(ratio.value, (part.width, part.height), must - np.tile(inside.box[:2], 2))
    except InputError:
        return [(picture, request, None)]
    views: list[tuple[Prepared, CropRequest, Inside | None]] = []
    if others:
        views.append((inside.prepared, dataclasses.replace(inside.request(request, must), ratios=others), inside))
    if original:
        views.append((picture, dataclasses.replace(request, ratios=original), None))
    return views


def _moved(box: Sequence, place: Sequence[int]) -> tuple:
    """A box in pixels of a part of a picture, in pixels of the picture."""
    x, y = place[:2]
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def _in_picture(crop: Crop, picture: Prepared, inside: Inside) -> Crop:
    """A crop of a part of a picture as one of the picture."""
    place, part = inside
    focus = crop.focus
    if focus is not None:
        focus = (focus[0] * part.width + place[0]) / picture.width, (focus[1] * part.height + place[1]) / picture.height
    cut, lost = ([Thing(one.kind, _moved(one.box, place)) for one in things] for things in (crop.cut, crop.lost))
    return dataclasses.replace(crop, box=_moved(crop.box, place), cut=cut, lost=lost, focus=focus)


def _in_pixels(proposals: Proposals, row: int, prepared: Prepared) -> list[Proposal]:
    """Proposals of one picture of a batch."""
    boxes = proposals.boxes[row].cpu().numpy() / prepared.scale
    return [
        (tuple(map(float, box)), float(score), KINDS[kind])
        for box, score, kind in zip(boxes, proposals.scores[row], proposals.kinds[row], strict=True)
        if score > 0
    ]


def _row(value, row: int):
    """One picture's part of what a backbone pass gave for a batch; what belongs to all stays."""
    if isinstance(value, torch.Tensor):
        return value[row : row + 1]
    if isinstance(value, tuple) and value and isinstance(value[0], torch.Tensor):
        return tuple(part[row : row + 1] for part in value)
    return value


class _Candidates:
    """The candidates of one picture, by ratio.

    Scores are taken to SCORE_STEP, so that a ratio's crops do not depend on which others are rated with it.
    """

    def __init__(self, picture: Prepared, request: CropRequest, search: SearchConfig):
        self.size_wh = picture.width, picture.height
        self.must = required(request, self.size_wh)
        self.search, self.min_scale = search, request.min_scale
        self.ratios: list[tuple[Ratio, float | None]] = []
        self.boxes: list[np.ndarray] = []  # [N, 4] of each
        self.too_narrow: list[Ratio] = []  # ratios of which no crop holds what is required
        for ratio in request.ratios:
            value = ratio.for_size(*self.size_wh)
            try:
                boxes = self._first(value)
            except InputError:
                if request.pad == "never" or ratio.value is None:
                    raise
                self.too_narrow.append(ratio)
                continue
            self.ratios.append((ratio, value))
            self.boxes.append(boxes)

    def crops(
        self,
        content: Content,
        score: Callable[[np.ndarray], np.ndarray],
        choice: dict[bool, np.ndarray],
        request: CropRequest,
    ) -> list[Crop]:
        """The best crops of each ratio.

        Args:
            score: normalised scores [N] of boxes [N, 4] in pixels of the picture.
            choice: weights of the features, for ratios that are given (False) and free (True).
        """
        if not self.ratios:
            rated = []
        elif self.search.method == "argmax":
            rated = [
                (boxes, scores, scores) for boxes, scores in zip(self.boxes, _each(score, self.boxes), strict=True)
            ]
        else:
            weights = [choice[value is None] * columns(request.protect) for _, value in self.ratios]
            with np.errstate(invalid="ignore"):
                rated = self._expected(content, weights, score, request.circle)
        if not all(np.isfinite(scores).all() and np.isfinite(worths).all() for _, scores, worths in rated):
            raise _NotFinite
        crops = []
        for (ratio, value), (boxes, scores, worths) in zip(self.ratios, rated, strict=True):
            chosen = choose(boxes, worths, request.top)
            own = [
                _Chosen(to_pixels(boxes[i], self.size_wh, value, self.must), scores[i], float(worths[i]))
                for i in chosen
            ]
            if request.pad != "never" and ratio.value is not None:
                first = self._instead(own[0], ratio.value, content, request, (boxes, scores, worths))
                others = [one for one in own if _overlap(one.box, first.box) < SAME_CROP_IOU]
                own = own if first is own[0] else [first, *others][: request.top]
                own = own[:1] if request.pad == "always" else own
            crops += self._told(ratio, own, content, score, request)
        for ratio in self.too_narrow:
            assert ratio.value is not None
            crops += self._told(ratio, [self._filled_up(ratio.value, content, request, 0.0)], content, score, request)
        return crops

    def _told(
        self,
        ratio: Ratio,
        chosen: "Sequence[_Chosen]",
        content: Content,
        score: Callable[[np.ndarray], np.ndarray],
        request: CropRequest,
    ) -> list[Crop]:
        """Crops of a ratio, best first, with what is told of each."""
        crops = []
        for rank, one in enumerate(chosen, start=1):
            mark = score(np.array(one.box, float)[None])[0] if one.score is None else one.score
            cut, lost = cut_and_lost(content, one.box, request.protect)
            told = {"worth": one.worth, "cut": cut, "lost": lost, "focus": focus_of(content, one.box)}
            crops.append(Crop(one.box, float(to_mos(mark)), ratio.label, rank, **told, padded=one.padded))
        return crops

    def _instead(
        self,
        best: "_Chosen",
        ratio: float,
        content: Content,
        request: CropRequest,
        rated: tuple[np.ndarray, np.ndarray, np.ndarray],
    ) -> "_Chosen":
        """What takes the place of the best crop of a ratio, and its worth, where that misses what matters or all is
        asked for; else that crop.

        Args:
            rated: candidates [K, 4], scores and worths [K].
        """
        if request.pad == "always":
            return self._filled_up(ratio, content, request, best.worth)
        if not misses(content, np.array([best.box]), request.protect, request.circle)[0]:
            return best
        boxes, scores, worths = rated
        hold = np.flatnonzero(replaces(content, boxes, np.array(best.box), request.protect, request.circle))
        if len(hold):  # another crop of the ratio holds it all
            i = hold[choose(boxes[hold], worths[hold], 1)[0]]
            return _Chosen(to_pixels(boxes[i], self.size_wh, ratio, self.must), scores[i], best.worth)
        return self._filled_up(ratio, content, request, best.worth)

    def _filled_up(self, ratio: float, content: Content, request: CropRequest, worth: float) -> "_Chosen":
        """A crop that holds what matters, or all, with pads if it needs any."""
        if request.pad == "always":
            box = np.array([0, 0, *self.size_wh], float)
        else:
            need, all_of_it = (
                around([needed(content, request.protect, least), self.must]) for least in (MATTERS, HELD)
            )
            assert need is not None and all_of_it is not None  # it is missed, or required
            circle, least_side = request.circle, self.min_scale * min(self.size_wh)
            if not circle and fits(need, self.size_wh, ratio):
                box = largest_around(need, self.size_wh, ratio)
                return _Chosen(to_pixels(box, self.size_wh, ratio, self.must), None, worth)
            box = padded_box(all_of_it, self.size_wh, ratio, circle, least_side)
        x1, y1, x2, y2 = whole = to_pixels(box, self.size_wh, None, self.must)
        pads = pads_around((x2 - x1, y2 - y1), ratio, request.circle)
        if pads is None:
            whole = to_pixels(box, self.size_wh, ratio, self.must)
        return _Chosen(whole, None, worth, pads)

    def _expected(
        self, content: Content, weights: list[np.ndarray], score: Callable[[np.ndarray], np.ndarray], circle: bool
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Of each ratio the candidates that the network rated, [K, 4], their scores and what they are worth.

        All ratios are measured and rated in one call for the candidates, and in one for neighbours of the best.
        """
        search = self.search

        def worths() -> list[np.ndarray]:
            return [
                worth(part, with_scores(known, marks) @ own, search.temperature)
                for part, known, marks, own in zip(boxes, features, scores, weights, strict=True)
            ]

        boxes, features = list(self.boxes), _each(partial(self._measured, content, circle=circle), self.boxes)
        for k, (_, value) in enumerate(self.ratios):
            if value is not None:
                first = np.sort(np.argsort(-(features[k] @ weights[k]), kind="stable")[: search.rated])
                boxes[k], features[k] = boxes[k][first], features[k][first]
        scores = _each(score, boxes)
        near = []
        for part, values, (_, ratio) in zip(boxes, worths(), self.ratios, strict=True):
            best = np.argsort(-values, kind="stable")[: search.refined]
            near.append(self._large(neighbours(part[best], ratio, self.size_wh, self.must)))
        if any(map(len, near)):
            for parts, found in (
                (boxes, near),
                (features, _each(partial(self._measured, content, circle=circle), near)),
                (scores, _each(score, near)),
            ):
                parts[:] = [np.concatenate(pair) for pair in zip(parts, found, strict=True)]
        return list(zip(boxes, scores, worths(), strict=True))

    def _first(self, value: float | None) -> np.ndarray:
        """Candidates of a ratio, [N, 4], from which the search begins."""
        boxes = self._large(candidates(value, self.size_wh, self.must, self.search.method))
        if not len(boxes):  # the published grid stops short of the borders
            boxes = self._large(candidates(value, self.size_wh, self.must))
        return boxes

    def _large(self, boxes: np.ndarray) -> np.ndarray:
        """Those boxes that are as large as was asked for."""
        return boxes if not self.min_scale else boxes[scales(boxes, self.size_wh) >= self.min_scale - ROUNDING]

    def _measured(self, content: Content, boxes: np.ndarray, circle: bool) -> np.ndarray:
        return measure(content, boxes / np.tile(self.size_wh, 2), scales(boxes, self.size_wh), circle)


class _Chosen(NamedTuple):
    """A crop before it is described."""

    box: tuple[int, int, int, int]
    score: float | None  # normalised; None where the network has not rated it yet
    worth: float
    padded: Pads | None = None


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    return float(iou_matrix(np.array([a], float), np.array([b], float))[0, 0])


def _each(function: Callable[[np.ndarray], np.ndarray], parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a function of boxes gives for each of several sets, in one call."""
    return np.split(function(np.concatenate(parts)), np.cumsum([len(part) for part in parts])[:-1])


def to_mos(scores, clip: bool = True):
    """Normalised network scores to the MOS scale, 1 to 5."""
    mos = MOS_MEAN + MOS_STD * scores
    return np.clip(mos, 1.0, 5.0) if clip else mos
