"""Learn the choice among candidates: weights of the features of a crop, for a network that is trained already.

Four sources teach one utility. Editor rankings order crops of one ratio; voted pairs of FCDB order any two crops; best
crops of FCDB are soft targets over the candidates of their ratio, and over those of any ratio; lettered copies say that
lines of text stay whole. Here they are gathered and measured; `utility` fits the weights to them, or tunes weights that
are there already.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

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
from s2crop.geometry.search import candidates
from s2crop.models.appeal import AppealHead
from s2crop.models.choice import Choice
from s2crop.models.weights import load_model, save_weights
from s2crop.training import parts
from s2crop.training.appeal import RATIOS, heads_by_fold
from s2crop.training.run import Report, Run
from s2crop.training.utility import (
    ChoiceRecipe,
    Example,
    Pool,
    Voted,
    expected_ious,
    fit,
    ordered_right,
    tuned,
    votes_right,
)

TUNE_FOLDS = 5


def train(
    recipe: ChoiceRecipe, data: Path, out: Path, *, device: str = "auto", report: Report = print
) -> dict[str, Any]:
    """Fit and write `out/weights.safetensors`; returns how well what is held out is ordered, and the weights.

    With a pull, the weights of the start are tuned to all rankings, and what is held out are folds of their photos.

    Raises:
        InputError: rankings, or photos of theirs, that cannot be used; a network without a subject head.
    """
    run = Run(out, recipe.seed, report)
    cropper = load_start(recipe, out.parent, device)
    choice = parts.choice(cropper.net)
    heads = heads_by_fold([out.parent / name for name in recipe.appeal_folds], cropper.device)
    examples = gather(cropper, recipe, data, report, heads)
    if recipe.pull:
        results, fixed, free = _tuned_and_checked(examples, choice, recipe)
    else:
        near = None
        if recipe.near:
            path = parts.start_weights(recipe.near, out.parent, recipe.model)
            near = parts.choice(load_model(recipe.model, path))
        results, fixed, free = _fitted_and_checked(examples, recipe, near)
    choice.fixed.copy_(torch.from_numpy(fixed))
    choice.free.copy_(torch.from_numpy(free))
    save_weights(cropper.net, out / "weights.safetensors")
    results["weights"] = {name: [float(fixed[i]), float(free[i])] for i, name in enumerate(ALL_NAMES)}
    run.finish(**results)
    run.log(**{key: value for key, value in results.items() if key != "weights"})
    return results


def _fitted_and_checked(
    examples: list[Example], recipe: ChoiceRecipe, near: Choice | None
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Weights for crops of given ratios, and of a free one, and how well they order what is held out."""
    training = [e for e in examples if not is_validation(e.id, recipe.fold)]
    drawn_to = None if near is None else [near.weights(free).double().numpy() for free in (False, True)]
    fixed = fit(training, recipe, near=None if drawn_to is None else drawn_to[0])
    free = fit(
        training,
        dataclasses.replace(recipe, ranking_weight=0.0, best_weight=0.0),
        of_any_ratio=True,
        near=fixed if drawn_to is None else drawn_to[1],
    )
    held_out = [e for e in examples if is_validation(e.id, recipe.fold)]
    results = {
        "pairs": ordered_right(held_out, fixed),
        "votes": votes_right(held_out, fixed),
        "rankings": len(held_out),
    }
    return results, fixed, free


def _tuned_and_checked(
    examples: list[Example], choice: Choice, recipe: ChoiceRecipe
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Each line of weights tuned to the rankings of its kind; those of a free ratio are a choice of shape too."""
    results: dict[str, Any] = {}
    lines = []
    for name, is_free in (("given_ratios", False), ("free_ratio", True)):
        start = choice.weights(is_free).double().cpu().numpy()
        own = [_of_kind(example, is_free) for example in examples]
        own = [example for example in own if example.pools]
        lines.append(tuned(own, start, recipe))
        if own:
            folds = [
                (own[k::TUNE_FOLDS], [e for i, e in enumerate(own) if i % TUNE_FOLDS != k]) for k in range(TUNE_FOLDS)
            ]
            held_out = [expected_ious(out, tuned(others, start, recipe)) for out, others in folds]
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
    """A cropper with the network to be given a choice, its other heads in place."""
    from s2crop.training.subjects import with_head

    weights = None if recipe.start == "shipped" else runs / recipe.start / "weights.safetensors"
    for part, run in (
        ("subject_head", recipe.subjects),
        ("appeal_head", recipe.appeal),
        ("text_head", recipe.text),
        ("animal_head", recipe.animals),
    ):
        if run:
            folder = runs / f"{recipe.model}-with-heads"
            folder.mkdir(parents=True, exist_ok=True)
            weights = with_head(part, recipe.model, weights, runs / run / "weights.safetensors", folder)
    return Cropper(recipe.model, weights, device)


def gather(
    cropper: Cropper, recipe: ChoiceRecipe, data: Path, report: Report, heads: Mapping[int, AppealHead]
) -> list[Example]:
    """Features of all that is learned from, one backbone pass a photo.

    Args: heads: by fold that they held out; the appeal of crops of its photos is theirs, as the network's own head
        knows these photos.
    """
    own_head = cropper.net.appeal_head
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
        cropper.net.appeal_head = next((head for fold, head in heads.items() if is_validation(name, fold)), own_head)
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
            example.voted = Voted(pairs.reshape(-1, 2, pairs.shape[1]), label.votes)
            example.best = Pool(best, iou(sets[-2] / scale, label.best[None]))
            example.free = Pool(free, iou(sets[-1] / scale, label.best[None]))
        if name in lettered:
            example.lettered = _lettered(cropper, pixels, done, fonts)
        examples.append(example)
    cropper.net.appeal_head = own_head
    return examples


def _read(recipe: ChoiceRecipe, data: Path, report: Report) -> dict[str, list[Ranking]]:
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
        example.pools.append(Pool(features, iou_matrix(pool, boxes[list(ranking.groups[0])]).max(axis=1)))
    return example


def measured(cropper: Cropper, prepared: Prepared, sets: list[np.ndarray]) -> list[np.ndarray]:
    """Features [K, F], score included, of sets of boxes [K, 4] in pixels of one picture."""
    features = cropper.features_prepared(prepared, np.concatenate(sets)).astype(np.float32)
    return np.split(features, np.cumsum([len(boxes) for boxes in sets])[:-1])


def _lettered(cropper: Cropper, pixels: np.ndarray, number: int, fonts: tuple[Path, ...]) -> Pool:
    """A lettered copy of a photo: the largest crops of one ratio, and what share of the lines each holds whole."""
    lettered, lines, _ = letter(pixels, np.random.default_rng(number), fonts)
    prepared = cropper.prepare(Picture.open(lettered))
    size_wh = prepared.width, prepared.height
    largest = np.array(largest_of_ratio(RATIOS[number % 4], *size_wh))
    start = np.linspace(0, 1, 25)[:, None] * (size_wh - largest)
    boxes = np.concatenate([start, start + largest], axis=1)
    (features,) = measured(cropper, prepared, [boxes])
    return Pool(features, (inside_share(boxes, lines) > 0.97).mean(axis=1))
