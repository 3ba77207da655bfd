"""Learn the choice among candidates: weights of the features of a crop, for a network that is trained already.

Four sources teach one utility. Editor rankings order crops of one ratio; voted pairs of FCDB order any two crops; best
crops of FCDB are soft targets over the candidates of their ratio, and over those of any ratio; lettered copies say that
lines of text stay whole. All are log-likelihoods of the same weighted sum, so that it is a convex problem but for the
signs, which are held: what is cut or lost never adds to a crop's worth.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from s2crop.cropping.cropper import Cropper
from s2crop.cropping.features import ALL_NAMES
from s2crop.cropping.request import Prepared
from s2crop.datasets.fcdb import read_fcdb
from s2crop.datasets.lettering import find_fonts, letter
from s2crop.datasets.metrics import iou
from s2crop.datasets.rankings import Ranking, photo_path, read_rankings
from s2crop.datasets.split import is_validation
from s2crop.files.picture import Picture
from s2crop.geometry.anchors import ratio_anchors
from s2crop.geometry.boxes import inside_share, largest_of_ratio
from s2crop.geometry.search import candidates
from s2crop.models.weights import save_weights
from s2crop.training.run import Run

NEVER_BETTER = tuple(
    name
    for name in ALL_NAMES
    if "cut" in name or "lost" in name or name.endswith("_far") or name in ("zoom", "tight", "head_off_x")
)
NEVER_WORSE = ("score", "looks_held")
# The least that cutting or losing what is protected costs, whatever the rankings say: their editor cares little for
# writing on things, and ranked few crops of which one holds a face and another does not. Set after the fit: fitting the
# others around them chose no better.
FLOORS = {"head_lost": 5.0, "eyes_lost": 3.0, "head_cut": 1.5, "text_lost": 5.0, "text_cut": 5.0}
LETTERED_RATIOS = (1.0, 16 / 9, 9 / 16, 0.8)


@dataclass(frozen=True)
class ChoiceRecipe:
    """Choices of this training; a TOML file sets them."""

    model: str = "s2cnet"
    start: str = "s2cnet"  # run whose network is given a choice; "shipped" takes the shipped weights
    subjects: str = "subjects"  # run that gives the subject head; "" keeps what the network has
    rankings: tuple[str, ...] = ("editor_rankings.json",)  # files below the data folder
    ranking_weight: float = 1.0
    vote_weight: float = 0.5
    best_weight: float = 0.05
    lettered_weight: float = 0.1
    lettered_photos: int = 300
    free_weight: float = 0.5  # of best crops over candidates of any ratio, for crops of a free ratio
    shrink: float = 0.005  # of the squared weights, in deviations of the features
    sharpness: float = 0.1  # of soft targets over candidates, in IoU
    floors: Mapping[str, float] = field(default_factory=lambda: dict(FLOORS))  # feature -> least cost of one unit
    bad_weight: float = 1.5  # of a pair whose worse crop would be refused and whose better one would not
    fold: int = 0  # held out
    seed: int = 0


@dataclass
class Example:
    """What one photo teaches: features of crops, and how they compare."""

    id: str
    rankings: list[tuple[np.ndarray, Ranking]] = field(default_factory=list)  # [K, F]
    pairs: np.ndarray | None = None  # [P, 2, F]
    votes: np.ndarray | None = None  # [P, 2]
    best: tuple[np.ndarray, np.ndarray] | None = None  # [N, F] and IoU with the best crop [N], of its ratio
    free: tuple[np.ndarray, np.ndarray] | None = None  # the same of any ratio
    lettered: tuple[np.ndarray, np.ndarray] | None = None  # [N, F] and share of the lines held whole [N]


def train(recipe: ChoiceRecipe, data: Path, out: Path, *, device: str = "auto", report=print) -> dict:
    """Fit and write `out/weights.safetensors`; returns how well the held-out fold is ordered, and the weights."""
    run = Run(out, recipe.seed, report)
    cropper = load_start(recipe, out.parent, device)
    examples = gather(cropper, recipe, data, report)
    training = [e for e in examples if not is_validation(e.id, recipe.fold)]
    fixed = fit(training, recipe)
    free = fit(
        training, dataclasses.replace(recipe, ranking_weight=0.0, best_weight=0.0), of_any_ratio=True, near=fixed
    )
    held_out = [e for e in examples if is_validation(e.id, recipe.fold)]
    results = {
        "pairs": ordered_right(held_out, fixed),
        "votes": votes_right(held_out, fixed),
        "rankings": len(held_out),
    }
    net = cropper.net
    for name, weights in (("fixed", fixed), ("free", free)):
        getattr(net.choice, name).copy_(torch.from_numpy(weights))
    save_weights(net, out / "weights.safetensors")
    results["weights"] = {name: [float(fixed[i]), float(free[i])] for i, name in enumerate(ALL_NAMES)}
    run.finish(**results)
    run.log(**{key: value for key, value in results.items() if key != "weights"})
    return results


def load_start(recipe: ChoiceRecipe, runs: Path, device: str) -> Cropper:
    """A cropper with the network to be given a choice, its subject head in place."""
    from s2crop.training.subjects import with_subjects

    weights = None if recipe.start == "shipped" else runs / recipe.start / "weights.safetensors"
    if recipe.subjects:
        folder = runs / f"{recipe.model}-with-subjects"
        folder.mkdir(parents=True, exist_ok=True)
        weights = with_subjects(recipe.model, weights, runs / recipe.subjects / "weights.safetensors", folder)
    return Cropper(recipe.model, weights, device)


def gather(cropper: Cropper, recipe: ChoiceRecipe, data: Path, report=print) -> list[Example]:
    """Features of all that is learned from, one backbone pass a photo."""
    rankings: dict[str, list[Ranking]] = {}
    for name in recipe.rankings:
        for ranking in read_rankings(data / name):
            rankings.setdefault(ranking.photo, []).append(ranking)
    labels = read_fcdb(data / "fcdb/labels_train.json")
    fonts = find_fonts(data)
    lettered = (
        set(sorted(labels)[:: max(1, len(labels) // max(1, recipe.lettered_photos))])
        if recipe.lettered_photos
        else set()
    )
    examples = []
    names = sorted(rankings.keys() | labels.keys())
    for done, name in enumerate(names, start=1):
        with Picture.open(photo_path(data, name)) as picture:
            prepared = cropper.prepare(picture)
            pixels = np.asarray(picture.crop((0, 0, picture.width, picture.height)).convert("RGB"))
        size_wh = prepared.width, prepared.height
        scale = np.tile(size_wh, 2)
        sets = [ranking.candidates * scale for ranking in rankings.get(name, [])]
        label = labels.get(name)
        if label is not None:
            sides = (label.best[2:] - label.best[:2]) * size_wh
            sets += [
                label.pairs.reshape(-1, 4) * scale,
                ratio_anchors(float(sides[0] / sides[1]), *size_wh),
                candidates(None, size_wh),
            ]
        found = measured(cropper, prepared, sets)
        example = Example(name, list(zip(found, rankings.get(name, []), strict=False)))
        if label is not None:
            pairs, best, free = found[-3:]
            example.pairs, example.votes = pairs.reshape(-1, 2, pairs.shape[1]), label.votes
            example.best = best, iou(sets[-2] / scale, label.best[None])
            example.free = free, iou(sets[-1] / scale, label.best[None])
        if name in lettered:
            example.lettered = _lettered(cropper, pixels, done, fonts)
        examples.append(example)
        if done % 200 == 0:
            report(f"{done} of {len(names)} photos measured")
    return examples


def measured(cropper: Cropper, prepared: Prepared, sets: list[np.ndarray]) -> list[np.ndarray]:
    """Features [K, F], score included, of sets of boxes [K, 4] in pixels of one picture."""
    features = cropper.features_prepared(prepared, np.concatenate(sets)).astype(np.float32)
    return np.split(features, np.cumsum([len(boxes) for boxes in sets])[:-1])


def _lettered(cropper: Cropper, pixels: np.ndarray, number: int, fonts) -> tuple[np.ndarray, np.ndarray]:
    """A lettered copy of a photo: the largest crops of one ratio, and what share of the lines each holds whole."""
    lettered, lines, _ = letter(pixels, np.random.default_rng(number), fonts)
    prepared = cropper.prepare(Picture.open(lettered))
    size_wh = prepared.width, prepared.height
    largest = np.array(largest_of_ratio(LETTERED_RATIOS[number % 4], *size_wh))
    start = np.linspace(0, 1, 25)[:, None] * (size_wh - largest)
    boxes = np.concatenate([start, start + largest], axis=1)
    return measured(cropper, prepared, [boxes])[0], (inside_share(boxes, lines) > 0.97).mean(axis=1)


def fit(
    examples: list[Example], recipe: ChoiceRecipe, of_any_ratio: bool = False, near: np.ndarray | None = None
) -> np.ndarray:
    """The weights [F] that explain the examples best.

    Args:
        of_any_ratio: of crops of a free ratio.
        near: weights that others are drawn to; none: to 0.
    """
    spread = np.concatenate([e.free[0] for e in examples if e.free] + [x for e in examples for x, _ in e.rankings])
    spread = spread.std(axis=0) + 1e-4
    parts = []
    if recipe.ranking_weight:
        parts.append((recipe.ranking_weight, _ranking_loss(examples, spread, recipe.bad_weight)))
    if recipe.vote_weight:
        parts.append((recipe.vote_weight, _vote_loss(examples, spread)))
    soft = [("best", recipe.best_weight), ("free", recipe.free_weight * of_any_ratio)]
    soft = [(name, weight, recipe.sharpness) for name, weight in soft]
    soft.append(("lettered", recipe.lettered_weight, 0.2))
    for name, weight, sharpness in soft:
        rows = [getattr(e, name) for e in examples if getattr(e, name) is not None]
        if weight and rows:
            parts.append((weight, _soft_loss(rows, spread, sharpness)))

    sign = torch.tensor([-1.0 if n in NEVER_BETTER else 1.0 if n in NEVER_WORSE else 0.0 for n in ALL_NAMES])
    anchor = torch.zeros(len(ALL_NAMES)) if near is None else torch.from_numpy(near * spread).float()
    raw = anchor.clone().requires_grad_(True)
    temperatures = torch.zeros(len(parts), requires_grad=True)  # logarithms
    optimizer = torch.optim.LBFGS([raw, temperatures], max_iter=150, line_search_fn="strong_wolfe")

    def weights() -> Tensor:
        return torch.where(sign == 0, raw, sign * F.softplus(20 * sign * raw) / 20)

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = weights()
        loss = recipe.shrink * (found - anchor).square().sum()
        for number, (weight, part) in enumerate(parts):
            loss = loss + weight * part(found, temperatures[number].exp() if number or near is not None else 1.0)
        loss.backward()
        return loss

    optimizer.step(closure)
    least = np.array([recipe.floors.get(name, -np.inf) for name in ALL_NAMES])
    return np.minimum(weights().detach().double().numpy() / spread, -least)


def _ranking_loss(examples: list[Example], spread: np.ndarray, bad_weight: float):
    """Of pairs of ranked crops, each ranking weighing as the root of its pairs."""
    differences, counts = [], []
    for example in examples:
        for features, ranking in example.rankings:
            better, worse = ranking.pairs()
            if len(better):
                refused = np.isin(worse, list(ranking.bad)) & ~np.isin(better, list(ranking.bad))
                differences.append((features[better] - features[worse]) / spread)
                counts.append(np.where(refused, bad_weight, 1.0) / len(better) ** 0.5)
    x = torch.from_numpy(np.float32(np.concatenate(differences)))
    count = torch.from_numpy(np.float32(np.concatenate(counts)))
    return lambda weights, heat: (F.softplus(-heat * (x @ weights)) * count).sum() / count.sum()


def _vote_loss(examples: list[Example], spread: np.ndarray):
    with_votes = [e for e in examples if e.votes is not None]
    x = torch.from_numpy(np.float32(np.concatenate([(e.pairs[:, 0] - e.pairs[:, 1]) / spread for e in with_votes])))
    votes = np.concatenate([e.votes for e in with_votes])
    share = torch.from_numpy(np.float32(votes[:, 0] / votes.sum(axis=1).clip(min=1)))
    return lambda weights, heat: F.binary_cross_entropy_with_logits(heat * (x @ weights), share)


def _soft_loss(rows: list[tuple[np.ndarray, np.ndarray]], spread: np.ndarray, sharpness: float):
    """Cross-entropy of softmax(utility) against softmax(target / sharpness), over the candidates of each photo."""
    most = max(len(features) for features, _ in rows)
    x = np.zeros((len(rows), most, len(spread)), np.float32)
    wanted, absent = np.zeros((len(rows), most), np.float32), np.full((len(rows), most), -1e9, np.float32)
    for i, (features, target) in enumerate(rows):
        x[i, : len(features)], absent[i, : len(features)] = features / spread, 0
        chance = np.exp((target - target.max()) / sharpness)
        wanted[i, : len(features)] = chance / chance.sum()
    x, wanted, absent = map(torch.from_numpy, (x, wanted, absent))
    return lambda weights, heat: -(wanted * (heat * (x @ weights) + absent).log_softmax(1).clamp(min=-50)).sum(1).mean()


def ordered_right(examples: list[Example], weights: np.ndarray) -> float:
    """Share of the pairs of ranked crops that the weights order right; a tie counts half."""
    right = []
    for example in examples:
        for features, ranking in example.rankings:
            better, worse = ranking.pairs()
            margin = (features[better] - features[worse]) @ weights
            right += list((margin > 0) + 0.5 * (margin == 0))
    return float(np.mean(right)) if right else float("nan")


def votes_right(examples: list[Example], weights: np.ndarray) -> float:
    """Share of FCDB's voted pairs that the weights order as the majority does."""
    right = []
    for example in examples:
        if example.votes is not None:
            margin = (example.pairs[:, 0] - example.pairs[:, 1]) @ weights
            right += list(margin * (example.votes[:, 0] - example.votes[:, 1]) > 0)
    return float(np.mean(right)) if right else float("nan")
