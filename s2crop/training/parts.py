"""Parts of a network that a training needs, and that its configuration or its weights file may leave out."""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from s2crop.errors import InputError
from s2crop.models.animals import AnimalHead
from s2crop.models.appeal import AppealHead
from s2crop.models.choice import Choice
from s2crop.models.lines import TextHead
from s2crop.models.proposals import ProposalHead
from s2crop.models.s2cnet import S2CNet, S2CNetConfig
from s2crop.models.scorer import Scorer
from s2crop.models.subjects import SubjectHead
from s2crop.models.weights import read_weights, shipped_weights

_Part = TypeVar("_Part", bound=nn.Module)


def _part(model: Scorer, name: str, kind: type[_Part], needed: str) -> _Part:
    """Raises InputError: the network has no such part. Args: needed: what one that has it is."""
    found = getattr(model, name)
    if found is None:
        raise InputError(f"this needs a network {needed}")
    assert isinstance(found, kind)
    return found


def proposal_head(model: Scorer) -> ProposalHead:
    """Raises InputError: the network finds no proposals."""
    return _part(model, "proposal_head", ProposalHead, "that finds proposals: network.proposal_head is true")


def subject_head(model: Scorer) -> SubjectHead:
    """Raises InputError: the network finds no subjects."""
    return _part(model, "subject_head", SubjectHead, "with a subject head, which the training of subjects gives it")


def appeal_head(model: Scorer) -> AppealHead:
    """Raises InputError: the network rates no appeal."""
    return _part(model, "appeal_head", AppealHead, "with an appeal head, which the training of the appeal gives it")


def text_head(model: Scorer) -> TextHead:
    """Raises InputError: the network finds no lines of text."""
    return _part(model, "text_head", TextHead, "with a text head, which the training of text gives it")


def animal_head(model: Scorer) -> AnimalHead:
    """Raises InputError: the network finds no animals."""
    return _part(model, "animal_head", AnimalHead, "that finds animals, which the training of animals gives it")


def choice(model: Scorer) -> Choice:
    """Raises InputError: the network has no choice among candidates."""
    return _part(model, "choice", Choice, "with a subject head, which the training of subjects gives it")


@torch.no_grad()
def looked(model: Scorer, pixels: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """The backbone's maps of pictures [B, 3, H, W], 0 to 255, and the proposal head's trunk."""
    maps = model.backbone(model.normalise(pixels))
    return maps, proposal_head(model).trunk(maps)


def with_own_head(part: str, start: str, runs: Path, seed: int, warm: bool = False) -> S2CNet:
    """The network that a training of a head starts from, with a fresh one of its kind, or that which is there.

    Args:
        part: "text_head" or "animal_head".
        start: run that it comes from, or "shipped"; warm: its head stays.
    Raises:
        InputError: its head is to stay, and it has none.
        WeightsError: it cannot be read.
    """
    config, state = read_s2cnet(start_weights(start, runs))
    torch.manual_seed(seed)
    changed: dict[str, Any] = {part: True}
    model = S2CNet(dataclasses.replace(config, **changed))
    if warm and not getattr(config, part):
        head = part.replace("_", " ")
        raise InputError(f"{start} has no {head} to go on with; training.warm=false makes a fresh one")
    kept = {key: value for key, value in state.items() if warm or not key.startswith(f"{part}.")}
    model.load_state_dict(kept, strict=False)
    return model


def start_weights(start: str, runs: Path, model: str = "s2cnet") -> Path:
    """The file of the run to start from; "shipped" is that of the network of this name."""
    return shipped_weights(model) if start == "shipped" else runs / start / "weights.safetensors"


def read_s2cnet(path: Path) -> tuple[S2CNetConfig, dict[str, Tensor]]:
    """Configuration and state of an S2CNet file. Raises WeightsError."""
    config, state = read_weights(path, "s2cnet")
    assert isinstance(config, S2CNetConfig)  # what files of that name hold
    return config, state
