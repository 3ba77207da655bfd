"""Recipes: TOML files that say what a training makes."""

import dataclasses
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2crop.errors import InputError

if TYPE_CHECKING:
    from s2crop.training.run import Report

FOLDER = Path(__file__).parent / "recipes"
KINDS = ("proposals", "graph", "sfrc", "asmnet", "gaic", "subjects", "text", "animals", "appeal", "choice")


# Of a value's type in a recipe: what may be given in its place, and what that is called.
_TYPES: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    tuple: ((list, tuple), "a list"),
    dict: ((dict,), "a table"),
}


def recipe_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_recipe(name: str, changes: Sequence[str] = ()) -> dict:
    """A recipe of ours by name, or a file.

    Args:
        changes: "table.key=value", value in TOML's spelling or a bare word.
    Raises:
        InputError: no such recipe, or not a usable one.
    """
    path = FOLDER / f"{name}.toml" if name in recipe_names() else Path(name)
    try:
        recipe = tomllib.loads(path.read_text())
    except OSError:
        raise InputError(f"no recipe {name!r}: a TOML file, or one of {', '.join(recipe_names())}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    if recipe.get("kind") not in KINDS:
        raise InputError(f"{path}: kind is one of {', '.join(KINDS)}")
    for change in changes:
        key, _, value = change.partition("=")
        table, _, name = key.strip().partition(".")
        if table not in ("network", "training") or not name or not value:
            raise InputError(f"{change!r} is not a change: network.KEY=VALUE or training.KEY=VALUE")
        try:
            value = tomllib.loads(f"x = {value}")["x"]
        except tomllib.TOMLDecodeError:
            value = value.strip()
        recipe.setdefault(table, {})[name] = value
    return recipe


def _typed(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """What a recipe says of its training. Raises ValueError where something is not what the kind has there."""
    for field in dataclasses.fields(kind):
        usual = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if field.name in given and type(usual) in _TYPES:
            value, (types, noun) = given[field.name], _TYPES[type(usual)]
            if not isinstance(value, types) or isinstance(value, bool) != isinstance(usual, bool):
                raise ValueError(f"{field.name} is {noun}, not {value!r}")
    return given


def remember(folder: Path, kind: str, config: Any, choices: Any, resume: bool) -> None:
    """Keep what a training makes beside its checkpoint.

    Raises:
        InputError: it is to resume one that makes something else; more or fewer epochs are no hindrance.
    """
    path = folder / "recipe.json"
    made = {"kind": kind, "network": dataclasses.asdict(config), "training": dataclasses.asdict(choices)}
    now = json.loads(json.dumps(made))
    if resume and path.exists():
        before = json.loads(path.read_text())
        other = [
            f"{table}.{key} was {before[table].get(key)!r} and is {value!r}"
            for table in ("network", "training")
            for key, value in now[table].items()
            if key != "epochs" and before[table].get(key) != value
        ]
        if other or before["kind"] != kind:
            raise InputError(
                f"{folder} cannot be resumed with another recipe ({', '.join(other) or 'another kind'}): "
                "leave {option} out to begin anew",
                "resume",
            )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(now, indent=1) + "\n")


def run_recipe(
    name: str,
    data: Path,
    out: Path,
    *,
    evaluations: Mapping[str, Callable[..., dict]],
    resume: bool = False,
    changes: Sequence[str] = (),
    device: str = "auto",
    sanity: bool = False,
    folds: int = 0,
    report: "Report" = print,
) -> dict:
    """Train a recipe into `out/<name>`; returns its results.

    Args:
        data: folder laid out as `datasets.photos` says; for kind "gaic" as `datasets.gaicd` says.
        out: folder of runs; a recipe that starts from another finds it there.
        evaluations: what measures whole pipelines, of `s2crop.evaluation`: "gaic" for kind "gaic", "fcdb" for folds.
        resume: go on from the last checkpoint, if there is one.
        changes: see `read_recipe`.
        device: "auto" (CUDA, else CPU), "cpu", "cuda", "cuda:1".
        sanity: of kinds "graph", "sfrc", "asmnet" and "gaic", overfit ten pictures into `out/<name>-sanity`: a
            training that cannot is broken.
        folds: of kind "graph", train so many times, each time with another part of the photos held out, and
            measure on those; the mean goes to `out/<name>-folds`.
    Raises:
        InputError: a recipe or data that cannot be used.
    """
    from s2crop.models.s2cnet import S2CNetConfig
    from s2crop.models.weights import MODELS
    from s2crop.training import animals, appeal, choice, gaic, graph, heads, proposals, subjects, text
    from s2crop.training.asmnet import ASMNetHead
    from s2crop.training.sfrc import SFRCHead

    recipe = read_recipe(name, changes)
    network = recipe.get("network", {})
    folder = out / (Path(name).stem + ("-sanity" if sanity else ""))
    of_siblings: dict[str, type[heads.Head]] = {"sfrc": SFRCHead, "asmnet": ASMNetHead}
    kinds = {"proposals": proposals.ProposalRecipe, "graph": graph.GraphRecipe, "gaic": gaic.GaicRecipe}
    kinds |= {"appeal": appeal.AppealRecipe, "subjects": subjects.SubjectRecipe, "choice": choice.ChoiceRecipe}
    kinds |= {"text": text.TextRecipe, "animals": animals.AnimalRecipe}
    kinds |= {kind: head.recipe_type for kind, head in of_siblings.items()}
    try:
        model = recipe["kind"] if recipe["kind"] in of_siblings else recipe.get("model", "s2cnet")
        if model not in MODELS:
            raise ValueError(f"model is one of {', '.join(MODELS)}, not {model!r}")
        config = MODELS[model][1](**network)
        choices = kinds[recipe["kind"]](**_typed(kinds[recipe["kind"]], recipe.get("training", {})))
    except (TypeError, ValueError) as error:
        raise InputError(f"recipe {name}: {error}") from None
    if folds and (sanity or recipe["kind"] != "graph"):
        raise InputError(f"recipe {name} is not cross-validated: only recipes of kind graph are, and not with --sanity")
    if sanity and recipe["kind"] in ("proposals", "subjects", "text", "animals", "appeal", "choice"):
        raise InputError(f"recipe {name} has no --sanity: ten photos do not show in a minute whether it works")
    if recipe["kind"] == "choice" and choices.model != "s2cnet":
        folder = folder.with_name(f"{folder.name}-{choices.model}")
    remember(folder.with_name(f"{folder.name}-folds") if folds else folder, recipe["kind"], config, choices, resume)
    common: dict[str, Any] = {"resume": resume, "device": device, "report": report}
    try:
        if recipe["kind"] == "proposals":
            if not isinstance(config, S2CNetConfig):
                raise InputError(f"recipe {name} trains the proposals of s2cnet, which its siblings take over")
            return proposals.train(choices, config, data, folder, **common)
        if recipe["kind"] == "subjects":
            return subjects.train(choices, data, folder, **common)
        if recipe["kind"] == "text":
            return text.train(choices, data, folder, **common)
        if recipe["kind"] == "animals":
            return animals.train(choices, data, folder, **common)
        if recipe["kind"] == "appeal":
            return appeal.train(choices, data, folder, **common)
        if recipe["kind"] == "choice":
            return choice.train(choices, data, folder, device=device, report=report)
        if recipe["kind"] == "gaic":
            return gaic.train(choices, config, data, folder, sanity=sanity, evaluate=evaluations["gaic"], **common)
        if model in of_siblings:
            return heads.train(choices, of_siblings[model], model, network, data, folder, sanity=sanity, **common)
        if folds:
            return graph.cross_validate(
                choices, network, data, folder, folds=folds, evaluate=evaluations["fcdb"], **common
            )
        return graph.train(choices, network, data, folder, sanity=sanity, **common)
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename}: not there; the data folder is laid out as s2crop/datasets/photos.py says"
        ) from None
