"""What a run does about what stands where its outputs go."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clips
from commands import draw, files, records, s2crop, usage_error
from fake_cropper import FakeCropper
from s2crop.cli import loading
from s2crop.files import marks
from s2crop.files.encode import encode
from s2crop.files.marks import Mark, Origin, State
from s2crop.files.metadata import Metadata
from scenes import scene

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
    [
        ["-s", "20"],
        ["--quality", "50"],
        ["--focus", "0.5,0.5"],
        ["--protect", "face"],
        ["--metadata", "none"],
        ["--min-scale", "1"],
    ],  # fmt: skip
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


def test_what_someone_else_made_costs_no_other_output(monkeypatch):
    cropper = FakeCropper()
    monkeypatch.setattr(loading, "load_cropper", lambda *asked: cropper)
    draw("a.png")
    draw("s2crop-out/a_1x1.png", (5, 5))
    asked = "a.png", "-a", "1:1,16:9,4:5", "--overlay"
    code, out, err = s2crop(*asked, "--json")
    first = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and [(r["ratio"], r["status"]) for r in first] == [
        ("1:1", "error"), ("16:9", "written"), ("4:5", "written")
    ]  # fmt: skip
    assert "1 picture, 2 crops written, 0 skipped, 1 failed" in err
    assert files("s2crop-out") == ["a_16x9.png", "a_1x1.png", "a_4x5.png", "a_overlay.jpg"]
    again = records(*asked, code=1)
    assert [(r["ratio"], r["status"]) for r in again] == [("1:1", "error"), ("16:9", "skipped"), ("4:5", "skipped")]
    assert len(cropper.batches) == 1, "nothing was left to do"
    for record in (first[0], again[0]):
        assert record["output"] == "s2crop-out/a_1x1.png" and "has no mark of ours" in record["error"]
    Path("s2crop-out/a_4x5.png").unlink()
    assert statuses(*asked, code=1) == ["error", "skipped", "written"]
    Path("s2crop-out/a_1x1.png").unlink()
    assert statuses(*asked) == ["written", "skipped", "skipped"]


def test_what_someone_else_made_costs_no_other_cover(monkeypatch):
    cropper = FakeCropper()
    monkeypatch.setattr(loading, "load_cropper", lambda *asked: cropper)
    clips.lavfi_clip(Path("film.mp4"), "testsrc2=size=160x96:rate=25:duration=1")
    draw("s2crop-out/film_cover1_1x1.jpg", (5, 5))
    asked = "film.mp4", "-n", "1", "-a", "1:1,16:9"
    assert statuses(*asked, code=1) == ["error", "written"]
    assert statuses(*asked, code=1) == ["error", "skipped"] and len(cropper.batches) == 1


def test_a_clip_whose_last_cover_is_refused_is_not_looked_through_again(monkeypatch):
    cropper = FakeCropper()
    monkeypatch.setattr(loading, "load_cropper", lambda *asked: cropper)
    shots = [scene(seed, (96, 160)) for seed in range(2) for _ in range(50)]
    clips.write_clip(Path("film.mp4"), shots)
    asked = "film.mp4", "-n", "9", "-a", "1:1"
    count = len(statuses(*asked))
    assert 1 < count < 9
    draw(f"s2crop-out/film_cover{count}_1x1.jpg", (5, 5))
    scored = len(cropper.batches)
    assert statuses(*asked, code=1) == ["skipped"] * (count - 1) + ["error"] and len(cropper.batches) == scored


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


def outputs(*args):
    return {record["input"]: (record["output"], record["status"]) for record in records(*args)}


@pytest.mark.parametrize("also", [[], ["--overwrite"]])
def test_a_sibling_that_comes_later_takes_no_name_over(also):
    draw("in/a.jpg")
    assert outputs("in") == {"in/a.jpg": ("s2crop-out/a_free.jpg", "written")}
    before = Path("s2crop-out/a_free.jpg").read_bytes()
    draw("in/a.jpeg", (64, 32))  # is sorted before it
    draw("in/sub/a.jpg", (64, 32))
    found = outputs("in", *also)
    old = "written" if also else "skipped"
    assert found == {
        "in/a.jpeg": ("s2crop-out/a_jpeg_free.jpg", "written"), "in/a.jpg": ("s2crop-out/a_free.jpg", old),
    }  # fmt: skip
    assert Path("s2crop-out/a_free.jpg").read_bytes() == before
    assert {status for _, status in outputs("in").values()} == {"skipped"}


def test_numbers_of_older_ones_stay_too():
    for name in ("q", "r", "s"):
        draw(f"{name}/a.png")
    before = outputs("q", "r", "s")
    assert [Path(path).name for path, _ in before.values()] == ["a_free.png", "a_png_free.png", "a_2_free.png"]
    draw("p/a.png", (64, 32))
    found = outputs("p", "q", "r", "s")
    assert {name: found[name][0] for name in before} == {name: path for name, (path, _) in before.items()}
    assert found.pop("p/a.png") == ("s2crop-out/a_3_free.png", "written")
    assert {status for _, status in found.values()} == {"skipped"}
    os.rename("s", "t")  # what was moved is known by its name, size and time
    assert outputs("p", "q", "r", "t")["t/a.png"] == ("s2crop-out/a_2_free.png", "skipped")


def test_what_nobody_in_the_run_made_keeps_no_name_back():
    draw("gone/a.png")
    s2crop("gone")
    draw("q/a.jpg")
    draw("q/a.png", (64, 32))
    told = records("q", "-f", "png", code=1)
    assert [record["status"] for record in told] == ["error", "written"] and "another input" in told[0]["error"]


def test_names_of_those_that_share_none_are_not_looked_at(monkeypatch):
    for name in ("a.jpg", "b.jpg"):
        draw(f"in/{name}")
    monkeypatch.setattr("s2crop.files.names._Owners", None)
    assert outputs("in") == {f"in/{n}.jpg": (f"s2crop-out/{n}_free.jpg", "written") for n in "ab"}


class FewCrops(FakeCropper):
    """Finds two crops of a picture that differ, and no more."""

    def _crops(self, prepared, request):
        return [crop for crop in super()._crops(prepared, request) if crop.rank <= 2]


def test_a_picture_with_fewer_crops_than_asked_for_is_done(monkeypatch):
    cropper = FewCrops()
    monkeypatch.setattr(loading, "load_cropper", lambda *asked: cropper)
    draw("a.png")
    asked = "a.png", "-k", "5", "-a", "1:1,16:9"
    assert statuses(*asked) == ["written"] * 4 and len(cropper.batches) == 1
    assert statuses(*asked) == ["skipped"] * 4 and len(cropper.batches) == 1
    Path("s2crop-out/a_1x1_2.png").unlink()
    assert sorted(statuses(*asked)) == ["skipped"] * 3 + ["written"] and len(cropper.batches) == 2
    assert statuses("a.png", "-k", "6", "-a", "1:1,16:9") == ["skipped"] * 4 and len(cropper.batches) == 2


def test_a_clip_with_fewer_covers_than_asked_for_is_done(monkeypatch):
    cropper = FakeCropper()
    monkeypatch.setattr(loading, "load_cropper", lambda *asked: cropper)
    clips.lavfi_clip(Path("film.mp4"), "testsrc2=size=160x96:rate=25:duration=1")
    asked = "film.mp4", "-n", "9"
    made = statuses(*asked)
    assert 0 < len(made) < 9 and set(made) == {"written"}
    scored = len(cropper.batches)
    assert statuses(*asked) == ["skipped"] * len(made) and len(cropper.batches) == scored


def test_own_outputs_are_passed_over_in_folders():
    draw("in/a.jpg")
    for suffix in ("jpg", "png", "webp", "avif"):
        assert outputs("in", "-o", "in", "-f", suffix) == {"in/a.jpg": (f"in/a_free.{suffix}", "written")}
    s2crop("in", "-o", "in", "--overlay")
    assert len(files("in")) == 6
    for place in (["-o", "in"], ["-o", "out"]):
        code, _, err = s2crop("in", *place)
        assert code == 0 and "1 picture, " in err and "passed over 5 outputs of s2crop" in err
    assert s2crop("in", "-o", "in", "--exclude", "a.jpg") == (
        3, "", "s2crop: nothing to do: no picture or video matches (passed over 5 outputs of s2crop)\n",
    )  # fmt: skip
    named = outputs("in/a_free.png", "in/a_fre*.jpg", "-o", "again")
    assert set(named) == {"in/a_free.png", "in/a_free.jpg"}
