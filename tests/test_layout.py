"""Data flows one way: which package may import which, and how large modules may grow.

`python tests/test_layout.py` prints the arrows between packages, the modules behind each, and the longest modules.
"""

import ast
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "s2crop"
MAX_LINES = 400  # a module that is longer is told of, as one that may hold two ideas

# From the ground up: a room imports from lower lines alone. Rooms of one line do not know each other.
LAYERS = [
    {"choices", "errors"},
    {"geometry"},
    {"files", "models"},
    {"cropping", "datasets", "report"},
    {"video", "preview"},
    {"run"},
    {"ray", "evaluation", "training"},
    {"__init__"},  # the promised names, loaded when they are first used
    {"cli"},
    {"__main__"},
]
OUTSIDE = {  # what rooms import that is neither s2crop nor Python itself, where it matters that they import no more
    "choices": set(),
    "errors": set(),
    "geometry": {"numpy"},
    "models": {"numpy", "PIL", "safetensors", "torch", "torchvision"},
}
ONLY_IN_CLI = {"click", "rich"}


def room_of(path: Path) -> str:
    """The package that a module is in; a module directly in s2crop is a room of its own."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> tuple[set[str], set[str]]:
    """Rooms, and packages from outside, that a module imports when it runs, at any depth.

    Imports for a type checker alone do not count.
    """
    rooms, outside = set(), set()
    waiting: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "s2crop" else [f"s2crop.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "s2crop":
                room = parts[1] if len(parts) > 1 else "__init__"
                there = (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()
                rooms.add(room if there else "__init__")  # a promised name, from s2crop itself
            elif parts[0] not in sys.stdlib_module_names:
                outside.add(parts[0])
        waiting += ast.iter_child_nodes(node)
    return rooms - {room_of(path)}, outside


def arrows() -> dict[tuple[str, str], list[str]]:
    """Arrows between rooms, each with the modules that it comes from."""
    found = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for room in sorted(imported(path)[0]):
            found[room_of(path), room].append(path.relative_to(PACKAGE).as_posix())
    return dict(found)


def long_modules() -> dict[str, int]:
    lines = {p.relative_to(PACKAGE).as_posix(): len(p.read_text("utf-8").splitlines()) for p in PACKAGE.rglob("*.py")}
    return {name: count for name, count in sorted(lines.items(), key=lambda item: -item[1]) if count > MAX_LINES}


def test_imports_go_down():
    level = {room: number for number, layer in enumerate(LAYERS) for room in layer}
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")}
    assert rooms <= set(level), f"give {sorted(rooms - set(level))} a place in LAYERS"
    upward = {f"{start} -> {end}": modules for (start, end), modules in arrows().items() if level[start] <= level[end]}
    assert not upward


@pytest.mark.parametrize("room", OUTSIDE)
def test_lower_rooms_import_little_from_outside(room):
    for path in [PACKAGE / f"{room}.py"] if room in ("choices", "errors") else (PACKAGE / room).rglob("*.py"):
        assert imported(path)[1] <= OUTSIDE[room], path


def test_only_the_command_knows_the_terminal():
    for path in PACKAGE.rglob("*.py"):
        assert room_of(path) == "cli" or not imported(path)[1] & ONLY_IN_CLI, path


if __name__ == "__main__":
    counted = arrows()
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")}
    print(f"{len(rooms)} rooms, {len(counted)} arrows")
    for (start, end), modules in sorted(counted.items()):
        print(f"  {start} -> {end}: {', '.join(modules)}")
    print(f"modules of more than {MAX_LINES} lines: {long_modules() or 'none'}")
