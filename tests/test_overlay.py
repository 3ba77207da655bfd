"""Boxes drawn on the input: where they are said to be, labelled where there is room."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pictures
from commands import draw, files, records, s2crop, usage_error
from pictures import grey, mask_of
from s2crop.cropping.request import Crop, Thing
from s2crop.files.names import plan_names
from s2crop.files.sources import Source
from s2crop.geometry.ratio import parse_ratio
from s2crop.preview import overlay
from s2crop.preview.overlay import COLOURS, Outline

pytestmark = pytest.mark.usefixtures("folder")

WIDE = parse_ratio("16:9")


@pytest.mark.parametrize(
    "size, expected", [((4000, 3000), (1600, 1200)), ((1200, 800), (1200, 800)), ((48, 32), (1024, 683)),
    ((8000, 40), (1600, 8)),
                       ((1, 4000), (1, 1600)), ((1, 1), (1024, 1024))]
)  # fmt: skip
def test_size(size, expected):
    assert overlay.size_wh(*size) == expected


def test_lines_lie_on_the_edges_of_the_box():
    image = overlay.draw(grey(), (2400, 1600), [Outline((400, 200, 2000, 1400), "", COLOURS[0])])
    line = mask_of(image, COLOURS[0])
    rows, columns = np.flatnonzero(line.any(axis=1)), np.flatnonzero(line.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (100, 699, 200, 999)
    assert line[400].sum() == 2 * 2, "two lines, each two pixels wide"
    assert line[100, 200:1000].all()


def test_what_no_crop_holds_is_darker():
    boxes = [Outline((100, 100, 500, 500), "", COLOURS[0]), Outline((400, 300, 1000, 700), "", COLOURS[1])]
    image = overlay.draw(grey(), (1200, 800), boxes)
    for held in ((250, 250), (900, 600), (450, 400)):
        assert image.getpixel(held) == (128, 128, 128)
    for outside in ((50, 50), (900, 200), (1100, 750)):
        assert max(image.getpixel(outside)) < 90


def test_equal_boxes_are_drawn_side_by_side():
    boxes = [Outline((200, 100, 1000, 700), "", colour) for colour in COLOURS[:3]]
    image = overlay.draw(grey(), (1200, 800), boxes)
    for colour in COLOURS[:3]:
        assert mask_of(image, colour)[400].sum() == 4


@pytest.mark.parametrize("count", [1, 9, 90])
def test_labels_never_overlap_and_stay_inside(count, monkeypatch):
    tags = []
    label = overlay._label

    def watched(pen, box, outline, height, size, labels):
        label(pen, box, outline, height, size, labels)
        tags[:] = labels

    monkeypatch.setattr(overlay, "_label", watched)
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1) * (1200, 800)
    boxes = [Outline(tuple(map(float, (*a, *b))), f"4:5 #{i} 3.25", COLOURS[i % 8]) for i, (a, b) in enumerate(corners)]
    overlay.draw(grey(), (1200, 800), boxes, [Outline(boxes[0].box, "face 0.90", overlay.SEEN, dashed=True)])
    assert len(tags) == count + 1 if count < 10 else len(tags) > 20
    area = np.zeros((800, 1200), int)
    for x1, y1, x2, y2 in tags:
        assert 0 <= x1 < x2 < 1200 and 0 <= y1 < y2 < 800
        area[y1 : y2 + 1, x1 : x2 + 1] += 1
    assert area.max() == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 1600), (1600, 8), (2, 2)])
def test_pictures_too_small_for_labels_get_lines_only(size):
    outline = Outline((0, 0, *size), "16:9 #1 3.25", COLOURS[0], circle=True)
    assert overlay.draw(grey(size), size, [outline, outline], [outline]).size == size


def test_a_circle_is_drawn_in_its_square():
    image = overlay.draw(grey(), (1200, 800), [Outline((200, 0, 1000, 800), "", COLOURS[0], circle=True)])
    line = mask_of(image, COLOURS[0])
    y, x = np.nonzero(line[50:750, 250:950])
    assert np.abs(np.hypot(x + 250 - 600, y + 50 - 400) - 400).max() < 4 and len(x) > 1500


def test_outlines_are_coloured_by_ratio_and_told_apart_by_rank():
    crops = [
        Crop((0, 0, 9, 9), 3.256, ratio, rank, worth=0.714, cut=[Thing("face", (1, 1, 2, 2))] * (rank > 1))
        for ratio in ("1:1", "free")
        for rank in (1, 2)
    ]
    outlines = overlay.crop_outlines(crops, ["free", "1:1"], circle=False)
    expected = [["#1", "0.71", "3.26"], ["#2", "0.71", "3.26", "cuts", "face"]]
    assert [o.label.split() for o in outlines] == [[r, *rest] for r in ("1:1", "free") for rest in expected]
    assert [o.colour for o in outlines] == [COLOURS[1]] * 2 + [COLOURS[0]] * 2
    assert [o.thin for o in outlines] == [False, True] * 2
    assert "#" not in overlay.crop_outlines(crops[:1], ["1:1"], circle=False)[0].label


# The names


def plan(*names, **options):
    sources = [Source(name, Path(name), Path(name)) for name in names]
    plans = plan_names(sources, [WIDE], 1, folder=Path("o"), fmt="same", circle=False, overlay=True, **options)
    return [sorted(path.relative_to("o").as_posix() for path in plan.paths()) for plan in plans]


def test_an_overlay_has_a_name_that_nothing_else_has():
    assert plan("sub/a.png") == [["sub/a_16x9.png", "sub/a_overlay.jpg"]]
    assert plan("a.jpg", "a.png", "A.jpg") == [
        ["a_16x9.jpg", "a_overlay.jpg"], ["a_png_16x9.png", "a_png_overlay.jpg"], ["A_jpg_16x9.jpg",
        "A_jpg_overlay.jpg"],
    ]  # fmt: skip
    assert plan("a.jpg", template="{ratio}/{stem}") == [["16x9/a.jpg", "overlay/a.jpg"]]
    assert plan("a.jpg", "a_overlay.jpg", template="{stem}") == [
        ["a.jpg", "a_overlay.jpg"], ["a_overlay_jpg.jpg", "a_overlay_jpg_overlay.jpg"],
    ]  # fmt: skip


# The command


def test_overlays_are_written_beside_the_crops():
    draw("photos/a.png", (96, 64))
    draw("photos/sub/b.jpg", (64, 96))
    got = records("photos", "-r", "-a", "1:1,16:9", "-k", "2", "--overlay")
    assert len(got) == 8 and all("overlay" not in r["output"] for r in got)
    assert [name for name in files("s2crop-out") if "overlay" in name] == ["a_overlay.jpg", "sub/b_overlay.jpg"]
    with Image.open("s2crop-out/a_overlay.jpg") as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (1024, 683))
        for colour in COLOURS[:2]:
            assert mask_of(image, colour).sum() > 500


def test_an_overlay_is_upright_and_in_srgb():
    Path("a.jpg").write_bytes(
        pictures.encoded(pictures.photo(1200, 800), orientation=6, icc_profile=pictures.p3_profile())
    )
    s2crop("a.jpg", "--overlay")
    with Image.open("s2crop-out/a_overlay.jpg") as image:
        assert image.size == (1200, 800) and not image.info.get("icc_profile")
        red = np.asarray(image, int)[200, 200]
    assert red[0] > 225 and red[1] < 40, "as red as sRGB has it"


def test_overlays_are_skipped_and_overwritten_as_crops_are():
    draw("a.png")
    s2crop("a.png", "--overlay")
    overlay_file = Path("s2crop-out/a_overlay.jpg")
    overlay_file.write_text("mine")
    kept, refused = records("a.png", "--overlay", code=1)
    assert kept["status"] == "skipped" and "no mark of ours" in refused["error"]
    assert [r["status"] for r in records("a.png", "--overlay", "--skip-existing")] == ["skipped"]
    assert overlay_file.read_text() == "mine"
    assert [r["status"] for r in records("a.png", "--overlay", "--overwrite")] == ["written"]
    overlay_file.unlink()
    assert [(r["status"], r["box"]) for r in records("a.png", "--overlay")] == [("skipped", [0, 0, 48, 32])], (
        "the overlay was left"
    )
    assert Image.open(overlay_file).size == (1024, 683)
    assert s2crop("a.png", "--overlay")[2].count("1 skipped") == 1


def test_an_overlay_that_cannot_be_written_costs_one_line():
    draw("a.png")
    draw("b.png")
    Path("s2crop-out/a_overlay.jpg").mkdir(parents=True)
    code, _, err = s2crop("a.png", "b.png", "--overlay")
    assert (code, err.splitlines()[0]) == (
        1,
        "s2crop: a.png: cannot write s2crop-out/a_overlay.jpg: a folder is in the way",
    )
    assert files("s2crop-out") == ["a_free.png", "b_free.png", "b_overlay.jpg"]


def test_no_input_is_overwritten_by_an_overlay():
    draw("a.png")
    before = draw("a_overlay.jpg").read_bytes()
    assert s2crop("a.png", "a_overlay.jpg", "-o", ".", "--overlay", "--overwrite")[0] == 1
    assert Path("a_overlay.jpg").read_bytes() == before


def test_a_dry_run_draws_nothing_and_one_file_takes_no_overlay():
    draw("a.png")
    assert s2crop("a.png", "--overlay", "--dry-run")[0] == 0
    assert files() == ["a.png"]
    for output in ("b.png", "-"):
        assert (
            usage_error("a.png", "--overlay", "-o", output)
            == "--overlay writes a picture beside the crops: give --output a folder"
        )


def test_proposals_are_drawn_when_asked_for():
    draw("a.png", (960, 640))
    s2crop("a.png", "--overlay", "-o", "plain")
    s2crop("a.png", "--overlay", "-v", "-o", "verbose")
    plain, verbose = (np.asarray(Image.open(f"{name}/a_overlay.jpg"), int) for name in ("plain", "verbose"))
    changed = np.abs(plain - verbose).max(axis=-1) > 60
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed[:300].any(axis=0))
    assert abs(rows[0] - 68) < 4 and abs(columns[0] - 410) < 4 and abs(columns[-1] - 614) < 4, "the face's box"
