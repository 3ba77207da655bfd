"""What a picture is about, from the same backbone pass: maps of subject, looks and main things, heads and persons."""

import math
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2crop.models.backbone import CUTS, STAGES, inverted_residuals
from s2crop.models.conv import Conv
from s2crop.models.proposals import STRIDE, Mixing, ProposalHead, Sides, peak_boxes

FIGURES = ("head", "person")
MAX_FIGURES = 40  # of each kind, kept for a picture
MIN_FIGURE_SCORE = 0.25
FACE_MARGIN = (0.15, 0.45, 0.15, 0.2)  # of a face's sides, left, top, right, bottom: to the whole head


class Subjects(NamedTuple):
    """What was found in each picture of a batch."""

    subject: Tensor  # [B, H/4, W/4] how far each place belongs to what the picture is about, 0 to 1
    looks: Tensor  # [B, H/8, W/8] share of people's looks that falls there, of 1 in all
    main: Tensor  # [B, 2, H/8, W/8] how much an editor would keep each place: main things, the core of the first
    boxes: (
        Tensor  # [B, M, 4] of heads and persons, in network-input pixels, best first; rows past the last have score 0
    )
    scores: Tensor  # [B, M]
    kinds: Tensor  # [B, M] int64 index into FIGURES


class SubjectHead(nn.Module):
    """Masks of the salient subject, of looks and of main things, and boxes of whole heads and persons, on the
    backbone's maps.

    The backbone's stages of strides 16 and 32 are held a second time and trained for this alone; what they see is
    joined top-down with the proposal head's trunk at stride 8, with the picture's mean as context (as in Liu et
    al. 2019, PoolNet: saliency is decided by the whole). The subject's outline is drawn at stride 4, beside the
    backbone's own map of that stride. Heads and persons are centre points with side distances, as
    proposals are: a head is hair, hat and all, from the front, the side or behind, where a face is only its face.
    """

    CHANNELS = 64
    BLOCKS = 3  # of mixing at stride 8, two at stride 16
    PRIOR = 0.05  # heat at the start of training
    OWN = STAGES[3:]  # MobileNetV2's layers 7 to 17
    MIDDLE = sum(repeats for _, _, repeats, _ in OWN[:2])  # how many of them are of stride 16
    OUTLINE = 16  # channels of the mixing at stride 4

    def __init__(self) -> None:
        super().__init__()
        fine, shallow, middle, deep = CUTS.values()
        channels = self.CHANNELS
        self.layers = nn.ModuleList(inverted_residuals(self.OWN, shallow))
        self.fine = Conv(fine, channels, 2, stride=2)
        self.trunk = Conv(ProposalHead.CHANNELS, channels)
        self.deep = Conv(deep, channels)
        self.middle = Conv(middle, channels)
        self.context = nn.Linear(deep, channels)
        self.mix16 = nn.ModuleList(Mixing(channels) for _ in range(2))
        self.mix = nn.ModuleList(Mixing(channels) for _ in range(self.BLOCKS))
        self.masks = Conv(channels, 4 + 1)  # subject in 2x2 parts of each cell, looks
        self.main = Conv(channels, 2)  # boxes of what an editor would keep, and of the core of the first
        self.outline_fine = Conv(fine, self.OUTLINE)
        self.outline_sight = Conv(channels, self.OUTLINE)
        self.outline_mix = nn.ModuleList(Mixing(self.OUTLINE) for _ in range(2))
        self.outline = Conv(self.OUTLINE, 1)
        for parameter in self.outline.parameters():
            nn.init.zeros_(parameter)
        self.heat = Conv(channels, len(FIGURES))
        self.sides = Sides(channels, len(FIGURES))
        assert self.heat.bias is not None
        nn.init.constant_(self.heat.bias, math.log(self.PRIOR / (1 - self.PRIOR)))

    def by_depth(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Parameters of its own stages of the backbone, and all others, which learn at other rates."""
        deep = list(self.layers.parameters())
        return deep, [p for name, p in self.named_parameters() if not name.startswith("layers.")]

    def forward(self, maps: tuple[Tensor, ...], trunk: Tensor) -> tuple[Tensor, ...]:
        """Maps of the backbone and the proposal head's trunk -> logits and boxes.

        Returns:
            Subject logits [B, H/4, W/4]; looks [B, H/8, W/8], a softmax over the picture away from shares; logits of
            main things [B, 2, H/8, W/8]; heat logits [B, 2, H/8, W/8] and side distances [B, 2, 4, H/8, W/8] in input
            pixels of heads and persons.
        """
        return self.tell(self.sight(maps, trunk), maps[0])

    def tell(self, x: Tensor, fine: Tensor) -> tuple[Tensor, ...]:
        """What `forward` gives, from what `sight` gave and the backbone's finest map."""
        return *self.map_logits(x, fine), self.heat(x), self.sides(x)

    def map_logits(self, x: Tensor, fine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `sight` gave, and the backbone's finest map -> logits of subject [B, H/4, W/4], looks [B, H/8, W/8] and
        main things [B, 2, H/8, W/8].
        """
        masks = self.masks(x)
        y = F.interpolate(self.outline_sight(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        y = self.outline_fine(fine, y)
        for block in self.outline_mix:
            y = block(y)
        subject = F.pixel_shuffle(masks[:, :4], 2) + self.outline(F.relu(y))
        return subject[:, 0], masks[:, 4], self.main(x)

    def sight(self, maps: tuple[Tensor, ...], trunk: Tensor) -> Tensor:
        """Maps of the backbone and the proposal head's trunk -> what all is read from: [B, CHANNELS, H/8, W/8]."""
        fine, shallow, _, _ = maps
        x = shallow.flip((2, 3))  # padding "same", as in Backbone
        for layer in self.layers[: self.MIDDLE]:
            x = layer(x)
        middle = x.flip((2, 3))
        for layer in self.layers[self.MIDDLE :]:
            x = layer(x)
        deep = x.flip((2, 3))
        x = self.deep(deep) + self.context(deep.mean((2, 3)))[:, :, None, None]
        x = self.middle(middle, F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))
        for block in self.mix16:
            x = block(x)
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.fine(fine, self.trunk(trunk, x))
        for block in self.mix:
            x = block(x)
        return x

    @torch.no_grad()
    def look(self, sight: Tensor, fine: Tensor, size: tuple[int, int]) -> Subjects:
        """What pictures are about, from what `sight` gave and the backbone's finest map.
        Args: size (height, width) of the network input.
        """
        subject, looks, main = self.map_logits(sight, fine)
        shares = looks.flatten(1).softmax(1).view_as(looks)
        heat, most = self.heat(sight).sigmoid(), len(FIGURES) * MAX_FIGURES
        found = peak_boxes(heat, partial(self.sides.at, sight), size, most, MIN_FIGURE_SCORE)
        return Subjects(subject.sigmoid(), shares, main.sigmoid(), *found)


assert STRIDE == 8
