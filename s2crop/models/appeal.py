"""How an editor likes a crop: the picture in the crop's own frame, inside and outside of it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2crop.models.backbone import CUTS
from s2crop.models.conv import Conv
from s2crop.models.proposals import Mixing
from s2crop.models.subjects import SubjectHead

PLACES = 7  # numbers that say where a crop lies, see `place`


class AppealMap(NamedTuple):
    """What crops of each picture of a batch are rated on."""

    grid: Tensor  # [B, CHANNELS, H/8, W/8]
    whole: Tensor  # [B, HIDDEN] of the picture as a whole


class AppealHead(nn.Module):
    """A number for each crop of a picture, in the editor's order: a deviation from S2CNet, learned from rankings.

    The backbone's maps of strides 16 and 32 are joined top-down with what the subject head sees at stride 8. A crop is
    a grid of samples of that map in its own frame: dense along its borders, where subjects are cut, and reaching beyond
    them, so that what is left out is seen as what is kept is (RoIAlign and RoDAlign in one). What lies outside the
    picture is zero.
    """

    CHANNELS = 24
    POINTS = (-0.25, -0.1, -0.03, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 1.03, 1.1, 1.25)  # of a side
    HIDDEN = 96
    MIXED = 64  # channels of the maps
    DROPPED = 0.3

    points: Tensor

    def __init__(self) -> None:
        super().__init__()
        _, _, middle, deep = CUTS.values()
        mixed, hidden = self.MIXED, self.HIDDEN
        self.middle = Conv(middle, mixed)
        self.deep = Conv(deep, mixed)
        self.context = nn.Linear(deep, mixed)
        self.mix16 = nn.ModuleList(Mixing(mixed) for _ in range(2))
        self.sight = Conv(SubjectHead.CHANNELS, mixed)
        self.mix = nn.ModuleList(Mixing(mixed) for _ in range(2))
        self.reduce = Conv(mixed, self.CHANNELS)
        self.register_buffer("points", torch.tensor(self.POINTS, dtype=torch.float32), persistent=False)
        self.whole = nn.Linear(deep, hidden)
        self.place = nn.Linear(PLACES, hidden)
        self.pixels = nn.Linear((self.CHANNELS + 1) * len(self.POINTS) ** 2, hidden)
        self.hidden = nn.Linear(hidden, hidden // 2)
        self.head = nn.Linear(hidden // 2, 1)
        self.drop = nn.Dropout(self.DROPPED)

    def look(self, maps: tuple[Tensor, ...], sight: Tensor) -> AppealMap:
        """One pass over pictures.

        Args:
            maps: of the backbone.
            sight: [B, 64, H/8, W/8] the subject head's last map.
        """
        _, _, middle, deep = maps
        mean = deep.mean((2, 3))
        x = self.deep(deep) + self.context(mean)[:, :, None, None]
        x = self.middle(middle, F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))
        for block in self.mix16:
            x = block(x)
        x = self.sight(sight, F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))
        for block in self.mix:
            x = block(x)
        return AppealMap(self.reduce(x), self.whole(mean))

    def rate(self, of: AppealMap, crops: Tensor) -> Tensor:
        """How crops [B, N, 4], in fractions of the picture, are liked: [B, N]."""
        starts, sides = crops[..., :2], crops[..., 2:] - crops[..., :2]
        at = starts[..., None] + sides[..., None] * self.points  # [B, N, 2, P]
        batch, _, height, width = of.grid.shape
        column, across = between(at[..., 0, :], width)
        row, down = between(at[..., 1, :], height)
        first = row[..., :, None] * width + column[..., None, :]  # [B, N, P, P] the upper left of the four cells around
        first = first + (torch.arange(batch, device=first.device) * height * width)[:, None, None, None]
        cells = first[..., None] + first.new_tensor([0, 1, width, width + 1])
        weights = (down[..., :, None, :, None] * across[..., None, :, None, :]).flatten(-2)  # [B, N, P, P, 4]
        picture = torch.cat([of.grid, torch.ones_like(of.grid[:, :1])], dim=1).movedim(1, -1).flatten(0, 2).float()
        seen = F.embedding_bag(cells.view(-1, 4), picture, per_sample_weights=weights.view(-1, 4), mode="sum")
        seen = seen.view(batch, crops.shape[1], self.pixels.in_features)
        x = self.pixels(self.drop(seen)) + self.place(place(crops)) + of.whole[:, None]
        return self.head(self.drop(F.relu(self.hidden(F.relu(x)))))[..., 0]


def place(crops: Tensor) -> Tensor:
    """Where crops [..., 4], in fractions of the picture, lie in it: [..., PLACES]."""
    x, y = ((crops[..., :2] + crops[..., 2:]) / 2 - 0.5).unbind(-1)
    width, height = (crops[..., 2:] - crops[..., :2]).unbind(-1)
    return torch.stack([x, y, x.abs(), y.abs(), width, height, torch.maximum(width, height)], dim=-1)


def between(at: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """The first of the two cells of an axis around places [...], 0 to 1, and the weights [..., 2] of both.

    Bilinear; outside of the picture both are zero.
    """
    x = (at * cells - 0.5).clamp(0, cells - 1)
    first = x.detach().floor().clamp(max=cells - 2)
    weights = torch.stack([1 - (x - first), x - first], dim=-1)
    return first.long(), weights * ((at >= 0) & (at <= 1))[..., None]
