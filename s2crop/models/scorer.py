"""What search and batch need of a network, whichever it is."""

from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from s2crop.models.animals import AnimalHead, Animals
from s2crop.models.appeal import AppealHead, AppealMap
from s2crop.models.choice import Choice
from s2crop.models.input import IMAGENET_MEAN, IMAGENET_STD
from s2crop.models.lines import Lines, TextHead
from s2crop.models.proposals import ProposalHead, Proposals
from s2crop.models.subjects import SubjectHead, Subjects


@dataclass(frozen=True)
class Config:
    """What the configuration of every network says; it is kept with each weights file."""

    # input
    short_side: int = 256  # pixels; both sides are then rounded to multiples of 32
    pixel_scale: float = 255.0
    antialias: bool = True
    padding: str = "one"  # of MobileNetV2: "one" (torchvision, published S2CNet) or "same" (TensorFlow)
    # deviations from the papers, off by default
    proposal_head: bool = False  # object, face and text proposals from the same backbone map
    subject_head: bool = False  # subject map, heads, persons and the choice among candidates
    appeal_head: bool = False  # how an editor likes a crop, for that choice; needs the subject head
    animal_head: bool = False  # heads of animals; needs the subject head
    text_head: bool = False  # lines of text in place of the proposals that are text; needs the proposal head


class AnyFeatures(Protocol):
    """What one backbone pass gives for a batch of pictures: a NamedTuple of each network's own, with at least these."""

    @property
    def maps(self) -> tuple[Tensor, ...]:
        """Of the backbone, finest first; proposals are found on them."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network input."""


BatchT = TypeVar("BatchT")
FeaturesT = TypeVar("FeaturesT", bound=AnyFeatures)


class Seen(NamedTuple):
    """What pictures show."""

    proposals: Proposals
    subjects: Subjects
    appeal: AppealMap | None  # what the appeal of crops is read from, where the network has a head for it
    lines: Lines | None  # of text, where the network has a head for them
    animals: Animals | None  # their heads; None where the network has no head for them


class Heat(NamedTuple):
    """A map of what a score rests on, for looking."""

    title: str
    values: Tensor  # [h, w] over the whole input, on any scale
    shares: Tensor | None = None  # [D] of each proposal, of 1 in all, where the map is made of them


class Scorer(nn.Module, Generic[FeaturesT]):
    """A network that scores crop candidates from one backbone pass over a picture.

    Subclasses give `backbone`, `features`, `rate` and `explain`, and call `add_sight`. Who has a `Scorer` and does not
    know which one gives its features to it alone, as they are.
    """

    backbone: nn.Module
    num_proposals = 0  # how many proposals `rate` looks at
    _input_scale: Tensor
    _input_offset: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.proposal_head: ProposalHead | None = None
        self.subject_head: SubjectHead | None = None
        self.appeal_head: AppealHead | None = None
        self.text_head: TextHead | None = None
        self.animal_head: AnimalHead | None = None
        self.choice: Choice | None = None
        mean, std = (torch.tensor(values, dtype=torch.float32) for values in (IMAGENET_MEAN, IMAGENET_STD))
        scale = std * config.pixel_scale
        self.register_buffer("_input_scale", (1 / scale).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_input_offset", (mean / std).view(1, 3, 1, 1), persistent=False)

    def add_sight(self) -> None:
        """Give the network what it shares with its siblings, where its configuration asks for it: proposals, subjects,
        and the choice among candidates.
        """
        if self.config.proposal_head:
            self.proposal_head = ProposalHead()
            if self.config.text_head:
                self.text_head = TextHead()
        if self.config.subject_head:
            self.subject_head, self.choice = SubjectHead(), Choice()
            if self.config.appeal_head:
                self.appeal_head = AppealHead()
            if self.config.animal_head:
                self.animal_head = AnimalHead()

    def see(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> Seen:
        """What pictures show, from the backbone's maps, where the network has both heads for it.

        Args: size (height, width) of the input.
        """
        assert self.proposal_head is not None and self.subject_head is not None
        trunk = self.proposal_head.trunk(maps)
        sight = self.subject_head.sight(maps, trunk)
        appeal = None if self.appeal_head is None else self.appeal_head.look(maps, sight)
        lines = None if self.text_head is None else self.text_head.find(maps, trunk, size)
        animals = None if self.animal_head is None else self.animal_head.find(sight, trunk, size)
        subjects = self.subject_head.look(sight, maps[0], size)
        return Seen(self.proposal_head.propose_on(trunk, size), subjects, appeal, lines, animals)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] -> the network's input, float32."""
        return (pixels * self._input_scale - self._input_offset).contiguous(memory_format=torch.channels_last)

    def backbone_input(self, image: Tensor) -> Tensor:
        """An image [B, 3, H, W] in the backbone's type of numbers. Raises ValueError: it has another shape."""
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % 32 or image.shape[3] % 32:
            raise ValueError(f"image is [B, 3, H, W] with H and W multiples of 32, not {list(image.shape)}")
        return image.to(next(self.backbone.parameters()).dtype)

    def features(self, image: Tensor) -> FeaturesT:
        """One backbone pass. Args: image [B, 3, H, W], normalised; H and W multiples of 32."""
        raise NotImplementedError

    def rate(self, features: FeaturesT, crops: Tensor, proposals: Proposals, circle: bool = False) -> Tensor:
        """Score candidates on one backbone pass.

        Args:
            features: what `features` returned.
            crops: [B, N, 4] (x1, y1, x2, y2) in network-input pixels.
            proposals: at most `num_proposals` for each picture; scores of 0 where kind and trust
                are not known.
            circle: score the inscribed circles, where the network can tell them from the boxes.
        Returns:
            [B, N] scores, normalised: MOS is 2.95 + 0.8 times the score.
        """
        raise NotImplementedError

    def explain(self, features: FeaturesT, crop: Tensor, proposals: Proposals) -> list[Heat]:
        """What the score of a crop rests on.

        Args:
            features: what `features` returned for one picture.
            crop: [1, 1, 4] (x1, y1, x2, y2) in network-input pixels.
            proposals: as `rate` takes them.
        """
        raise NotImplementedError

    def forward(self, image: Tensor, crops: Tensor, proposals: Tensor) -> Tensor:
        """Score crops, as the published S2CNet does.

        Args:
            image: [B, 3, H, W], normalised.
            crops: [N, 5]; proposals: [D, 5]: rows (batch index, x1, y1, x2, y2) in network-input
                pixels. Each picture of the batch has as many proposals as the others.
        Returns:
            [N] scores in the order of `crops`, normalised: MOS is 2.95 + 0.8 times the score.
        """
        batch = image.shape[0]
        packed_proposals, present = pack(proposals, batch)
        if not present.all():
            raise ValueError("every picture of a batch needs the same number of proposals")
        packed_crops, present = pack(crops, batch)
        scores = self.rate(self.features(image), packed_crops, unknown(packed_proposals))
        out = scores.new_empty(crops.shape[0])
        out[torch.argsort(crops[:, 0].long(), stable=True)] = scores[present]
        return out


def of_picture(batch: BatchT, row: int) -> BatchT:
    """One picture's part of a NamedTuple that was made of a batch: of its tensors [B, ...], and of tuples of them; the
    numbers in it belong to all.
    """
    assert isinstance(batch, tuple)
    return type(batch)(*(_row(value, row) for value in batch))


def _row(value: Tensor | tuple[Tensor | int, ...], row: int) -> Tensor | tuple[Tensor | int, ...]:
    if isinstance(value, Tensor):
        return value[row : row + 1]
    return tuple(part[row : row + 1] if isinstance(part, Tensor) else part for part in value)


def unknown(boxes: Tensor) -> Proposals:
    """Boxes [B, D, 4] of which it is not known what they show, nor how surely."""
    return Proposals(boxes, torch.zeros_like(boxes[..., 0]), torch.zeros_like(boxes[..., 0], dtype=torch.int64))


def pack(rows: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Rows [K, 5] with a batch index -> [B, K', 4] padded with the first box, and which are present."""
    index = rows[:, 0].long()
    if rows.ndim != 2 or rows.shape[1] != 5 or len(index) == 0 or index.min() < 0 or index.max() >= batch:
        raise ValueError("boxes are rows (batch index, x1, y1, x2, y2), at least one for each picture")
    counts = torch.bincount(index, minlength=batch)
    present = torch.arange(int(counts.max()), device=rows.device) < counts[:, None]
    packed = rows[0, 1:].repeat(batch, present.shape[1], 1)
    packed[present] = rows[torch.argsort(index, stable=True), 1:]
    return packed, present
