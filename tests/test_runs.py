"""Whole runs of the command on drawn pictures: killed, two at once, out of room, without a reader."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pictures
from commands import draw, process

ROOT = Path(__file__).parents[1]
SHAPES = [("JPEG", (900, 600)), ("PNG", (300, 200)), ("JPEG", (480, 640)), ("WEBP", (320, 320))]
pytestmark = pytest.mark.slow
PICTURES = 40  # enough that a run can be stopped in the middle
ASKED = ("-a", "16:9,1:1,4:5", "-s", "160", "-j", "2", "-b", "2")


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    for i in range(PICTURES):
        fmt, size = SHAPES[i % len(SHAPES)]
        (folder / f"{i:02}.{fmt.lower()}").write_bytes(pictures.encoded(pictures.photo(*size, noise=i), fmt))
    return folder


def start(*arguments, **options) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "s2crop", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    )


def run(*arguments, code=0, **options) -> tuple[str, str]:
    """(standard output, standard error) of a run that ends by itself."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err.decode()
    return (out or b"").decode(), err.decode()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(library, tmp_path_factory) -> dict[str, bytes]:
    """The files of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    run(library, *ASKED, "-o", out)
    written = contents(out)
    assert len(written) == PICTURES * 3
    return written


def test_a_run_that_was_killed_ends_with_the_same_files_when_it_is_started_again(library, whole, tmp_path):
    out = tmp_path / "out"
    process = start(library, *ASKED, "-o", out, "--json")
    for _ in range(10):
        json.loads(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = contents(out)
    assert 10 <= len(before) < len(whole)
    assert before == {name: whole[name] for name in before}, "what a killed run left is whole"
    # One crop of a picture whose others are there: what was decoded for all of them is what it is cut from again.
    (out / "00_4x5.jpg").unlink()
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    run(library, *ASKED, "-o", out)
    assert contents(out) == whole
    assert times == {path: path.stat().st_mtime_ns for path in times}, "what was done is not done again"


def test_six_hundred_pictures_after_a_kill_in_the_middle(tmp_path):
    for i in range(600):
        draw(tmp_path / "in" / f"{i % 7}" / f"{i:03}.{('jpg', 'png', 'webp')[i % 3]}", (48 + i % 5, 32))
    asked = tmp_path / "in", "-r", "-a", "16:9,1:1", "-k", "2", "-j", "2"
    process(*asked, "-o", tmp_path / "whole").communicate(timeout=300)
    killed = process(*asked, "-o", tmp_path / "out", "--json")
    for _ in range(4 * 300):
        json.loads(killed.stdout.readline())
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    whole, before = contents(tmp_path / "whole"), contents(tmp_path / "out")
    assert len(whole) == 2400 and 1200 <= len(before) < 2400
    assert before == {name: whole[name] for name in before}, "what a killed run left is whole"
    process(*asked, "-o", tmp_path / "out", "-s", "20", "--shard", "1/3").communicate(timeout=300)  # other options
    assert contents(tmp_path / "out") != before
    again = process(*asked, "-o", tmp_path / "out")
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err.decode()
    assert contents(tmp_path / "out") == whole


def test_two_runs_on_one_folder_do_not_hurt_each_other(library, whole, tmp_path):
    out = tmp_path / "out"
    runs = [start(library, *ASKED, "-o", out, "--json") for _ in range(2)]
    records = []
    for one in runs:
        told, err = one.communicate(timeout=300)
        assert one.returncode == 0, err.decode()
        records += map(json.loads, told.splitlines())
    assert contents(out) == whole
    assert sorted(record["status"] for record in records) == ["skipped"] * len(whole) + ["written"] * len(whole)


def test_any_jobs_and_batch_size_write_the_same_bytes(library, whole, tmp_path):
    run(library, *ASKED, "-j", "5", "-b", "16", "-o", tmp_path / "out")
    assert contents(tmp_path / "out") == whole


def test_a_disk_without_room_costs_one_line_a_picture(library, whole, tmp_path):
    """A limit on the size of files stands for the full disk: writing fails in the middle, as it does there."""
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
    out = tmp_path / "out"
    run(library / "00.jpeg", "-a", "16:9", "-s", "160", "-o", out)
    kept = contents(out)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    asked = (
        library / "00.jpeg",
        library / "01.png",
        library / "05.png",
        "-a",
        "16:9",
        "-f",
        "png",
        "-s",
        "300",
        "-o",
        out,
    )
    _, err = run(*asked, code=1, preexec_fn=limit)
    *lines, summary = err.splitlines()
    assert len(lines) == 3 and summary.startswith("s2crop: 3 pictures, 0 crops written, 0 skipped, 3 failed")
    assert all(line.endswith("_16x9.png: file too large") for line in lines)
    assert contents(out) == kept
    run(*asked)
    assert len(contents(out)) == 4


def test_an_output_folder_that_cannot_be_made(library, tmp_path):
    (tmp_path / "file").write_text("mine")
    _, err = run(library / "00.jpeg", "-o", tmp_path / "file" / "out", code=1)
    assert err.splitlines()[0].endswith("00_free.jpg: not a directory")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
@pytest.mark.parametrize("asked", [["--json"], ["-o", "-"]])
def test_standard_output_on_a_full_disk(library, tmp_path, asked):
    with open("/dev/full", "wb") as full:
        _, err = run(library / "00.jpeg", "-o", tmp_path / "out", *asked, code=1, stdout=full)
    assert "no space left on device" in err.splitlines()[0] and "Traceback" not in err


def test_an_interrupt_stops_the_network_too_and_leaves_whole_files(library, whole, tmp_path):
    out = tmp_path / "out"
    process = start(library, *ASKED, "-o", out, "--json", "-b", "1")
    for _ in range(7):
        process.stdout.readline()
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (
        process.returncode == 130 and time.monotonic() - sent < 20
    )  # a second or two, on a machine with nothing else to do
    assert err.decode().startswith("s2crop: interrupted after ") and "Traceback" not in err.decode()
    written = contents(out)
    assert 7 <= len(written) < len(whole) and written == {name: whole[name] for name in written}
