"""The `s2crop` command: output, messages, exit status and files, with a network that is a fake."""

import inspect
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

import clips
import pictures
from commands import ENDS, draw, files, process, records, s2crop, usage_error
from fake_cropper import FakeCropper
from s2crop import choices, cli, covers
from s2crop.cli import crop as command
from s2crop.cli import handover, loading
from s2crop.errors import DeviceError, OutputError, WeightsError
from s2crop.files import encode, sources
from s2crop.files.formats import FORMATS
from scenes import scene

KEYS = [
    "input",
    "type",
    "width",
    "height",
    "time_s",
    "cover_rank",
    "ratio",
    "rank",
    "box",
    "score",
    "output",
    "output_width",
    "output_height",
    "status",
    "error",
    "model",
    "device",
    "worth",
    "cover_score",
    "cut",
    "lost",
    "focus",
    "object_position",
    "padded",
]


pytestmark = pytest.mark.usefixtures("folder")


def sizes(folder="s2crop-out"):
    """Name and size of every picture written."""
    return {name: Image.open(Path(folder) / name).size for name in files(folder)}


def without_rate(text):
    return re.sub(r", [\d.]+ pictures/s$", "", text, flags=re.M)


def summary(err):
    return without_rate(err.splitlines()[-1])


# The run as a whole


def test_crops_a_file_into_the_default_folder():
    draw("photos/a.png")
    code, out, err = s2crop("photos/a.png")
    assert (code, out) == (0, "")
    assert without_rate(err) == "s2crop: 1 picture, 1 crop written, 0 skipped, 0 failed\n"
    assert sizes() == {"a_free.png": (48, 32)}


def test_json_lines():
    draw("photos/a.png")
    Path("photos/b.png").write_text("no picture")
    code, out, err = s2crop("photos", "-a", "square", "--json")
    assert code == 1
    assert out == (
        '{"input": "photos/a.png", "type": "image", "width": 48, "height": 32, "time_s": null, "cover_rank": null, '
        '"ratio": "1:1", "rank": 1, "box": [8, 0, 40, 32], "score": 3.8571, "output": "s2crop-out/a_1x1.png", '
        '"output_width": 32, "output_height": 32, "status": "written", "error": null, "model": "fake", '
        '"device": "cpu", "worth": 0.7571, "cover_score": null, "cut": [], "lost": [], "focus": [0.5, 0.5], '
        '"object_position": "50% 50%", "padded": null}\n'
        '{"input": "photos/b.png", "type": "image", "width": null, "height": null, "time_s": null, '
        '"cover_rank": null, "ratio": null, "rank": null, "box": null, "score": null, "output": null, '
        '"output_width": null, "output_height": null, "status": "error", "error": "not an image", "model": "fake", '
        '"device": "cpu", "worth": null, "cover_score": null, "cut": null, "lost": null, "focus": null, '
        '"object_position": null, "padded": null}\n'
    )
    assert [list(json.loads(line)) for line in out.splitlines()] == [KEYS, KEYS]
    assert without_rate(err) == (
        "s2crop: photos/b.png: not an image\ns2crop: 2 pictures, 1 crop written, 0 skipped, 1 failed\n"
    )


def test_good_and_bad_inputs_together():
    draw("a.png")
    Path("empty.jpg").touch()
    Path("clip.mp4").write_bytes(bytes(100))
    code, out, err = s2crop("empty.jpg", "missing.png", "clip.mp4", "a.png")
    assert (code, out) == (1, "")
    lines = without_rate(err).splitlines()
    assert lines[:2] == ["s2crop: empty.jpg: empty file", "s2crop: missing.png: no such file"]
    assert lines[2].startswith("s2crop: clip.mp4: cannot be decoded: ")
    assert lines[3:] == ["s2crop: 3 pictures, 1 video, 1 crop written, 0 skipped, 3 failed"]
    assert files("s2crop-out") == ["a_free.png"]


def test_a_run_again_skips_and_goes_on():
    for name in "abc":
        draw(f"photos/{name}.png")
    s2crop("photos/a.png", "-a", "1:1")
    before = Path("s2crop-out/a_1x1.png").stat().st_mtime_ns
    got = records("photos", "-a", "1:1")
    assert [(r["input"], r["status"], r["box"]) for r in got] == [
        ("photos/a.png", "skipped", None),
        ("photos/b.png", "written", [8, 0, 40, 32]),
        ("photos/c.png", "written", [8, 0, 40, 32]),
    ]
    assert got[0]["output"] == "s2crop-out/a_1x1.png"
    assert Path("s2crop-out/a_1x1.png").stat().st_mtime_ns == before
    code, out, err = s2crop("photos", "-a", "1:1")
    assert (code, summary(err)) == (0, "s2crop: 3 pictures, 0 crops written, 3 skipped, 0 failed")


def test_overwrite():
    draw("a.png")
    s2crop("a.png")
    Path("s2crop-out/a_free.png").write_text("old")
    assert [r["status"] for r in records("a.png", "--overwrite")] == ["written"]
    assert sizes() == {"a_free.png": (48, 32)}


def test_dry_run_writes_nothing():
    draw("a.png")
    (record,) = records("a.png", "--dry-run")
    assert (record["status"], record["box"], record["output"]) == ("planned", [0, 0, 48, 32], "s2crop-out/a_free.png")
    assert summary(s2crop("a.png", "--dry-run")[2]) == "s2crop: 1 picture, 1 crop planned, 0 skipped, 0 failed"
    assert files() == ["a.png"]


def test_the_result_does_not_depend_on_jobs_and_batch_size():
    for i in range(12):
        draw(f"photos/{i}.png", (48, 32) if i % 3 else (32, 48))
    Path("photos/7.png").write_text("no picture")
    asked = "photos", "-a", "1:1,4:3", "--overwrite"
    one = records(*asked, "-j", "1", "-b", "1", code=1)
    assert one == records(*asked, "-j", "4", "-b", "5", code=1) == records(*asked, code=1)
    assert len(one) == 23


# Crops


def test_ratios():
    draw("a.png", (96, 64))
    got = records("a.png", "-a", "16:9,4x3", "--ratio", "1.5", "-a", "SQUARE,original,free", "-a", "4:3")
    assert [r["ratio"] for r in got] == ["16:9", "4:3", "1.5", "1:1", "original", "free"]
    assert files("s2crop-out") == [
        "a_1.5.png",
        "a_16x9.png",
        "a_1x1.png",
        "a_4x3.png",
        "a_free.png",
        "a_original.png",
    ]


@pytest.mark.parametrize("ratio", ["wide", "0:1", "16:", "-1", "100:1", "", "1:1,", "nan"])
def test_ratios_that_are_none(ratio):
    assert "aspect ratio" in usage_error("a.png", "-a", ratio)


def test_top():
    draw("a.png", (480, 320))
    got = records("a.png", "-a", "1:1", "-k", "3")
    assert [(r["rank"], r["output"]) for r in got] == [(i, f"s2crop-out/a_1x1_{i}.png") for i in (1, 2, 3)]
    assert [r["output_width"] for r in got] == [320, 288, 256]


@pytest.mark.parametrize(
    ("args", "size"),
    [
        (["-a", "16:9", "-s", "64"], (64, 36)),
        (["-a", "16:9", "-s", "x64"], (114, 64)),
        (["-s", "64x36"], (64, 36)),
        (["-s", "64x36", "-a", "16:9"], (64, 36)),
        (["-s", "1200x628", "-a", "1.91"], (1200, 628)),  # as close to 1.91 as pixels come
        (["-s", "2000"], (2000, 1333)),
        (["-s", "2000", "--no-upscale"], (48, 32)),
        (["-s", "12x8", "--no-upscale"], (12, 8)),
    ],
)
def test_size(args, size):
    draw("a.png")
    (record,) = records("a.png", *args)
    assert (record["output_width"], record["output_height"]) == size
    assert list(sizes().values()) == [size]


def test_a_size_names_its_ratio():
    draw("a.png")
    assert [r["ratio"] for r in records("a.png", "-s", "640x360")] == ["16:9"]
    assert [r["ratio"] for r in records("a.png", "-s", "1200x628", "-a", "1.91")] == ["1.91"]
    assert files("s2crop-out") == ["a_1.91.png", "a_16x9.png"]


@pytest.mark.parametrize("ratios", ["1:1", "free", "original", "16:9,4:3", "1.7"])
def test_a_size_and_another_ratio_contradict_each_other(ratios):
    assert usage_error("a.png", "-s", "640x360", "-a", ratios) == (
        f"--size 640x360 fixes the ratio, and --ratio {ratios.replace(',', ', ')} asks for another: leave one out"
    )


@pytest.mark.parametrize("size", ["0", "x", "640x0", "-3", "6.5", "70000", "640x360x2", "10x900"])
def test_sizes_that_are_none(size):
    assert "size" in usage_error("a.png", "-s", size)


def test_circle():
    draw("photos/a.jpg", (64, 48))
    draw("photos/b.png", (64, 48))
    s2crop("photos", "--shape", "circle")
    assert sizes() == {"a_1x1.png": (48, 48), "b_1x1.png": (48, 48)}
    with Image.open("s2crop-out/a_1x1.png") as image:
        assert (image.getpixel((0, 0))[-1], image.getpixel((24, 24))[-1]) == (0, 255)
    s2crop("photos/a.jpg", "--shape", "circle", "-a", "square", "-s", "20", "-o", "c.webp")
    assert Image.open("c.webp").size == (20, 20)


def test_circles_are_square_and_not_jpeg():
    square = "--shape circle makes square crops: leave --ratio out or give square, and --size one number"
    assert usage_error("a.png", "--shape", "circle", "-a", "16:9") == square
    assert usage_error("a.png", "--shape", "circle", "-a", "1:1,original") == square
    assert usage_error("a.png", "--shape", "circle", "-s", "640x360") == square
    jpeg = "JPEG has no transparency for --shape circle: use png, webp or avif"
    assert usage_error("a.png", "--shape", "circle", "-f", "jpg") == jpeg
    assert usage_error("a.png", "--shape", "circle", "-o", "b.jpg") == jpeg


def test_focus_keep_and_protect_reach_the_cropper(monkeypatch):
    draw("a.png")
    requests = []

    class Asking(FakeCropper):
        def rank(self, prepared, request):
            requests.append(request)
            return super().rank(prepared, request)

    monkeypatch.setattr(loading, "load_cropper", lambda *asked: Asking())
    s2crop("a.png")
    s2crop("a.png", "--overwrite", "--focus", "30,20.5", "--keep", "0.1,0.2,.5,0.3", "--protect", "face", "-k", "2")
    first, second = requests
    assert (first.focus, first.keep, first.protect, first.top) == (None, None, "all", 1)
    assert (second.focus, second.keep, second.protect, second.top) == ((30, 20.5), (0.1, 0.2, 0.5, 0.3), "face", 2)


def test_a_focus_outside_the_picture():
    draw("a.png")
    draw("b.png", (100, 100))
    code, _, err = s2crop("a.png", "b.png", "--focus", "60,50")
    assert code == 1
    assert err.splitlines()[0] == "s2crop: a.png: --focus is outside the picture of 48x32"
    assert files("s2crop-out") == ["b_free.png"]


def test_a_ratio_that_cannot_hold_what_is_to_be_kept_costs_no_other(monkeypatch):
    draw("tall.png", (512, 768))
    asked = ["tall.png", "-a", "16:9,2:3,1:1", "--keep", "10,10,400,700"]
    code, out, err = s2crop(*asked, "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and files("s2crop-out") == ["tall_2x3.png"]
    assert [(r["ratio"], r["rank"], r["status"]) for r in told] == [
        ("16:9", None, "error"), ("1:1", None, "error"), ("2:3", 1, "written")
    ]  # fmt: skip
    reason = "no crop of 16:9 holds all that it is to hold: that is too large for it"
    assert told[0]["error"] == reason and told[0]["width"] == 512 and told[2]["error"] is None
    assert err.splitlines() == [
        f"s2crop: tall.png: {reason}",
        f"s2crop: tall.png: {reason.replace('16:9', '1:1')}",
        "s2crop: " + err.splitlines()[-1].removeprefix("s2crop: "),
    ]
    assert "1 picture, 1 crop written, 0 skipped, 1 failed" in err
    again = records(*asked, code=1)
    assert [(r["ratio"], r["status"]) for r in again] == [("16:9", "error"), ("1:1", "error"), ("2:3", "skipped")]
    none = records("tall.png", "-a", "16:9,1:1", "--keep", "10,10,400,700", "--sheet", "s.html", code=1)
    assert [(r["ratio"], r["status"]) for r in none] == [("16:9", "error"), ("1:1", "error")]
    assert "no crop of 1:1 holds" in Path("s.html").read_text()
    padded = records("tall.png", "-a", "16:9,2:3", "--keep", "10,10,400,700", "--pad", "auto", "--dry-run")
    assert [r["status"] for r in padded] == ["planned", "planned"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--focus", "3"), ("--focus", "1,2,3"), ("--focus", "-1,2"), ("--focus", "nan,1"), ("--focus", "x,y"),
     ("--keep", "1,2"), ("--keep", "1,2,0,4"), ("--keep", "1,2,3,inf")],
)  # fmt: skip
def test_points_and_boxes_that_are_none(option, value):
    assert f"Invalid value for '{option}': " in usage_error("a.png", option, value)


# Videos


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two shots of 1.2 s, 160x96."""
    frames = [scene(seed, (96, 168))[:, i // 6 : 160 + i // 6] for seed in (1, 2) for i in range(30)]
    return clips.write_clip(tmp_path_factory.mktemp("film") / "film.mp4", frames)


def clip(film, name="film.mp4"):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(film.read_bytes())
    return path


def test_covers_of_a_video(film):
    clip(film, "in/film.mp4")
    draw("in/a.png")
    code, out, err = s2crop("in", "-a", "16:9,square", "-n", "2", "--cover", "--keep-frames", "--json")
    assert code == 0, err
    got = [json.loads(line) for line in out.splitlines()]
    assert [list(record) for record in got] == [KEYS] * 6
    assert [(r["type"], r["cover_rank"], r["output"]) for r in got[2:]] == [
        ("video", rank, f"s2crop-out/film_cover{rank}_{ratio}.jpg") for rank in (1, 2) for ratio in ("16x9", "1x1")
    ]
    assert {r["time_s"] < 1.2 for r in got[2:]} == {True, False}
    assert (got[2]["width"], got[2]["height"], got[2]["box"]) == (160, 96, [0, 3, 160, 93])
    assert {name: size for name, size in sizes().items() if name.startswith("film")} == {
        "film_cover1.jpg": (160, 96), "film_cover1_16x9.jpg": (160, 90), "film_cover1_1x1.jpg": (96, 96),
        "film_cover2.jpg": (160, 96), "film_cover2_16x9.jpg": (160, 90), "film_cover2_1x1.jpg": (96, 96),
    }  # fmt: skip
    assert err.splitlines()[-1] == "s2crop: 1 picture, 1 video, 6 crops written, 0 skipped, 0 failed"


def test_a_video_without_any_option_gives_its_covers(film):
    clip(film)
    code, out, err = s2crop("film.mp4")
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        "s2crop: film.mp4: 2 of 3 covers: nothing else in it is good and different",
        "s2crop: 1 video, 2 crops written, 0 skipped, 0 failed",
    ]
    assert files("s2crop-out") == ["film_cover1_free.jpg", "film_cover2_free.jpg"]


def test_one_cover_in_one_file_or_on_standard_output(film):
    clip(film)
    (record,) = records("film.mp4", "-a", "1:1", "-o", "one.webp")
    assert (record["cover_rank"], record["output"], Image.open("one.webp").format) == (1, "one.webp", "WEBP")
    result = CliRunner().invoke(cli.main, ["film.mp4", "-a", "1:1", "-o", "-"])
    assert result.exit_code == 0 and Image.open(io.BytesIO(result.stdout_bytes)).format == "JPEG"
    takes_one = "--output x.jpg takes one crop, and 2 covers are asked for: give a folder"
    assert usage_error("film.mp4", "-n", "2", "-o", "x.jpg") == takes_one
    assert "--keep-frames writes a picture beside the crops" in usage_error("film.mp4", "--keep-frames", "-o", "x.jpg")


@pytest.mark.parametrize("option", [["-n", "2"], ["--start", "0"], ["--end", "3"], ["--keep-frames"]])
def test_options_of_videos_need_one_among_the_inputs(film, option):
    draw("a.png")
    name = "--covers" if option[0] == "-n" else option[0]
    assert usage_error("a.png", *option) == f"{name} is for videos, and none is among the inputs"
    clip(film)
    assert s2crop("a.png", "film.mp4", *option)[0] == 0
    assert s2crop("a.png", "--cover", "--overwrite")[0] == 0  # says what to do with videos, should there be any


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-n", "0"], "'0' is not a whole number from 1 to 99"),
        (["--start", "-1"], "'-1' is not a time in seconds"),
        (["--end", "nan"], "'nan' is not a time in seconds"),
        (["--start", "1:60"], "'1:60' is not a time in seconds"),
        (["--start", "1:2:3:4"], "'1:2:3:4' is not a time in seconds"),
        (["--start", "5", "--end", "5"], "--start 5 is not before --end 5"),
        (["--name", "{stem}_{ratio}"], "gives crops of one input the same name: add {ratio}, {rank} or {cover}"),
    ],
)
def test_options_of_videos_that_make_no_sense(film, options, message):
    clip(film)
    assert message in usage_error("film.mp4", *options)


def test_a_span_of_a_video(film):
    clip(film)
    assert {r["time_s"] >= 1.2 for r in records("film.mp4", "--start", "1.2")} == {True}
    assert {r["time_s"] <= 1 for r in records("film.mp4", "--end", "1", "--overwrite")} == {True}
    assert {r["time_s"] >= 1.2 for r in records("film.mp4", "--start", "00:00:01.2", "--overwrite")} == {True}
    assert {r["time_s"] <= 1 for r in records("film.mp4", "--end", "0:01", "--overwrite")} == {True}
    (record,) = records("film.mp4", "--start", "1:00", code=1)
    assert (record["status"], record["type"], record["error"]) == ("error", "video", "no frames in the span asked for")


def test_how_a_video_is_looked_through(film):
    clip(film)
    for scan, told in (("auto", "all frames, 60"), ("full", "all frames, 60"), ("keyframes", "I-frames alone, ")):
        code, _, err = s2crop("film.mp4", "--scan", scan, "-v", "--overwrite")
        assert code == 0 and f"film.mp4: looked at {told}" in err
    assert "--scan" in usage_error("film.mp4", "--scan", "some")


def test_an_animated_gif_is_a_video_with_cover():
    frames = [Image.fromarray(scene(1 + i // 10, (48, 80))) for i in range(20)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:], duration=100)
    assert [r["output"] for r in records("a.gif")] == ["s2crop-out/a_free.png"]
    got = records("a.gif", "--cover", "-n", "2")
    assert [r["output"] for r in got] == ["s2crop-out/a_cover1_free.jpg", "s2crop-out/a_cover2_free.jpg"]


def test_circles_of_a_video_are_clear_outside(film):
    clip(film)
    s2crop("film.mp4", "--shape", "circle", "-n", "1", "--keep-frames")
    assert sizes() == {"film_cover1.jpg": (160, 96), "film_cover1_1x1.png": (96, 96)}


def test_two_videos_of_one_name_have_names_of_their_own(film):
    clip(film)
    clip(film, "film.mkv")
    s2crop("film.mp4", "film.mkv", "-n", "1", "--keep-frames")
    assert files("s2crop-out") == [
        "film_cover1.jpg",
        "film_cover1_free.jpg",
        "film_mkv_cover1.jpg",
        "film_mkv_cover1_free.jpg",
    ]


def test_a_video_on_a_sheet_and_with_overlays(film):
    clip(film)
    code, _, err = s2crop("film.mp4", "-n", "2", "--overlay", "--sheet", "s.html", "-v", "-a", "1:1")
    assert code == 0, err
    assert files("s2crop-out") == [
        "film_cover1_1x1.jpg",
        "film_cover1_overlay.jpg",
        "film_cover2_1x1.jpg",
        "film_cover2_overlay.jpg",
    ]
    assert Path("s.html").read_text().count("<article") == 2


# Output


def test_the_input_tree_is_mirrored():
    for name in ("photos/a.png", "photos/sub/a.png", "photos/sub/deep/b.png"):
        draw(name)
    s2crop("photos", "-r", "-o", "out")
    assert files("out") == ["a_free.png", "sub/a_free.png", "sub/deep/b_free.png"]
    s2crop("photos", "-o", "flat/out.d")
    assert files("flat/out.d") == ["a_free.png"]


def test_one_file():
    draw("a.png", (96, 64))
    code, out, _ = s2crop("a.png", "-a", "1:1", "-o", "new/square.JPEG")
    assert (code, out) == (0, "")
    with Image.open("new/square.JPEG") as image:
        assert (image.format, image.size) == ("JPEG", (64, 64))
    assert [r["status"] for r in records("a.png", "-a", "1:1", "-o", "new/square.JPEG")] == ["skipped"]
    assert [r["output"] for r in records("a.png", "-o", "b.webp", "-f", "webp")] == ["b.webp"]


def test_one_file_takes_one_crop_of_one_input():
    draw("a.png")
    draw("b.png")
    assert usage_error("a.png", "b.png", "-o", "c.png") == (
        "--output c.png takes one input, and 2 are given: give a folder"
    )
    assert usage_error("a.png", "-o", "c.png", "-a", "1:1,4:3") == (
        "--output c.png takes one crop, and 2 are asked for: give a folder"
    )
    assert usage_error("a.png", "-o", "-", "-k", "3") == (
        "--output - takes one crop, and 3 are asked for: give a folder"
    )
    assert usage_error("a.png", "-o", "c.png", "-f", "jpg") == ("--output c.png and --format jpg contradict each other")
    assert usage_error("a.png", "-o", "c.tif") == "--output c.tif: pictures are written as jpg, png, webp or avif"
    assert usage_error("a.png", "-o", "c.png", "--name", "{stem}") == (
        "--name is for outputs in a folder, and --output is none"
    )
    assert usage_error("a.png", "-o", "") == "--output is empty: give a folder, a file, or - for standard output"


def test_a_folder_may_look_like_a_file():
    draw("a.png")
    Path("album.jpg").mkdir()
    s2crop("a.png", "-o", "album.jpg")
    s2crop("a.png", "-o", "new.png/")
    assert files("album.jpg") == files("new.png") == ["a_free.png"]


def test_a_file_where_the_folder_should_be():
    draw("a.png")
    Path("notes").write_text("mine")
    assert usage_error("a.png", "-o", "notes") == "--output notes exists and is no folder"


def test_an_input_is_never_overwritten():
    before = draw("a.png").read_bytes()
    code, _, err = s2crop("a.png", "-o", ".", "--name", "{stem}", "--overwrite")
    assert code == 1
    assert err.splitlines()[0] == "s2crop: a.png: a.png is an input; inputs are never overwritten"
    assert s2crop("a.png", "-o", "a.png")[0] == 1
    assert s2crop("a.png", "-o", "a.png", "--overwrite")[0] == 1
    assert (Path("a.png").read_bytes(), files()) == (before, ["a.png"])


def test_no_other_shard_s_input_is_overwritten():
    draw("a.png")
    before = draw("a_free.png").read_bytes()
    assert s2crop("a.png", "a_free.png", "-o", ".", "--overwrite", "--shard", "1/2")[0] == 1
    assert Path("a_free.png").read_bytes() == before


def test_name():
    draw("photos/a.png")
    draw("photos/b.png")
    s2crop("photos", "-a", "1:1,4:3", "--name", "{ratio}/{stem}-{ext}")
    assert files("s2crop-out") == ["1x1/a-png.png", "1x1/b-png.png", "4x3/a-png.png", "4x3/b-png.png"]


def test_names_with_the_size():
    draw("a.png", (400, 300))
    s2crop("a.png", "-a", "1:1,16:9", "-s", "160", "--name", "{stem}-{width}x{height}")
    s2crop("a.png", "-s", "x90", "-a", "16:9", "--name", "{height}/{stem}", "--overlay")
    s2crop("a.png", "-s", "64", "--name", "{stem}-{width}")
    expected = {"a-160x160.png": (160, 160), "a-160x90.png": (160, 90), "90/a.png": (160, 90)}
    got = sizes()
    assert {name: got[name] for name in expected} == expected and got["a-64.png"][0] == 64
    assert set(got) == {*expected, "a-64.png", "90/a_overlay.jpg"}
    told = "--name: {height} of free crops is not known beforehand"
    assert usage_error("a.png", "-s", "64", "--name", "{stem}-{height}").startswith(told)
    for unknown in ([], ["-s", "64", "--no-upscale"]):
        assert "{width} of 1:1 crops" in usage_error("a.png", "-a", "1:1", "--name", "{stem}{width}", *unknown)


def test_two_inputs_never_share_a_name():
    for name in ("one/a.png", "two/a.png", "two/A.jpg"):
        draw(name)
    outputs_of = [r["output"] for r in records("one/a.png", "two/a.png", "two/A.jpg", "-f", "png")]
    assert len({name.lower() for name in outputs_of}) == 3 == len(files("s2crop-out"))


@pytest.mark.parametrize(
    "template", ["../{stem}", "/tmp/{stem}", "{stem}/../../x", "{unknown}", "{stem", "", "..", "{stem.__class__}"]
)
def test_names_that_lead_elsewhere_are_refused(template):
    draw("photos/a.png")
    assert usage_error("photos", "--name", template).startswith("--name: ")
    assert files() == ["photos/a.png"]


def test_a_name_must_tell_crops_apart():
    draw("a.png")
    assert "{ratio}" in usage_error("a.png", "--name", "{stem}", "-a", "1:1,4:3")
    assert "{rank}" in usage_error("a.png", "--name", "{stem}_{ratio}", "-k", "2")


@pytest.mark.parametrize(
    ("fmt", "names"),
    [
        ("same", ["a_free.jpg", "b_free.png", "c_free.png"]),
        ("jpg", ["a_free.jpg", "b_free.jpg", "c_free.jpg"]),
        ("png", ["a_free.png", "b_free.png", "c_free.png"]),
        ("webp", ["a_free.webp", "b_free.webp", "c_free.webp"]),
        ("avif", ["a_free.avif", "b_free.avif", "c_free.avif"]),
    ],
)
def test_format(fmt, names):
    for name in ("a.jpg", "b.png", "c.bmp"):
        draw(f"photos/{name}")
    s2crop("photos", "-f", fmt)
    assert files("s2crop-out") == names
    kinds = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".avif": "AVIF"}
    for name in names:
        assert Image.open(Path("s2crop-out") / name).format == kinds[Path(name).suffix]


def test_quality():
    draw("a.jpg", (400, 300))
    s2crop("a.jpg", "-o", "default.jpg")
    s2crop("a.jpg", "-o", "ninety.jpg", "--quality", "90")
    s2crop("a.jpg", "-o", "low.jpg", "--quality", "5")
    size = {name: Path(name).stat().st_size for name in ("default.jpg", "ninety.jpg", "low.jpg")}
    assert size["default.jpg"] == size["ninety.jpg"] > size["low.jpg"]


def test_verbose_prints_the_paths_written():
    draw("photos/a.png")
    draw("photos/b.png")
    s2crop("photos/a.png")
    code, out, err = s2crop("photos", "-v", "-j", "3")
    assert (code, out) == (0, "s2crop-out/b_free.png\n")
    first, times, last = err.splitlines()
    assert re.fullmatch(r"s2crop: fake on cpu, loaded in 0\.0 s", first)
    number = r"\d+\.\d s"
    stages = ", ".join(f"{number} {stage}" for stage in ("decode", "crop and resize", "encode", "write"))
    assert re.fullmatch(f"s2crop: {number} score, {number} waiting; on 3 threads {stages}", times)
    assert summary(last) == "s2crop: 2 pictures, 1 crop written, 1 skipped, 0 failed"


def test_quiet_leaves_errors():
    draw("a.png")
    assert s2crop("a.png", "-q") == (0, "", "")
    assert s2crop("a.png", "missing.png", "-q") == (1, "", "s2crop: missing.png: no such file\n")


def test_log_file_is_appended_to_and_has_the_time():
    draw("a.png")
    Path("log").write_text("before\n")
    s2crop("a.png", "missing.png", "-q", "--log-file", "log")
    s2crop("a.png", "--log-file", "log")
    first, *rest = Path("log").read_text().splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "
    assert first == "before" and all(re.match(stamp, line) for line in rest)
    told = [without_rate(re.sub(stamp, "", line)) for line in rest]
    assert [line for line in told if not re.match("fake on cpu|.* waiting; on ", line)] == [
        "missing.png: no such file",
        "2 pictures, 1 crop written, 0 skipped, 1 failed",
        "1 picture, 0 crops written, 1 skipped, 0 failed",
    ]
    assert "missing/log" in usage_error("a.png", "--log-file", "missing/log")


needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")


@needs_full
def test_a_log_file_that_cannot_be_written_is_one_line():
    draw("a.png")
    line = "s2crop: --log-file /dev/full cannot be written: no space left on device"
    code, _, err = s2crop("a.png", "--log-file", "/dev/full")
    assert (code, [without_rate(told) for told in err.splitlines()]) == (
        1,
        [line, "s2crop: 1 picture, 1 crop written, 0 skipped, 0 failed"],
    )
    assert files("s2crop-out") == ["a_free.png"]
    assert s2crop("a.png", "--log-file", "/dev/full", "-q") == (1, "", line + "\n")


def test_a_log_file_that_cannot_be_written_to_its_end_is_one_line(monkeypatch):
    draw("a.png")
    really = logging.FileHandler.close

    def close(handler):
        really(handler)
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(logging.FileHandler, "close", close)
    code, _, err = s2crop("a.png", "--log-file", "log", "-q")
    assert (code, err) == (1, "s2crop: --log-file log cannot be written: disk quota exceeded\n")


@needs_full
def test_messages_that_cannot_be_shown_stop_nothing():
    for name in ("a.png", "b.png", "c.png"):
        draw(name)
    Path("bad.png").write_text("no picture")
    with open("/dev/full", "wb") as full:
        run = process("bad.png", "a.png", "b.png", "--json", "--log-file", "log", stderr=full)
        assert [json.loads(line)["status"] for line in run.stdout] == ["error", "written", "written"]
        assert run.wait(20) == 1 and "bad.png: not an image" in Path("log").read_text()
        assert process("c.png", stderr=full).wait(20) == 0
    assert files("s2crop-out") == ["a_free.png", "b_free.png", "c_free.png"]


def test_a_terminal_that_is_closed_stops_nothing():
    for i in range(9):
        draw(f"photos/{i}.png")
    terminal, stderr = os.openpty()
    run = process("photos", "--json", "-b", "1", stderr=stderr, cropper="FakeCropper(delay_s=0.1)")
    os.close(stderr)
    first = run.stdout.readline()
    os.close(terminal)
    lines = [first, *run.stdout]
    assert [json.loads(line)["status"] for line in lines] == ["written"] * 9
    assert run.wait(20) == 0


def test_bugs_keep_their_traceback(monkeypatch):
    draw("a.png")

    def bug(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(encode, "encode", bug)
    code, _, err = s2crop("a.png")
    assert (code, err.splitlines()[0]) == (1, "s2crop: a.png: internal error: ZeroDivisionError: a bug")
    assert "Traceback" not in err
    assert "Traceback" in s2crop("a.png", "-v")[2]


# Input


def test_folders_globs_and_filters():
    for name in ("photos/a.png", "photos/b.JPG", "photos/notes.txt", "photos/sub/c.png", "photos/sub/d.webp"):
        draw(name) if "txt" not in name else Path(name).write_text("x")
    Path("photos/sub/.hidden.png").write_text("x")

    def seen(*args):
        return [r["input"] for r in records(*args, "--dry-run")]

    assert seen("photos") == ["photos/a.png", "photos/b.JPG"]
    everything = ["photos/a.png", "photos/b.JPG", "photos/sub/c.png", "photos/sub/d.webp"]
    assert seen("photos", "-r") == everything
    assert seen("photos", "-r", "--include", "*.png") == ["photos/a.png", "photos/sub/c.png"]
    assert seen("photos", "-r", "--include", "*.png", "--include", "b.*") == everything[:3]
    assert seen("photos", "-r", "--exclude", "sub/*") == everything[:2]
    assert seen("photos/*.png", "photos/a.png", "photos/sub/c.png") == ["photos/a.png", "photos/sub/c.png"]


def test_a_run_does_not_crop_its_own_output():
    draw("a.png")
    s2crop(".", "-r")
    assert [r["input"] for r in records(".", "-r", "-a", "1:1")] == ["a.png"]


def test_files_from():
    draw("a.png")
    draw("b c.png")
    draw("new\nline.png")
    Path("list").write_bytes(b"a.png\n\nb c.png\r\n")
    assert [r["input"] for r in records("--files-from", "list")] == ["a.png", "b c.png"]
    for encoding in ("utf-8-sig", "utf-16"):  # as editors on Windows write them
        Path("list").write_bytes("a.png\r\nb c.png\r\n".encode(encoding))
        assert [r["input"] for r in records("--files-from", "list", "--dry-run")] == ["a.png", "b c.png"]
    names = b"new\nline.png\0a.png\0"
    got = records("--files-from", "-", "-0", "--overwrite", input=names)
    assert [(r["input"], r["status"]) for r in got] == [("new\nline.png", "written"), ("a.png", "written")]
    assert [r["input"] for r in records("b c.png", "--files-from", "list", "--overwrite")] == ["b c.png", "a.png"]
    code, _, err = s2crop("--files-from", "-", "-0", input=b"missing\nline.png\0")
    assert (code, err.splitlines()[0]) == (1, r"s2crop: missing\nline.png: no such file")


def test_names_that_are_not_utf8():
    draw("a.png").rename(os.fsdecode(b"caf\xe9.png"))
    (record,) = records(os.fsdecode(b"caf\xe9.png"))
    assert os.fsencode(record["input"]) == b"caf\xe9.png"
    assert os.listdir(b"s2crop-out") == [b"caf\xe9_free.png"]
    assert s2crop(os.fsdecode(b"caf\xe8.png"))[2].startswith(r"s2crop: caf\udce8.png: no such file")


def test_standard_input_to_standard_output():
    picture = draw("a.jpg", (96, 64)).read_bytes()
    result = CliRunner().invoke(cli.main, ["-", "-o", "-", "-a", "1:1", "-q"], input=picture)
    assert (result.exit_code, result.stderr) == (0, "")
    with Image.open(io.BytesIO(result.stdout_bytes)) as image:
        assert (image.format, image.size) == ("JPEG", (64, 64))
    result = CliRunner().invoke(cli.main, ["-", "-o", "-", "-f", "webp", "-v"], input=picture)
    assert Image.open(io.BytesIO(result.stdout_bytes)).format == "WEBP"
    assert files() == ["a.jpg"]


def test_the_format_follows_from_the_contents_and_not_from_the_name(monkeypatch):
    clear = pictures.photo(60, 44).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    png, jpeg = pictures.encoded(clear, "PNG"), pictures.encoded(pictures.photo(60, 44))
    webp = pictures.encoded(clear, "WEBP")
    kinds = {"a.jpg": png, "b.png": jpeg, "c.heic": webp, "D.JPEG": jpeg, "e": jpeg, "f.jpg": jpeg, "f.png": jpeg,
             "g.JPG": png, "g.png": png}  # fmt: skip
    Path("in").mkdir()
    for name, data in kinds.items():
        Path("in", name).write_bytes(data)
    names = {"a.jpg": "a.png", "b.png": "b.jpg", "c.heic": "c.webp", "D.JPEG": "D.jpg", "e": "e.jpg", "f.jpg": "f.jpg",
             "f.png": "f_png.jpg", "g.JPG": "g.png", "g.png": "g_png.png"}  # fmt: skip
    wanted = {f"in/{name}": Path("s2crop-out", out).with_stem(Path(out).stem + "_1x1") for name, out in names.items()}

    def outputs(*asked, input=None):
        got = records(*asked, input=input)
        assert all(one["error"] is None for one in got)
        return {one["input"]: Path(one["output"]) for one in got}, {one["status"] for one in got}

    opened, plain = [], sources.content
    monkeypatch.setattr(sources, "content", lambda path: opened.append(path) or plain(path))
    assert outputs("in", "-a", "1:1", "--dry-run") == (wanted, {"planned"})
    assert len(opened) == len(set(opened))
    found = records("in", "-a", "1:1")
    Path("b.jsonl").write_text("".join(json.dumps(one) + "\n" for one in found))
    assert outputs("in", "-a", "1:1") == (wanted, {"skipped"})
    assert outputs("--files-from", "-", "-a", "1:1", input="\n".join(wanted).encode()) == (wanted, {"skipped"})
    assert outputs("--boxes", "b.jsonl", "--dry-run") == (wanted, {"planned"})
    for name, path in wanted.items():
        with Image.open(path) as image:
            assert image.format == {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}[path.suffix]
            assert image.has_transparency_data == (kinds[Path(name).name] is not jpeg)
    assert {path.suffix for path in outputs("in", "-f", "avif", "--dry-run")[0].values()} == {".avif"}
    for data, suffix in ((png, "png"), (jpeg, "jpg"), (webp, "webp")):
        assert outputs("-", "-o", suffix, input=data) == ({"-": Path(suffix, f"stdin_free.{suffix}")}, {"written"})
        assert Image.open(f"{suffix}/stdin_free.{suffix}").format == {"jpg": "JPEG"}.get(suffix, suffix.upper())


def test_standard_input_into_a_folder():
    (record,) = records("-", input=draw("a.png").read_bytes())
    assert (record["input"], record["output"], record["status"]) == ("-", "s2crop-out/stdin_free.png", "written")
    code, _, err = s2crop("-", input=b"", *["-o", "out"])
    assert (code, err.splitlines()[0]) == (1, "s2crop: -: empty file")


def test_standard_streams_that_are_asked_for_too_much():
    both = "standard input is either the list of --files-from or a picture, not both"
    assert usage_error("-", "--files-from", "-", input=b"a.png") == both
    assert usage_error("--files-from", "-", "-o", "x.png", input=b"a.png\n-\n") == both
    assert usage_error("a.png", "-o", "-", "--json") == (
        "--json and the picture (--output -) cannot share standard output"
    )


def test_shards_together_are_the_whole():
    for i in range(5):
        draw(f"one/{i}.png")
        draw(f"two/{i}.png")
    asked = "one", "two", "-a", "1:1"
    whole = records(*asked, "-o", "whole")
    parts = [records(*asked, "-o", "parts", "--shard", f"{i}/3") for i in (1, 2, 3)]
    assert all(parts) and sum(map(len, parts)) == 10
    renamed = [record | {"output": record["output"].replace("parts", "whole")} for part in parts for record in part]
    assert sorted(renamed, key=lambda r: r["input"]) == whole
    assert files("parts") == files("whole") and len(files("whole")) == 10


@pytest.mark.parametrize("how", ["named", "listed", "stream", "glob"])
def test_files_of_like_names_are_spread_over_all_shards(how):
    names = [f"{folder}/{side}.png" for folder in range(12) for side in ("front", "back")]
    for name in names:
        draw(name)
    Path("list").write_text("\n".join(names))
    lists = {"listed": ["--files-from", "list"], "stream": ["--files-from", "-"]}
    asked = {"named": names, "glob": ["[0-9]*/*.png"], **lists}
    sent = "\n".join(names) if how == "stream" else None
    whole = records(*asked[how], "-o", "out", "--dry-run", input=sent)
    parts = [records(*asked[how], "-o", "out", "--shard", f"{i}/4", input=sent) for i in (1, 2, 3, 4)]
    assert all(len(part) >= 3 for part in parts)
    planned = [(record["input"], record["output"]) for record in whole]
    assert sorted((r["input"], r["output"]) for part in parts for r in part) == sorted(planned)
    assert len(files("out")) == len({output for _, output in planned}) == len(names)
    again = [record["status"] for i in (4, 3, 2, 1) for record in records(
        *asked[how], "-o", "out", "--shard", f"{i}/4", input=sent)]  # fmt: skip
    assert again == ["skipped"] * len(names)
    Path("b.jsonl").write_text("\n".join(json.dumps(record) for record in whole))
    given = [records("--boxes", "b.jsonl", "-o", "out", "--overwrite", "--shard", f"{i}/4") for i in (1, 2, 3, 4)]
    assert all(given) and sorted((r["input"], r["output"]) for part in given for r in part) == sorted(planned)


def test_a_shard_without_inputs_is_done():
    draw("a.png")
    done = [s2crop("a.png", "-q", "--json", "--shard", f"{i}/4") for i in range(1, 5)]
    assert [code for code, _, _ in done] == [0] * 4 and [bool(out) for _, out, _ in done].count(True) == 1
    empty = next(i for i in range(1, 5) if not done[i - 1][1])
    assert s2crop("a.png", "--shard", f"{empty}/4") == (0, "", f"s2crop: part {empty} of 4 has no pictures\n")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_part_stays_when_others_come_beside_it(streamed):
    for i in range(12):
        draw(f"in/{i}/{i % 3}.png")

    def parts(out):
        if not streamed:
            asked = [("in", "-r")] * 3
            return [{r["input"] for r in records(*a, "-o", out, "--shard", f"{i}/3")} for i, a in enumerate(asked, 1)]
        return [
            {r["input"] for r in records("--files-from", "-", "-r", "-o", out, "--shard", f"{i}/3", input=b"in\n")}
            for i in (1, 2, 3)
        ]

    before = parts("one")
    assert all(before) and sum(map(len, before)) == 12
    for name in ("in/00.png", "in/0/first.png", "in/5/b.png"):
        draw(name)
    after = parts("two")
    assert sum(map(len, after)) == 15 and all(old <= new for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "1/0", "a/b", "1/-2"])
def test_shards_that_are_none(shard):
    assert "1/4 to 4/4 are the parts of four" in usage_error("a.png", "--shard", shard)


def test_options_that_would_be_ignored_are_refused():
    draw("a.png")
    assert usage_error("a.png", "--no-upscale") == (
        "--no-upscale is about crops that are smaller than --size: give that too"
    )
    told = "--quality is for lossy formats, and png loses nothing: leave it out"
    assert usage_error("a.png", "-f", "png", "--quality", "90") == told
    assert usage_error("a.png", "-o", "b.png", "--quality", "50") == told
    assert s2crop("a.png", "-f", "png", "--quality", "50", "--overlay")[0] == 0  # a JPEG


@pytest.mark.parametrize(
    "options, told",
    [
        (["-r"], "--recursive changes nothing: no folder is among the inputs"),
        (["--overlay", "--dry-run"], "--dry-run writes no overlay: --overlay changes nothing"),
        (["--heatmap", "--dry-run"], "--dry-run writes no heatmap: --heatmap changes nothing"),
        (["--quality", "50"], "--quality changes nothing: no output is of a lossy format"),
    ],
)
def test_options_that_change_nothing_here_are_told_of(options, told):
    draw("a.png")
    code, _, err = s2crop("a.png", *options)
    assert code == 0 and err.splitlines()[0] == f"s2crop: {told}" and err.count("changes nothing") == 1
    assert s2crop("a.png", *options, "-q")[2] == ""


def test_options_that_change_something_are_not_told_of():
    draw("in/a.jpg")
    draw("in/b.png")
    draw("c.png")
    Path("list").write_text("in\n")
    for asked in (["in", "-r"], ["c.png", "--files-from", "list", "-r"], ["i*", "-r"], ["in", "--quality", "50"]):
        assert "changes nothing" not in s2crop(*asked)[2], asked
    assert "changes nothing" not in s2crop("--files-from", "-", "-r", input=b"c.png\n")[2]


def test_an_output_whose_name_no_file_system_takes():
    draw("a.png")
    long = "o" * 300
    assert s2crop("a.png", "-o", long)[0] == 1 and s2crop("a.png", "-o", f"{long}.jpg")[0] == 1
    _, _, err = s2crop("a.png", "-o", long)
    assert "name too long" in err.splitlines()[0] and "0 crops written, 0 skipped, 1 failed" in err


def test_max_pixels():
    draw("a.png", (48, 32))
    draw("b.png", (20, 20))
    code, _, err = s2crop("a.png", "b.png", "--max-pixels", "1535")
    assert (code, err.splitlines()[0]) == (1, "s2crop: a.png: 48x32 is over 1535 pixels (--max-pixels)")
    assert files("s2crop-out") == ["b_free.png"]
    assert s2crop("a.png", "--max-pixels", "1536")[0] == 0


# Usage, loading, and ends that come early


def test_no_input():
    assert usage_error() == "nothing to crop: give images, folders, globs, - or --files-from"
    assert usage_error("a.png", "-0") == "-0 says how the list of --files-from is separated: give --files-from too"


@pytest.mark.parametrize(
    "args",
    [["-k", "0"], ["-k", "91"], ["-k", "two"], ["--quality", "101"], ["-b", "0"], ["-j", "0"], ["--max-pixels", "0"],
     ["-d", "tpu"], ["-d", "cuda:x"], ["--precision", "int8"], ["-m", "other"], ["--proposals", "none"], ["-f", "gif"],
     ["--protect", "cats"], ["--shape", "star"], ["--files-from", "missing"], ["--frobnicate"]],
)  # fmt: skip
def test_wrong_values(args):
    assert args[0] in usage_error("a.png", *args)


@pytest.mark.parametrize(("typed", "suffix"), [("jpeg", "jpg"), ("JPG", "jpg"), (".webp", "webp"), ("Same", "png")])
def test_formats_as_people_type_them(typed, suffix):
    draw("a.png")
    assert [r["output"] for r in records("a.png", "-f", typed)] == [f"s2crop-out/a_free.{suffix}"]


def options_of(monkeypatch, *args):
    """The request that the command makes of options."""
    asked = []
    real = handover.request
    with monkeypatch.context() as patched:
        patched.setattr(handover, "request", lambda options: asked.append(real(options)) or asked[0])
        assert s2crop("a.png", *args)[0] == 0
    return asked[0]


def test_points_and_boxes_in_per_cent(monkeypatch):
    draw("a.png")
    assert options_of(monkeypatch, "--focus", "50%,100%").focus == (0.5, 1.0)
    assert options_of(monkeypatch, "--keep", "0,10%,50%,12.5%", "--overwrite").keep == (0, 0.1, 0.5, 0.125)
    for wrong, told in (("50%,120", "mixes percentages"), ("101%,1%", "more than 100 %"), ("%,1%", "is not X,Y")):
        assert told in usage_error("a.png", "--focus", wrong)


def test_the_least_size_of_crops(monkeypatch):
    draw("a.png")
    assert options_of(monkeypatch).min_scale == 0
    assert options_of(monkeypatch, "--min-scale", "0.8", "--overwrite").min_scale == 0.8
    assert options_of(monkeypatch, "--min-scale", "90%", "--overwrite").min_scale == 0.9
    for wrong in ("2", "-1", "nan", "large"):
        assert "is not a share" in usage_error("a.png", "--min-scale", wrong)


def test_the_summary_says_how_many_crops_were_enlarged():
    draw("a.png", (48, 32))
    assert ", 1 crop written, 1 of them enlarged, " in s2crop("a.png", "-s", "300x300")[2]
    assert "enlarged" not in s2crop("a.png", "-s", "8x8", "--overwrite")[2]
    assert "enlarged" not in s2crop("a.png", "-s", "300x300", "--no-upscale", "--overwrite")[2]


def test_a_ratio_among_the_inputs():
    draw("a.png")
    told = "there is no file 1:1; several ratios go together with commas: --ratio 16:9,1:1"
    assert usage_error("-a", "16:9", "1:1", "a.png") == told
    draw("4x3.png").rename("4x3")
    assert [r["input"] for r in records("-a", "16:9", "4x3", "a.png")] == ["4x3", "a.png"]


def test_folders_inside_folders():
    draw("albums/one/a.png")
    draw("albums/two/b.png")
    told = "(passed over 2 folders (--recursive walks them))"
    assert s2crop("albums") == (3, "", f"s2crop: nothing to do: no picture or video matches {told}\n")
    draw("albums/c.png")
    assert ", passed over 2 folders (--recursive walks them), " in s2crop("albums", "-o", "albums/out")[2]
    assert ", passed over 2 folders (" in s2crop("albums", "-o", "albums/out", "--overwrite")[2]  # the outputs' is none
    assert "folder" not in s2crop("albums", "-r")[2]


def test_nothing_to_do():
    Path("empty").mkdir()
    nothing = (3, "", "s2crop: nothing to do: no picture or video matches\n")
    assert s2crop("empty") == nothing
    assert s2crop("*.png") == nothing
    assert s2crop("--files-from", "-", input=b"") == nothing
    draw("a.png")
    assert s2crop("a.png", "--exclude", "*.png") == nothing


@pytest.mark.parametrize(
    "error", [WeightsError("weights.pth: not a checkpoint of S2CNet"), DeviceError("cuda:1 is not there; use cpu")]
)
def test_weights_and_devices_that_cannot_be_used(monkeypatch, error):
    draw("a.png")

    def load(*asked):
        raise error

    monkeypatch.setattr(loading, "load_cropper", load)
    assert s2crop("a.png", "--json") == (4, "", f"s2crop: {error}\n")
    assert files() == ["a.png"]


def test_a_device_that_is_lost_on_the_way(monkeypatch):
    draw("a.png")

    def fail(prepared):
        raise DeviceError("cuda:0 is gone")

    monkeypatch.setattr(loading, "load_cropper", lambda *asked: FakeCropper(fail=fail))
    assert s2crop("a.png") == (4, "", "s2crop: cuda:0 is gone\n")


def test_what_is_loaded(monkeypatch):
    draw("a.png")
    asked = []
    monkeypatch.setattr(loading, "load_cropper", lambda *args: asked.append(args) or FakeCropper())
    s2crop("a.png", "-j", "3")
    s2crop(
        "a.png",
        "-j",
        "1",
        "-m",
        "s2cnet",
        "--weights",
        "w.pth",
        "-d",
        "cuda:1",
        "--precision",
        "bf16",
        "--proposals",
        "builtin",
    )
    assert asked == [
        ("s2cnet", None, "auto", "auto", "auto", 3),
        ("s2cnet", Path("w.pth"), "cuda:1", "bf16", "builtin", 1),
    ]


def test_standard_output_that_is_closed(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        with pytest.raises(click.UsageError, match="need standard output, which is closed"):
            cli.main(["a.png", "--json"], standalone_mode=False)


def test_standard_output_that_fails(monkeypatch):
    draw("a.png")

    def full(line):
        raise OutputError("cannot write to standard output: no space left on device")

    monkeypatch.setattr(command, "print_line", full)
    code, _, err = s2crop("a.png", "--json")
    assert (code, err) == (1, "s2crop: cannot write to standard output: no space left on device\n")


def test_an_interrupt_while_loading(monkeypatch):
    draw("a.png")

    def load(*asked):
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load_cropper", load)
    handlers = [signal.getsignal(number) for number in ENDS]
    code, out, err = s2crop("a.png", "--overwrite")
    assert (code, out, err) == (130, "", "s2crop: interrupted before the first picture\n")
    assert handlers == [signal.getsignal(number) for number in ENDS]


@pytest.mark.parametrize("where", ["load", "rank"])
@pytest.mark.parametrize("swallow", [False, True])
def test_an_interrupt_that_an_import_makes_something_else_of(monkeypatch, where, swallow):
    for i in range(9):
        draw(f"photos/{i}.png")

    def interrupted(*asked):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            if not swallow:
                raise RuntimeError("error calling __set_name__") from None

    def load(*asked):
        if where == "load":
            interrupted()
        return FakeCropper(fail=lambda prepared: where == "rank" and interrupted())

    monkeypatch.setattr(loading, "load_cropper", load)
    code, out, err = s2crop("photos", "-b", "1", "-j", "1")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1].startswith("s2crop: interrupted ") and "Traceback" not in err
    assert len(files("s2crop-out")) < 9


@pytest.mark.slow
def test_an_interrupt_while_a_video_is_decoded():
    clips.lavfi_clip(Path("long.mp4"), "testsrc2=size=1280x720:rate=30:duration=20", "-c:v", "mpeg4", "-q:v", "9")
    for name in ("a.png", "b.png", "c.png"):
        draw(name)
    run = process("a.png", "b.png", "c.png", "long.mp4", "--json", "-b", "1")
    run.stdout.readline()  # of the first picture: the video is on its way
    sent = time.monotonic()
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 130
    assert time.monotonic() - sent < 4
    assert re.match(rb"s2crop: interrupted after [123] of 4 ", run.stderr.read())
    assert set(files("s2crop-out")) <= {"a_free.png", "b_free.png", "c_free.png"}


@pytest.mark.parametrize("number", ENDS)
def test_interrupt(number):
    for i in range(40):
        draw(f"photos/{i:02}.png")
    run = process("photos", "--json", "-b", "1", "-j", "2", cropper="FakeCropper(delay_s=0.1)")
    lines = [run.stdout.readline() for _ in range(3)]
    sent = time.monotonic()
    run.send_signal(number)
    assert run.wait(20) == 130
    assert time.monotonic() - sent < 4
    lines += run.stdout.readlines()
    assert {json.loads(line)["status"] for line in lines} == {"written"}
    # Between counting a picture and printing its line there is a moment for the signal, too.
    assert run.stderr.read().decode() in [
        f"s2crop: interrupted after {n} of 40 pictures, {n} crops written; the same command goes on from there\n"
        for n in (len(lines), len(lines) + 1)
    ]
    for name in files("s2crop-out"):
        assert re.fullmatch(r"\d\d_free\.png", name)
        Image.open(Path("s2crop-out") / name).load()


@pytest.mark.parametrize("number", ENDS)
def test_signals_that_are_ignored_stay_so(number):
    """As `nohup` and shells ask for."""
    for i in range(9):
        draw(f"photos/{i}.png")
    before = signal.signal(number, signal.SIG_IGN)  # a process that is started takes it over
    try:
        run = process("photos", "--json", "-b", "1", cropper="FakeCropper(delay_s=0.1)")
    finally:
        signal.signal(number, before)
    lines = [run.stdout.readline()]
    run.send_signal(number)
    assert len(lines + run.stdout.readlines()) == 9 and run.wait(20) == 0


@pytest.mark.slow
def test_interrupt_does_not_wait_for_a_slow_encoder():
    draw("photos/a.png")
    draw("photos/b.png", (32, 48))
    encode = "lambda *a, **k: print('encoding', flush=True) or time.sleep(30)"
    run = process("photos", "-b", "1", cropper=f"setattr(encode, 'encode', {encode}) or FakeCropper()")
    assert run.stdout.readline().startswith(b"encoding")
    sent = time.monotonic()
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 130
    assert time.monotonic() - sent < 4
    assert files("s2crop-out") == []
    assert b"interrupted after 0 of 2 pictures, 0 crops written" in run.stderr.read()


def test_a_closed_pipe_ends_the_run_quietly():
    for i in range(60):
        draw(f"photos/{i:02}.png")
    run = process("photos", "--json", "-b", "1", cropper="FakeCropper(delay_s=0.02)")
    assert json.loads(run.stdout.readline())["input"] == "photos/00.png"
    run.stdout.close()
    assert run.stderr.read() == b""
    assert run.wait(20) == 0
    assert 0 < len(files("s2crop-out")) < 60


def read_to_the_end(terminal):
    read = b""
    with suppress(OSError):  # Linux's way of saying that nobody writes to it any more
        while part := os.read(terminal, 4096):
            read += part
    return read


@pytest.mark.parametrize("args", [[], ["--no-progress"], ["-q"]])
def test_progress_on_a_terminal(args):
    draw("photos/a.png")
    Path("photos/b.png").write_text("no picture")
    terminal, stderr = os.openpty()
    run = process("photos", "--json", *args, stderr=stderr)
    os.close(stderr)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_to_the_end, terminal)  # as it comes: a terminal holds 4096 bytes
        out = run.stdout.read()
        assert run.wait(20) == 1
    err = reading.result().decode()
    os.close(terminal)
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["written", "error"]
    assert "s2crop: photos/b.png: not an image\r\n" in err
    assert ("/2" in err and "\x1b[" in err) == (not args)


def test_python_m_s2crop():
    here = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "s2crop", "-V"], env=os.environ | {"PYTHONPATH": str(here)}, capture_output=True
    )
    assert done.returncode == 0 and re.fullmatch(rb"s2crop \d+\.\d+\.\d+\n", done.stdout)


# Help


def test_help():
    code, out, err = s2crop("--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: s2crop [OPTIONS] INPUT...\n")
    headings = re.findall(r"^(\S.*):$", out, flags=re.M)
    assert headings == ["Crops", "Videos", "Output", "Input", "Model and throughput", "Messages and help"]
    for option in ("-a, --ratio R", "-0", "--shard I/N", "-V, --version", "--max-pixels N"):
        assert f"\n  {option} " in out
    assert choices.DEFAULT_TEMPLATE in out


def test_brief_help_is_one_screen():
    code, out, err = s2crop("-h")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert lines[0] == "Usage: s2crop [OPTIONS] INPUT..." and "s2crop --help" in lines[-1]
    named = re.findall(r"^  (?:-\w, )?(-\S+)", out, flags=re.M)
    assert 10 <= len(named) <= 14
    assert {"--ratio", "--size", "--output", "--cover", "--json"} <= set(named)
    every = {name for param in cli.main.params if param.param_type_name == "option" for name in param.opts}
    assert set(named) <= every and len(every) > 2 * len(named)


def test_every_option_has_help_and_a_test():
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for param in cli.main.params:
        if param.param_type_name == "option":
            assert param.help and any(f'"{name}"' in tests for name in param.opts), param.opts


def test_choices_agree_with_the_modules_that_are_loaded_later():
    from s2crop.cropping.features import columns  # takes seconds: torch comes with it

    params = {param.name: param for param in cli.main.params}
    kept = {columns(name).tobytes() for name in params["protect"].type.choices}
    assert len(kept) == len(choices.PROTECT)
    assert tuple(params["fmt"].type.choices) == FORMATS == ("same", "jpg", "png", "webp", "avif")
    assert f"default: {choices.MAX_PIXELS // 1_000_000} million" in params["max_pixels"].help
    assert f"default: {choices.DEFAULT_COVERS}, or 1" in params["covers"].help
    assert inspect.signature(covers).parameters["top"].default == choices.DEFAULT_COVERS


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_loads_nothing_heavy(option):
    script = """if True:
        import sys, s2crop.cli
        try: s2crop.cli.main([sys.argv[1]])
        except SystemExit: pass
        heavy = {"torch", "torchvision", "numpy", "PIL", "rich", "safetensors"} & set(sys.modules)
        print("heavy:", *sorted(heavy))
    """
    here = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", script, option],
        env=os.environ | {"PYTHONPATH": str(here)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "heavy:", done.stderr
