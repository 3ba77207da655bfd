"""Recipes: TOML files that say what a training makes."""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from s2crop.errors import InputError

FOLDER = Path(__file__).parent / "recipes"
KINDS = ("proposals", "graph", "gaic")


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


def run_recipe(name: str, data: Path, out: Path, *, resume: bool, changes: Sequence[str] = (), device: str = "auto",
               report: Callable[[str], None] = print) -> dict:
    """Train a recipe into `out/<name>`; returns its results.

    Args:
        data: folder laid out as `training.data` says; for kind "gaic" as `evaluation.gaic` says.
        out: folder of runs; a recipe that starts from another finds it there.
        resume: go on from the last checkpoint, if there is one.
        changes: see `read_recipe`.
        device: of kind "gaic"; the others train on the CPU.
    Raises:
        InputError: a recipe or data that cannot be used.
    """
    from s2crop.models.s2cnet import S2CNetConfig
    from s2crop.training import gaic, graph, proposals

    recipe = read_recipe(name, changes)
    folder, network = out / Path(name).stem, recipe.get("network", {})
    try:
        config = S2CNetConfig(**network)
        kind = {"proposals": proposals.ProposalRecipe, "graph": graph.GraphRecipe, "gaic": gaic.GaicRecipe}[recipe["kind"]]
        choices = kind(**recipe.get("training", {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"recipe {name}: {error}") from None
    try:
        if recipe["kind"] == "proposals":
            return proposals.train(choices, config, data, folder, resume=resume, report=report)
        if recipe["kind"] == "gaic":
            return gaic.train(choices, config, data, folder, resume=resume, report=report, device=device)
        return graph.train(choices, network, data, folder, resume=resume, report=report)
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: not there; the data folder is laid out as s2crop/training/data.py says") from None
