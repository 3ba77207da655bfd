"""A Cropper without a network: the largest centred box of each ratio, a tenth smaller for each rank."""

import time
from dataclasses import dataclass

import numpy as np

from s2crop.cropping.request import Crop, Heatmap, required
from s2crop.errors import InputError
from s2crop.geometry.pads import pads_around
from s2crop.geometry.search import can_hold


@dataclass
class FakePrepared:
    width: int
    height: int
    shape: tuple[int, int]


class FakeCropper:
    """The methods of `s2crop.cropping.cropper.Cropper` that a batch calls.

    Args:
        decode: pictures are decoded when they are prepared, as the real one does.
        fail: called with the list of prepared pictures before they are ranked.
        delay_s: how long a batch takes.
    """

    model, device = "fake", "cpu"

    def __init__(self, decode=True, fail=lambda prepared: None, delay_s=0.0):
        self.decode, self.fail, self.delay_s = decode, fail, delay_s
        self.batches: list[int] = []  # their sizes

    def prepare(self, picture, keep=False):
        if self.decode:
            picture.reduced(16, keep)
        shape = (2, 3) if picture.width > picture.height else (3, 2)
        return FakePrepared(picture.width, picture.height, shape)

    def rank(self, prepared, request):
        time.sleep(self.delay_s)
        self.fail(prepared)
        self.batches.append(len(prepared))
        return [self._crops(p, request) for p in prepared]

    def rank_and_propose(self, prepared, request):
        return self.rank(prepared, request), [self.proposals_prepared(p) for p in prepared]

    def proposals_prepared(self, prepared):
        w, h = prepared.width, prepared.height
        return [((w * 0.4, h * 0.1, w * 0.6, h * 0.3), 0.9, "face"), ((0, h * 0.8, w, h), 0.4, "text")]

    def heatmaps_prepared(self, prepared, box, keep_bars=False):
        w, h = prepared.width, prepared.height
        values = np.zeros((20, 30), np.float32)
        values[:10, :15] = 1  # top left
        return [Heatmap("Fake", values, [((w * 0.4, h * 0.1, w * 0.6, h * 0.3), 0.5, "face")], (0, 0, w, h))]

    def _crops(self, prepared, request):
        w, h = prepared.width, prepared.height
        if request.focus and not (request.focus[0] < w and request.focus[1] < h):
            return InputError(f"{{option}} is outside the picture of {w}x{h}", "focus")
        crops = []
        try:
            must = required(request, (w, h))
        except InputError as error:
            return error
        for ratio in request.ratios:
            if must is not None and request.pad == "never" and not can_hold(ratio.for_size(w, h), (w, h), must):
                continue
            value = ratio.for_size(w, h) or w / h
            if request.pad != "never" and ratio.value is not None:  # all of it, whether it crops well or not
                pads = pads_around((w, h), value, request.circle)
                if pads is not None:
                    crops.append(Crop((0, 0, w, h), 3.5, ratio.label, 1, worth=0.8, focus=(0.5, 0.5), padded=pads))
                    continue
            for rank in range(1, request.top + 1):
                height = min(h, w / value) * (1 - 0.1 * (rank - 1))
                size = round(height * value), round(height)
                x, y = (w - size[0]) // 2, (h - size[1]) // 2
                box = (x, y, x + size[0], y + size[1])
                crops.append(Crop(box, 4 - rank / 7, ratio.label, rank, worth=0.9 - rank / 7, focus=(0.5, 0.5)))
        return crops
