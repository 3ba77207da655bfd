"""Several sizes of each crop in one run: names, ratios, records, and what is left as it is."""

import json
from pathlib import Path

import pytest
from PIL import Image

from commands import draw, files, records, s2crop, usage_error
from fake_cropper import FakeCropper
from s2crop.cli import loading
from s2crop.files import pad
from s2crop.files.sizes import Size, needed_scale, parse_sizes, sizes_of
from s2crop.geometry.ratio import parse_ratio

pytestmark = pytest.mark.usefixtures("folder")


def sizes(folder="s2crop-out"):
    found = {}
    for name in files(folder):
        with Image.open(Path(folder, name)) as image:
            found[name] = image.size
    return found


def test_lists_of_sizes():
    assert parse_sizes("320,x360, 640x360,320") == (Size(320, None), Size(None, 360), Size(640, 360))
    assert [str(size) for size in parse_sizes("320,x360,640x360")] == ["320", "x360", "640x360"]
    for wrong in ("320,", ",", "320,,640", "320;640"):
        with pytest.raises(ValueError, match="not a size"):
            parse_sizes(wrong)


def test_each_crop_comes_in_each_size():
    draw("photos/a.png", (400, 300))
    draw("photos/b.jpg", (300, 400))
    told = records("photos", "-a", "1:1,16:9", "-s", "32,64,x90")
    assert sizes() == {
        **{f"{stem}_1x1_{size}": wh for stem, end in (("a", "png"), ("b", "jpg")) for size, wh in (
            (f"32.{end}", (32, 32)), (f"64.{end}", (64, 64)), (f"x90.{end}", (90, 90)))},
        **{f"{stem}_16x9_{size}": wh for stem, end in (("a", "png"), ("b", "jpg")) for size, wh in (
            (f"32.{end}", (32, 18)), (f"64.{end}", (64, 36)), (f"x90.{end}", (160, 90)))},
    }  # fmt: skip
    assert [(r["input"], r["ratio"], r["size"]) for r in told] == [
        (name, ratio, size)
        for name in ("photos/a.png", "photos/b.jpg") for ratio in ("1:1", "16:9") for size in ("32", "64", "x90")
    ]  # fmt: skip
    for record in told:
        assert Image.open(record["output"]).size == (record["output_width"], record["output_height"])
    boxes = {(r["input"], r["ratio"]): [] for r in told}
    for record in told:
        boxes[record["input"], record["ratio"]].append(record["box"])
    assert all(box == one[0] for one in boxes.values() for box in one), "one choice of crop for all sizes"


def test_one_size_has_the_names_and_records_that_it_had():
    draw("a.png", (400, 300))
    (record,) = records("a.png", "-a", "1:1", "-s", "32")
    assert files("s2crop-out") == ["a_1x1.png"] and "size" not in record


def test_sizes_add_up_with_commas_and_without():
    draw("a.png", (400, 300))
    told = records("a.png", "-a", "1:1", "-s", "32", "-s", "64,32", "--size", "x90")
    assert told == records("a.png", "-a", "1:1", "-s", "32,64,x90", "--overwrite")
    assert sizes() == {"a_1x1_32.png": (32, 32), "a_1x1_64.png": (64, 64), "a_1x1_x90.png": (90, 90)}
    (record,) = records("a.png", "-a", "1:1", "-s", "32", "-s", "32", "-o", "one")
    assert "size" not in record, "the same twice is one"
    assert "x.png takes one crop, and 2 are asked for" in usage_error("a.png", "-s", "32", "-s", "64", "-o", "x.png")


def test_one_decode_serves_all_sizes(monkeypatch):
    from s2crop.files.picture import Picture

    draw("a.jpg", (4000, 3000))
    decodes, plain = [], Picture._decode
    monkeypatch.setattr(Picture, "_decode", lambda self, scale: decodes.append(scale) or plain(self, scale))
    s2crop("a.jpg", "-a", "1:1", "-s", "200,400,600")
    assert len(decodes) == 1
    ratios = {"1:1": parse_ratio("1:1")}
    boxes = [("1:1", (0, 0, 3000, 3000), None)]
    assert needed_scale(boxes, ratios, parse_sizes("200,400"), False) == 4  # of the largest
    assert needed_scale(boxes, ratios, parse_sizes("200"), False) == 8


def test_sizes_of_two_sides_are_ratios_of_their_own():
    draw("a.png", (400, 300))
    told = records("a.png", "-s", "64x36,30x30,128x72")
    assert [(r["ratio"], r["size"]) for r in told] == [("16:9", "64x36"), ("16:9", "128x72"), ("1:1", "30x30")]
    assert sizes() == {
        "a_16x9_64x36.png": (64, 36), "a_16x9_128x72.png": (128, 72), "a_1x1_30x30.png": (30, 30),
    }  # fmt: skip


def test_sizes_that_round_to_one_ratio_share_its_crop():
    draw("a.png", (400, 300))
    told = records("a.png", "-s", "1366x768,640x360", "--dry-run")
    assert {r["ratio"] for r in told} == {"16:9"} and len({tuple(r["box"]) for r in told}) == 1
    assert [(r["output_width"], r["output_height"]) for r in told] == [(1366, 768), (640, 360)]
    told = records("a.png", "-s", "1200x628,600x314", "-a", "1.91", "--dry-run")
    assert [(r["ratio"], r["size"]) for r in told] == [("1.91", "1200x628"), ("1.91", "600x314")]


def test_a_size_of_one_side_is_for_every_ratio():
    draw("a.png", (400, 300))
    pairs = lambda *args: [(r["ratio"], r["size"]) for r in records("a.png", *args, "--dry-run")]  # noqa: E731
    assert pairs("-s", "64x36,30x30,20") == [("16:9", "64x36"), ("16:9", "20"), ("1:1", "30x30"), ("1:1", "20")]
    assert pairs("-a", "16:9,free", "-s", "64x36,20") == [("16:9", "64x36"), ("16:9", "20"), ("free", "20")]
    assert pairs("-a", "1:1,16:9", "-s", "64x36,30x30") == [("1:1", "30x30"), ("16:9", "64x36")]


@pytest.mark.parametrize(
    ("ratios", "size"), [("1:1", "64x36,30x30"), ("1:1,16:9,4:5", "64x36,30x30"), ("free", "9x9,8")]
)
def test_sizes_that_contradict_the_ratios(ratios, size):
    assert "fixes the ratio" in usage_error("a.png", "-a", ratios, "-s", size)


def test_names_with_sizes():
    draw("a.png", (400, 300))
    s2crop("a.png", "-a", "1:1,4:3", "-s", "32,x60", "--name", "{size}/{stem}_{ratio}", "-o", "one")
    assert files("one") == ["32/a_1x1.png", "32/a_4x3.png", "x60/a_1x1.png", "x60/a_4x3.png"]
    s2crop("a.png", "-a", "1:1", "-s", "32,x60", "--name", "{stem}-{width}", "-o", "two")
    assert files("two") == ["a-32.png", "a-60.png"]
    s2crop("a.png", "-a", "1:1", "-s", "32", "--name", "{stem}-{size}", "-o", "three")
    assert files("three") == ["a-32.png"]
    s2crop("a.png", "-a", "1:1", "-k", "2", "-s", "32,64", "--overlay", "-o", "four")
    assert files("four") == ["a_1x1_1_32.png", "a_1x1_1_64.png", "a_1x1_2_32.png", "a_1x1_2_64.png", "a_overlay.jpg"]
    told = usage_error("a.png", "-a", "1:1", "-s", "32,64", "--name", "{stem}_{ratio}")
    assert "add {ratio}, {rank} or {size}" in told
    assert "{size} is the size" in usage_error("a.png", "-a", "1:1", "--name", "{stem}_{size}")


@pytest.mark.parametrize("ratios", ["1:20,1:1", "1:1,1:20"])
@pytest.mark.parametrize("asked", ["4000,300", "300,4000,900"])
def test_a_size_that_cannot_be_written_costs_no_other(ratios, asked):
    draw("a.png", (60, 60))
    options = "a.png", "-a", ratios, "-s", asked, "-f", "webp"
    planned, told = (records(*options, *more, code=1) for more in (["--dry-run"], []))
    good = {"1x1_300": (300, 300), "1x1_4000": (4000, 4000), "1x20_300": (300, 6000), "1x1_900": (900, 900)}
    expected = {f"a_{name}.webp": wh for name, wh in good.items() if name.split("_")[1] in asked.split(",")}
    assert sizes() == expected
    assert [(r["ratio"], r["size"]) for r in told] == [(a, s) for a in ratios.split(",") for s in asked.split(",")]
    for record in told:
        assert record["status"] == ("written" if Path(record["output"]).name in expected else "error")
    errors = {r["size"]: r["error"] for r in told if r["error"]}
    assert errors["4000"] == "4000x80000 is too large to write"
    if "900" in errors:
        assert errors["900"] == "900x18000 is too large to write as WebP: a side has 16383 pixels at most"
    assert [(r["status"].replace("planned", "written"), r["error"]) for r in planned] == [
        (r["status"], r["error"]) for r in told
    ]
    again = records(*options, code=1)
    assert [r["status"].replace("skipped", "written") for r in again] == [r["status"] for r in told]


def test_not_enough_memory_for_one_size_costs_no_other(monkeypatch):
    draw("a.png", (400, 300))
    cut = pad.cut

    def short(picture, box, layout, pad_with):
        if layout.output_wh[0] == 64:
            raise MemoryError
        return cut(picture, box, layout, pad_with)

    monkeypatch.setattr(pad, "cut", short)
    told = records("a.png", "-a", "1:1", "-s", "32,64,96", code=1)
    assert [(r["size"], r["error"]) for r in told] == [("32", None), ("64", "not enough memory"), ("96", None)]


def test_one_file_takes_one_size():
    draw("a.png", (400, 300))
    for output in ("x.png", "-"):
        assert "2 are asked for" in usage_error("a.png", "-a", "1:1", "-s", "32,64", "-o", output)


def test_no_upscale_goes_by_size():
    draw("a.png", (400, 300))
    told = records("a.png", "-a", "1:1", "-s", "100,900", "--no-upscale")
    assert [(r["size"], r["output_width"]) for r in told] == [("100", 100), ("900", 300)]
    assert sizes() == {"a_1x1_100.png": (100, 100), "a_1x1_900.png": (300, 300)}


def test_one_more_size_leaves_those_that_are_there():
    draw("a.png", (400, 300))
    again = lambda size: [r["status"] for r in records("a.png", "-a", "1:1", "-s", size)]  # noqa: E731
    assert again("32,64") == ["written"] * 2
    before = {name: Path("s2crop-out", name).read_bytes() for name in files("s2crop-out")}
    assert again("32,64") == ["skipped"] * 2
    assert again("32,128,64") == ["skipped", "written", "skipped"]
    for name, data in before.items():
        assert Path("s2crop-out", name).read_bytes() == data
    Path("s2crop-out/a_1x1_64.png").write_bytes(b"")
    assert again("32,64,128") == ["skipped", "written", "skipped"]


def test_sizes_are_chosen_once(monkeypatch):
    draw("a.png", (400, 300))
    cropper = FakeCropper()
    monkeypatch.setattr(loading, "load_cropper", lambda *asked: cropper)
    records("a.png", "-a", "1:1", "-s", "32,64,128,256")
    assert cropper.batches == [1]


def test_pads_go_by_size():
    draw("a.png", (160, 90))
    told = records("a.png", "-a", "1:1", "-s", "80,320", "--pad", "always", "--pad-with", "white")
    assert [r["padded"] for r in told] == [[0, 17, 0, 18], [0, 70, 0, 70]]
    assert sizes() == {"a_1x1_80.png": (80, 80), "a_1x1_320.png": (320, 320)}
    again = records("a.png", "-a", "1:1", "-s", "80,320,40", "--pad", "always", "--pad-with", "white")
    assert [(r["status"], r["padded"]) for r in again][:2] == [("skipped", [0, 17, 0, 18]), ("skipped", [0, 70, 0, 70])]


def test_json_lines_tell_a_page_all_it_needs():
    draw("a.png", (400, 300))
    _, out, _ = s2crop("a.png", "-a", "16:9", "-s", "32,64", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert (
        ", ".join(f"{Path(r['output']).name} {r['output_width']}w" for r in lines)
        == "a_16x9_32.png 32w, a_16x9_64.png 64w"
    )


def test_sizes_fit_their_ratio():
    wide, free = parse_ratio("16:9"), parse_ratio("free")
    some = parse_sizes("64x36,30x30,20")
    assert sizes_of(some, wide) == parse_sizes("64x36,20") and sizes_of(some, free) == parse_sizes("20")
    assert sizes_of(some[:1], free) == some[:1] and sizes_of((), wide) == ()
