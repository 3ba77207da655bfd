"""The README says what is: its tables, commands, options and Python."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from PIL import Image

from s2crop import cli
from s2crop.evaluation import tables

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {
    "README.md": README,
    "weights/README.md": (ROOT / "weights/README.md").read_text(),
    "examples/README.md": (ROOT / "examples/README.md").read_text(),
}


def test_tables_are_those_of_the_results_file():
    results = json.loads(tables.RESULTS.read_text())
    for name in ("README.md", "weights/README.md"):
        assert tables.filled(PAGES[name], results) == PAGES[name], f"run python -m s2crop.evaluation.tables ({name})"
    shown = re.findall(r"<!-- table: (\w+) -->", README + PAGES["weights/README.md"])
    assert sorted(shown) == sorted(tables.TABLES), "each table is shown once"


def test_the_manifest_has_the_measured_scores():
    results = json.loads(tables.RESULTS.read_text())
    manifest = json.loads((ROOT / "weights/manifest.json").read_text())
    scores = manifest["models"]["s2cnet"]["scores"]
    row = next(row for row in results["fcdb"]["rows"] if row["scorer"] == "s2cnet")
    assert {key: scores[key] for key in row if key != "scorer"} == {k: v for k, v in row.items() if k != "scorer"}


def test_the_shipped_weights_beat_every_constant_box():
    """What a first training owes: IoU, Disp and votes on photos that it did not see."""
    rows = {row["scorer"]: row for row in json.loads(tables.RESULTS.read_text())["fcdb"]["rows"]}
    ours = rows.pop("s2cnet")
    assert len(rows) == 3
    for row in rows.values():
        assert ours["iou"] > row["iou"] and ours["disp"] < row["disp"]
        assert ours["pairs"] > row["pairs"] and ours["pairs_3"] > row["pairs_3"]


@pytest.mark.parametrize("page", PAGES)
def test_options_in_the_examples_exist(page):
    known = {"s2crop": cli.main, "s2crop-eval": cli.evaluate, "s2crop-train": cli.train}
    checked = 0
    for block in re.findall(r"```(?:ba)?sh\n(.*?)```", PAGES[page], re.DOTALL):
        for line in re.split(r"\n|\||&&|;", block.replace("\\\n", " ")):
            words = line.split("#")[0].split()
            tool = next((w for w in words if w.rsplit("/", 1)[-1] in known), None)
            if tool is None or "install" in words:
                continue
            command = known[tool.rsplit("/", 1)[-1]]
            options = {o for p in command.params for o in p.opts}
            if isinstance(command, click.Group):
                options |= {o for c in command.commands.values() for p in c.params for o in p.opts}
            for word in words[words.index(tool) + 1 :]:
                if re.fullmatch(r"-[A-Za-z0]|--[a-z-]+", word):
                    assert word in options | {"-h", "--help"}, f"{page}: {line}"
                    checked += 1
    assert checked or page == "weights/README.md"


def test_the_commands_for_a_web_page_run_as_they_are_written(tmp_path):
    """In bash, with jq, and with a cropper that has no network."""
    if shutil.which("jq") is None or shutil.which("bash") is None:
        pytest.skip("not checked: the commands for a web page, which need bash and jq")
    block = re.search(r"<!-- runs -->\n```sh\n(.*?)```", PAGES["examples/README.md"], re.DOTALL)[1]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "fake.py").write_text(
        "from s2crop import cli\n"
        "from s2crop.cli import loading\n"
        "from fake_cropper import FakeCropper\n"
        "loading.load_cropper = lambda *asked: FakeCropper()\n"
        "cli.main(prog_name='s2crop')\n"
    )
    function = f's2crop() {{ "{sys.executable}" fake.py "$@"; }}\n'
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", function + block],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site.html").read_text()
    assert page.count("<picture>") == page.count("</picture>") == 2
    sets = re.findall(r'srcset="([^"]+)" (?:sizes="100vw" )?width="(\d+)" height="(\d+)"', page)
    assert [(width, height) for _, width, height in sets] == [("1280", "1280"), ("1280", "720")] * 2
    for candidates, _, _ in sets:
        for candidate in candidates.split(", "):
            path, width = candidate.split(" ")
            with Image.open(tmp_path / path) as image:
                assert f"{image.width}w" == width
    assert re.search(r'<img src="examples/group.jpg" style="[^"]*object-position: [\d.]+% [\d.]+%"', page)


def test_the_options_by_task_exist():
    known = {option for parameter in cli.main.params for option in parameter.opts}
    named = re.findall(r"`(--[a-z-]+)", README)
    assert len(named) > 20 and set(named) <= known


def test_the_readme_is_short_and_shows_a_small_picture():
    assert len(README.split()) <= 900
    pictures = [ROOT / path for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)]
    assert pictures and all(path.stat().st_size < 150_000 for path in pictures)


@pytest.mark.slow
def test_the_python_example_runs(tmp_path, monkeypatch):
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    (tmp_path / "a.jpg").write_bytes((ROOT / "examples/group.jpg").read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg", "a_16x9.jpg", "a_1x1.jpg"]


def test_ci_calls_the_test_command():
    script = (ROOT / ".ci/run").read_text()
    block = re.search(r"<!-- command: test -->\n```bash\n(.*?)```", README, re.DOTALL)[1]
    assert "command: test" in script and "pytest" in block
