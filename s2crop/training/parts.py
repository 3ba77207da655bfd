"""Parts of a network that a training needs, and that its configuration or its weights file may leave out."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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


def proposal_head(model: Scorer) -> ProposalHead:
    """Raises InputError: the network finds no proposals."""
    if model.proposal_head is None:
        raise InputError("this training needs a network that finds proposals: network.proposal_head is true")
    return model.proposal_head


def subject_head(model: Scorer) -> SubjectHead:
    """Raises InputError: the network finds no subjects."""
    if model.subject_head is None:
        raise InputError("this training needs a network with a subject head, which the training of subjects gives it")
    return model.subject_head


def appeal_head(model: Scorer) -> AppealHead:
    """Raises InputError: the network rates no appeal."""
    if model.appeal_head is None:
        raise InputError("this needs a network with an appeal head, which the training of the appeal gives it")
    return model.appeal_head


def text_head(model: Scorer) -> TextHead:
    """Raises InputError: the network finds no lines of text."""
    if model.text_head is None:
        raise InputError("this needs a network with a text head, which the training of text gives it")
    return model.text_head


def animal_head(model: Scorer) -> AnimalHead:
    """Raises InputError: the network finds no animals."""
    if model.animal_head is None:
        raise InputError("this needs a network that finds animals, which the training of animals gives it")
    return model.animal_head


def choice(model: Scorer) -> Choice:
    """Raises InputError: the network has no choice among candidates."""
    if model.choice is None:
        raise InputError("this training needs a network with a subject head, which the training of subjects gives it")
    return model.choice


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
