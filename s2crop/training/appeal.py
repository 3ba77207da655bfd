"""Train the appeal of crops: the editor's order of them, from pictures alone.

Three sources teach it: editor rankings of crops of one ratio, voted pairs of FCDB, and its best crops as soft targets
over candidates of their ratio. Backbone and proposal head stay as they are, and so does the subject head, unless the
recipe lets it learn too: then what it tells of pictures is to stay what it was.

A fourth may be a head that is there already: where its subject head was trained on, how it rates candidates of all
photos teaches the head for the new one what rankings that are no longer at hand had taught it.
"""

import copy
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2crop.datasets.fcdb import CropLabels, read_fcdb
from s2crop.datasets.metrics import iou
from s2crop.datasets.rankings import FOLDERS, Ranking, photo_path, read_rankings
from s2crop.datasets.split import is_validation
from s2crop.errors import InputError
from s2crop.files.picture import Picture
from s2crop.geometry.anchors import ratio_anchors
from s2crop.geometry.boxes import mirrored
from s2crop.models.appeal import AppealHead
from s2crop.models.conv import pack_convolutions
from s2crop.models.device import find_device
from s2crop.models.input import input_size, resize
from s2crop.models.s2cnet import S2CNet
from s2crop.models.scorer import Scorer
from s2crop.models.subjects import MIN_FIGURE_SCORE
from s2crop.models.weights import load_model
from s2crop.training.losses import best_crop_loss, total, vote_loss
from s2crop.training.parts import appeal_head, looked, start_weights, subject_head
from s2crop.training.run import Report, Run, fit, half_precision, log_temperatures, on
from s2crop.training.subjects import SubjectRecipe, Targets, load_start, subject_losses

AT_ONCE = 32  # photos, where nothing is trained
RATIOS = (1.0, 16 / 9, 9 / 16, 0.8)  # of crops that are drawn to be rated


@dataclass(frozen=True)
class AppealRecipe:
    """Choices of this training; a TOML file sets them."""

    start: str = "shipped"  # run whose backbone, proposal head and subject head are built on, or the shipped weights
    rankings: tuple[str, ...] = ("editor_rankings.json",)  # files below the data folder
    epochs: int = 10
    batch_size: int = 24  # photos
    rate: float = 1e-3
    weight_decay: float = 0.05
    average: float = 0.998
    ranking_weight: float = 1.0
    vote_weight: float = 0.5
    best_weight: float = 0.1
    bad_weight: float = 1.5  # of a pair whose worse crop would be refused and whose better one would not
    sharpness: float = 0.1  # of soft targets over candidates, in IoU
    most_candidates: int = 48  # of soft targets, drawn anew each time
    # Run, or "shipped", whose appeal head is to be followed, and is what training begins with; it has the same backbone
    teacher: str = ""
    teacher_weight: float = 3.0
    most_followed: int = 32  # candidates of one ratio, drawn anew each time
    sight_rate: float = 0.0  # of the subject head, which the appeal reads; 0: it stays
    deep_rate: float = 0.0  # of that head's own stages of the backbone, where it learns; 0: they stay
    kept_weight: float = 1.0  # of what it told before, where it learns: see `keeping_loss`
    held_out: tuple[int, ...] = (0,)  # folds of an eighth each
    seed: int = 0


@dataclass
class Judged:
    """A photo and what is known of its crops."""

    id: str
    pixels: Tensor  # uint8 [3, H, W] network input
    crops: np.ndarray  # [N, 4] fractions: those of the rankings, then those of the pairs
    better: np.ndarray  # [P] of ranked pairs, index of the crop
    worse: np.ndarray  # [P]
    weight: np.ndarray  # [P]
    votes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))  # [V, 2] of pairs of crops, the last 2 V
    candidates: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))  # [M, 4] of the best crop's ratio
    ious: np.ndarray = field(default_factory=lambda: np.zeros(0))  # [M]


class Batch(NamedTuple):
    """Like-shaped photos; indices are into all crops of all photos."""

    pixels: Tensor  # uint8 [B, 3, H, W]
    crops: Tensor  # [B, N, 4]
    better: Tensor  # [P]
    worse: Tensor  # [P]
    weight: Tensor  # [P]
    voted: Tensor  # [V, 2]
    votes: Tensor  # [V, 2]
    soft: Tensor  # [S, M]
    ious: Tensor  # [S, M]
    followed: Tensor  # [B, K, 4] crops that a teacher rates, 0 where there is none


def load(recipe: AppealRecipe, data: Path, short_side: int, report: Report = print) -> list[Judged]:
    """All photos of the rankings and of FCDB, and with a teacher all there are, at the network's size."""
    rankings: dict[str, list[Ranking]] = {}
    for name in recipe.rankings:
        for ranking in read_rankings(data / name):
            rankings.setdefault(ranking.photo, []).append(ranking)
    labels = read_fcdb(data / "fcdb/labels_train.json")
    others = {path.stem for folder in FOLDERS for path in (data / folder).glob("*.webp")} if recipe.teacher else set()
    names = sorted(rankings.keys() | labels.keys() | others)

    def read(name: str) -> tuple[tuple[int, int], Tensor]:
        with Picture.open(photo_path(data, name)) as picture:
            size_wh = picture.width, picture.height
            whole = np.asarray(picture.crop((0, 0, *size_wh)).convert("RGB"))
        return size_wh, resize(whole, input_size(*size_wh, short_side), True)

    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(read, names))
    report(f"{len(names)} photos read")
    photos = []
    for name, (size_wh, pixels) in zip(names, pictures, strict=True):
        photo = judged(name, pixels, rankings.get(name, []), recipe.bad_weight)
        if name in labels:
            add_label(photo, labels[name], size_wh)
        photos.append(photo)
    return photos


def judged(name: str, pixels: Tensor, rankings: Sequence[Ranking], bad_weight: float) -> Judged:
    """A photo and what its rankings say; the pairs of a ranking weigh less the more there are."""
    crops, better, worse, weight = [np.zeros((0, 4))], [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)]
    count = 0
    for ranking in rankings:
        one, other = ranking.pairs()
        refused = np.isin(other, list(ranking.bad)) & ~np.isin(one, list(ranking.bad))
        better.append(one + count)
        worse.append(other + count)
        weight.append(np.where(refused, bad_weight, 1.0) / max(1, len(one)) ** 0.5)
        crops.append(ranking.candidates)
        count += len(ranking.candidates)
    return Judged(
        id=name,
        pixels=pixels,
        crops=np.concatenate(crops),
        better=np.concatenate(better),
        worse=np.concatenate(worse),
        weight=np.concatenate(weight),
    )


def add_label(photo: Judged, label: CropLabels, size_wh: tuple[int, int]) -> None:
    """Give a photo of this size its voted pairs, and the candidates of its best crop's ratio."""
    sides = (label.best[2:] - label.best[:2]) * size_wh
    photo.crops = np.concatenate([photo.crops, label.pairs.reshape(-1, 4)])
    photo.votes = label.votes
    photo.candidates = ratio_anchors(float(sides[0] / sides[1]), *size_wh) / np.tile(size_wh, 2)
    photo.ious = iou(photo.candidates, label.best[None])


def train(
    recipe: AppealRecipe, data: Path, out: Path, *, resume: bool, device: str = "auto", report: Report = print
) -> dict[str, float]:
    """Train and write `out/weights.safetensors`; returns how well what is held out is ordered.

    Raises:
        InputError: data that cannot be used, a start that finds no subjects, or a rate of what does not learn.
    """
    if recipe.deep_rate and not recipe.sight_rate:
        raise InputError("training.deep_rate is of a subject head that learns: training.sight_rate is 0")
    run = Run(out, recipe.seed, report)
    torch.manual_seed(recipe.seed)
    where = find_device(device)
    model = load_start(SubjectRecipe(start=recipe.start, warm=True), out.parent)
    model = model.eval().requires_grad_(False).to(where).to(memory_format=torch.channels_last)
    photos = load(recipe, data, model.config.short_side, report)
    training = [photo for photo in photos if not is_held_out(photo.id, recipe)]
    held_out = [photo for photo in photos if is_held_out(photo.id, recipe)]
    torch.manual_seed(recipe.seed)
    head = AppealHead().to(where)
    teacher = None
    if recipe.teacher:
        teacher = load_model("s2cnet", start_weights(recipe.teacher, out.parent), where).requires_grad_(False)
        head.load_state_dict(appeal_head(teacher).state_dict())
    temperatures = log_temperatures(where, vote=1.0, best=0.5)
    trained = nn.ModuleDict({"appeal_head": head})
    moved = [
        {"params": list(head.parameters()), "lr": recipe.rate},
        {"params": list(temperatures.parameters()), "lr": 10 * recipe.rate, "weight_decay": 0.0},
    ]
    subjects = subject_head(model)
    as_it_was = copy.deepcopy(subjects) if recipe.sight_rate else None
    for frozen in (model.backbone, model.proposal_head, as_it_was or subjects, teacher):
        if frozen is not None:
            pack_convolutions(frozen)
    if as_it_was is not None:
        trained["subject_head"] = subjects
        deep, others = subjects.by_depth()
        for parameters, rate in ((others, recipe.sight_rate), (deep, recipe.deep_rate)):
            if rate:
                moved.append({"params": [p.requires_grad_(True) for p in parameters], "lr": rate})
    whole = S2CNet(dataclasses.replace(model.config, appeal_head=True)).eval().to(where)
    whole.load_state_dict(model.state_dict(), strict=False)

    def drawn(rng: np.random.Generator) -> tuple[int, Iterator[Batch]]:
        found = list(groups(training, recipe.batch_size, rng))
        return len(found), (Batch._make(on(where, gathered(members, rng, recipe))) for members in found)

    def losses(batch: Batch) -> dict[str, Tensor]:
        with half_precision(where):
            seen = looked(model, shifted(batch.pixels))
            with torch.set_grad_enabled(as_it_was is not None):
                sight = subjects.sight(*seen)
            marks = head.rate(head.look(seen[0], sight), torch.cat([batch.crops, batch.followed], dim=1)).float()
        marks, followed = marks.split([batch.crops.shape[1], batch.followed.shape[1]], dim=1)
        found = appeal_losses(marks, batch, temperatures, recipe)
        if teacher is not None:
            with half_precision(where), torch.no_grad():
                wanted = rated(teacher, seen, batch.followed).float()
            found["followed"] = recipe.teacher_weight * following_loss(followed, wanted)
        if as_it_was is not None:
            with half_precision(where):
                told = subjects.tell(sight, seen[0][0])
                with torch.no_grad():
                    before = as_it_was(*seen)
            found["kept"] = recipe.kept_weight * keeping_loss(told, before)
        return found

    def finished(state: Mapping[str, Tensor]) -> S2CNet:
        unknown = whole.load_state_dict(state, strict=False).unexpected_keys
        assert not unknown  # what is trained has the names that it has in the network
        return whole

    return fit(
        run,
        trained,
        recipe,
        moved,
        batches=drawn,
        losses=losses,
        finished=finished,
        measure=lambda net: measure(net, held_out, where),
        warmup=100,
        max_norm=1.0,
        temperatures=temperatures,
        resume=resume,
        training_photos=len(training),
        validation_photos=len(held_out),
    )


def is_held_out(name: str, recipe: AppealRecipe) -> bool:
    """Whether a photo is in one of the folds that are not trained on."""
    return any(is_validation(name, fold) for fold in recipe.held_out)


def heads_by_fold(runs: Sequence[Path], device: str) -> dict[int, AppealHead]:
    """The heads of runs that each held out some folds, by fold.

    Raises:
        InputError: one reads a subject head that learned with it, and so is nothing without that.
    """
    heads: dict[int, AppealHead] = {}
    for run in runs:
        choices = json.loads((run / "recipe.json").read_text())["training"]
        if choices.get("sight_rate"):
            raise InputError(f"{run.name}: its appeal head reads a subject head that learned with it")
        head = appeal_head(load_model("s2cnet", run / "weights.safetensors", device))
        heads |= dict.fromkeys(choices["held_out"], head)
    return heads


def rated(model: Scorer, seen: tuple[tuple[Tensor, ...], Tensor], crops: Tensor) -> Tensor:
    """How a network's appeal head likes crops [B, N, 4] of pictures: [B, N].

    Args: seen: what `looked` gave of a network with the same backbone.
    """
    head = appeal_head(model)
    return head.rate(head.look(seen[0], subject_head(model).sight(*seen)), crops)


def groups(photos: list[Judged], size: int, rng: np.random.Generator) -> Iterator[list[Judged]]:
    """Like-shaped photos by `size`, in random order; what is left of a shape is filled up to eights with others of it,
    so that there are few sizes of batches, for each of which a GPU has to be made ready.
    """
    found = []
    for same in like_shaped([photos[i] for i in rng.permutation(len(photos))]):
        whole = same + (same * 8)[: -len(same) % 8]
        found += [whole[k : k + size] for k in range(0, len(whole), size)]
    for i in rng.permutation(len(found)):
        yield found[i]


def like_shaped(photos: Sequence[Judged]) -> list[list[Judged]]:
    """Photos by their shape, in order."""
    by_shape: dict[tuple[int, ...], list[Judged]] = {}
    for photo in photos:
        by_shape.setdefault(tuple(photo.pixels.shape), []).append(photo)
    return list(by_shape.values())


def gathered(photos: list[Judged], rng: np.random.Generator, recipe: AppealRecipe) -> Batch:
    """A batch, each photo mirrored half of the time."""
    sets = []
    for photo in photos:
        kept = rng.permutation(len(photo.candidates))[: recipe.most_candidates]
        sets.append((np.concatenate([photo.crops, photo.candidates[kept]]), photo.ious[kept]))
    crops = filled_up([own for own, _ in sets])
    most = crops.shape[1]
    followed = filled_up([drawn_candidates(photo, rng, recipe) for photo in photos])
    better, worse, weight, voted, votes = [], [], [], [], []
    soft, ious = [np.zeros((0, recipe.most_candidates), int)], [np.zeros((0, recipe.most_candidates))]
    pixels = torch.stack([photo.pixels for photo in photos])
    for row, (photo, (_, near)) in enumerate(zip(photos, sets, strict=True)):
        start = row * most
        better.append(photo.better + start)
        worse.append(photo.worse + start)
        weight.append(photo.weight)
        ranked = len(photo.crops) - 2 * len(photo.votes)
        voted.append(start + ranked + np.arange(2 * len(photo.votes)).reshape(-1, 2))
        votes.append(photo.votes)
        if len(near) == recipe.most_candidates:
            soft.append(start + len(photo.crops) + np.arange(len(near))[None])
            ious.append(near[None])
        if rng.random() < 0.5:
            pixels[row] = pixels[row].flip(2)
            crops[row] = mirrored(crops[row])
            followed[row] = mirrored(followed[row])

    def joined(arrays: list[np.ndarray]) -> Tensor:
        whole = np.concatenate(arrays)
        return torch.from_numpy(whole if whole.dtype == int else whole.astype(np.float32))

    return Batch(
        pixels=pixels,
        crops=torch.from_numpy(crops),
        better=joined(better),
        worse=joined(worse),
        weight=joined(weight),
        voted=joined(voted),
        votes=joined(votes),
        soft=joined(soft),
        ious=joined(ious),
        followed=torch.from_numpy(followed),
    )


def drawn_candidates(photo: Judged, rng: np.random.Generator, recipe: AppealRecipe) -> np.ndarray:
    """Some candidates of one of RATIOS, [K, 4] fractions; none where there is no teacher to rate them."""
    if not recipe.teacher:
        return np.zeros((0, 4))
    height, width = photo.pixels.shape[1:]
    boxes = ratio_anchors(RATIOS[rng.integers(len(RATIOS))], width, height) / np.array([width, height] * 2)
    return boxes[rng.permutation(len(boxes))[: recipe.most_followed]]


def filled_up(sets: Sequence[np.ndarray]) -> np.ndarray:
    """Sets of crops [N, 4], filled up with the whole picture to the size of the largest: float32 [B, N, 4]."""
    crops = np.tile(np.array([0, 0, 1, 1], np.float32), (len(sets), max(map(len, sets)), 1))
    for row, own in enumerate(sets):
        crops[row, : len(own)] = own
    return crops


def shifted(pixels: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] of another saturation, contrast, brightness and tint, on their device."""

    def drawn(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.empty(len(pixels), channels, 1, 1, device=pixels.device).uniform_(low, high)

    x = pixels.float()
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * drawn(0.6, 1.4)
    return ((x - 128) * drawn(0.75, 1.25) + 128 + drawn(-25, 25) + drawn(-8, 8, 3)).clamp(0, 255)


def appeal_losses(
    liked: Tensor, batch: Batch, temperatures: nn.ParameterDict, recipe: AppealRecipe
) -> dict[str, Tensor]:
    """Logistic loss of ranked pairs, cross-entropy of voted ones, and of best crops as soft targets, weighted."""
    all_liked = liked.flatten()
    zero = all_liked.sum() * 0
    losses = {}
    apart = all_liked[batch.better] - all_liked[batch.worse]
    ranked = (F.softplus(-apart) * batch.weight).sum() / batch.weight.sum().clamp(min=1e-6)
    losses["ranked"] = recipe.ranking_weight * (ranked if len(apart) else zero)
    heat = {name: value.exp() for name, value in temperatures.items()}
    voted = vote_loss(all_liked[batch.voted], batch.votes, heat["vote"]) if len(batch.voted) else zero
    best = (
        best_crop_loss(all_liked[batch.soft], batch.ious, heat["best"], recipe.sharpness) if len(batch.soft) else zero
    )
    return losses | {"voted": recipe.vote_weight * voted, "best": recipe.best_weight * best}


def following_loss(marks: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference of how crops [B, N] of pictures are liked, less each picture's mean: ranks need no
    more.
    """
    difference = marks - wanted
    return (difference - difference.mean(1, keepdim=True)).square().mean()


def keeping_loss(found: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    """How well a subject head tells of pictures what it told before, by the losses of its own training; least, but not
    0, where nothing has changed.

    Args: what `SubjectHead.forward` gives.
    """
    subject, looks, main, heat, sides = (part.float() for part in before)
    sure = heat.sigmoid()
    of_all = torch.ones_like(looks[:, 0, 0])
    shares = looks.flatten(1).softmax(1).view_as(looks)
    wanted = Targets(
        mask=subject.sigmoid(),
        mask_weight=of_all,
        looks=shares,
        looks_known=of_all,
        main=main.sigmoid(),
        main_known=torch.ones_like(main[:, :, 0, 0]),
        heat=sure,
        heat_known=torch.ones_like(sure),
        sides=sides,
        side_weight=sure * (sure > MIN_FIGURE_SCORE),
    )
    return total(subject_losses([part.float() for part in found], wanted, SubjectRecipe()))


@torch.inference_mode()
def liked(model: S2CNet, photos: Sequence[Judged], where: torch.device) -> dict[str, np.ndarray]:
    """How the crops of each photo are liked, and its candidates behind them: [N + M], by name."""
    found: dict[str, np.ndarray] = {}
    for same in like_shaped(photos):
        for k in range(0, len(same), AT_ONCE):
            members = same[k : k + AT_ONCE]
            sets = [np.concatenate([photo.crops, photo.candidates]) for photo in members]
            crops = torch.from_numpy(filled_up(sets)).to(where)
            pixels = torch.stack([photo.pixels for photo in members]).to(where)
            marks = rated(model, looked(model, pixels), crops).float().cpu().numpy()
            found |= {photo.id: row[: len(own)] for photo, row, own in zip(members, marks, sets, strict=True)}
    return found


def measure(model: S2CNet, photos: list[Judged], where: torch.device) -> dict[str, float]:
    """Shares of ranked pairs and of voted pairs that are ordered right."""
    ranked, voted = [], []
    marks = liked(model, photos, where)
    for photo in photos:
        own = marks[photo.id][: len(photo.crops)]
        ranked += (own[photo.better] > own[photo.worse]).tolist()
        if len(photo.votes):
            apart = np.diff(own[-2 * len(photo.votes) :].reshape(-1, 2))[:, 0]
            voted += (apart * np.diff(photo.votes)[:, 0] > 0).tolist()
    return {"pairs": float(np.mean(ranked)), "votes": float(np.mean(voted))}
