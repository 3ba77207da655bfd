"""`Cropper`: one picture in, ranked crops out. Coordinates change from picture to network here alone."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from s2crop.choices import PROPOSALS
from s2crop.cropping.content import contents
from s2crop.cropping.features import APPEAL, SCORE, columns, measure
from s2crop.cropping.prepare import prepare
from s2crop.cropping.request import Crop, CropRequest, Heatmap, Prepared, Proposal, left_out
from s2crop.cropping.selection import Candidates, NotFiniteError, OfBoxes, Selection, to_mos
from s2crop.cropping.views import Ranked, View, joined, part_of, views
from s2crop.errors import InputError, WeightsError
from s2crop.files.pad import BLUR, checked
from s2crop.files.picture import Picture, PictureLike
from s2crop.files.resize import use_torch
from s2crop.geometry.boxes import moved
from s2crop.geometry.ratio import parse_ratios
from s2crop.geometry.search import SearchConfig, scales, too_narrow
from s2crop.models.appeal import AppealMap
from s2crop.models.conv import pack_convolutions
from s2crop.models.device import find_device, find_precision
from s2crop.models.lines import Lines
from s2crop.models.proposals import KINDS, Proposals, load_detector
from s2crop.models.s2cnet import MOS_STD
from s2crop.models.scorer import AnyFeatures, Seen, of_picture, unknown
from s2crop.models.weights import load_model

CANDIDATES_AT_ONCE = 720  # on the CPU: what the network makes of more of them does not stay in its caches
WINDOWS_AT_ONCE = 4  # of a long picture


class Cropper:
    """A loaded network with its proposals and search.

    Several threads may use one. A process that was forked needs its own: torch's threads do not live on in it, and it
    would wait for them for ever.

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
        use_torch()
        self._device = find_device(device)
        self._dtype = find_precision(precision, self._device)
        self.model, self.device, self.search = model, str(self._device), search
        self.net = load_model(model, weights, self._device)
        self.config = self.net.config
        self.net.backbone.to(self._dtype)
        pack_convolutions(self.net)
        # A published checkpoint sees no proposals or subjects, nor does a network of another kind that was trained
        # without; its backbone is not the one ours was trained on.
        whole = self.net.proposal_head is not None and self.net.subject_head is not None
        self._sight = self.net
        if not whole:
            self._sight = load_model("s2cnet", None, self._device)
            pack_convolutions(self._sight)
        choice = self._sight.choice
        assert choice is not None  # it comes with the subject head
        self._choice = {free: choice.weights(free).double().cpu().numpy() for free in (False, True)}
        if proposals not in PROPOSALS:
            raise ValueError(f"proposals is one of {', '.join(PROPOSALS)}, not {proposals!r}")
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
            For each picture its crops, ratio by ratio, best first in each, without the ratios of which no crop holds
            what is required (`left_out`); or the InputError of a picture on which the request cannot be met.
        """
        return self.rank_and_propose(prepared, request)[0]

    def rank_and_propose(
        self, prepared: Sequence[Prepared], request: CropRequest
    ) -> tuple[list[list[Crop] | InputError], list[list[Proposal]]]:
        """`rank`, and the proposals of each picture out of the same pass through the backbone: of what was looked at,
        which is what lies between bars, and the windows of a long one.
        """
        asked: list[list[View] | InputError] = []
        for picture in prepared:
            try:
                asked.append(views(picture, request))
            except InputError as error:
                asked.append(error)
        all_views = [view for some in asked if not isinstance(some, InputError) for view in some]
        found = iter(self._rank_views(all_views, at_once=max(WINDOWS_AT_ONCE, len(prepared))))
        ranked = [
            Ranked(some, [])
            if isinstance(some, InputError)
            else joined(picture, request, [(view, next(found)) for view in some], self.search.temperature * MOS_STD)
            for picture, some in zip(prepared, asked, strict=True)
        ]
        return [one.crops for one in ranked], [one.proposals for one in ranked]

    def crop(
        self,
        image: PictureLike,
        ratios: Sequence[str] = ("free",),
        top: int = 1,
        *,
        focus: tuple[float, float] | None = None,
        keep: tuple[float, float, float, float] | None = None,
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
            ratios: like "16:9", "1.91", "square", "original", "free"; what names a ratio once more is passed over.
            top: crops for each ratio.
            focus, keep: point (x, y) or box (x, y, width, height) that every crop contains, in
                pixels of the upright picture, or in fractions of it where no number exceeds 1.
            protect: what a crop should not cut through: "none", "face", "text", "subject" or "all".
            circle: the crops' inscribed circles are what counts: faces and text are held in those, and "asmnet" scores
                them.
            keep_bars: even bars at the edges, black, white or grey, count as picture; crops leave them out otherwise,
                but for the ratio "original".
            min_scale: least share of the largest crop of a ratio, by its sides, 0 to 1; 1 is as large as possible.
            pad: fill up to a ratio that was given: "never", "auto" (what does not fit it and matters) or "always" (the
                whole picture).
            pad_with: what `Crop.image` is filled up with: see `files.pad.padded`.
        Raises:
            ValueError: an option that makes no sense.
            InputError: a picture that cannot be read, or that cannot be cropped as asked.
        """
        request = CropRequest(
            ratios=parse_ratios(ratios),
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
        for ratio in left_out(request, crops):
            raise too_narrow(ratio.label)
        return [dataclasses.replace(crop, picture=picture, pad_with=pad_with) for crop in crops]

    def score(self, image: PictureLike, boxes: ArrayLike) -> np.ndarray:
        """Scores on the MOS scale, float32 [N], of any boxes [N, 4] in pixels of the upright picture.

        A box between even bars is scored by what lies there, as crops are, and one of a long picture in the window in
        whose middle it lies.
        """
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
        if proposals is None and (prepared.inside is not None or prepared.windows):
            return self._score_in_parts(prepared, boxes, clip)
        if proposals is None:
            features, (found, *_) = self._look([prepared])
        else:
            features, _ = self._features([prepared])
            found = unknown(torch.from_numpy((proposals * prepared.scale).astype(np.float32))[None].to(self._device))
        return to_mos(self._score(features, found, boxes * prepared.scale), clip).astype(np.float32)

    def _score_in_parts(self, prepared: Prepared, boxes: np.ndarray, clip: bool) -> np.ndarray:
        """Scores of boxes of a picture that is looked at in parts."""
        whole = dataclasses.replace(prepared, inside=None, windows=())
        where = [part_of(prepared, box) for box in boxes]
        scores = np.zeros(len(boxes), np.float32)
        for part in (*filter(None, [prepared.inside]), *prepared.windows, None):
            rows = [k for k, one in enumerate(where) if one is part]
            if rows:
                view, place = (whole, (0, 0)) if part is None else (part.prepared, part.box[:2])
                scores[rows] = self.score_prepared(view, boxes[rows] - np.tile(place, 2), clip=clip)
        return scores

    def features_prepared(self, prepared: Prepared, boxes: np.ndarray) -> np.ndarray:
        """Features of boxes [N, 4] in pixels of a picture that is already prepared, score and appeal as they are:
        [N, F].

        Columns are `features.ALL_NAMES`; circles and what is left out of protection have no part in them.
        """
        features, seen = self._look([prepared])
        size_wh = prepared.width, prepared.height
        (content,) = contents(seen, [size_wh], features.size)
        measured = measure(content, boxes / np.tile(size_wh, 2), scales(boxes, size_wh))
        measured[:, SCORE] = self._score(features, seen.proposals, boxes * prepared.scale)
        if seen.appeal is not None:
            measured[:, APPEAL] = self._appeal(seen.appeal, features.size, boxes * prepared.scale)
        return measured

    def utilities_prepared(self, prepared: Prepared, boxes: np.ndarray, protect: str = "all") -> np.ndarray:
        """What an editor who asks for their ratio gives for each of boxes [N, 4] in pixels of a picture: [N]."""
        return self.features_prepared(prepared, boxes) @ (self._choice[False] * columns(protect))

    def proposals(self, image: PictureLike) -> list[Proposal]:
        """Object, face and text proposals (box in pixels of the upright picture, score, kind), best first."""
        return self.proposals_prepared(self.prepare(Picture.open(image)))

    def proposals_prepared(self, prepared: Prepared) -> list[Proposal]:
        """`proposals` of a picture that is already prepared."""
        _, seen = self._look([prepared])
        return _told(seen.proposals, seen.lines, prepared)

    @torch.inference_mode()
    def heatmaps_prepared(self, prepared: Prepared, box: Sequence[float], keep_bars: bool = False) -> list[Heatmap]:
        """What the score of a box, in pixels of the picture, rests on: maps of a picture that is already prepared.

        Args:
            keep_bars: the box was chosen with bars as part of the picture.
        """
        part = part_of(prepared, box, keep_bars)
        if part is not None:
            x, y = part.box[:2]
            return [heat.moved((x, y)) for heat in self.heatmaps_prepared(part.prepared, moved(box, (-x, -y)))]
        features, (found, *_) = self._look([prepared])
        first = found.first(self.net.num_proposals)
        crop = torch.from_numpy((np.array(box) * prepared.scale).astype(np.float32)).to(self._device).view(1, 1, 4)
        maps = []
        for title, values, shares in self.net.explain(features, crop, first):
            marks = [] if shares is None else _in_picture(first, prepared, shares)
            maps.append(Heatmap(title, values.float().cpu().numpy(), marks, (0, 0, prepared.width, prepared.height)))
        return maps

    @torch.inference_mode()
    def _features(self, prepared: Sequence[Prepared]) -> tuple[AnyFeatures, Tensor]:
        """One backbone pass over like-shaped pictures, and their pixels on the device."""
        pixels = torch.from_numpy(np.stack([p.pixels for p in prepared]))
        if self._device.type == "cuda":
            pixels = pixels.pin_memory().to(self._device, non_blocking=True)
        else:
            pixels = pixels.to(self._device)
        return self.net.features(self.net.normalise(pixels)), pixels

    @torch.inference_mode()
    def _look(self, prepared: Sequence[Prepared]) -> tuple[AnyFeatures, Seen]:
        """One backbone pass over like-shaped pictures, and what they show."""
        features, pixels = self._features(prepared)
        maps = features.maps
        if self._sight is not self.net:
            maps = self._sight.backbone(self._sight.normalise(pixels))
        seen = self._sight.see(maps, features.size)
        if self._detector is not None:
            seen = seen._replace(proposals=self._detector.propose(pixels))
        return features, seen

    @torch.inference_mode()
    def _score(
        self, features: AnyFeatures, proposals: Proposals, boxes: np.ndarray, circle: bool = False
    ) -> np.ndarray:
        """Normalised scores [N] of one picture's boxes [N, 4], which are in network-input pixels."""
        if not len(boxes):
            return np.zeros(0)
        crops = torch.from_numpy(boxes.astype(np.float32))[None].to(self._device)
        first = proposals.first(self.net.num_proposals)
        at_once = CANDIDATES_AT_ONCE if self._device.type == "cpu" else len(boxes)
        parts = [self.net.rate(features, part, first, circle) for part in crops.split(at_once, dim=1)]
        return torch.cat(parts, dim=1)[0].cpu().double().numpy()

    @torch.inference_mode()
    def _appeal(self, of: AppealMap, size: tuple[int, int], boxes: np.ndarray) -> np.ndarray:
        """Appeals [N] of one picture's boxes [N, 4], which are in pixels of a network input of (height, width)."""
        assert self._sight.appeal_head is not None
        crops = torch.from_numpy((boxes / np.tile(size[::-1], 2)).astype(np.float32))
        return self._sight.appeal_head.rate(of, crops[None].to(self._device))[0].cpu().double().numpy()

    def _rank_views(self, asked: Sequence[View], at_once: int) -> list[Ranked]:
        """Crops and proposals of each view, in pixels of its own; like-shaped ones are looked at together."""
        by_shape: dict[tuple[int, int], list[int]] = {}
        for i, view in enumerate(asked):
            by_shape.setdefault(view.picture.shape, []).append(i)
        ranked: dict[int, Ranked] = {}
        for same in by_shape.values():
            for k in range(0, len(same), at_once):
                members = same[k : k + at_once]
                ranked |= zip(members, self._rank_batch([asked[i] for i in members]), strict=True)
        return [ranked[i] for i in range(len(asked))]

    def _rank_batch(self, asked: Sequence[View]) -> list[Ranked]:
        """Crops and proposals of like-shaped views."""
        ranked = [Ranked([], []) for _ in asked]
        candidates: dict[int, Candidates] = {}
        for i, (picture, request, *_) in enumerate(asked):
            try:
                candidates[i] = Candidates(picture, request, self.search)
            except InputError as error:
                ranked[i] = Ranked(error, [])
        if not candidates:
            return ranked
        features, seen = self._look([asked[i].picture for i in candidates])
        known = contents(seen, [one.size_wh for one in candidates.values()], features.size)
        for row, (i, own) in enumerate(candidates.items()):
            found = of_picture(seen.proposals, row)
            appeal = None if seen.appeal is None else of_picture(seen.appeal, row)
            scores, appeals = self._marks_of(asked[i], of_picture(features, row), found, appeal)
            try:
                crops = Selection(own, known[row], scores, appeals, self._choice).crops()
                lines = None if seen.lines is None else of_picture(seen.lines, row)
                ranked[i] = Ranked(crops, _told(found, lines, asked[i].picture))
            except NotFiniteError:
                ranked[i] = self._rank_in_full(asked[i])
        return ranked

    def _marks_of(
        self, asked: View, features: AnyFeatures, proposals: Proposals, appeal: AppealMap | None
    ) -> tuple[OfBoxes, OfBoxes | None]:
        """Give normalised scores and appeals [N] of boxes [N, 4] in pixels of a view that was looked at."""
        scale, circle = asked.picture.scale, asked.request.circle

        def scores(boxes: np.ndarray) -> np.ndarray:
            return self._score(features, proposals, boxes * scale, circle)

        def appeals(boxes: np.ndarray) -> np.ndarray:
            assert appeal is not None
            return self._appeal(appeal, features.size, boxes * scale)

        return scores, None if appeal is None else appeals

    def _rank_in_full(self, view: View) -> Ranked:
        """Crops and proposals of a view whose scores half precision made no numbers of."""
        if self._dtype == torch.float32:
            return Ranked(InputError("the network's score is not a number"), [])
        if self._full is None:
            try:
                self._full = self._in_full()
            except WeightsError as error:  # the file changed meanwhile
                return Ranked(InputError(f"the network's score is not a number, and in full precision: {error}"), [])
        return self._full._rank_batch([view])[0]


def _told(proposals: Proposals, lines: Lines | None, prepared: Prepared) -> list[Proposal]:
    """What was found in one picture, in its pixels, best first: text by the head for it, where there is one."""
    found = _in_picture(proposals, prepared)
    if lines is None:
        return found
    as_text = Proposals(
        lines.boxes, lines.scores, torch.full_like(lines.scores, KINDS.index("text"), dtype=torch.int64)
    )
    found = [one for one in found if one[2] != "text"] + _in_picture(as_text, prepared)
    return sorted(found, key=lambda one: -one[1])


def _in_picture(proposals: Proposals, prepared: Prepared, values: Tensor | None = None) -> list[Proposal]:
    """Proposals of one picture in its pixels. Args: values: [D] of each, in place of its score."""
    boxes = proposals.boxes[0].cpu().numpy() / prepared.scale
    scores = proposals.scores[0]
    rows = boxes.tolist(), (scores if values is None else values).tolist(), proposals.kinds[0].tolist(), scores.tolist()
    return [
        ((x1, y1, x2, y2), value, KINDS[kind])
        for (x1, y1, x2, y2), value, kind, score in zip(*rows, strict=True)
        if score > 0
    ]
