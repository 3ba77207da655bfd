"""`Cropper`: one picture in, ranked crops out. Coordinates change from picture to network here alone."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from s2crop.cropping.protect import protect
from s2crop.cropping.request import Crop, CropRequest, Heatmap, Prepared, required
from s2crop.errors import InputError
from s2crop.files.picture import Picture
from s2crop.geometry.boxes import to_pixels
from s2crop.geometry.ratio import parse_ratio
from s2crop.geometry.search import REFINED, Protected, SearchConfig, candidates, choose, neighbours, penalties, worth
from s2crop.models.device import find_device, find_precision
from s2crop.models.input import input_size, resize
from s2crop.models.proposals import KINDS, Proposals, load_detector
from s2crop.models.s2cnet import MOS_MEAN, MOS_STD
from s2crop.models.scorer import unknown
from s2crop.models.weights import load_model

CANDIDATES_AT_ONCE = 720  # on the CPU: what the network makes of more of them does not stay in its caches


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
        threads: of torch, on the processor; None leaves them as they are.
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
        threads: int | None = None,
    ):
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = find_device(device)
        self._dtype = find_precision(precision, self._device)
        self.model, self.device, self.search = model, str(self._device), search
        self.net = load_model(model, weights, self._device)
        self.config = self.net.config
        self.net.backbone.to(self._dtype)
        self._detect = self._proposer(proposals)

    def _proposer(self, name: str):
        """A function from (features, uint8 pixels of the network input) to Proposals."""
        if name == "torchvision":
            detector = load_detector(self._device)
            return lambda features, pixels: detector.propose(pixels)
        if name not in ("auto", "builtin"):
            raise ValueError(f"proposals are auto, builtin or torchvision, not {name!r}")
        if self.net.proposal_head is not None:
            return lambda features, pixels: self.net.proposal_head.propose(features.maps, features.size)
        # a published checkpoint has no head, nor has a network of another kind that was trained without it; its backbone
        # is not the one ours was trained on
        shipped = load_model("s2cnet", None, self._device)

        def propose(features: NamedTuple, pixels: torch.Tensor) -> Proposals:
            return shipped.proposal_head.propose(shipped.backbone(shipped.normalise(pixels)), features.size)

        return propose

    def prepare(self, picture: Picture, keep: int | None = None) -> Prepared:
        """Decode a picture, no larger than needed, and resize it for the network. Thread-safe. Args: see Picture.reduced."""
        size = input_size(picture.width, picture.height, self.config.short_side)
        pixels = picture.reduced(min(self.config.short_side, picture.width, picture.height), keep)
        return Prepared(resize(pixels, size, self.config.antialias), picture.width, picture.height)

    def rank(self, prepared: Sequence[Prepared], request: CropRequest) -> list[list[Crop] | InputError]:
        """Ranked crops of several pictures, like-shaped ones in one batch.

        Returns:
            For each picture its crops, ratio by ratio, best first in each; or the InputError of
            a picture on which the request cannot be met.
        """
        return self.rank_and_propose(prepared, request)[0]

    def rank_and_propose(
        self, prepared: Sequence[Prepared], request: CropRequest
    ) -> tuple[list[list[Crop] | InputError], list[list[tuple[tuple[float, float, float, float], float, str]]]]:
        """`rank`, and the `proposals_prepared` of each picture out of the same pass through the backbone."""
        results: list[list[Crop] | InputError] = [[] for _ in prepared]
        proposals: list[list[tuple]] = [[] for _ in prepared]
        by_shape: dict[tuple[int, int], list[int]] = {}
        for i, picture in enumerate(prepared):
            by_shape.setdefault(picture.shape, []).append(i)
        for members in by_shape.values():
            ranked, found = self._rank_batch([prepared[i] for i in members], request)
            for i, crops, own in zip(members, ranked, found, strict=True):
                results[i], proposals[i] = crops, own
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
    ) -> list[Crop]:
        """Crop one picture.

        Args:
            image: path, PIL image, or uint8 array [H, W, 3].
            ratios: like "16:9", "1.91", "square", "original", "free".
            top: crops for each ratio.
            focus, keep: point (x, y) or box (x, y, width, height) that every crop contains, in
                pixels of the upright picture, or in fractions of it where no number exceeds 1.
            protect: what a crop should not cut through: "none", "face", "text" or "all".
            circle: the crops' inscribed circles are what counts: faces and text are held in those, and "asmnet" scores them.
        Raises:
            InputError: a picture that cannot be read, or that cannot be cropped as asked.
        """
        if isinstance(ratios, str):
            ratios = [ratios]
        request = CropRequest(tuple(map(parse_ratio, ratios)), top, focus, keep, protect, circle)
        picture = Picture.open(image)
        (crops,) = self.rank([self.prepare(picture)], request)
        if isinstance(crops, InputError):
            raise crops
        return [dataclasses.replace(crop, picture=picture) for crop in crops]

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
        if proposals is None:
            features, found = self._look([prepared])
        else:
            features, _ = self._features([prepared])
            found = unknown(torch.from_numpy((proposals * prepared.scale).astype(np.float32))[None].to(self._device))
        return to_mos(self._score(features, found, [boxes * prepared.scale])[0], clip).astype(np.float32)

    def proposals(self, image) -> list[tuple[tuple[float, float, float, float], float, str]]:
        """Object, face and text proposals (box in pixels of the upright picture, score, kind), best first."""
        return self.proposals_prepared(self.prepare(Picture.open(image)))

    def proposals_prepared(self, prepared: Prepared) -> list[tuple[tuple[float, float, float, float], float, str]]:
        """`proposals` of a picture that is already prepared."""
        _, found = self._look([prepared])
        return _in_pixels(found, 0, prepared)

    @torch.inference_mode()
    def heatmaps_prepared(self, prepared: Prepared, box: Sequence[float]) -> list[Heatmap]:
        """What the score of a box, in pixels of the picture, rests on: maps of a picture that is already prepared."""
        features, found = self._look([prepared])
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
        pixels = torch.stack([p.pixels for p in prepared])
        if self._device.type == "cuda":
            pixels = pixels.pin_memory().to(self._device, non_blocking=True)
        else:
            pixels = pixels.to(self._device)
        return self.net.features(self.net.normalise(pixels)), pixels

    @torch.inference_mode()
    def _look(self, prepared: Sequence[Prepared]) -> tuple[NamedTuple, Proposals]:
        """One backbone pass over like-shaped pictures, and their proposals."""
        features, pixels = self._features(prepared)
        return features, self._detect(features, pixels)

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
        self, prepared: Sequence[Prepared], request: CropRequest
    ) -> tuple[list[list[Crop] | InputError], list[list[tuple]]]:
        found: list[_Candidates | InputError] = []
        for picture in prepared:
            try:
                found.append(_Candidates(picture, request, self.search.method))
            except InputError as error:
                found.append(error)
        usable = [i for i, one in enumerate(found) if not isinstance(one, InputError)]
        results: list[list[Crop] | InputError] = list(found)
        told: list[list[tuple]] = [[] for _ in prepared]
        if not usable:
            return results, told
        features, proposals = self._look([prepared[i] for i in usable])
        for row, i in enumerate(usable):
            told[i] = _in_pixels(proposals, row, prepared[i])
            found[i].protected = protect(proposals, row, prepared[i], request.protect)
        for stage in ("coarse", "fine") if self.search.method == "expected" else ("coarse",):
            if stage == "fine":
                for i in usable:
                    found[i].refine(self.search)
            todo = [found[i].unscored() * prepared[i].scale for i in usable]
            for i, scores in zip(usable, self._score(features, proposals, todo, request.circle), strict=True):
                found[i].add(scores)
        for i in usable:
            results[i] = found[i].crops(self.search, request.top)
        return results, told


def _in_pixels(
    proposals: Proposals, row: int, prepared: Prepared
) -> list[tuple[tuple[float, float, float, float], float, str]]:
    """Proposals of one picture of a batch: (box in pixels of the picture, score, kind)."""
    boxes = proposals.boxes[row].cpu().numpy() / prepared.scale
    return [
        (tuple(map(float, box)), float(score), KINDS[kind])
        for box, score, kind in zip(boxes, proposals.scores[row], proposals.kinds[row], strict=True)
        if score > 0
    ]


class _Candidates:
    """The candidates of one picture, by ratio, and their scores as they become known."""

    def __init__(self, picture: Prepared, request: CropRequest, method: str):
        self.size_wh = picture.width, picture.height
        self.must = required(request, self.size_wh)
        self.circle = request.circle
        self.ratios = [(ratio, ratio.for_size(*self.size_wh)) for ratio in request.ratios]
        self.boxes = [candidates(value, self.size_wh, self.must, method) for _, value in self.ratios]  # [N, 4] each
        self.scores = [np.zeros(0) for _ in self.ratios]
        self.protected = Protected.nothing()

    def unscored(self) -> np.ndarray:
        """Candidates of all ratios without a score yet, [M, 4] pixels of the picture."""
        return np.concatenate([boxes[len(scores) :] for boxes, scores in zip(self.boxes, self.scores, strict=True)])

    def add(self, scores: np.ndarray) -> None:
        """Take the scores of `unscored`, in its order."""
        counts = [len(boxes) - len(known) for boxes, known in zip(self.boxes, self.scores, strict=True)]
        parts = np.split(scores, np.cumsum(counts)[:-1])
        self.scores = [np.concatenate(pair) for pair in zip(self.scores, parts, strict=True)]

    def refine(self, search: SearchConfig) -> None:
        """Add the neighbours of the best candidates of each ratio."""
        for k, (_, value) in enumerate(self.ratios):
            best = np.argsort(-self._worth(k, search), kind="stable")[:REFINED]
            found = neighbours(self.boxes[k][best], value, self.size_wh, self.must)
            self.boxes[k] = np.concatenate([self.boxes[k], found])

    def crops(self, search: SearchConfig, top: int) -> list[Crop]:
        crops = []
        for k, (ratio, value) in enumerate(self.ratios):
            for rank, i in enumerate(choose(self.boxes[k], self._worth(k, search), top), start=1):
                box = to_pixels(self.boxes[k][i], self.size_wh, value, self.must)
                crops.append(Crop(box, float(to_mos(self.scores[k][i])), ratio.label, rank))
        return crops

    def _worth(self, k: int, search: SearchConfig) -> np.ndarray:
        return worth(
            self.boxes[k], self.scores[k], search, penalties(self.boxes[k], self.protected, search, self.circle)
        )


def to_mos(scores, clip: bool = True):
    """Normalised network scores to the MOS scale, 1 to 5."""
    mos = MOS_MEAN + MOS_STD * scores
    return np.clip(mos, 1.0, 5.0) if clip else mos
