"""The benchmarks: that they run. What they measure is no test's matter."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "benchmarks"


def output_of(name: str, *args: str) -> str:
    command = [sys.executable, str(FOLDER / name), *args]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_finished_library_is_looked_through(tmp_path):
    told = output_of("resume.py", "--pictures", "12", "--folder", str(tmp_path))
    assert "12 pictures, 0 crops written, 12 skipped, 0 failed" in told and "pictures 12  seconds" in told
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.py")))
def test_each_can_be_asked_what_it_does(name):
    assert name in output_of(name, "--help")
