"""Heads of animals, from the same backbone pass."""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from s2crop.models.conv import Conv
from s2crop.models.proposals import Mixing, ProposalHead, Sides, peak_boxes
from s2crop.models.subjects import SubjectHead

MAX_ANIMALS = 16  # kept for a picture
MIN_ANIMAL_SCORE = 0.2


class Animals(NamedTuple):
    """The surest heads of each picture of a batch, best first. Rows past the last real one have score 0."""

    boxes: Tensor  # [B, M, 4] of whole heads, ears and muzzle included, in network-input pixels
    scores: Tensor  # [B, M]


class AnimalHead(nn.Module):
    """Whole heads of animals as centre points with side distances, as proposals are, at stride 8.

    It reads what the subject head sees, joined with the proposal head's trunk.
    """

    CHANNELS = 48
    BLOCKS = 2
    PRIOR = 0.02  # heat at the start of training

    def __init__(self) -> None:
        super().__init__()
        self.sight = Conv(SubjectHead.CHANNELS, self.CHANNELS)
        self.trunk = Conv(ProposalHead.CHANNELS, self.CHANNELS)
        self.mix = nn.ModuleList(Mixing(self.CHANNELS) for _ in range(self.BLOCKS))
        self.heat = Conv(self.CHANNELS, 1)
        self.sides = Sides(self.CHANNELS, 1)
        assert self.heat.bias is not None
        nn.init.constant_(self.heat.bias, math.log(self.PRIOR / (1 - self.PRIOR)))

    def forward(self, sight: Tensor, trunk: Tensor) -> tuple[Tensor, Tensor]:
        """What the subject head sees and the proposal head's trunk -> heat logits [B, 1, H/8, W/8] and side distances
        [B, 1, 4, H/8, W/8] in input pixels.
        """
        x = self.mixed(sight, trunk)
        return self.heat(x), self.sides(x)

    def mixed(self, sight: Tensor, trunk: Tensor) -> Tensor:
        """What the subject head sees and the trunk of proposals -> what all is read from: [B, CHANNELS, H/8, W/8]."""
        x = self.trunk(trunk, self.sight(sight))
        for block in self.mix:
            x = block(x)
        return x

    @torch.no_grad()
    def find(self, sight: Tensor, trunk: Tensor, size: tuple[int, int]) -> Animals:
        """The heads in pictures. Args: size (height, width) of the network input."""
        x = self.mixed(sight, trunk)
        heat, sides_at = self.heat(x).sigmoid(), partial(self.sides.at, x)
        return Animals(*peak_boxes(heat, sides_at, size, MAX_ANIMALS, MIN_ANIMAL_SCORE)[:2])
