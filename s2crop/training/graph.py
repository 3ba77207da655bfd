"""Train node embedding, graph and head on cached maps of a frozen backbone.

Three sources teach the same scores. FCDB photos say which crops people choose: voted pairs, and
best crops as soft targets. GAICD ratings, whose pictures are not at hand, put the scores on the
MOS scale: there nodes are made of geometry alone. Fixations on OSIE photos say where crops of a
fixed ratio and size belong, which free best crops do not: on what people look at, and on the lines
of text in copies that were lettered.
"""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from s2crop.cropping.cropper import Cropper
from s2crop.datasets.gaicd import Ratings, read_gaicd_boxes, score_boxes
from s2crop.datasets.lettering import find_fonts
from s2crop.datasets.metrics import iou, srcc
from s2crop.datasets.photos import load_photos
from s2crop.datasets.split import is_validation
from s2crop.geometry.boxes import mirrored
from s2crop.models.device import find_device
from s2crop.models.input import input_size
from s2crop.models.s2cnet import MOS_MEAN, MOS_STD, S2CNet
from s2crop.training.losses import best_crop_loss, rating_loss, vote_loss
from s2crop.training.parts import read_s2cnet
from s2crop.training.run import Report, Run, fit_parts, log_temperatures
from s2crop.training.samples import (
    SANITY_PHOTOS,
    Material,
    Pair,
    PhotoRecipe,
    Sample,
    batched,
    cache_photos,
    cache_sample,
    fixated_crops,
    labels_of,
    photo_batches,
    random_candidates,
    score_as_they_are,
    split,
    stacked_maps,
)
from s2crop.training.validation import validate


@dataclass(frozen=True)
class GraphRecipe(PhotoRecipe):
    """Choices of the graph training."""

    start: str = "proposals"  # run whose weights give backbone and proposal head
    epochs: int = 10
    rate: float = 5e-4
    rating_weight: float = 0.5
    rating_rounds: int = 3  # over the ratings, for each over the photos
    node_dropout: float = 0.1
    blind: float = 0.2  # share of photo batches scored from geometry alone
    jitter: float = 0.03  # of proposal boxes, in their sides


@dataclass(frozen=True)
class RatedBatch:
    """GAICD pictures that have the same network input size."""

    pictures: list[Ratings]


Batch = list[Sample] | RatedBatch


def train(
    recipe: GraphRecipe,
    network: dict[str, Any],
    data: Path,
    out: Path,
    *,
    resume: bool,
    device: str = "auto",
    sanity: bool = False,
    report: Report = print,
) -> dict[str, float]:
    """Train and write `out/weights.safetensors`; returns validation measures.

    Args:
        network: choices of S2CNetConfig that differ from those of the run it starts from.
        device: on CUDA the layers run in bfloat16.
        sanity: overfit ten photos, and measure on those.
    Raises:
        InputError: data that cannot be used, or a network that finds no proposals.
    """
    model, material, ratings = gather(recipe, network, data, out, device, sanity)
    run = Run(out, recipe.seed, report)
    if sanity:
        recipe = dataclasses.replace(recipe, epochs=15, node_dropout=0.0, blind=0.0, jitter=0.0, average=0.9)
        return fit(model, recipe, run, material.samples * 8, [], [s for s, _ in material.samples], [], resume)
    return fit_fold(model, recipe, run, material, ratings, resume)


def cross_validate(
    recipe: GraphRecipe,
    network: dict[str, Any],
    data: Path,
    out: Path,
    *,
    folds: int,
    evaluate: Callable[..., dict[str, Any]],
    resume: bool,
    device: str = "auto",
    report: Report = print,
) -> dict[str, Any]:
    """Train once for each fold, and measure the whole pipeline on FCDB's photos that it holds out.

    Backbone and proposals are those of the run it starts from, which held out fold 0: of the
    other folds they know the teachers' boxes, and no crop.

    Args:
        evaluate: `evaluation.fcdb.evaluate`.
    """
    start, material, ratings = gather(recipe, network, data, out, device)
    rows: list[dict[str, Any]] = []
    for fold in range(folds):
        run = Run(out.with_name(f"{out.name}-fold{fold}"), recipe.seed, report)
        model = copy.deepcopy(start)
        fit_fold(model, dataclasses.replace(recipe, fold=fold), run, material, ratings, resume)
        cropper = Cropper(weights=run.folder / "weights.safetensors", device=device)
        result = evaluate(cropper, data / "fcdb/photos", data / "fcdb/labels_train.json", fold=fold)
        row = next(row for row in result["rows"] if row["scorer"] == cropper.model)
        rows.append({"fold": fold, "pictures": result["pictures"]} | {k: v for k, v in row.items() if k != "scorer"})
        report("  ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()))
        pictures = np.array([row["pictures"] for row in rows])
        mean = {
            key: float(np.average([row[key] for row in rows], weights=pictures))
            for key in rows[0]
            if key not in ("fold", "pictures")
        }
        Run(out.with_name(f"{out.name}-folds"), recipe.seed, report).finish(
            data="labels_train.json", pictures=int(pictures.sum()), folds=rows, mean=mean
        )
    return {"folds": rows, "mean": mean}


def gather(
    recipe: GraphRecipe, network: dict[str, Any], data: Path, out: Path, device: str, sanity: bool = False
) -> tuple[S2CNet, Material, list[Ratings]]:
    """The network to train, and what it learns from."""
    model = load_start(out.parent / recipe.start / "weights.safetensors", network, recipe.seed).to(find_device(device))
    photos = load_photos(data, ["fcdb", "unlabelled"])
    if sanity:
        photos = [p for p in photos if p.labels][:SANITY_PHOTOS]
    else:
        photos = [p for p in photos if p.labels or p.fixations is not None]
    material = cache_photos(partial(cache_sample, model), photos, find_fonts(data), recipe.lettered)
    return model, material, [] if sanity else read_gaicd_boxes(data / "gaicd_boxes_mos_train.json")


def fit_fold(
    model: S2CNet, recipe: GraphRecipe, run: Run, material: Material, ratings: list[Ratings], resume: bool
) -> dict[str, float]:
    """Train on all but one fold of the material, and validate on that one."""
    training, validation = split(material, recipe.fold)
    rated = [rating for rating in ratings if not is_validation(rating.id, recipe.fold)]
    rated_validation = [rating for rating in ratings if is_validation(rating.id, recipe.fold)]
    return fit(model, recipe, run, training, rated, validation, rated_validation, resume)


def load_start(path: Path, network: dict[str, Any], seed: int) -> S2CNet:
    """A network with the backbone and proposal head of a file; graph and nodes start anew."""
    config, state = read_s2cnet(path)
    config = dataclasses.replace(config, **network)
    torch.manual_seed(seed)
    fresh = S2CNet(config).state_dict()
    kept = ("backbone.", "proposal_head.")
    model = S2CNet(config)
    model.load_state_dict({k: state[k] if k.startswith(kept) else v for k, v in fresh.items()})
    return model.to(memory_format=torch.channels_last)


def fit(
    model: S2CNet,
    recipe: GraphRecipe,
    run: Run,
    training: Sequence[Pair],
    rated: list[Ratings],
    validation: list[Sample],
    rated_validation: list[Ratings],
    resume: bool,
) -> dict[str, float]:
    """The training loop: every epoch goes once over the photos, mirrored or not,
    and `rating_rounds` times over the ratings.
    """
    temperatures = log_temperatures(next(model.parameters()).device, vote=0.5, best=0.3, held=0.3)
    trained = [
        *model.multi_scale.parameters(),
        *model.nodes.parameters(),
        *model.graph.parameters(),
        *model.head.parameters(),
    ]
    dropout = model.nodes.norm.register_forward_hook(
        lambda module, args, output: nn.functional.dropout(output, recipe.node_dropout) if model.training else output
    )
    photos = {"validation_photos": sum(s.labels is not None for s in validation), "training_photos": len(training)}

    def batches(rng: np.random.Generator) -> list[Batch]:
        return draw_batches(training, rated * recipe.rating_rounds, recipe.batch_size, model.config.short_side, rng)

    def losses(batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        return step_losses(model, batch, recipe, temperatures, rng)

    results = fit_parts(
        run,
        model,
        trained,
        temperatures,
        recipe,
        batches=batches,
        losses=losses,
        resume=resume,
        measure=lambda final: measure(final, validation, rated_validation) | photos,
    )
    dropout.remove()
    return results


def draw_batches(
    training: Sequence[Pair], rated: Sequence[Ratings], batch_size: int, short_side: int, rng: np.random.Generator
) -> list[Batch]:
    """Batches of photos and of ratings, in random order."""
    batches: list[Batch] = [*photo_batches(training, batch_size, rng)]
    batches += map(RatedBatch, batched(rated, lambda rating: input_size(*rating.size_wh, short_side), batch_size, rng))
    return [batches[i] for i in rng.permutation(len(batches))]


def step_losses(
    model: S2CNet,
    batch: Batch,
    recipe: GraphRecipe,
    temperatures: nn.ParameterDict,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """The weighted losses of one batch, by name; what it holds says which."""
    if isinstance(batch, RatedBatch):
        return {"rating": recipe.rating_weight * ratings_step(model, batch.pictures, recipe.candidates, rng)}
    if batch[0].source == "fixations":
        return {"held": recipe.held_weight * fixations_step(model, batch, recipe, temperatures["held"].exp(), rng)}
    return photos_step(model, batch, recipe, temperatures, rng)


def photos_step(
    model: S2CNet,
    group: list[Sample],
    recipe: GraphRecipe,
    temperatures: nn.ParameterDict,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Weighted losses of photos with labels: voted pairs, and best crops as soft targets over drawn candidates."""
    labels = labels_of(group)
    scale = np.array([group[0].size[1], group[0].size[0]] * 2, np.float32)
    drawn = np.stack([random_candidates(sample, recipe.candidates, rng) for sample in group])  # fractions
    overlap = np.stack([iou(boxes, own.best[None]) for boxes, own in zip(drawn, labels, strict=True)])
    pairs = np.stack([own.pairs for own in labels])  # [B, P, 2, 4]
    crops = np.concatenate([drawn, pairs.reshape(len(group), -1, 4)], axis=1) * scale
    scores = score_group(model, group, crops, recipe, rng)
    of_drawn, of_pairs = scores[:, : recipe.candidates], scores[:, recipe.candidates :].unflatten(1, (-1, 2))
    votes = torch.from_numpy(np.stack([own.votes for own in labels])).to(scores.device)
    ious = torch.from_numpy(overlap.astype(np.float32)).to(scores.device)
    vote = vote_loss(of_pairs, votes, temperatures["vote"].exp())
    best = best_crop_loss(of_drawn, ious, temperatures["best"].exp(), recipe.sharpness)
    return {"vote": recipe.vote_weight * vote, "best": recipe.best_weight * best}


def fixations_step(
    model: S2CNet, group: list[Sample], recipe: GraphRecipe, temperature: Tensor, rng: np.random.Generator
) -> Tensor:
    """Crops of one ratio and size, drawn for each photo: the more fixations and lines a position holds, the better."""
    crops, held = fixated_crops(group, recipe.candidates // 2, rng)
    scores = score_group(model, group, crops, recipe, rng)
    return best_crop_loss(scores, torch.from_numpy(held).to(scores.device), temperature, recipe.sharpness)


def score_group(
    model: S2CNet, group: list[Sample], crops: np.ndarray, recipe: GraphRecipe, rng: np.random.Generator
) -> Tensor:
    """Scores of crops [B, N, 4] in input pixels; proposals jittered, pixels left out now and then."""
    size = group[0].size
    proposals = torch.stack([s.proposals for s in group])
    device = proposals.device
    limit = torch.tensor([size[1], size[0]] * 2, device=device)
    sides = (proposals[..., 2:] - proposals[..., :2]).repeat(1, 1, 2)
    noise = torch.from_numpy(rng.normal(0, recipe.jitter, proposals.shape).astype(np.float32)).to(device)
    proposals = (proposals + noise * sides).clamp(min=0).minimum(limit)
    attributes: Tensor | None = torch.stack([s.attributes for s in group])
    reduced = None
    if rng.random() >= recipe.blind:
        reduced = model.multi_scale(stacked_maps(group))
    elif rng.random() < 0.5:
        attributes = None  # as with the ratings
    return model.score(
        reduced, torch.from_numpy(crops.astype(np.float32)).to(device), proposals, size, attributes
    ).float()


def ratings_step(model: S2CNet, group: list[Ratings], count: int, rng: np.random.Generator) -> Tensor:
    """Loss of `count` rated crops of each picture, scored from geometry alone."""
    size = input_size(*group[0].size_wh, model.config.short_side)
    scale = np.array([size[1], size[0]] * 2, np.float32)
    chosen = [rng.choice(len(r.mos), count, replace=len(r.mos) < count) for r in group]
    crops = np.stack([r.candidates[c] for r, c in zip(group, chosen, strict=True)])
    mos = np.stack([r.mos[c] for r, c in zip(group, chosen, strict=True)])
    proposals = np.stack([r.proposals for r in group])
    if rng.random() < 0.5:
        crops, proposals = mirrored(crops), mirrored(proposals)
    device = next(model.parameters()).device
    scores = model.score(
        None, torch.from_numpy(crops * scale).to(device), torch.from_numpy(proposals * scale).to(device), size
    )
    return rating_loss(scores.float(), torch.from_numpy((mos - MOS_MEAN) / MOS_STD).to(device))


def measure(model: S2CNet, samples: list[Sample], ratings: list[Ratings]) -> dict[str, float]:
    """`validate`, and GAICD's SRCC from boxes alone."""
    rank = [srcc(score_boxes(model, r), r.mos) for r in ratings]
    return validate(partial(score_sample, model), samples) | ({"srcc_boxes": float(np.mean(rank))} if rank else {})


@torch.inference_mode()
def score_sample(model: S2CNet, sample: Sample, boxes: np.ndarray) -> np.ndarray:
    """Scores [N] of boxes [N, 4] in input pixels."""
    crops = torch.from_numpy(boxes.astype(np.float32))[None].to(sample.proposals.device)
    return score_as_they_are(model, [sample], crops)[0].cpu().double().numpy()
