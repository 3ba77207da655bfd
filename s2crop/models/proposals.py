"""Object, face and text proposals: a light centre-point head on the backbone's maps."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2crop.errors import WeightsError
from s2crop.models.backbone import CUTS
from s2crop.models.conv import Conv

KINDS = ("object", "face", "text")
STRIDE = 8  # of the head's maps, in input pixels
MAX_PROPOSALS = 32  # kept for a picture; the graph takes the first few
NMS_IOU = 0.5
BOX_SCALE = 16.0  # pixels; distances are regressed as exp(x) times this


class Proposals(NamedTuple):
    """The best boxes of each picture of a batch, best first.

    Rows past the last real one hold the whole picture with score 0.
    """

    boxes: Tensor  # [B, M, 4] in network-input pixels
    scores: Tensor  # [B, M]
    kinds: Tensor  # [B, M] int64 index into KINDS

    def attributes(self) -> Tensor:
        """One-hot kind and score, [B, M, 4]; zeros in filler rows."""
        one_hot = F.one_hot(self.kinds, len(KINDS)) * (self.scores > 0)[..., None]
        return torch.cat([one_hot.to(self.scores.dtype), self.scores[..., None]], dim=-1)

    def first(self, count: int) -> "Proposals":
        return Proposals(self.boxes[:, :count], self.scores[:, :count], self.kinds[:, :count])


class ProposalHead(nn.Module):
    """One heat map and four side distances for each kind, at stride 8.

    Anchor-free: a peak of the heat map is a box centre (Zhou et al. 2019, CenterNet), the sides
    are regressed as distances from the cell, trained on all cells of a Gaussian around the centre
    (Liu et al. 2020, TTFNet). The maps are added top-down at 96 channels, that of stride 4
    too, for the sides of small boxes; then they are mixed by depthwise separable 5x5 convolutions. No class but the
    three kinds.
    """

    CHANNELS = 96
    BLOCKS = 2
    PRIOR = 0.05  # heat at the start of training, so that the background does not swamp it

    def __init__(self) -> None:
        super().__init__()
        fine, *coarser = CUTS.values()
        self.fine = Conv(fine, self.CHANNELS, 2, stride=2)
        self.lateral = nn.ModuleList(Conv(channels, self.CHANNELS) for channels in coarser)
        self.mix = nn.ModuleList(Mixing(self.CHANNELS) for _ in range(self.BLOCKS))
        self.heat = Conv(self.CHANNELS, len(KINDS))
        self.sides = Sides(self.CHANNELS, len(KINDS))
        assert self.heat.bias is not None
        nn.init.constant_(self.heat.bias, torch.logit(torch.tensor(self.PRIOR, device="cpu")).item())

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The backbone's four maps -> heat logits [B, 3, h, w] and box sides [B, 3, 4, h, w] at stride 8.

        Sides are distances (left, top, right, bottom) from the cell's centre, in input pixels.
        """
        return self.outputs(self.trunk(maps))

    def trunk(self, maps: tuple[Tensor, ...]) -> Tensor:
        """The four maps joined and mixed at stride 8, [B, 96, h, w]; what other heads build on too."""
        fine, *coarser = maps
        x = self.lateral[2](coarser[2])
        for lateral, finer in ((self.lateral[1], coarser[1]), (self.lateral[0], coarser[0])):
            x = lateral(finer, F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))
        x = self.fine(fine, x)
        for block in self.mix:
            x = block(x)
        return x

    def outputs(self, trunk: Tensor) -> tuple[Tensor, Tensor]:
        """Heat logits and box sides on the trunk."""
        return self.heat(trunk), self.sides(trunk)

    @torch.no_grad()
    def propose(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> Proposals:
        """The best MAX_PROPOSALS boxes of each picture: heat-map peaks after NMS within each kind."""
        return self.propose_on(self.trunk(maps), size)

    @torch.no_grad()
    def propose_on(self, trunk: Tensor, size: tuple[int, int]) -> Proposals:
        """`propose` where the trunk is at hand."""
        return Proposals(*peak_boxes(self.heat(trunk).sigmoid(), partial(self.sides.at, trunk), size, MAX_PROPOSALS))


class Sides(nn.Conv2d):
    """Of boxes of some kinds around each place of a map, the distances of their sides from it.

    Distances (left, top, right, bottom) from the cell's centre, in input pixels, as exp(x) times BOX_SCALE.
    """

    def __init__(self, channels: int, kinds: int):
        super().__init__(channels, 4 * kinds, 1)
        self.kinds = kinds

    def forward(self, x: Tensor) -> Tensor:
        """A map [B, C, h, w] -> distances [B, K, 4, h, w]."""
        return super().forward(x).unflatten(1, (self.kinds, 4)).clamp(max=5.0).exp() * BOX_SCALE

    def at(self, x: Tensor, cells: Tensor, kinds: Tensor) -> Tensor:
        """Distances [B, M, 4] of boxes of these kinds around these cells, [B, M], of a map [B, C, h, w]."""
        found = self(values_at(x, cells)[..., None])[..., 0]  # [B, K, 4, M]
        return found.gather(1, kinds[:, None, None].expand(-1, 1, 4, -1))[:, 0].transpose(1, 2)


def values_at(x: Tensor, cells: Tensor) -> Tensor:
    """What a map [B, C, h, w] has at cells [B, M], counted row by row: [B, C, M]."""
    return x.flatten(2).gather(2, cells[:, None].expand(-1, x.shape[1], -1))


SidesAt = Callable[[Tensor, Tensor], Tensor]


def peak_boxes(
    heat: Tensor, sides_at: SidesAt, size: tuple[int, int], most: int, min_score: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Peaks of heat maps as boxes, after suppression of those that overlap a better one of their kind.

    Args:
        heat: [B, K, h, w] of K kinds, 0 to 1.
        sides_at: gives distances [B, M, 4] for cells and kinds [B, M], as `Sides.at` does; asked only for peaks.
        size: (height, width) of the input; most: boxes kept for a picture; min_score: heat that a peak must exceed.
    Returns:
        Boxes [B, most, 4] in input pixels, scores and kinds [B, most], best first; rows past the last real one hold the
        whole picture with score 0.
    """
    height, width = size
    peaks = heat * (F.max_pool2d(heat, 3, 1, 1) == heat)
    batch, _, rows, columns = heat.shape
    stride = width // columns
    scores, flat = peaks.flatten(1).topk(min(3 * most, peaks[0].numel()))
    cell = flat % (rows * columns)
    kinds = flat // (rows * columns)
    centre = torch.stack([cell % columns, cell // columns], dim=-1) * stride + stride / 2
    distances = sides_at(cell, kinds).clamp(min=1)  # no box without area
    boxes = torch.cat([centre - distances[..., :2], centre + distances[..., 2:]], dim=-1)
    limit = boxes.new_tensor([width, height, width, height])
    boxes = boxes.clamp(min=0).minimum(limit)

    out = _fillers(size, batch, most, heat)
    for i in range(batch):
        real = int((scores[i] > min_score).sum())
        keep = suppress(boxes[i, :real], kinds[i, :real])[:most]
        for filled, found in zip(out, (boxes, scores, kinds), strict=True):
            filled[i, : len(keep)] = found[i, keep]
    return out


def suppress(boxes: Tensor, kinds: Tensor) -> Tensor:
    """Which boxes [K, 4], best first, overlap no better one of their kind that stays by more than NMS_IOU: indices."""
    sides = boxes[:, 2:] - boxes[:, :2]
    overlap = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - torch.maximum(
        boxes[:, None, :2], boxes[None, :, :2]
    )
    shared = overlap.clamp(min=0).prod(-1)
    areas = sides.prod(-1)
    overlaps = (shared > NMS_IOU * (areas[:, None] + areas - shared)) & (kinds[:, None] == kinds)
    rivals = overlaps.cpu().numpy()
    stays = [True] * len(rivals)
    for i, row in enumerate(rivals):
        if stays[i]:
            for j in row[i + 1 :].nonzero()[0]:
                stays[i + 1 + j] = False
    return torch.tensor([i for i, stay in enumerate(stays) if stay], dtype=torch.int64, device=boxes.device)


def _fillers(size: tuple[int, int], batch: int, most: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`most` rows of the whole picture, score 0. Args: size (height, width) of the input."""
    whole = like.new_tensor([0, 0, size[1], size[0]])
    return (
        whole.repeat(batch, most, 1),
        like.new_zeros(batch, most),
        torch.zeros(batch, most, dtype=torch.int64, device=like.device),
    )


class Mixing(nn.Sequential):
    """A depthwise 5x5 convolution and two 1x1 convolutions with a ReLU between them, added to the map."""

    def __init__(self, channels: int):
        around = Conv(channels, channels, 5, 1, 2, groups=channels)
        # weights files count the ReLU as a layer
        super().__init__(around, Conv(channels, channels, then="relu"), nn.Identity(), Conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        around, first, _, second = self
        mixed: Tensor = second(first(around(x)), x)
        return mixed


class Detector(nn.Module):
    """torchvision's Faster R-CNN MobileNetV3-Large 320 FPN (COCO): objects only."""

    NAME = "fasterrcnn_mobilenet_v3_large_320_fpn"

    def __init__(self, state: dict[str, Tensor]):
        from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn  # takes a second to import

        super().__init__()
        self.net = fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None, weights_backbone=None, box_detections_per_img=MAX_PROPOSALS
        )
        self.net.load_state_dict(state)

    @torch.no_grad()
    def propose(self, pixels: Tensor) -> Proposals:
        """uint8 [B, 3, H, W] -> Proposals, all of kind "object"."""
        batch, _, height, width = pixels.shape
        out = Proposals(*_fillers((height, width), batch, MAX_PROPOSALS, pixels.new_empty(0, dtype=torch.float32)))
        for i, found in enumerate(self.net(list(pixels.float() / 255))):
            count = min(len(found["scores"]), MAX_PROPOSALS)
            out.boxes[i, :count], out.scores[i, :count] = found["boxes"][:count], found["scores"][:count]
        return out


def load_detector(device: torch.device) -> Detector:
    """The published weights from torch's own cache; nothing is downloaded.

    Raises:
        WeightsError: they are not there; says where they are looked for.
    """
    from torchvision.models.detection import FasterRCNN_MobileNet_V3_Large_320_FPN_Weights  # takes a second to import

    url = FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.is_file():
        raise WeightsError(
            f"{{option}} torchvision needs {path}, which is not there; s2crop downloads nothing: "
            f"fetch it with torchvision once, or use {{option}} builtin",
            "proposals",
        )
    expected = path.stem.rsplit("-", 1)[1]
    if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(expected):
        raise WeightsError(f"{path}: damaged (its hash does not start with {expected})")
    return Detector(torch.load(path, map_location="cpu", weights_only=True)).eval().to(device)
