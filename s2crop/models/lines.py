"""Lines of text, from the same backbone pass: where they are, and whether they were put over the picture."""

import math
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2crop.models.backbone import CUTS
from s2crop.models.conv import Conv
from s2crop.models.proposals import Mixing, ProposalHead, Sides, peak_boxes, values_at

STRIDE = 4  # of the head's maps, in input pixels
MAX_LINES = 32  # kept for a picture
MIN_LINE_SCORE = 0.2


class Lines(NamedTuple):
    """The surest lines of each picture of a batch, best first. Rows past the last real one have score 0."""

    boxes: Tensor  # [B, M, 4] in network-input pixels
    scores: Tensor  # [B, M] how surely each is text that can be read
    lettering: Tensor  # [B, M] how surely it was put over the picture, as titles and subtitles are, 0 to 1


class TextHead(nn.Module):
    """Lines of text as centre points with side distances, as proposals are, on maps of stride 4: a line that is
    seven pixels high is lost at 8. The proposal head's trunk, which knows what text looks like, is joined with the
    backbone's map of stride 4, which knows where its edges are.
    """

    CHANNELS = 48
    BLOCKS = 2
    PRIOR = 0.02  # heat at the start of training

    def __init__(self) -> None:
        super().__init__()
        fine = next(iter(CUTS.values()))
        self.fine = Conv(fine, self.CHANNELS)
        self.trunk = Conv(ProposalHead.CHANNELS, self.CHANNELS)
        self.mix = nn.ModuleList(Mixing(self.CHANNELS) for _ in range(self.BLOCKS))
        self.heat = Conv(self.CHANNELS, 1)
        self.sides = Sides(self.CHANNELS, 1)
        self.lettering = nn.Sequential(
            nn.Conv2d(self.CHANNELS, self.CHANNELS, 1), nn.ReLU(inplace=True), nn.Conv2d(self.CHANNELS, 1, 1)
        )
        assert self.heat.bias is not None
        nn.init.constant_(self.heat.bias, math.log(self.PRIOR / (1 - self.PRIOR)))

    def forward(self, maps: tuple[Tensor, ...], trunk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of the backbone and the proposal head's trunk -> what is said of each place.

        Returns:
            Heat logits [B, 1, H/4, W/4] of lines; their side distances [B, 1, 4, H/4, W/4] in input pixels; logits
            [B, H/4, W/4] of lettering, which mean something where there is a line.
        """
        x = self.sight(maps, trunk)
        return self.heat(x), self.sides(x), self.lettering(x)[:, 0]

    def sight(self, maps: tuple[Tensor, ...], trunk: Tensor) -> Tensor:
        """Maps of the backbone and the proposal head's trunk -> what all is read from: [B, CHANNELS, H/4, W/4]."""
        x = F.interpolate(self.trunk(trunk), scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.fine(maps[0], x)
        for block in self.mix:
            x = block(x)
        return x

    @torch.no_grad()
    def find(self, maps: tuple[Tensor, ...], trunk: Tensor, size: tuple[int, int]) -> Lines:
        """The lines of pictures. Args: size (height, width) of the network input."""
        x = self.sight(maps, trunk)
        heat, sides_at = self.heat(x).sigmoid(), partial(self.sides.at, x)
        boxes, scores, _ = peak_boxes(heat, sides_at, size, MAX_LINES, MIN_LINE_SCORE)
        columns, rows = ((boxes[..., axis] + boxes[..., axis + 2]) / 2 / STRIDE for axis in (0, 1))
        places = rows.long() * x.shape[-1] + columns.long()
        there = values_at(x, places)  # asked where the lines are alone
        return Lines(boxes, scores, self.lettering(there[..., None])[:, 0, :, 0].sigmoid())
