"""Train node embedding, graph and head on cached maps of a frozen backbone.

Four sources teach the same scores. FCDB photos say which crops people choose: voted pairs, and
best crops as soft targets. GAICD ratings, whose pictures are not at hand, put the scores on the
MOS scale: there nodes are made of geometry alone. Fixations on OSIE photos say where crops of a
fixed ratio and size belong, which free best crops do not: on what people look at, and on the lines
of text in copies that were lettered. Unlabelled photos are scored as teachers score them.
"""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from s2crop.cropping.cropper import Cropper
from s2crop.datasets.fcdb import CropLabels
from s2crop.datasets.gaicd import Ratings, read_gaicd_boxes
from s2crop.datasets.lettering import find_fonts, letter
from s2crop.datasets.photos import Photo, load_photos
from s2crop.datasets.split import is_validation
from s2crop.evaluation import fcdb
from s2crop.evaluation.boxes import score_boxes
from s2crop.evaluation.metrics import displacement, iou, pair_agreement, srcc
from s2crop.geometry.boxes import inside_share, largest_of_ratio, mirrored
from s2crop.geometry.search import candidates, worth
from s2crop.models.device import find_device
from s2crop.models.input import input_size, resize
from s2crop.models.s2cnet import MOS_MEAN, MOS_STD, S2CNet
from s2crop.models.weights import read_weights
from s2crop.training.losses import agreement_loss, best_crop_loss, rating_loss, vote_loss
from s2crop.training.run import Average, Run, log_temperatures
from s2crop.training.run import fit as run_fit

HELD_RATIOS = (0.45, 2.4)  # of the crops that learn from fixations, from narrow to wide
WHOLE_LINE = 0.95  # of a line of text inside a crop
SANITY_PHOTOS = 10
TEMPERATURES = (0.05, 0.1, 0.15, 0.2)  # of the coarse stage alone, to follow a training


@dataclass(frozen=True)
class PhotoRecipe:
    """Choices that all trainings on cached photos have; a TOML file sets them."""

    batch_size: int = 8  # photos
    candidates: int = 64  # drawn for each photo, besides its pairs
    weight_decay: float = 0.05
    average: float = 0.998
    sharpness: float = 0.1  # of the soft target over candidates, in IoU
    vote_weight: float = 1.0
    best_weight: float = 1.0
    held_weight: float = 0.5
    lettered: bool = True  # learn from lettered copies of the fixation photos too
    fold: int = 0  # which photos are kept aside
    seed: int = 0


@dataclass(frozen=True)
class GraphRecipe(PhotoRecipe):
    """Choices of the graph training."""

    start: str = "proposals"  # run whose weights give backbone and proposal head
    epochs: int = 10
    rate: float = 5e-4
    rating_weight: float = 0.5
    rating_rounds: int = 3  # over the ratings, for each over the photos
    consistency_weight: float = 0.0  # of the teachers' scores on unlabelled photos
    teachers: tuple[str, ...] = ()  # runs whose mean score is the target there; none: the average of this run itself
    node_dropout: float = 0.1
    blind: float = 0.2  # share of photo batches scored from geometry alone
    jitter: float = 0.03  # of proposal boxes, in their sides


@dataclass
class Sample:
    """A photo as the graph sees it: maps of the frozen backbone, proposals, labels."""

    size: tuple[int, int]
    maps: tuple[Tensor, Tensor, Tensor]  # float16, strides 8, 16, 32
    proposals: Tensor  # [D, 4] input pixels
    attributes: Tensor  # [D, 4]
    labels: CropLabels | None  # of FCDB photos
    fixations: np.ndarray | None = None  # [K, 2] fractions, of OSIE photos
    lines: np.ndarray | None = None  # [K, 4] fractions, of lettered ones
    extra: Tensor | None = None  # what a network wants to know besides

    @property
    def source(self) -> str:
        return "labels" if self.labels else "unlabelled" if self.fixations is None else "fixations"


@dataclass
class Material:
    """Everything that is learnt from, with the maps of the frozen backbone."""

    photos: list[Photo]
    samples: list[tuple[Sample, Sample]]  # of each photo, as it is and mirrored
    lettered: list[tuple[Sample, Sample] | None]  # of each photo that has fixations
    ratings: list[Ratings]


def train(
    recipe: GraphRecipe,
    network: dict,
    data: Path,
    out: Path,
    *,
    resume: bool,
    device: str = "auto",
    sanity: bool = False,
    report=print,
) -> dict:
    """Train and write `out/weights.safetensors`; returns validation measures.

    Args:
        network: choices of S2CNetConfig that differ from those of the run it starts from.
        device: on CUDA the layers run in bfloat16.
        sanity: learn ten photos by heart, and measure on those.
    """
    model, material = gather(recipe, network, data, out, device, sanity)
    run = Run(out, recipe.seed, report)
    if sanity:
        recipe = dataclasses.replace(recipe, epochs=15, node_dropout=0.0, blind=0.0, jitter=0.0, average=0.9)
        return fit(model, recipe, run, material.samples * 8, [], [s for s, _ in material.samples], [], resume)
    return fit_fold(model, recipe, run, material, resume)


def cross_validate(
    recipe: GraphRecipe,
    network: dict,
    data: Path,
    out: Path,
    *,
    folds: int,
    resume: bool,
    device: str = "auto",
    report=print,
) -> dict:
    """Train once for each fold, and measure the whole pipeline on FCDB's photos kept aside from it.

    Backbone and proposals are those of the run it starts from, which kept fold 0 aside: of the
    other folds they know the teachers' boxes, and no crop.
    """
    start, material = gather(recipe, network, data, out, device)
    rows = []
    for fold in range(folds):
        run = Run(out.with_name(f"{out.name}-fold{fold}"), recipe.seed, report)
        model = copy.deepcopy(start)
        fit_fold(model, dataclasses.replace(recipe, fold=fold), run, material, resume)
        cropper = Cropper(weights=run.folder / "weights.safetensors", device=device)
        result = fcdb.evaluate(cropper, data / "fcdb/photos", data / "fcdb/labels_train.json", fold=fold)
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
    recipe: GraphRecipe, network: dict, data: Path, out: Path, device: str, sanity: bool = False
) -> tuple[S2CNet, Material]:
    """The network to train, and what it learns from."""
    model = load_start(out.parent / recipe.start / "weights.safetensors", network, recipe.seed).to(find_device(device))
    photos = load_photos(data, ["fcdb", "unlabelled"])
    if sanity:
        photos = [p for p in photos if p.labels][:SANITY_PHOTOS]
    elif not recipe.consistency_weight:
        photos = [p for p in photos if p.labels or p.fixations is not None]
    material = cache_photos(partial(cache_sample, model), photos, find_fonts(data), recipe.lettered)
    material.ratings = [] if sanity else read_gaicd_boxes(data / "gaicd_boxes_mos_train.json")
    return model, material


def cache_photos(
    cache: Callable[..., Sample], photos: list[Photo], fonts: tuple[Path, ...], with_lettered: bool
) -> Material:
    """Photos as they are and mirrored, and lettered copies of those with fixations, through `cache_sample`."""
    samples = [(cache(p, False), cache(p, True)) for p in photos]
    lettered: list[tuple[Sample, Sample] | None] = []
    for number, photo in enumerate(photos):
        if photo.fixations is None or not with_lettered:
            lettered.append(None)
            continue
        pixels, lines, _ = letter(photo.pixels, np.random.default_rng(number), fonts)
        copied = dataclasses.replace(photo, pixels=pixels)
        lettered.append((cache(copied, False, lines), cache(copied, True, lines)))
    return Material(photos, samples, lettered, [])


def fit_fold(model: S2CNet, recipe: GraphRecipe, run: Run, material: Material, resume: bool) -> dict:
    """Train on all but one fold of the material, and validate on that one."""
    training, validation = split(material, recipe.fold)
    rated = {
        aside: [r for r in material.ratings if is_validation(r.id, recipe.fold) == aside] for aside in (False, True)
    }
    return fit(model, recipe, run, training, rated[False], validation, rated[True], resume)


def split(material: Material, fold: int) -> tuple[list[tuple[Sample, Sample]], list[Sample]]:
    """What is trained on, with lettered copies, and what is kept aside and has labels."""
    training, validation = [], []
    for photo, pair, lettered in zip(material.photos, material.samples, material.lettered, strict=True):
        if not is_validation(photo.id, fold):
            training += [pair] if lettered is None else [pair, lettered]
        elif pair[0].source != "unlabelled":
            validation.append(pair[0])
    return training, validation


def load_start(path: Path, network: dict, seed: int) -> S2CNet:
    """A network with the backbone and proposal head of a file; graph and nodes start anew."""
    config, state = read_weights(path)
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
    training: Sequence[tuple[Sample, Sample]],
    rated: list[Ratings],
    validation: list[Sample],
    rated_validation: list[Ratings],
    resume: bool,
) -> dict:
    """The training loop: every epoch goes once over the photos, mirrored or not,
    and `rating_rounds` times over the ratings.
    """
    temperatures = log_temperatures(next(model.parameters()).device, vote=0.5, best=0.3, held=0.3)
    teachers = [load_teacher(run.folder.parent / name, model) for name in recipe.teachers]
    own = copy.deepcopy(model).requires_grad_(False).eval()  # a teacher too: the average of this run
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

    def groups(rng: np.random.Generator, average: Average) -> list[list]:
        own.load_state_dict(average.mean)
        return draw_groups(training, rated * recipe.rating_rounds, recipe.batch_size, model.config.short_side, rng)

    def losses(group: list, rng: np.random.Generator) -> dict[str, Tensor]:
        return step_losses(model, group, recipe, temperatures, teachers or [own], rng)

    results = run_fit(
        run,
        model,
        trained,
        temperatures,
        recipe,
        groups=groups,
        losses=losses,
        resume=resume,
        measure=lambda final: measure(final, validation, rated_validation) | photos,
    )
    dropout.remove()
    return results


def load_teacher(folder: Path, student: S2CNet) -> S2CNet:
    """A finished run that starts from the same backbone."""
    config, state = read_weights(folder / "weights.safetensors")
    teacher = S2CNet(config)
    teacher.load_state_dict(state)
    return teacher.to(next(student.parameters()).device).requires_grad_(False).eval()


@torch.inference_mode()
def cache_sample(
    model: S2CNet,
    photo: Photo,
    flipped: bool,
    lines: np.ndarray | None = None,
    extra: Callable[[Tensor], Tensor] = lambda pixels: None,
) -> Sample:
    """Backbone maps and proposals of a photo, resized as for cropping.

    Args:
        lines: [K, 4] pixels of a lettered photo.
        extra: what is kept besides, of the network input, uint8 [1, 3, h, w].
    """
    model.eval()
    device = next(model.parameters()).device
    height, width = photo.pixels.shape[:2]
    size = input_size(width, height, model.config.short_side)
    pixels = resize(photo.pixels, size, model.config.antialias)[None].to(device)
    pixels = pixels.flip(3) if flipped else pixels
    maps = model.backbone(model.normalise(pixels))
    found = model.proposal_head.propose(maps, size).first(model.config.num_proposals)
    labels, fixations = photo.labels, photo.fixations
    lines = None if lines is None else lines / np.float32([width, height] * 2)
    if flipped:
        labels = labels and mirror(labels)
        fixations = None if fixations is None else np.abs(fixations - [1, 0])
        lines = None if lines is None else mirrored(lines)
    # cloned: inference tensors cannot take part in training
    return Sample(
        size,
        tuple(m[0].half().clone() for m in maps[-3:]),
        found.boxes[0].clone(),
        found.attributes()[0].clone(),
        labels,
        fixations,
        lines,
        extra(pixels),
    )


def mirror(labels: CropLabels) -> CropLabels:
    return CropLabels(labels.size_wh, mirrored(labels.best), mirrored(labels.pairs), labels.votes)


def draw_groups(
    training: Sequence[tuple[Sample, Sample]],
    rated: list[Ratings],
    batch_size: int,
    short_side: int,
    rng: np.random.Generator,
) -> list[list]:
    """Shuffled batches of like-shaped photos (each mirrored or not, by chance) and of ratings."""
    photos = [pair[rng.integers(2)] for pair in training]
    groups = []
    for items, shape in ((photos, lambda s: (s.size, s.source)), (rated, lambda r: input_size(*r.size_wh, short_side))):
        by_shape: dict[tuple, list] = {}
        for i in rng.permutation(len(items)):
            by_shape.setdefault(shape(items[i]), []).append(items[i])
        groups += [g[k : k + batch_size] for g in by_shape.values() for k in range(0, len(g), batch_size)]
    return [groups[i] for i in rng.permutation(len(groups))]


def step_losses(
    model: S2CNet,
    group: list,
    recipe: GraphRecipe,
    temperatures: nn.ParameterDict,
    teachers: list[S2CNet],
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """The weighted losses of one batch, by name; what it holds says which."""
    if isinstance(group[0], Ratings):
        return {"rating": recipe.rating_weight * ratings_step(model, group, recipe.candidates, rng)}
    if group[0].source == "fixations":
        return {"held": recipe.held_weight * fixations_step(model, group, recipe, temperatures["held"].exp(), rng)}
    if group[0].source == "unlabelled":
        return {
            "consistency": recipe.consistency_weight
            * consistency_step(model, group, recipe, temperatures["best"].exp(), teachers, rng)
        }
    return photos_step(model, group, recipe, temperatures, rng)


def photos_step(model: S2CNet, group: list[Sample], recipe: GraphRecipe, temperatures, rng) -> dict[str, Tensor]:
    size = group[0].size
    scale = np.float32([size[1], size[0]] * 2)
    pools, ious = [], []
    for sample in group:
        boxes = random_candidates(sample, recipe.candidates, rng)
        pools.append(boxes)
        ious.append(iou(boxes, sample.labels.best[None]))
    pairs = np.stack([s.labels.pairs for s in group])  # [B, P, 2, 4]
    crops = np.concatenate([np.stack(pools), pairs.reshape(len(group), -1, 4)], axis=1) * scale
    scores = score_group(model, group, crops, recipe, rng)
    drawn = recipe.candidates
    votes = torch.from_numpy(np.stack([s.labels.votes for s in group])).to(scores.device)
    ious = torch.from_numpy(np.float32(ious)).to(scores.device)
    return {
        "vote": recipe.vote_weight
        * vote_loss(scores[:, drawn:].unflatten(1, (-1, 2)), votes, temperatures["vote"].exp()),
        "best": recipe.best_weight
        * best_crop_loss(scores[:, :drawn], ious, temperatures["best"].exp(), recipe.sharpness),
    }


def fixations_step(model: S2CNet, group: list[Sample], recipe: GraphRecipe, temperature: Tensor, rng) -> Tensor:
    """Crops of one ratio and size, drawn for each photo: the more fixations and lines a position holds, the better."""
    crops, held = fixated_crops(group, recipe.candidates // 2, rng)
    scores = score_group(model, group, crops, recipe, rng)
    return best_crop_loss(scores, torch.from_numpy(held).to(scores.device), temperature, recipe.sharpness)


def fixated_crops(group: list[Sample], count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Crops of one ratio and size for each photo, [B, K, 4] input pixels, and what share each holds [B, K]."""
    height, width = group[0].size
    crops, held = [], []
    for sample in group:
        ratio = np.exp(rng.uniform(*np.log(HELD_RATIOS)))
        sides = np.array(largest_of_ratio(ratio, width, height)) * rng.uniform(0.7, 1.0)
        start = rng.uniform(0, 1, (count, 2)) * ([width, height] - sides)
        boxes = np.concatenate([start, start + sides], axis=1)
        crops.append(boxes)
        held.append(held_share(boxes, sample.fixations * [width, height]))
        if sample.lines is not None:
            whole = inside_share(boxes, sample.lines * [width, height, width, height]) > WHOLE_LINE
            held[-1] = (held[-1] + whole.mean(axis=1)) / 2
    return np.stack(crops), np.float32(held)


def consistency_step(
    model: S2CNet, group: list[Sample], recipe: GraphRecipe, temperature: Tensor, teachers: list[S2CNet], rng
) -> Tensor:
    """Photos without labels: score candidates, from jittered proposals,
    as the teachers do from the proposals as they are.

    Mean teacher (Tarvainen and Valpola 2017) with the run's own average, distillation with others.
    """
    scale = np.float32([group[0].size[1], group[0].size[0]] * 2)
    crops = np.stack([random_candidates(s, recipe.candidates, rng) for s in group]) * scale
    still = dataclasses.replace(recipe, jitter=0.0, blind=0.0)
    with torch.no_grad():
        wanted = torch.stack([score_group(teacher, group, crops, still, rng) for teacher in teachers]).mean(dim=0)
    return agreement_loss(score_group(model, group, crops, recipe, rng), wanted, temperature)


def held_share(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Share of the points [K, 2] inside each box [N, 4] -> [N]."""
    inside = (points >= boxes[:, None, :2]) & (points <= boxes[:, None, 2:])
    return inside.all(axis=2).mean(axis=1)


def score_group(model: S2CNet, group: list[Sample], crops: np.ndarray, recipe: GraphRecipe, rng) -> Tensor:
    """Scores of crops [B, N, 4] in input pixels; proposals jittered, pixels left out now and then."""
    size = group[0].size
    proposals = torch.stack([s.proposals for s in group])
    device = proposals.device
    limit = torch.tensor([size[1], size[0]] * 2, device=device)
    sides = (proposals[..., 2:] - proposals[..., :2]).repeat(1, 1, 2)
    noise = torch.from_numpy(rng.normal(0, recipe.jitter, proposals.shape).astype(np.float32)).to(device)
    proposals = (proposals + noise * sides).clamp(min=0).minimum(limit)
    attributes = torch.stack([s.attributes for s in group])
    reduced = None
    if rng.random() >= recipe.blind:
        reduced = model.multi_scale(stacked_maps(group))
    elif rng.random() < 0.5:
        attributes = None  # as with the ratings
    return model.score(
        reduced, torch.from_numpy(crops.astype(np.float32)).to(device), proposals, size, attributes
    ).float()


def random_candidates(sample: Sample, count: int, rng: np.random.Generator) -> np.ndarray:
    """[count, 4] fractions: half from the search's own candidates, half anywhere,
    some near the best crop if there is one.
    """
    height, width = sample.size
    own = candidates(None, (width, height)) / [width, height, width, height]
    own = own[rng.permutation(len(own))[: count // 2]]
    near = sample.labels.best + rng.normal(0, 0.06, (count // 8, 4)) if sample.labels else np.zeros((0, 4))
    start = rng.uniform(0, 0.5, (count - len(own) - len(near), 2)) * (
        rng.random((count - len(own) - len(near), 2)) > 0.25
    )
    end = 1 - rng.uniform(0, 0.5, start.shape) * (rng.random(start.shape) > 0.25)
    boxes = np.concatenate([own, near, np.concatenate([start, end], axis=1)]).clip(0, 1)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.1).clip(max=1)
    boxes[:, :2] = np.minimum(boxes[:, :2], boxes[:, 2:] - 0.1)
    return boxes


def ratings_step(model: S2CNet, group: list[Ratings], count: int, rng: np.random.Generator) -> Tensor:
    size = input_size(*group[0].size_wh, model.config.short_side)
    scale = np.float32([size[1], size[0]] * 2)
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


def score_as_they_are(model: S2CNet, group: list[Sample], crops: Tensor) -> Tensor:
    """Normalised scores [B, N] of crops [B, N, 4] in input pixels; nothing jittered, nothing left out."""
    proposals, attributes = torch.stack([s.proposals for s in group]), torch.stack([s.attributes for s in group])
    return model.score(model.multi_scale(stacked_maps(group)), crops, proposals, group[0].size, attributes)


def stacked_maps(group: list[Sample]) -> tuple[Tensor, ...]:
    """The maps of several photos as one batch, [B, C, h, w] each."""
    return tuple(torch.stack(maps).float() for maps in zip(*(s.maps for s in group), strict=True))


def validate(score: Callable[[Sample, np.ndarray], np.ndarray], samples: list[Sample]) -> dict[str, float]:
    """FCDB measures on kept-aside photos, and fixations held by narrow and wide crops.

    Args:
        score: scores [N] of boxes [N, 4] in input pixels.
    """
    ious: dict[str, list[float]] = {}
    disps: dict[str, list[float]] = {}
    scores, votes, held = [], [], []
    for sample in samples:
        height, width = sample.size
        scale = np.float32([width, height] * 2)
        if sample.labels is None:
            held.append([held_by_best(score, sample, ratio) for ratio in HELD_RATIOS])
            continue
        sets = {
            "argmax": candidates(None, (width, height), method="argmax"),
            "expected": candidates(None, (width, height)),
        }
        found = score(sample, np.concatenate([*sets.values(), sample.labels.pairs.reshape(-1, 4) * scale]))
        start = 0
        for method, own in sets.items():
            part = found[start : start + len(own)]
            for temperature in TEMPERATURES if method == "expected" else (1.0,):
                name = method if method == "argmax" else f"expected_{temperature}"
                best = (part if method == "argmax" else worth(own, part, temperature)).argmax()
                ious.setdefault(name, []).append(float(iou(own[best] / scale, sample.labels.best)))
                disps.setdefault(name, []).append(float(displacement(own[best] / scale, sample.labels.best)))
            start += len(own)
        scores.append(found[start:].reshape(-1, 2))
        votes.append(sample.labels.votes)
    scores, votes = np.concatenate(scores), np.concatenate(votes)
    return (
        {f"iou_{k}": float(np.mean(v)) for k, v in ious.items()}
        | {f"disp_{k}": float(np.mean(v)) for k, v in disps.items()}
        | {
            "pairs": pair_agreement(scores, votes)[0],
            "pairs_3": pair_agreement(scores, votes, 3)[0],
            **({"held_share": float(np.mean(held))} if held else {}),
        }
    )


def held_by_best(score: Callable[[Sample, np.ndarray], np.ndarray], sample: Sample, ratio: float) -> float:
    """Share of fixations in the best-scored of the largest crops of a ratio."""
    height, width = sample.size
    sides = np.array(largest_of_ratio(ratio, width, height))
    start = np.linspace(0, 1, 15)[:, None] * ([width, height] - sides)
    boxes = np.concatenate([start, start + sides], axis=1)
    best = score(sample, boxes).argmax()
    return float(held_share(boxes[best, None], sample.fixations * [width, height])[0])
