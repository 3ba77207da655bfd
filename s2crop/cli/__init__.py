"""The commands `s2crop`, `s2crop-eval` and `s2crop-train`. What takes long to import is imported where it is used."""

from s2crop.cli.crop import main
from s2crop.cli.workbench import evaluate, train

__all__ = ["evaluate", "main", "train"]
