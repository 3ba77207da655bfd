"""Learn the choice among candidates: weights of the features of a crop, for a network that is trained already.

Four sources teach one utility. Editor rankings order crops of one ratio; voted pairs of FCDB order any two crops; best
crops of FCDB are soft targets over the candidates of their ratio, and over those of any ratio; lettered copies say that
lines of text stay whole. All are log-likelihoods of the same weighted sum, so that it is a convex problem but for the
signs, which are held: what is cut or lost never adds to a crop's worth.

Weights that are there already can be tuned instead (`tuned`), to rankings or corrections alone.
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
from s2crop.datasets.fixes import is_fixes, read_accepted, read_fixes
from s2crop.datasets.lettering import find_fonts, letter
from s2crop.datasets.metrics import iou
from s2crop.datasets.rankings import Ranking, check_size, photo_path, read_rankings
from s2crop.datasets.split import is_validation
from s2crop.errors import InputError
from s2crop.files.picture import Picture
from s2crop.geometry.anchors import ratio_anchors
from s2crop.geometry.boxes import inside_share, iou_matrix, largest_of_ratio
from s2crop.geometry.ratio import FREE, parse_ratio
from s2crop.geometry.search import SearchConfig, candidates
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
TUNE_FOLDS = 5
MOST_COUNTED = 100  # corrections: what is corrected is one-sided, which does not average out over more of them
LEAST_SPREAD = 0.05  # of a feature, below which a few crops say nothing of how much it differs elsewhere
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
    pull: float = 0.0  # to the weights of the start, which rankings alone then move; 0: none, begin anew
    accepted: tuple[str, ...] = ()  # JSON lines of crops below the data folder: those not corrected were found good
    fold: int = 0  # held out
    seed: int = 0


@dataclass
class Example:
    """What one photo teaches: features of crops, and how they compare."""

    id: str
    rankings: list[tuple[np.ndarray, Ranking]] = field(default_factory=list)  # [K, F]
    # To tune by: for each ranking the candidates of its ratio [N, F], and their IoU with the nearest of its best [N]
    pools: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    pairs: np.ndarray | None = None  # [P, 2, F]
    votes: np.ndarray | None = None  # [P, 2]
    best: tuple[np.ndarray, np.ndarray] | None = None  # [N, F] and IoU with the best crop [N], of its ratio
    free: tuple[np.ndarray, np.ndarray] | None = None  # the same of any ratio
    lettered: tuple[np.ndarray, np.ndarray] | None = None  # [N, F] and share of the lines held whole [N]


def train(recipe: ChoiceRecipe, data: Path, out: Path, *, device: str = "auto", report=print) -> dict:
    """Fit and write `out/weights.safetensors`; returns how well what is held out is ordered, and the weights.

    With a pull, the weights of the start are tuned to all rankings, and what is held out are folds of their photos.

    Raises:
        InputError: rankings, or photos of theirs, that cannot be used.
    """
    run = Run(out, recipe.seed, report)
    cropper = load_start(recipe, out.parent, device)
    examples = gather(cropper, recipe, data, report)
    if recipe.pull:
        results, fixed, free = _tuned_and_checked(examples, cropper, recipe)
    else:
        results, fixed, free = _fitted_and_checked(examples, recipe)
    net = cropper.net
    for name, weights in (("fixed", fixed), ("free", free)):
        getattr(net.choice, name).copy_(torch.from_numpy(weights))
    save_weights(net, out / "weights.safetensors")
    results["weights"] = {name: [float(fixed[i]), float(free[i])] for i, name in enumerate(ALL_NAMES)}
    run.finish(**results)
    run.log(**{key: value for key, value in results.items() if key != "weights"})
    return results


def _fitted_and_checked(examples: list[Example], recipe: ChoiceRecipe) -> tuple[dict, np.ndarray, np.ndarray]:
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
    return results, fixed, free


def _tuned_and_checked(
    examples: list[Example], cropper: Cropper, recipe: ChoiceRecipe
) -> tuple[dict, np.ndarray, np.ndarray]:
    """Each line of weights tuned to the rankings of its kind; those of a free ratio are a choice of shape too."""
    results: dict = {}
    lines = []
    for name, is_free in (("given_ratios", False), ("free_ratio", True)):
        start = cropper.net.choice.weights(is_free).double().cpu().numpy()
        own = [_of_kind(example, is_free) for example in examples]
        own = [example for example in own if example.pools]
        lines.append(tuned(own, start, recipe))
        if own:
            parts = [
                (own[k::TUNE_FOLDS], [e for i, e in enumerate(own) if i % TUNE_FOLDS != k]) for k in range(TUNE_FOLDS)
            ]
            held_out = [expected_ious(out, tuned(others, start, recipe)) for out, others in parts]
            results |= {
                f"{name}_rankings": sum(len(example.rankings) for example in own),
                f"{name}_iou_before": float(expected_ious(own, start).mean()),
                f"{name}_iou_held_out": float(np.concatenate(held_out).mean()),
            }
    return results, lines[0], lines[1]


def _of_kind(example: Example, is_free: bool) -> Example:
    """A photo's rankings of a free ratio, or those of given ones."""
    kept = [i for i, (_, ranking) in enumerate(example.rankings) if (ranking.ratio == FREE) == is_free]
    return Example(example.id, [example.rankings[i] for i in kept], pools=[example.pools[i] for i in kept])


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
    rankings = _read(recipe, data, report)
    labels = {} if recipe.pull else read_fcdb(data / "fcdb/labels_train.json")
    fonts = find_fonts(data)
    lettered = (
        set(sorted(labels)[:: max(1, len(labels) // max(1, recipe.lettered_photos))])
        if recipe.lettered_photos
        else set()
    )
    examples = []
    paths = {name: photo_path(data, name) for name in sorted(rankings.keys() | labels.keys())}
    for done, (name, path) in enumerate(paths.items(), start=1):
        with Picture.open(path) as picture:
            for ranking in rankings.get(name, []):
                check_size(ranking, (picture.width, picture.height))
            prepared = cropper.prepare(picture)
            if name in lettered:
                pixels = np.asarray(picture.crop((0, 0, picture.width, picture.height)).convert("RGB"))
        if done % 200 == 0:
            report(f"{done} of {len(paths)} photos measured")
        if recipe.pull:
            examples.append(_to_tune_by(cropper, prepared, name, rankings[name]))
            continue
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
    return examples


def _read(recipe: ChoiceRecipe, data: Path, report) -> dict[str, list[Ranking]]:
    """All rankings, by photo."""
    found: list[Ranking] = []
    concerned: set[tuple[str, str]] = set()
    for name in recipe.rankings:
        if is_fixes(data / name):
            fixes = read_fixes(data / name)
            report(f"{name}: {fixes.text()}")
            found += fixes.rankings
            concerned |= fixes.concerned
        else:
            found += read_rankings(data / name)
    if not recipe.pull:
        found = [ranking for ranking in found if ranking.ratio != FREE]  # best crops of FCDB teach those
    elif not found:
        raise InputError(f"{data}: nothing to tune to in {', '.join(recipe.rankings)}")
    for name in recipe.accepted if recipe.pull else ():
        accepted = read_accepted(data / name, concerned)
        report(f"{name}: {len(accepted)} crops that were found good")
        found += accepted
    rankings: dict[str, list[Ranking]] = {}
    for ranking in found:
        rankings.setdefault(ranking.photo, []).append(ranking)
    return rankings


def _to_tune_by(cropper: Cropper, prepared: Prepared, name: str, rankings: list[Ranking]) -> Example:
    """A photo with all candidates of its rankings' ratios; between its bars, if its ranked crops are."""
    scale, whole_wh = np.tile((prepared.width, prepared.height), 2), (prepared.width, prepared.height)
    own = [ranking.candidates * scale for ranking in rankings]
    inside = prepared.inside
    if inside is not None and all(inside.holds(box) for box in np.concatenate(own).round()):
        own = [boxes - np.tile(inside.box[:2], 2) for boxes in own]
        prepared = inside.prepared
    size_wh = prepared.width, prepared.height
    pools = [candidates(parse_ratio(ranking.ratio).for_size(*whole_wh), size_wh) for ranking in rankings]
    found = measured(cropper, prepared, own + pools)
    example = Example(name, list(zip(found, rankings, strict=False)))
    for features, pool, boxes, ranking in zip(found[len(own) :], pools, own, rankings, strict=True):
        example.pools.append((features, iou_matrix(pool, boxes[list(ranking.groups[0])]).max(axis=1)))
    return example


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


def tuned(examples: list[Example], start: np.ndarray, recipe: ChoiceRecipe) -> np.ndarray:
    """The weights [F] that corrections move those of the start to.

    Least is the sum of -log p(best) over rankings and `pull` times the squared way from the start, with

        p(best) = sum over candidates c of softmax(utility / T)[c] * exp((IoU(c, best) - 1) / sharpness)

    and T that of the search. The candidates are those of the ratio, not the two crops of a correction: a frame is
    corrected where the choice went wrong, so that pairs alone would say that everything it went by is wrong, and never
    that it is far enough. No ranking, no move; more than MOST_COUNTED weigh no more than so many.

    What a weight moves is counted in deviations of its feature, as its units say nothing of how much it matters; of
    features that hardly differ among these crops, in LEAST_SPREAD.
    """
    rows = [row for example in examples for row in example.pools]
    if not rows:
        return start
    spread = np.concatenate([features for features, _ in rows]).std(axis=0).clip(LEAST_SPREAD)
    x, near, absent = _stacked(rows, spread)
    near = torch.where(absent < 0, absent, (near - 1) / recipe.sharpness)
    share = min(1.0, MOST_COUNTED / len(rows))
    least, most = np.full(len(ALL_NAMES), -np.inf), np.full(len(ALL_NAMES), np.inf)
    for i, name in enumerate(ALL_NAMES):
        most[i] = min(np.inf if name not in NEVER_BETTER else 0.0, -recipe.floors.get(name, -np.inf))
        least[i] = 0.0 if name in NEVER_WORSE else -np.inf
    low, high, anchor = (torch.from_numpy(np.float32(weights * spread)) for weights in (least, most, start))
    raw = anchor.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([raw], max_iter=150, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        chance = (x @ raw.clamp(low, high) / SearchConfig().temperature + absent).log_softmax(1)
        loss = recipe.pull * (raw - anchor).square().sum() - share * (chance + near).logsumexp(1).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    moved = (raw.detach() - anchor).double().numpy() / spread
    return (start + moved).clip(least, most)


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
    x, target, absent = _stacked(rows, spread)
    wanted = (target / sharpness + absent).softmax(1)
    return lambda weights, heat: -(wanted * (heat * (x @ weights) + absent).log_softmax(1).clamp(min=-50)).sum(1).mean()


def _stacked(rows: list[tuple[np.ndarray, np.ndarray]], spread: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Features [R, N, F] in deviations and targets [R, N] of sets of candidates, and what to add to the logarithm of a
    chance: 0, or next to minus infinity where a set has no more candidates."""
    most = max(len(features) for features, _ in rows)
    x = np.zeros((len(rows), most, len(spread)), np.float32)
    targets, absent = np.zeros((len(rows), most), np.float32), np.full((len(rows), most), -1e9, np.float32)
    for i, (features, target) in enumerate(rows):
        x[i, : len(features)], targets[i, : len(features)], absent[i, : len(features)] = features / spread, target, 0
    return torch.from_numpy(x), torch.from_numpy(targets), torch.from_numpy(absent)


def pairs_right(examples: list[Example], weights: np.ndarray) -> np.ndarray:
    """For each pair of ranked crops 1 where the weights order it right, 0.5 where not at all."""
    right = [np.zeros(0)]
    for example in examples:
        for features, ranking in example.rankings:
            better, worse = ranking.pairs()
            margin = (features[better] - features[worse]) @ weights
            right.append((margin > 0) + 0.5 * (margin == 0))
    return np.concatenate(right)


def ordered_right(examples: list[Example], weights: np.ndarray) -> float:
    """Share of the pairs of ranked crops that the weights order right."""
    right = pairs_right(examples, weights)
    return float(right.mean()) if len(right) else float("nan")


def expected_ious(examples: list[Example], weights: np.ndarray) -> np.ndarray:
    """For each ranking the IoU with its best crop that is expected of a choice by softmax(utility / T)."""
    found = []
    for features, near in [row for example in examples for row in example.pools]:
        utilities = features @ weights
        chance = np.exp((utilities - utilities.max()) / SearchConfig().temperature)
        found.append(near @ chance / chance.sum())
    return np.array(found)


def votes_right(examples: list[Example], weights: np.ndarray) -> float:
    """Share of FCDB's voted pairs that the weights order as the majority does."""
    right = []
    for example in examples:
        if example.votes is not None:
            margin = (example.pairs[:, 0] - example.pairs[:, 1]) @ weights
            right += list(margin * (example.votes[:, 0] - example.votes[:, 1]) > 0)
    return float(np.mean(right)) if right else float("nan")
