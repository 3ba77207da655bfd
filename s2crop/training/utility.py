"""The utility of a crop as a convex problem: the weights of its features that explain best how crops compare.

All losses are log-likelihoods of one weighted sum, so that the problem is convex but for the signs, which are held:
what is cut or lost never adds to a crop's worth.

Weights that are there already can be tuned instead (`tuned`), to rankings or corrections alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from s2crop.cropping.features import ALL_NAMES
from s2crop.datasets.rankings import Ranking
from s2crop.geometry.search import SearchConfig

NEVER_BETTER = tuple(
    name
    for name in ALL_NAMES
    if any(part in name for part in ("cut", "lost", "halved"))
    or name.endswith("_far")
    or name in ("zoom", "tight", "head_off_x", "main_off_x", "main_off_y_size")
)
NEVER_WORSE = ("score", "appeal", "looks_held")
# The least that cutting or losing what is protected costs, whatever the rankings say: their editor cares little for
# writing on things, and ranked few crops of which one holds a face and another does not. Set after the fit: fitting the
# others around them chose no better.
FLOORS = {"head_lost": 3.5, "eyes_lost": 10.0, "head_cut": 0.5, "text_lost": 45.0, "text_cut": 56.0}
MOST_COUNTED = 100  # corrections: what is corrected is one-sided, which does not average out over more of them
LEAST_SPREAD = 0.05  # of a feature, below which a few crops say nothing of how much it differs elsewhere
LETTERED_SHARPNESS = 0.2  # of soft targets over crops of a lettered copy, in shares of its lines


@dataclass(frozen=True)
class ChoiceRecipe:
    """Choices of this training; a TOML file sets them."""

    model: str = "s2cnet"
    start: str = "s2cnet"  # run whose network is given a choice; "shipped" takes the shipped weights
    subjects: str = "subjects"  # run that gives the subject head; "" keeps what the network has
    appeal: str = "appeal"  # run that gives the appeal head; "" keeps what the network has
    text: str = "text"  # run that gives the text head; "" keeps what the network has
    animals: str = "animals"  # run that gives the finder of animals; "" keeps what the network has
    appeal_folds: tuple[str, ...] = ()  # runs whose heads held out photos, which are rated by those: "appeal-0", ...
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
    near: str = ""  # run, or "shipped", whose weights the fit is drawn to in place of 0; "" is none
    kept: tuple[str, ...] = ()  # features whose weights stay those of that run
    pull: float = 0.0  # to the weights of the start, which rankings alone then move; 0: none, begin anew
    accepted: tuple[str, ...] = ()  # JSON lines of crops below the data folder: those not corrected were found good
    fold: int = 0  # held out
    seed: int = 0


class Pool(NamedTuple):
    """N candidates of one photo, and how good each is: what is chosen among, and a soft target."""

    features: np.ndarray  # [N, F]
    targets: np.ndarray  # [N] 0 to 1, the more the better


class Voted(NamedTuple):
    """P pairs of crops of one photo that people voted on."""

    features: np.ndarray  # [P, 2, F]
    votes: np.ndarray  # [P, 2] for each crop of a pair


@dataclass
class Example:
    """What one photo teaches: features of crops, and how they compare."""

    id: str
    rankings: list[tuple[np.ndarray, Ranking]] = field(default_factory=list)  # features [K, F] of its candidates
    # To tune by: for each ranking the candidates of its ratio, and their IoU with the nearest of its best
    pools: list[Pool] = field(default_factory=list)
    voted: Voted | None = None
    best: Pool | None = None  # candidates of the best crop's ratio, and their IoU with it
    free: Pool | None = None  # the same of any ratio
    lettered: Pool | None = None  # crops of a lettered copy, and the share of the lines that each holds whole


Loss = Callable[[Tensor, Tensor | float], Tensor]  # of weights [F] and a factor on the utility


def fit(
    examples: list[Example], recipe: ChoiceRecipe, of_any_ratio: bool = False, near: np.ndarray | None = None
) -> np.ndarray:
    """The weights [F] that explain the examples best.

    Args:
        of_any_ratio: of crops of a free ratio.
        near: weights that others are drawn to; none: to 0.
    """
    free = [e.free.features for e in examples if e.free is not None]
    spread = np.concatenate(free + [features for e in examples for features, _ in e.rankings])
    spread = spread.std(axis=0) + 1e-4
    parts: list[tuple[float, Loss]] = []
    if recipe.ranking_weight:
        parts.append((recipe.ranking_weight, _ranking_loss(examples, spread, recipe.bad_weight)))
    if recipe.vote_weight:
        parts.append((recipe.vote_weight, _vote_loss(examples, spread)))
    for weight, pools, sharpness in (
        (recipe.best_weight, [e.best for e in examples], recipe.sharpness),
        (recipe.free_weight * of_any_ratio, [e.free for e in examples], recipe.sharpness),
        (recipe.lettered_weight, [e.lettered for e in examples], LETTERED_SHARPNESS),
    ):
        there = [pool for pool in pools if pool is not None]
        if weight and there:
            parts.append((weight, _soft_loss(there, spread, sharpness)))

    sign = torch.tensor([-1.0 if n in NEVER_BETTER else 1.0 if n in NEVER_WORSE else 0.0 for n in ALL_NAMES])
    anchor = torch.zeros(len(ALL_NAMES)) if near is None else torch.from_numpy(near * spread).float()
    kept = torch.tensor([near is not None and name in recipe.kept for name in ALL_NAMES])
    raw = anchor.clone().requires_grad_(True)
    temperatures = torch.zeros(len(parts), requires_grad=True)  # logarithms
    optimizer = torch.optim.LBFGS([raw, temperatures], max_iter=150, line_search_fn="strong_wolfe")

    def weights() -> Tensor:
        moved = torch.where(sign == 0, raw, sign * F.softplus(20 * sign * raw) / 20)
        return torch.where(kept, anchor, moved)

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
    pools = [pool for example in examples for pool in example.pools]
    if not pools:
        return start
    spread = np.concatenate([features for features, _ in pools]).std(axis=0).clip(LEAST_SPREAD)
    x, near, absent = _stacked(pools, spread)
    near = torch.where(absent < 0, absent, (near - 1) / recipe.sharpness)
    share = min(1.0, MOST_COUNTED / len(pools))
    least, most = np.full(len(ALL_NAMES), -np.inf), np.full(len(ALL_NAMES), np.inf)
    for i, name in enumerate(ALL_NAMES):
        most[i] = 0.0 if name in NEVER_BETTER else np.inf
        if name in recipe.floors:  # or what the start has, where that is less
            most[i] = min(most[i], max(-recipe.floors[name], start[i]))
        least[i] = 0.0 if name in NEVER_WORSE else -np.inf
    low, high, anchor = (torch.from_numpy((weights * spread).astype(np.float32)) for weights in (least, most, start))
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


def _ranking_loss(examples: list[Example], spread: np.ndarray, bad_weight: float) -> Loss:
    """Of pairs of ranked crops, each ranking weighing as the root of its pairs."""
    differences, counts = [], []
    for example in examples:
        for features, ranking in example.rankings:
            better, worse = ranking.pairs()
            if len(better):
                refused = np.isin(worse, list(ranking.bad)) & ~np.isin(better, list(ranking.bad))
                differences.append((features[better] - features[worse]) / spread)
                counts.append(np.where(refused, bad_weight, 1.0) / len(better) ** 0.5)
    x = torch.from_numpy(np.concatenate(differences).astype(np.float32))
    count = torch.from_numpy(np.concatenate(counts).astype(np.float32))
    return lambda weights, heat: (F.softplus(-heat * (x @ weights)) * count).sum() / count.sum()


def _vote_loss(examples: list[Example], spread: np.ndarray) -> Loss:
    """Of voted pairs: cross-entropy against the share of votes that the first crop has."""
    voted = [e.voted for e in examples if e.voted is not None]
    x = torch.from_numpy(np.concatenate([(f[:, 0] - f[:, 1]) / spread for f, _ in voted]).astype(np.float32))
    votes = np.concatenate([own for _, own in voted])
    share = torch.from_numpy((votes[:, 0] / votes.sum(axis=1).clip(min=1)).astype(np.float32))
    return lambda weights, heat: F.binary_cross_entropy_with_logits(heat * (x @ weights), share)


def _soft_loss(pools: Sequence[Pool], spread: np.ndarray, sharpness: float) -> Loss:
    """Cross-entropy of softmax(utility) against softmax(target / sharpness), over the candidates of each photo."""
    x, target, absent = _stacked(pools, spread)
    wanted = (target / sharpness + absent).softmax(1)
    return lambda weights, heat: -(wanted * (heat * (x @ weights) + absent).log_softmax(1).clamp(min=-50)).sum(1).mean()


def _stacked(pools: Sequence[Pool], spread: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Features [R, N, F] in deviations and targets [R, N] of sets of candidates, and what to add to the logarithm of a
    chance: 0, or next to minus infinity where a set has no more candidates."""
    most = max(len(features) for features, _ in pools)
    x = np.zeros((len(pools), most, len(spread)), np.float32)
    targets, absent = np.zeros((len(pools), most), np.float32), np.full((len(pools), most), -1e9, np.float32)
    for i, (features, target) in enumerate(pools):
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
    for features, near in [pool for example in examples for pool in example.pools]:
        utilities = features @ weights
        chance = np.exp((utilities - utilities.max()) / SearchConfig().temperature)
        found.append(near @ chance / chance.sum())
    return np.array(found)


def votes_right(examples: list[Example], weights: np.ndarray) -> float:
    """Share of FCDB's voted pairs that the weights order as the majority does."""
    right: list[bool] = []
    for example in examples:
        if example.voted is not None:
            features, votes = example.voted
            margin = (features[:, 0] - features[:, 1]) @ weights
            right += (margin * (votes[:, 0] - votes[:, 1]) > 0).tolist()
    return float(np.mean(right)) if right else float("nan")
