"""What a run does about what stands where its outputs go."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import draw, files, records, s2crop, usage_error
from s2crop.files import marks
from s2crop.files.encode import encode
from s2crop.files.marks import Mark, Origin, State
from s2crop.files.metadata import Metadata

pytestmark = pytest.mark.usefixtures("folder")


def statuses(*args, code=0):
    return [record["status"] for record in records(*args, code=code)]


def test_what_was_made_so_is_skipped_also_after_a_move():
    draw("in/a.jpg")
    assert statuses("in") == ["written"]
    assert statuses("in") == ["skipped"]
    os.rename("in", "moved")
    assert statuses("moved") == ["skipped"]


@pytest.mark.parametrize(
    "options",
    [["-s", "20"], ["--quality", "50"], ["--focus", "0.5,0.5"], ["--protect", "face"], ["--metadata", "none"]],
)
def test_other_options_make_it_again_and_back(options):
    draw("a.jpg")
    s2crop("a.jpg")
    before = Path("s2crop-out/a_free.jpg").read_bytes()
    assert statuses("a.jpg", *options) == ["written"]
    assert statuses("a.jpg", *options) == ["skipped"]
    assert statuses("a.jpg") == ["written"]
    assert Path("s2crop-out/a_free.jpg").read_bytes() == before


def test_options_that_change_no_output_make_nothing_again():
    draw("a.jpg")
    draw("a.png")
    s2crop("a.jpg", "a.png")
    assert statuses("a.jpg", "a.png", "-j", "1", "-b", "1", "--max-pixels", "5000") == ["skipped"] * 2
    assert statuses("a.png", "--quality", "50") == ["skipped"]  # PNG has none


def test_an_input_that_was_edited_is_cropped_again():
    draw("a.png")
    s2crop("a.png")
    draw("a.png", (64, 32))
    assert statuses("a.png") == ["written"] and Image.open("s2crop-out/a_free.png").size == (64, 32)


def test_another_input_s_output_is_an_error_and_stays():
    draw("q/a.png")
    draw("r/a.png", (64, 32))
    s2crop("q/a.png")
    before = Path("s2crop-out/a_free.png").read_bytes()
    (record,) = records("r/a.png", code=1)
    assert record["error"] == (
        "s2crop-out/a_free.png was made from another input: --overwrite replaces it, --skip-existing leaves it"
    )
    assert Path("s2crop-out/a_free.png").read_bytes() == before
    assert statuses("r/a.png", "--skip-existing") == ["skipped"]
    assert Path("s2crop-out/a_free.png").read_bytes() == before
    assert statuses("r/a.png", "--overwrite") == ["written"]
    assert Image.open("s2crop-out/a_free.png").size == (64, 32)


@pytest.mark.parametrize("name", ["a_free.png", "text"])
def test_what_someone_else_made_is_an_error_and_stays(name):
    draw("a.png")
    out = draw("s2crop-out/a_free.png", (5, 5))
    if name == "text":
        out.write_text("somebody's notes, no picture")
    before = out.read_bytes()
    (record,) = records("a.png", code=1)
    assert "a_free.png is there and has no mark of ours" in record["error"] and out.read_bytes() == before
    assert statuses("a.png", "--skip-existing") == ["skipped"] and out.read_bytes() == before
    assert statuses("a.png", "--overwrite") == ["written"]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize("options", [[], ["--skip-existing"]])
def test_what_is_empty_or_cut_off_is_made_again(suffix, options):
    draw("a.png", (400, 300))
    out = Path(f"s2crop-out/a_free.{suffix}")
    s2crop("a.png", "-f", suffix)
    whole = out.read_bytes()
    for left in (b"", whole[:5], whole[: len(whole) // 2], whole[:-1], bytes(len(whole))):
        out.write_bytes(left)
        assert statuses("a.png", "-f", suffix, *options) == ["written"]
        assert out.read_bytes() == whole


def test_overwrite_and_skip_existing_contradict_each_other():
    draw("a.png")
    assert "contradict" in usage_error("a.png", "--overwrite", "--skip-existing")


def test_standard_input_is_told_by_its_contents():
    one, other = draw("a.png").read_bytes(), draw("b.png", (64, 32)).read_bytes()
    assert [record["status"] for record in records("-", input=one)] == ["written"]
    assert [record["status"] for record in records("-", input=one)] == ["skipped"]
    (record,) = records("-", input=other, code=1)
    assert "another input" in record["error"]


def test_overlays_are_told_apart_too():
    draw("a.png")
    assert statuses("a.png", "--overlay") == ["written"]
    (overlay,) = (name for name in files("s2crop-out") if "overlay" in name)
    Path("s2crop-out", overlay).write_bytes(b"")
    assert statuses("a.png", "--overlay") == ["skipped"]
    assert Path("s2crop-out", overlay).stat().st_size > 0


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
def test_a_mark_is_short_and_comes_back(suffix):
    mark = Mark(Origin("abc-_123", "ABCDEFGH"), "01234567", 100, 24)
    assert len(str(mark)) < 60
    exif = Image.Exif()
    exif[305], exif[315] = "an editor", "Ann"
    exif.get_ifd(34665)[36867] = "2020:01:02 03:04:05"
    image = Image.fromarray(np.zeros((40, 60, 3), np.uint8))
    kept = Metadata(exif.tobytes().removeprefix(b"Exif\0\0"))
    for metadata in (Metadata(), kept):
        Path(f"x{suffix}").write_bytes(encode(image, suffix, 90, kept=metadata, software=str(mark)))
        standing = marks.look(Path(f"x{suffix}"))
        assert (standing.state, standing.mark) == (State.OURS, mark)
    with Image.open(f"x{suffix}") as read:
        assert read.getexif()[315] == "Ann" and read.getexif().get_ifd(34665)[36867] == "2020:01:02 03:04:05"
