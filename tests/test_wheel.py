"""The built wheel, away from the checkout: what it holds, and that it crops."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from s2crop import __version__
from s2crop.choices import MODELS

ROOT = Path(__file__).parents[1]
RECIPES = sorted(path.stem for path in (ROOT / "s2crop/training/recipes").glob("*.toml"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("hatchling") is None,
        reason="not checked: the built wheel, for want of hatchling (pip install 's2crop[test]')",
    ),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built without the network: by the hatchling that is installed, with nothing that s2crop depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "-w", folder, ROOT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_all_that_is_loaded_and_nothing_else(wheel):
    assert wheel.name == f"s2crop-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"s2crop/py.typed", "s2crop/preview/sheet.css", "s2crop/preview/sheet.js"} <= names
    assert {f"s2crop/_weights/{name}.safetensors" for name in MODELS} | {"s2crop/_weights/manifest.json"} <= names
    assert RECIPES and {f"s2crop/training/recipes/{name}.toml" for name in RECIPES} <= names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "s2crop").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}
    assert all(name.startswith(("s2crop/", f"s2crop-{__version__}.dist-info/")) for name in names)


def test_the_wheel_crops_away_from_the_checkout(wheel, tmp_path):
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    (tmp_path / "group.jpg").write_bytes((ROOT / "examples/group.jpg").read_bytes())
    script = f"""if True:
        import sys
        sys.path.insert(0, {str(installed)!r})
        import s2crop
        assert s2crop.__file__.startswith({str(installed)!r}), s2crop.__file__
        from s2crop.training.recipe import recipe_names
        assert {RECIPES} == recipe_names(), recipe_names()
        from s2crop.cli import main
        main(["group.jpg", "-a", "1:1", "-s", "64", "--json", "--sheet", "page.html"])
    """
    command = [sys.executable, "-P", "-c", script]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    (record,) = map(json.loads, done.stdout.splitlines())
    assert record["status"] == "written" and (tmp_path / record["output"]).is_file()
    page = (tmp_path / "page.html").read_text("utf-8")
    for asset in ("sheet.css", "sheet.js"):
        assert (ROOT / "s2crop/preview" / asset).read_text("utf-8").strip() in page
