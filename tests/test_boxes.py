"""`--boxes`: what a run chose, written again by another without a network; and files of lines that are wrong."""

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import clips
import pictures
from commands import draw, files, records, s2crop, usage_error
from s2crop.cli import loading
from s2crop.files import boxes as lines_of
from s2crop.files import marks
from s2crop.files.boxes import read_boxes
from s2crop.run import resume
from test_start import modules_of

pytestmark = pytest.mark.usefixtures("folder")

HERE = Path(__file__).parent
CLIP = HERE.parent / "examples" / "clip.mp4"


@pytest.fixture
def unmarked(monkeypatch):
    """Outputs without marks, which say how they came about."""
    monkeypatch.setattr(resume.Resume, "mark", lambda *about: "")


@pytest.fixture
def no_network(monkeypatch):
    """Whoever asks for a network fails."""

    def start():
        monkeypatch.setattr(loading, "load_cropper", lambda *asked: pytest.fail("a network was asked for"))

    return start


def contents(folder):
    return {name: Path(folder, name).read_bytes() for name in files(folder)}


def keep(found, name="b.jsonl"):
    """Write the records of a run as its standard output would have them."""
    Path(name).write_text("".join(json.dumps(record) + "\n" for record in found))
    return found


def line(**changes):
    return {"input": "a.png", "ratio": "1:1", "box": [8, 0, 40, 32]} | changes


def write_lines(*given, name="b.jsonl"):
    Path(name).write_text("".join(one if isinstance(one, str) else json.dumps(one) + "\n" for one in given))
    return name


def errors(*given, code=1, more=()):
    """The errors of lines, by number, and the statuses of the others."""
    got = records("--boxes", write_lines(*given), *more, code=code)
    failed = [record for record in got if record["status"] == "error"]
    return [record["error"] for record in failed], [record for record in got if record["status"] != "error"]


# The same outputs


def draw_all(folder="photos"):
    """Pictures of all kinds; some JPEGs as large as the decoder makes them smaller to be scored."""
    photo = pictures.photo(60, 44, noise=10)
    alpha = photo.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(photo.size))
    deep = Image.fromarray((np.asarray(photo.convert("L"), np.uint16) * 257 + 3).astype(np.uint16))
    large = pictures.encoded(pictures.photo(1560, 1540, noise=8), quality=75)
    found = {
        "turned.jpg": pictures.encoded(photo, orientation=6, icc_profile=pictures.p3_profile()),
        "cmyk.jpg": pictures.encoded(photo.convert("CMYK"), icc_profile=pictures.cmyk_profile()),
        "large.jpg": large,
        "sub/grey.jpg": pictures.encoded(photo.convert("L")),
        "alpha.png": pictures.encoded(alpha, "PNG"),
        "alpha.webp": pictures.encoded(alpha, "WEBP"),
        "deep.png": pictures.encoded(deep, "PNG"),
        "deep.tif": pictures.encoded(deep, "TIFF"),
        "sub/plain.avif": pictures.encoded(photo, "AVIF"),
        "anim.gif": pictures.animation("GIF"),
    }
    for name, data in found.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return found


@pytest.mark.parametrize(
    "options",
    [
        ["-s", "30"],
        ["-s", "x40", "-f", "jpg", "--quality", "70", "--background", "teal"],
        ["-s", "900", "--no-upscale", "-f", "webp", "--colour", "srgb"],
        ["-s", "20", "-f", "avif", "--metadata", "all"],
        ["--overlay", "--name", "{ratio}/{stem}{rank}", "-f", "jpg"],
    ],
    ids=" ".join,
)
def test_outputs_are_those_of_the_run_that_chose(options, unmarked, no_network):
    inputs = draw_all()
    asked = "photos", "-r", "-a", "16:9,free", "-k", "2"
    chosen = keep(records(*asked, *options, "-o", "one"))
    assert {record["input"] for record in chosen} == {f"photos/{name}" for name in inputs}
    keep(records(*asked, "--dry-run"), "dry.jsonl")
    no_network()
    got = records("--boxes", "b.jsonl", *options, "-o", "two")
    first, second = contents("one"), contents("two")
    assert first == second and len(first) == len(chosen) + ("--overlay" in options) * len(inputs)
    for mine, theirs in zip(got, chosen, strict=True):
        assert mine | {"device": "cpu", "output": None} == theirs | {"output": None}
    s2crop("--boxes", "dry.jsonl", *options, "-o", "three")
    assert contents("three") == second


def test_pads_and_sizes_are_those_of_the_run_that_chose(unmarked, no_network):
    draw_all()
    options = ["-s", "30,x50", "--pad-with", "teal", "-f", "png"]
    chosen = keep(records("photos", "-r", "-a", "2:1,4:5", "--pad", "always", *options, "-o", "one"))
    assert {record["size"] for record in chosen} == {"30", "x50"} and all(record["padded"] for record in chosen)
    no_network()
    got = records("--boxes", "b.jsonl", *options, "-o", "two")
    assert contents("one") == contents("two") and len(contents("two")) == len(chosen) == 40
    for mine, theirs in zip(got, chosen, strict=True):
        assert mine | {"device": "cpu", "output": None} == theirs | {"output": None}
    assert {record["padded"] is not None for record in records("--boxes", "b.jsonl", "-o", "blurred")} == {True}


def test_padded_may_be_said_by_hand():
    draw("a.png")
    whole = line(box=[0, 0, 48, 32])
    write_lines(whole | {"padded": True})
    assert [one["padded"] for one in records("--boxes", "b.jsonl")] == [[0, 8, 0, 8]]
    for no in (None, False):
        assert "is not 1:1" in errors(whole | {"padded": no})[0][0]


@pytest.mark.parametrize("fill", ["blur", "edge", "white", "transparent"])
def test_pads_that_an_output_is_too_small_for_are_known_of(fill, unmarked):
    draw("a.png", (160, 158))
    chosen = keep(records("a.png", "-a", "1:1", "--pad", "always", "--pad-with", fill, "-s", "20"))
    assert chosen[0]["padded"] == [0, 0, 0, 0]
    (got,) = records("--boxes", "b.jsonl", "--pad-with", fill, "-s", "20", "-o", "o")
    assert (got["status"], got["padded"]) == ("written", [0, 0, 0, 0])
    assert Image.open(got["output"]).tobytes() == Image.open(chosen[0]["output"]).tobytes()
    (large,) = records("--boxes", "b.jsonl", "-o", "large")
    assert large["padded"] == [0, 1, 0, 1] and Image.open(large["output"]).size == (160, 160)


def test_circles_are_those_of_the_run_that_chose(unmarked, no_network):
    draw_all()
    options = ["--shape", "circle", "-s", "50"]
    keep(records("photos", "-r", *options, "-o", "one"))
    no_network()
    records("--boxes", "b.jsonl", *options, "-o", "two")
    assert contents("one") == contents("two") and len(contents("one")) == 10


def test_covers_are_those_of_the_run_that_chose(unmarked, no_network):
    Path("c").mkdir()
    Path("c/clip.mp4").write_bytes(CLIP.read_bytes())
    Path("c/anim.webp").write_bytes(pictures.animation("WEBP", (160, 120)))
    clips.numbered_clip(Path("c/odd.avi"), 40, fps=24)
    options = ["-s", "90", "--keep-frames"]
    chosen = keep(records("c", "--cover", "-n", "2", "-a", "1:1,free", *options, "-o", "one"))
    assert len({(record["input"], record["time_s"]) for record in chosen}) >= 4
    no_network()
    got = records("--boxes", "b.jsonl", *options, "-o", "two")
    assert contents("one") == contents("two") and len(contents("two")) > 8
    for mine, theirs in zip(got, chosen, strict=True):
        assert mine | {"device": "cpu", "output": None} == theirs | {"output": None}


def test_a_cover_of_a_sound_file_is_its_picture(unmarked, no_network):
    cover = draw("cover.png", (300, 300))
    clips.run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-i", cover, "-map", "0", "-map", "1", "-c:v", "copy",
                     "-disposition:v", "attached_pic", "a.mp3")  # fmt: skip
    chosen = keep(records("a.mp3", "--cover", "-a", "1:1", "-o", "one"))
    assert chosen[0]["source"] == "art"
    no_network()
    assert records("--boxes", "b.jsonl", "-o", "two")[0]["source"] == "art"
    assert contents("one") == contents("two")


@pytest.mark.slow
def test_bars_and_the_real_network_change_nothing(unmarked, shipped_cropper, monkeypatch):
    canvas = Image.new("RGB", (1800, 1700))
    canvas.paste(pictures.photo(1800, 1100, noise=5), (0, 300))
    Path("a.jpg").write_bytes(pictures.encoded(canvas))
    monkeypatch.setattr(loading, "load_cropper", lambda *asked: shipped_cropper)
    asked = "a.jpg", "-a", "16:9,1:1,1.91,original", "--keep", "0.3,0.3,0.5,0.3"
    keep(records(*asked, "-s", "150", "-o", "one"))
    records("--boxes", "b.jsonl", "-s", "150", "-o", "two")
    keep(records(*asked[:1], "-a", "1.91", "-s", "1200x628", "-o", "three"), "c.jsonl")
    records("--boxes", "c.jsonl", "-s", "1200x628", "-o", "four")
    records("--boxes", "c.jsonl", "-o", "five")  # of a ratio that is not quite the label's
    assert contents("one") == contents("two") and contents("three") == contents("four")


def test_no_torch_is_imported(tmp_path):
    path = draw(tmp_path / "a.png", (96, 64))
    listed = write_lines(line(input=str(path), box=[0, 0, 64, 64]))
    script = f"""if True:
        from s2crop import cli
        try: cli.main(["--boxes", "{listed}", "-o", "{tmp_path / "out"}", "-q", "--overlay", "--sheet", "s.html"])
        except SystemExit as end: assert end.code == 0, end.code
    """
    found = modules_of(script)
    assert (tmp_path / "out" / "a_1x1.png").is_file() and Path("s.html").is_file()
    assert not found & {"torch", "torchvision", "safetensors", "rich", "s2crop.cropping.cropper", "s2crop.video.covers"}


def test_several_lines_of_a_picture_cost_one_decode(monkeypatch):
    from s2crop.files.picture import Picture

    draw("a.jpg", (1600, 1600))
    decoded = []
    whole = Picture._decode
    monkeypatch.setattr(Picture, "_decode", lambda self, scale: decoded.append(scale) or whole(self, scale))
    write_lines(
        line(input="a.jpg", box=[0, 0, 1600, 1600]),
        line(input="./a.jpg", box=[0, 0, 1600, 900], ratio="16:9"),
        line(input="a.jpg", box=[0, 0, 900, 1600], ratio="9:16"),
    )
    records("--boxes", "b.jsonl", "-s", "100")
    assert decoded == [2]


# Where outputs go


@pytest.mark.parametrize(
    "inputs",
    [
        ["photos", "-r"],
        ["photos"],
        ["photos/sub", "photos/sub/deep/a.jpg"],
        ["photos/sub/a.jpg", "photos/a.jpg"],
        ["photos/sub", "other", "-r"],
        ["photos/*.jpg"],
        [".", "-r"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("options", [[], ["-k", "2"], ["-o", "else"], ["-f", "webp"], ["--name", "{ratio}/x_{stem}"]])
def test_outputs_go_where_the_lines_say(inputs, options):
    """Names that were told apart too: of fewer inputs, they stay what they were."""
    for name in ("photos/a.jpg", "photos/a.png", "photos/a.webp", "photos/sub/a.jpg", "photos/sub/b.jpg",
                 "photos/sub/deep/a.jpg", "other/a.jpg", "other/sub/c.jpg"):  # fmt: skip
        draw(name)
    asked = [*inputs, "-a", "1:1,16:9", "-f", "jpg", *options]
    chosen = keep(records(*asked))
    assert chosen
    same = options if options[:1] in (["--name"], ["-o"]) else []
    for lines in (chosen, chosen[-2:]):  # all, and a few, such as corrections
        keep(lines)
        got = records("--boxes", "b.jsonl", "-f", "png", "--dry-run", *same)
        assert [one["output"] for one in got] == [str(Path(one["output"]).with_suffix(".png")) for one in lines]


@pytest.mark.parametrize("template", ["{stem}{ext}{cover}{ratio}{rank}", "{ext}{stem}_{ratio}{rank}"])
def test_an_extension_in_a_name_is_told_from_what_stands_beside_it(template):
    draw("photos/a.jpg")
    chosen = records("photos", "-a", "1:1", "-k", "2", "--name", template)
    keep(chosen[:1])
    (got,) = records("--boxes", "b.jsonl", "--name", template)
    assert (got["status"], got["output"]) == ("written", chosen[0]["output"])


def test_names_that_were_cut_stay_what_they_were():
    for name in ("photos/sub/" + "n" * 251 + ".png", "photos/" + "é" * 125 + ".png"):
        draw(name)
    for more in ([], ["-s", "20,30"]):
        chosen = records("photos", "-r", "-a", "1:1", "-k", "2", "-o", "o", *more)
        first = keep([one for one in chosen if one["rank"] == 1])
        got = records("--boxes", "b.jsonl", "-o", "o", "--overwrite", *more)
        assert [one["output"] for one in got] == [one["output"] for one in first]


def test_without_outputs_what_inputs_have_in_common_is_left_out():
    for name in ("q/a.png", "q/s/a.png", "q/s/t/b.png"):
        draw(name)
    write_lines(*(line(input=name) for name in ("q/a.png", "q/s/a.png", "q/s/../s/t/b.png")))
    got = records("--boxes", "b.jsonl")
    assert [one["output"] for one in got] == [f"s2crop-out/{name}_1x1.png" for name in ("a", "s/a", "s/t/b")]
    write_lines(line(input=str(Path("q/s/a.png").absolute())))
    assert [one["output"] for one in records("--boxes", "b.jsonl", "-o", "x")] == ["x/a_1x1.png"]


@pytest.mark.parametrize(
    "output",
    ["/etc/a_1x1.png", "../../a_1x1.png", "s2crop-out/../../a_1x1.png", "../s2crop-out/a_../../b_1x1.png",
     "s2crop-out/a_99999999999_1x1.png", "\\\\host\\a_1x1.png", "\0", 7, {"a": 1}, "a" * 100_000, "..", "/"],
    ids=str,
)  # fmt: skip
def test_no_line_leads_out_of_the_output_folder(output):
    draw("in/a.png")
    os.chdir("in")
    write_lines(line(output=output), line(input="../in/../in/a.png", ratio="free", output=output))
    got = records("--boxes", "b.jsonl", "-o", "out")
    os.chdir("..")
    assert [one["output"] for one in got] == ["out/a_1x1.png", "out/a_free.png"]
    assert files() == ["in/a.png", "in/b.jsonl", "in/out/a_1x1.png", "in/out/a_free.png"]


def test_a_single_output():
    draw("a.png")
    write_lines(line())
    assert s2crop("--boxes", "b.jsonl", "-o", "x.webp")[0] == 0
    assert Image.open("x.webp").size == (32, 32)
    code, out, _ = s2crop("--boxes", "b.jsonl", "-o", "-", "-f", "png")
    assert code == 0 and out.startswith("\ufffdPNG")
    write_lines(line(), line(ratio="free"))
    assert "x.webp takes one crop, and 2 are given" in usage_error("--boxes", "b.jsonl", "-o", "x.webp")


def test_standard_input_holds_the_boxes_or_a_picture():
    data = draw("a.png").read_bytes()
    text = json.dumps(line()).encode()
    assert [one["output"] for one in records("--boxes", "-", input=text)] == ["s2crop-out/a_1x1.png"]
    (got,) = records("--boxes", "-", input=json.dumps(line(input="-")).encode(), code=1)
    assert got["error"] == "line 1: standard input has no picture to crop"
    write_lines(line(input="-"))
    assert [one["output"] for one in records("--boxes", "b.jsonl", input=data)] == ["s2crop-out/stdin_1x1.png"]
    data = draw("a.jpg").read_bytes()
    assert [one["output"] for one in records("--boxes", "b.jsonl", input=data)] == ["s2crop-out/stdin_1x1.jpg"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_in_the_encodings_of_editors(encoding):
    draw("ä ö.png")
    text = json.dumps(line(input="ä ö.png"), ensure_ascii=False) + "\r\n\r\n"
    Path("b.jsonl").write_bytes((text + text.replace("1:1", "free")).encode(encoding))
    assert len(records("--boxes", "b.jsonl")) == 2


@pytest.mark.skipif(os.name != "posix", reason="names of files are text there")
def test_names_that_are_not_utf_8():
    name = os.fsdecode(b"a\xff.png")
    Path(name).write_bytes(draw("a.png").read_bytes())
    os.remove("a.png")
    keep(records(".", "-a", "1:1"))
    assert [one["status"] for one in records("--boxes", "b.jsonl", "-s", "9")] == ["written"]
    Path("b.jsonl").write_bytes(b'{"input": "a\xff.png", "ratio": "1:1", "box": [0, 0, 9, 9]}\n')
    assert [one["status"] for one in records("--boxes", "b.jsonl", "-s", "8")] == ["written"]


# Runs that go on


def statuses(*args, code=0):
    return [record["status"] for record in records(*args, code=code)]


def test_a_run_of_boxes_resumes_and_knows_what_changed():
    draw("a.png")
    write_lines(line(), line(ratio="free"))
    assert statuses("--boxes", "b.jsonl") == ["written", "written"]
    got = records("--boxes", "b.jsonl")
    assert [one["status"] for one in got] == ["skipped"] * 2 and got[0]["box"] == [8, 0, 40, 32]
    assert statuses("--boxes", "b.jsonl", "-s", "20") == ["written", "written"]
    write_lines(line(box=[9, 0, 41, 32]), line(ratio="free", score=2.5))
    assert statuses("--boxes", "b.jsonl", "-s", "20") == ["written", "skipped"]
    assert statuses("--boxes", "b.jsonl", "-s", "20", "--overwrite") == ["written", "written"]
    Path("s2crop-out/a_1x1.png").write_bytes(b"someone's notes, no picture")
    assert statuses("--boxes", "b.jsonl", "-s", "20", "--skip-existing") == ["skipped"] * 2
    assert statuses("--boxes", "b.jsonl", "-s", "20", code=1) == ["error", "skipped"]


def test_corrections_take_the_place_of_what_was_chosen_and_stay():
    draw("a.png")
    draw("b.png")
    keep(records("a.png", "b.png", "-a", "1:1"))
    write_lines(line(box=[0, 0, 32, 32]), name="fixes.jsonl")
    assert statuses("--boxes", "fixes.jsonl") == ["written"]
    corrected = Path("s2crop-out/a_1x1.png").read_bytes()
    # The run that chose, once more: for new pictures, say. What was corrected is not undone.
    assert statuses("a.png", "b.png", "-a", "1:1") == ["skipped", "skipped"]
    (one, other) = records("a.png", "b.png", "-a", "1:1", "-s", "16", code=1)
    assert other["status"] == "written" and "was cropped to a box that was given" in one["error"]
    assert Path("s2crop-out/a_1x1.png").read_bytes() == corrected
    assert statuses("--boxes", "fixes.jsonl", "-s", "16") == ["written"]
    assert statuses("a.png", "b.png", "-a", "1:1", "-s", "16") == ["skipped", "skipped"]
    assert statuses("a.png", "b.png", "-a", "1:1", "-s", "16", "--overwrite") == ["written", "written"]


UNTOLD = dict.fromkeys(["box", "score", "worth", "cut", "lost", "focus", "object_position", "padded"])
SIZED = "--name", "{stem}_{ratio}_{size}"


def test_what_was_corrected_is_not_reported_with_the_box_of_a_later_run(no_network):
    draw("a.png", (400, 300))
    asked = "a.png", "-a", "1:1,4:5", *SIZED
    assert statuses(*asked, "-s", "40") == ["written"] * 2
    fixes = write_lines(line(box=[0, 0, 256, 256]), name="fixes.jsonl")
    assert statuses("--boxes", fixes, "--overwrite", "-s", "40", *SIZED) == ["written"]
    corrected = Path("s2crop-out/a_1x1_40.png").read_bytes()
    code, out, err = s2crop(*asked, "-s", "40,20", "--json", "--overlay", "--sheet", "s.html")
    assert code == 0
    chosen = keep([json.loads(text) for text in out.splitlines()])
    found = {Path(one["output"]).name: one for one in chosen}
    assert [one["status"] for one in chosen] == ["skipped", "written"] * 2
    assert found["a_1x1_40.png"].items() >= (UNTOLD | {"output_width": None, "ratio": "1:1", "size": "40"}).items()
    assert found["a_4x5_40.png"]["box"] == found["a_4x5_20.png"]["box"] and found["a_4x5_40.png"]["worth"]
    warning = "a.png: s2crop-out/a_1x1_40.png stays at a box that was given; other sizes differ from it until --boxes"
    assert err.splitlines()[0] == f"s2crop: {warning} makes them" and len(err.splitlines()) == 2
    lines = [text.split(">")[0] for text in Path("s.html").read_text().split("<figure")[1:]]
    assert [("data-line" in one, "data-score" in one) for one in lines] == [(False, False), (True, True), (True, True)]
    assert Path("s2crop-out/a_1x1_40.png").read_bytes() == corrected
    no_network()
    got = records("--boxes", "b.jsonl", "-s", "40,20", *SIZED, code=1)
    assert [(one["status"], one["error"]) for one in got] == [
        ("error", "line 2: another size of this crop was left as it was, with a box that line 1 does not tell"),
        ("written", None), ("written", None),
    ]  # fmt: skip
    assert Path("s2crop-out/a_1x1_40.png").read_bytes() == corrected
    assert [one["box"] for one in records("--boxes", fixes, "-s", "40,20", *SIZED)] == [[0, 0, 256, 256]] * 2


def test_lines_of_several_runs_have_their_boxes_from_any_of_them():
    draw("a.png")
    asked = "a.png", "-a", "1:1", "-s", "20,30"
    lines = records(*asked) + records(*asked)
    assert [one["status"] for one in lines] == ["written"] * 2 + ["skipped"] * 2
    keep(lines)
    assert statuses("--boxes", "b.jsonl", "-s", "9") == ["written"]


def test_a_box_that_was_given_and_is_the_one_chosen_is_told():
    Path("a.png").write_bytes(draw("b.png").read_bytes())
    clip = clips.numbered_clip(Path("clip.mkv"), 50, codec=clips.LOSSLESS)
    for inputs in (["a.png"], [str(clip), "-n", "1"]):
        for out, pad in (("whole", "never"), ("padded", "always")):
            asked = *inputs, "-a", "1:1", "--pad", pad, *SIZED, "-o", out
            chosen = keep(records(*asked, "-s", "20"))
            assert statuses("--boxes", "b.jsonl", "--overwrite", "-s", "20", *SIZED, "-o", out) == ["written"]
            code, told, err = s2crop(*asked, "-s", "20,30", "--json")
            first, second = map(json.loads, told.splitlines())
            assert (first["status"], second["status"], len(err.splitlines())) == ("skipped", "written", 1)
            assert all(first[key] == chosen[0][key] for key in (*UNTOLD, "time_s")) and first["box"] == second["box"]


def test_a_cover_that_was_corrected_is_not_told_of_as_the_one_chosen():
    clip = clips.numbered_clip(Path("clip.mkv"), 50, codec=clips.LOSSLESS)
    name = ["--name", "{stem}{cover}_{ratio}_{size}"]
    asked = str(clip), "-a", "1:1", "-n", "1", *name
    (chosen,) = records(*asked, "-s", "20")
    keep([chosen | {"box": [0, 0, 64, 64], "time_s": 1.2}])
    assert statuses("--boxes", "b.jsonl", "-s", "20", *name) == ["written"]
    code, told, err = s2crop(*asked, "-s", "20,30", "--json")
    first, second = map(json.loads, told.splitlines())
    assert code == 0 and first.items() >= (UNTOLD | {"status": "skipped", "time_s": None, "cover_score": None}).items()
    assert second["box"] and second["time_s"] == chosen["time_s"] and err.count("stays at a box that was given") == 1
    keep([chosen])
    (left,) = records("--boxes", "b.jsonl", "-s", "20", *name, "--skip-existing")
    assert left.items() >= (UNTOLD | {"status": "skipped", "time_s": None, "cover_rank": 1}).items()


def test_what_is_left_and_is_not_ours_is_told_of_without_a_box():
    draw("a.png", (400, 300))
    for name in ("a_1x1_20.png", "a_free_20.png"):
        draw(f"s2crop-out/{name}", (5, 5))
    got = records("a.png", "-a", "1:1,free", "-s", "20,30", "--skip-existing", "--overlay")
    assert [one["status"] for one in got] == ["skipped", "written"] * 2
    assert all(one.items() >= UNTOLD.items() for one in got[::2]) and all(one["worth"] for one in got[1::2])
    write_lines(line(box=[0, 0, 300, 300], score=3.5), line(box=[0, 0, 400, 300], ratio="free", worth=0.5))
    for more in (["-s", "20"], ["-s", "20,30"]):
        got = records("--boxes", "b.jsonl", *more, *SIZED, "--skip-existing", "--sheet", "s.html")
        assert {one["status"] for one in got} == {"skipped"}
        assert all(one.items() >= UNTOLD.items() for one in got)
        assert "data-line" not in Path("s.html").read_text().split("<main")[1].split("<script")[0]


def test_an_overlay_has_no_frame_of_what_was_corrected():
    Image.new("RGB", (640, 480), "grey").save("a.png")
    asked = "a.png", "-a", "1:1,16:9"
    s2crop(*asked, "-o", "plain", "--overlay")
    for ratios in (["1:1"], ["1:1", "16:9"]):
        boxes = {"1:1": [0, 0, 300, 300], "16:9": [0, 0, 320, 180]}
        write_lines(*(line(ratio=ratio, box=boxes[ratio]) for ratio in ratios))
        statuses("--boxes", "b.jsonl", "-o", "out")
        Path("out/a_overlay.jpg").unlink(missing_ok=True)
        got = records(*asked, "-o", "out", "--overlay")
        drawn, plain = (np.asarray(Image.open(f"{folder}/a_overlay.jpg"), np.int16) for folder in ("out", "plain"))
        x, y = (drawn.shape[1] * 80) // 640, drawn.shape[0] // 2  # the left edge of the chosen square
        assert np.ptp(plain[y, x - 6 : x + 6]) > 60 > 20 > np.ptp(drawn[y, x - 6 : x + 6])
        assert [one["box"] is None for one in got] == [one["ratio"] in ratios for one in got]
    assert abs(drawn - 128).max() < 12, "nothing at all: not darkened either"


def test_the_mark_of_a_given_box():
    draw("a.png")
    records("--boxes", write_lines(line()))
    mark = marks.look(Path("s2crop-out/a_1x1.png")).mark
    assert mark.box and mark.crops is None and marks.parse(str(mark).encode()) == mark
    assert marks.parse(b"s2crop 0.2.0 aaaaaaaa bbbbbbbb cccccccc k2 c1").box is None


def test_covers_resume_and_corrected_ones_are_made_again(monkeypatch):
    clip = clips.numbered_clip(Path("clip.mkv"), 50, codec=clips.LOSSLESS)
    first = {"input": str(clip), "ratio": "1:1", "box": [0, 0, 96, 96], "time_s": 0.4}
    write_lines(first, first | {"time_s": 1.2})
    got = records("--boxes", "b.jsonl", "--keep-frames")
    assert [(one["cover_rank"], one["time_s"]) for one in got] == [(1, 0.4), (2, 1.2)]
    for cover, number in ((1, 10), (2, 30)):
        whole = np.asarray(Image.open(f"s2crop-out/clip_cover{cover}.jpg"))
        assert clips.number_of(whole) == number
    assert statuses("--boxes", "b.jsonl", "--keep-frames") == ["skipped", "skipped"]
    write_lines(first, first | {"time_s": 1.24, "cover_rank": 2})
    assert statuses("--boxes", "b.jsonl") == ["skipped", "written"]


# Options


def test_options_of_the_choice_are_refused():
    draw("a.png")
    write_lines(line())
    for option in (
        ["-a", "1:1"], ["-k", "2"], ["--focus", "1,1"], ["--keep", "0,0,1,1"], ["--protect", "face"], ["-m", "sfrc"],
        ["--min-scale", "0.5"], ["--weights", "w"], ["-d", "cpu"], ["-b", "4"], ["--precision", "fp32"], ["--heatmap"],
        ["--proposals", "builtin"], ["--cover"], ["-n", "2"], ["--scan", "full"], ["--start", "1"], ["--end", "2"],
        ["-r"], ["--include", "*"], ["--exclude", "*"], ["--files-from", "b.jsonl"],
    ):  # fmt: skip
        message = usage_error("--boxes", "b.jsonl", *option)
        assert message.startswith("--boxes says what to crop, and how: leave out --"), message
    message = usage_error("--boxes", "b.jsonl", "-a", "1:1", "-k", "2", "a.png")
    assert message == "--boxes says what to crop, and how: leave out --ratio, --top and INPUT"
    assert "--keep-frames is for videos" in usage_error("--boxes", "b.jsonl", "--keep-frames")
    assert "is an input" in usage_error("--boxes", "b.jsonl", "--log-file", "b.jsonl")
    assert "does not exist" in usage_error("--boxes", "none.jsonl")


def test_jobs_shards_bars_and_a_dry_run():
    for name in "abcde":
        draw(f"{name}.png")
    write_lines(*(line(input=f"{name}.png") for name in "abcde"))
    both = [records("--boxes", "b.jsonl", "--shard", f"{part}/2", "--dry-run", "--keep-bars") for part in (1, 2)]
    assert sorted(one["input"] for part in both for one in part) == [f"{name}.png" for name in "abcde"]
    assert not Path("s2crop-out").exists()
    outcomes = []
    for jobs in ("1", "3"):
        got = records("--boxes", "b.jsonl", "-j", jobs, "-o", jobs)
        outcomes.append(([one["input"] for one in got], contents(jobs)))
    assert outcomes[0] == outcomes[1]


def test_overlay_and_sheet_without_figures():
    draw("a.png", (400, 300))
    draw("c.png", (400, 300))
    write_lines(
        line(input="c.png", box=[0, 0, 300, 300], score=3.25, worth=0.5, cut=[{"kind": "face", "box": [0, 0, 9, 9]}]),
        line(box=[0, 0, 999, 999]),
        line(box=[0, 0, 400, 225], ratio="16:9"),
    )
    got = records("--boxes", "b.jsonl", "--overlay", "--sheet", "s.html", code=1)
    assert [one["status"] for one in got] == ["written", "error", "written"]
    assert got[0]["score"] == 3.25 and got[0]["cut"] and got[2]["score"] is None and got[2]["cut"] is None
    assert files("s2crop-out") == ["a_16x9.png", "a_overlay.jpg", "c_1x1.png", "c_overlay.jpg"]
    page = Path("s.html").read_text()
    assert page.count("<article") == 2 and "does not lie in the picture" in page
    assert page.count("data-score=") == page.count("data-worth=") == 1


def test_nothing_of_a_line_gets_into_the_sheet_unescaped():
    draw("a.png", (40, 30))
    bad = "<script>alert(1)</script>"
    write_lines(line(box=[0, 0, 30, 30], cut=[{"kind": bad, "box": [0, 0, 1, 1]}], model=bad, input="a.png"),
                line(input=bad))  # fmt: skip
    got = records("--boxes", "b.jsonl", "--sheet", "s.html", code=1)
    assert got[0]["cut"] is None and bad not in Path("s.html").read_text()


# What is wrong


def test_a_wrong_line_is_one_error_and_the_rest_is_done():
    draw("a.png")
    got, done = errors(
        line(),
        "{broken\n",
        line(box=[8, 0, 50, 42]),
        line(ratio="16:9"),
        line(width=49, ratio="square", rank=2),
        line(ratio="square"),
        line(input="none.png"),
        line(input="none.png", ratio="free"),
        "\n",
        "[1, 2]\n",
        line(ratio="free"),
    )
    assert [one["ratio"] for one in done] == ["1:1", "free"]
    assert got == [
        "line 2: not JSON (expecting property name enclosed in double quotes)",
        "line 3: 1:1 of rank 1 of this input is given by line 1 already",
        "line 6: 1:1 of rank 1 of this input is given by line 1 already",
        "line 10: not a JSON object",
        "line 4: box [8, 0, 40, 32] of 32x32 pixels is not 16:9",
        "line 5: the picture has 48x32 pixels, and the line says 49x?",
        "line 7 and 1 more: no such file",
    ]


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"box": [20, 0, 52, 32]}, "box [20, 0, 52, 32] does not lie in the picture of 48x32"),
        ({"box": [0, 0, 48, 32]}, "box [0, 0, 48, 32] of 48x32 pixels is not 1:1"),
        ({"ratio": "original", "box": [0, 0, 40, 32]}, "box [0, 0, 40, 32] of 40x32 pixels is not original"),
        ({"width": 50, "height": 32}, "the picture has 48x32 pixels, and the line says 50x32"),
        ({"height": 33}, "the picture has 48x32 pixels, and the line says ?x33"),
        ({"input": "none.png"}, "no such file"),
        ({"input": "."}, "is a directory"),
        ({"input": "text.png"}, "not an image"),
        ({"input": "clip.mkv"}, "is a video, and the line has no time_s to say what frame is meant"),
        ({"input": "clip.mkv", "type": "video"}, "time_s is missing, which says what frame of the video is meant"),
        ({"input": "clip.mkv", "time_s": 99, "box": [0, 0, 9, 9]}, "there is no frame at 99.000 s"),
        ({"input": "clip.mkv", "time_s": 0.41, "box": [0, 0, 9, 9]}, "there is no frame at 0.410 s"),
        ({"input": "clip.mkv", "source": "art", "box": [0, 0, 9, 9]}, "no picture is attached to it"),
        ({"input": "none.mkv", "time_s": 1}, "no such file"),
        ({"input": "a\0.png"}, 'input "a\\u0000.png" is no path'),
        ({"input": "\ud800.png"}, 'input "\\ud800.png" is no path'),
        ({"input": ""}, 'input "" is no path'),
        ({"input": ["a.png"]}, 'input ["a.png"] is no path'),
        ({"ratio": None}, "ratio is missing"),
        ({"ratio": 1}, "ratio 1 is none"),
        ({"ratio": "1:999"}, 'ratio "1:999" is none'),
        ({"ratio": "9" * 99}, f'ratio "{"9" * 59}... is none'),
        ({"box": None}, "box is missing"),
        ({"box": "0,0,9,9"}, 'box "0,0,9,9" is not [x1, y1, x2, y2] in whole pixels'),
        ({"box": [0, 0, 9]}, "box [0, 0, 9] is not [x1, y1, x2, y2] in whole pixels"),
        ({"box": [0, 0, 9.5, 9]}, "box [0, 0, 9.5, 9] is not [x1, y1, x2, y2] in whole pixels"),
        ({"box": [0, 0, True, 9]}, "box [0, 0, true, 9] is not [x1, y1, x2, y2] in whole pixels"),
        ({"box": [0, 0, "9", 9]}, 'box [0, 0, "9", 9] is not [x1, y1, x2, y2] in whole pixels'),
        ({"box": [0, 0, 10**30, 9]}, f"box [0, 0, {10**30}, 9] is not [x1, y1, x2, y2] in whole pixels"),
        ({"box": [0, 0, 1e300, 9]}, "box [0, 0, 1e+300, 9] is not [x1, y1, x2, y2] in whole pixels"),
        ({"box": [-1, 0, 9, 9]}, "box [-1, 0, 9, 9] is empty or lies outside of its picture"),
        ({"box": [9, 0, 9, 9]}, "box [9, 0, 9, 9] is empty or lies outside of its picture"),
        ({"rank": 0}, "rank 0 is not a whole number from 1 to 90"),
        ({"rank": True}, "rank true is not a whole number from 1 to 90"),
        ({"rank": 91}, "rank 91 is not a whole number from 1 to 90"),
        ({"width": -4}, "width -4 is not a whole number from 1 to 2147483648"),
        ({"time_s": -1}, "time_s -1 is no time in seconds"),
        ({"time_s": "1"}, 'time_s "1" is no time in seconds'),
        ({"time_s": 1e300}, "time_s 1e+300 is no time in seconds"),
        ({"time_s": 1, "cover_rank": 100}, "cover_rank 100 is not a whole number from 1 to 99"),
        ({"time_s": 1, "input": "a.png"}, None),
        ({"time_s": 1, "input": "-"}, "standard input has no picture to crop"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_with_a_line(changes, reason):
    draw("a.png")
    draw("good.png")
    Path("text.png").write_text("a text that is no picture at all, whatever its name says")
    clips.numbered_clip(Path("clip.mkv"), 50, size_wh=(160, 96), codec=clips.LOSSLESS)
    got, done = errors(line(input="good.png"), line(**changes), line(input="good.png", ratio="free"))
    assert len(done) == 2 and len(got) == 1 and got[0].startswith("line 2: ")
    if reason is not None:
        assert got == [f"line 2: {reason}"]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("nonsense", "not JSON (expecting value)"),
        ('{"input": "a.png"', "not JSON (expecting ',' delimiter)"),
        ('{"input": "a.png", "ratio": "1:1", "box": [0, 0, NaN, 9]}', "NaN is no number of JSON"),
        ('{"input": "a.png", "ratio": "1:1", "score": -Infinity}', "-Infinity is no number of JSON"),
        ('{"input": "a.png", "box": ' + "9" * 9999 + "}", "not JSON (too deep, or a number too long)"),
        ("[" * 500_000, "not JSON (too deep, or a number too long)"),
        ('{"a":' * 100_000, "not JSON (too deep, or a number too long)"),
        ('{"input": "' + "a" * (1 << 20) + '"}', "longer than 1 MiB"),
        ('{"input": "' + "a" * 5000 + '"}', f'input "{"a" * 59}... is no path'),
        ("null", "not a JSON object"),
        ("{}", "input is missing"),
        ("\0\1\2", "not JSON (expecting value)"),
    ],
    ids=lambda value: value[:30],
)  # fmt: skip
def test_text_that_is_no_line(text, reason):
    draw("a.png")
    got, done = errors(text + "\n", line())
    assert got == [f"line 1: {reason}"] and len(done) == 1


def test_a_line_without_end_takes_no_memory():
    with open("b.jsonl", "wb") as file:
        for _ in range(64):
            file.write(b"[" * (1 << 20))
        file.write(b"\n" + json.dumps(line()).encode())
    tracemalloc.start()
    with open("b.jsonl", "rb") as file:
        found = read_boxes(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [fault.reason for fault in found.faults] == ["longer than 1 MiB"] and len(found.lines) == 1
    assert peak < 16 * lines_of.MAX_LINE


def test_covers_that_contradict_each_other():
    clip = clips.numbered_clip(Path("clip.mkv"), 50, codec=clips.LOSSLESS)
    one = {"input": str(clip), "ratio": "free", "box": [0, 0, 90, 90]}
    got, done = errors(
        one | {"time_s": 0.4, "cover_rank": 2},
        one | {"time_s": 0.8, "cover_rank": 2},
        one | {"time_s": 0.4, "cover_rank": 3, "rank": 2},
        one | {"time_s": 1.2},
    )
    assert [(record["time_s"], record["cover_rank"]) for record in done] == [(1.2, 1), (0.4, 2)]
    assert got == [
        "line 2: cover 2 of this clip is another frame by a line above",
        "line 3: cover 3 of this clip is another frame by a line above",
    ]


def test_shapes_that_do_not_fit_what_is_asked():
    draw("a.png")
    wide = line(ratio="16:9", box=[0, 0, 48, 27])
    got, done = errors(wide, line(), more=["--shape", "circle"])
    assert got == ["line 1: box [0, 0, 48, 27] of 48x27 pixels is no square, and a circle needs one"] and len(done) == 1
    got, done = errors(wide, line(), more=["-s", "20x20", "-o", "x"])
    assert got == ["line 1: box [0, 0, 48, 27] of 48x27 pixels has not the ratio of 20x20"]
    assert done[0]["output_width"] == done[0]["output_height"] == 20
    got, done = errors(wide, line(), more=["-s", "20x20,40x40", "-o", "y"])
    assert got == ["line 1: box [0, 0, 48, 27] of 48x27 pixels is 16:9, which none of the sizes 20x20, 40x40 is"]
    assert [record["output_width"] for record in done] == [20, 40]


def test_lines_that_are_passed_over_are_counted():
    draw("a.png")
    draw("c.png")
    s2crop("a.png", "-a", "1:1")
    skipped = records("a.png", "-a", "1:1")
    failed = records("none.png", code=1)
    write_lines(*skipped, *failed, line(input="c.png", refused=True), line(refused=False, changed=True, id="x"))
    code, _, err = s2crop("--boxes", "b.jsonl", "-o", "new")
    assert code == 0 and files("new") == ["a_1x1.png"]
    assert "passed over 1 refused, 1 failed before, 1 skipped before, no box" in err
    write_lines(line(refused=True))
    code, _, err = s2crop("--boxes", "b.jsonl")
    assert code == 3 and err == "s2crop: nothing to do: b.jsonl has no boxes (passed over 1 refused)\n"
    write_lines("\n")
    code, _, err = s2crop("--boxes", "b.jsonl")
    assert code == 3 and err == "s2crop: nothing to do: b.jsonl has no boxes\n"


def test_a_file_of_another_kind():
    Path("x.jpg").write_bytes(pictures.encoded(pictures.photo(900, 700, noise=40)))
    code, _, err = s2crop("--boxes", "x.jpg")
    assert code == 1 and len(err.splitlines()) <= 102 and "more lines cannot be used" in err
    assert err.splitlines()[-1].endswith(" that cannot be used")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.integers(-2, 60),
    lambda inside: st.lists(inside, max_size=5) | st.dictionaries(st.text(max_size=4), inside, max_size=3),
    max_leaves=6,
)
_KEYS = ["input", "ratio", "box", "rank", "width", "height", "time_s", "cover_rank", "output", "status", "refused",
         "type", "source", "score", "worth", "cut", "lost", "focus", "model", "output_width"]  # fmt: skip
_INPUTS = st.sampled_from(["a.png", "./a.png", "../a.png", "x/../a.png", "none.png", "/", "..", "-", "a.png/b", "~"])
_RATIOS = st.sampled_from(["1:1", "16:9", "free", "original", "square", "1.0", "0:0", "٣:٢", "1e3"])
_LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "input": _INPUTS,
        "ratio": _RATIOS,
        "box": st.lists(st.integers(-1, 50), min_size=4, max_size=4) | st.just([8, 0, 40, 32]),
        "rank": st.integers(-1, 3),
        "time_s": st.none() | st.floats(),
        "output": st.sampled_from(["../../x_1x1.png", "/a_1x1.png", "s2crop-out/a_png_1x1.png", "a_7_free.png", ""]),
    },
)
_TEXTS = st.builds(
    lambda likely, wild: json.dumps(likely | wild),
    _LIKELY,
    st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=3),
)  # fmt: skip


@given(st.lists(_TEXTS | st.text(max_size=30) | st.builds(lambda text, cut: text[:cut], _TEXTS, st.integers(0, 80)),
                max_size=8),
       st.binary(max_size=5))  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_of_any_kind(folder, texts, noise):
    """Each line is done, passed over, or one error; nothing is written but outputs."""
    draw("a.png")
    data = "\n".join(texts).encode("utf-8", "surrogatepass") + b"\n" + noise
    Path("b.jsonl").write_bytes(data)
    before = set(files())
    code, out, err = s2crop("--boxes", "b.jsonl", "--json", "--dry-run")
    assert code in (0, 1, 3), err
    got = [json.loads(text) for text in out.splitlines()]
    assert set(files()) == before and not any("internal" in (one["error"] or "") for one in got)
    assert code != 1 or any(one["status"] == "error" for one in got)
    for one in got:
        assert one["status"] in ("planned", "error") and "\n" not in (one["error"] or "")
        if one["status"] == "planned":
            path = os.path.abspath(one["output"])
            assert path.startswith(os.path.abspath("s2crop-out") + os.sep)


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(0, 10**6), st.floats(0.06, 16))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_boxes_of_ours_have_their_ratio(width, height, seed, value):
    from s2crop.geometry.boxes import to_pixels

    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 1, (2, 2)), axis=0) * (width, height)
    assert (
        lines_of.has_ratio(to_pixels(corners.reshape(4), (width, height), value), value)
        or min(width * value, height / value, width, height) < 2
    )
