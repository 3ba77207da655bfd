"""Recipes: TOML files that say what a training makes."""

import tomllib
from collections.abc import Callable
from pathlib import Path

from s2crop.errors import InputError

FOLDER = Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_recipe(name: str) -> dict:
    """A recipe of ours by name, or a file. Raises InputError."""
    path = FOLDER / f"{name}.toml" if name in recipe_names() else Path(name)
    try:
        recipe = tomllib.loads(path.read_text())
    except OSError:
        raise InputError(f"no recipe {name!r}: a TOML file, or one of {', '.join(recipe_names())}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    if recipe.get("kind") not in ("proposals", "graph"):
        raise InputError(f"{path}: kind is \"proposals\" or \"graph\"")
    return recipe


def run_recipe(name: str, data: Path, out: Path, *, resume: bool, seed: int | None = None,
               report: Callable[[str], None] = print) -> dict:
    """Train a recipe into `out/<name>`; returns its results.

    Args:
        data: folder laid out as `training.data` says.
        out: folder of runs; a recipe that starts from another finds it there.
        resume: go on from the last checkpoint, if there is one.
        seed: in place of the recipe's.
    Raises:
        InputError: a recipe or data that cannot be used.
    """
    recipe = read_recipe(name)
    folder = out / Path(name).stem
    choices = recipe.get("training", {}) | ({} if seed is None else {"seed": seed})
    try:
        network = recipe.get("network", {})
        if recipe["kind"] == "proposals":
            from s2crop.models.s2cnet import S2CNetConfig
            from s2crop.training import proposals

            config = S2CNetConfig(**network)
            return proposals.train(proposals.ProposalRecipe(**choices), config, data, folder, resume=resume, report=report)
        from s2crop.training import graph

        return graph.train(graph.GraphRecipe(**choices), network, data, folder, resume=resume, report=report)
    except TypeError as error:
        if "unexpected keyword" in str(error):
            raise InputError(f"recipe {name}: {error}") from None
        raise
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: not there; the data folder is laid out as s2crop/training/data.py says") from None
