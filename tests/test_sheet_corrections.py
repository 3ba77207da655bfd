"""Crops corrected on the sheet, in a browser: frames set, others taken, refused, undone, kept and saved."""

import json
import os
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import browser
import pictures
from commands import draw, records
from s2crop.cropping.request import Thing
from s2crop.files.picture import Picture
from s2crop.geometry.boxes import _whole_sides, object_position, to_pixels
from s2crop.geometry.ratio import parse_ratio
from s2crop.preview import sheet
from s2crop.report import Record

pytestmark = [pytest.mark.usefixtures("folder"), browser.needed]

OF_THE_BOX = {"score", "worth", "cut", "lost", "focus", "output_width", "output_height"}  # not known of another box


@pytest.fixture(autouse=True)
def no_errors(window):
    """The page's script raises nothing, and its policy refuses it nothing."""
    yield
    assert window.said == []


def lines_of_a_run(*names, size=(4000, 3000), options=("-a", "16:9,1:1,free", "-k", "2")):
    """Draw pictures and make a sheet of them; its JSON lines."""
    for name in names:
        draw(name, size)
    return records(*names, *options, "--dry-run", "--sheet", "sheet.html")


def edit(window, number):
    """Open a crop by a click."""
    window.run(f"crops[{number}].opener.id = 'wanted'")
    window.click("#wanted")
    window.run("crops.forEach((crop) => crop.opener?.removeAttribute('id'))")
    window.wait("document.getElementById('editor').open && whole.complete")


def saved(window):
    """The lines of fixes.jsonl, by a click on the button."""
    if window.run("isOpen()"):
        window.press("Escape")
    window.click("#save")
    text = window.download("fixes.jsonl")
    assert text.isascii() and text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def box_now(window):
    return window.run("draft ?? boxOf(edited)")


def page_pixel(window):
    """How many pixels of the picture a pixel of the page is."""
    return window.run("edited.size[0] / stage.getBoundingClientRect().width")


# The rule of boxes

LABELS = "16:9", "9:16", "1:1", "4:5", "1.91", "0.3", "20:1", "3:2.5", "original", "free"


def any_box(chance, width, height):
    """Whole, halved and any other edges, some outside the picture."""
    edges = []
    for side in (width, height) * 2:
        kinds = chance.randint(-9, side + 9), chance.randint(-9, 2 * side) / 2, chance.uniform(-9, side + 9)
        edges.append(chance.choice(kinds))
    x1, x2 = sorted(edges[::2])
    y1, y2 = sorted(edges[1::2])
    return [x1, y1, x2, y2]


def test_the_page_rounds_boxes_as_python_does(window):
    chance = random.Random(4)
    cases = []
    for _ in range(4000):
        size = [chance.choice([1, 2, 3, 7, 40, 641, 1000, 4032, 9001]), chance.choice([1, 5, 13, 480, 3024, 6000])]
        cases.append([any_box(chance, *size), size, chance.choice(LABELS)])
    lines_of_a_run("a.png", size=(96, 64))
    window.open("sheet.html")
    got = window.run(
        f"{json.dumps(cases)}.map(([box, size, label]) => {{ const ratio = ratioOf(label, ...size);"
        "const made = toPixels(box, size, ratio); return [ratio, made, objectPosition(made, size)]; })"
    )
    for (box, size, label), (ratio, made, position) in zip(cases, got, strict=True):
        assert ratio == parse_ratio(label).for_size(*size)
        assert tuple(made) == to_pixels(np.array(box, float), tuple(size), ratio), (box, size, label)
        assert position == object_position(made, tuple(size))


def test_whatever_is_done_to_a_frame_gives_a_box_of_the_rule(window):
    chance = random.Random(5)
    cases = []
    for _ in range(3000):
        size = chance.choice([320, 641, 4032]), chance.choice([240, 480, 3024])
        label = chance.choice(LABELS)
        box = to_pixels(np.array(any_box(chance, *size)), size, parse_ratio(label).for_size(*size))
        if max(box[2] - box[0], box[3] - box[1]) < 40:
            continue  # too small to be of its ratio
        by = [chance.uniform(-900, 900), chance.uniform(-900, 900)]
        corner = chance.choice(["nw", "ne", "se", "sw"] + ["n", "e", "s", "w"] * (label == "free"))
        cases.append([box, size, label, by, [chance.choice([-1, 1, 37]), chance.choice([0, 1])], corner])
    lines_of_a_run("a.png", size=(96, 64))
    window.open("sheet.html")
    got = window.run(
        f"{json.dumps(cases)}.map(([box, size, label, by, keys, handle]) => {{ const ratio = ratioOf(label, ...size);"
        "return [moved(box, ...by, size), scaled(box, by[0], size, ratio), dragged(box, handle, ...by, size, ratio),"
        "nudged(box, handle, ...keys, size, ratio)]; })"
    )
    for (box, size, label, *_, handle), boxes in zip(cases, got, strict=True):
        ratio = parse_ratio(label).for_size(*size)
        for made in boxes:
            assert tuple(made) == to_pixels(np.array(made, float), size, ratio), (box, size, label, made)
        assert [boxes[0][i + 2] - boxes[0][i] for i in (0, 1)] == [box[i + 2] - box[i] for i in (0, 1)]
        for dragged in boxes[2:]:  # what is opposite stays
            assert dragged[2 if "w" in handle else 0] == box[2 if "w" in handle else 0]
            assert dragged[3 if "n" in handle else 1] == box[3 if "n" in handle else 1]


# Mouse and touch


def test_a_frame_that_is_dragged_is_saved_to_the_pixel(window):
    line, *_ = lines_of_a_run("a.png")
    window.open("sheet.html")
    edit(window, 0)
    window.press("-", *["PageDown"] * 3)  # room to move in
    x1, y1, x2, y2 = box_now(window)
    step = page_pixel(window)
    assert f"A pixel here is {step:.2g} pixels of the picture" in window.run("find('exactness').textContent")
    window.drag("#frame", 13, -7)
    dx, dy = round(13 * step), round(-7 * step)
    box = [x1 + dx, y1 + dy, x2 + dx, y2 + dy]
    assert box_now(window) == box
    (fix,) = saved(window)
    assert (fix["box"], fix["was"], fix["status"]) == (box, line["box"], "planned")
    assert {key: fix[key] for key in OF_THE_BOX} == dict.fromkeys(OF_THE_BOX)
    assert fix["object_position"] == object_position(box, (4000, 3000))
    same = set(line) - OF_THE_BOX - {"box", "object_position"}
    assert {key: fix[key] for key in same} == {key: line[key] for key in same} and set(fix) - set(line) == {"was"}


@pytest.mark.parametrize("number, ratio", [(0, 16 / 9), (2, 1.0)])
def test_a_corner_that_is_dragged_keeps_the_ratio_and_the_opposite_corner(window, number, ratio):
    lines_of_a_run("a.png")
    window.open("sheet.html")
    edit(window, number)
    x1, y1, x2, y2 = box_now(window)
    step = page_pixel(window)
    window.drag("#frame .nw", 50, 31)
    wanted = x2 - x1 - ratio * (ratio * 50 * step + 31 * step) / (ratio**2 + 1)
    width, height = _whole_sides(wanted, wanted / ratio, ratio, (x2, y2))
    assert saved(window)[0]["box"] == [x2 - width, y2 - height, x2, y2]


def test_a_free_frame_has_sides_of_its_own(window):
    lines_of_a_run("a.png")
    window.open("sheet.html")
    edit(window, 0)
    assert window.run("getComputedStyle(document.querySelector('#frame .e')).display") == "none"
    window.press("Escape")
    edit(window, 5)
    x1, y1, x2, y2 = box_now(window)
    step = page_pixel(window)
    window.drag("#frame .e", -40, 25)
    window.drag("#frame .n", 9, 30)
    window.drag("#frame .sw", 11, -12)
    box = [x1 + round(11 * step), y1 + round(30 * step), x2 - round(40 * step), y2 - round(12 * step)]
    assert saved(window)[0]["box"] == box


def test_a_frame_stays_in_its_picture_and_a_drag_can_be_given_up(window):
    lines_of_a_run("a.png")
    window.open("sheet.html")
    edit(window, 2)
    x1, y1, x2, y2 = before = box_now(window)
    window.drag("#frame", 300, 200, drop=False)
    assert box_now(window) != before
    window.press("Escape")
    assert window.run("isOpen()") and box_now(window) == before and window.run("changes.size") == 0
    window.mouse("mouseReleased", 5, 5, clickCount=1)
    window.drag("#frame", 2000, 2000)
    assert box_now(window) == [4000 - (x2 - x1), 3000 - (y2 - y1), 4000, 3000]


def test_touch_moves_a_frame_and_two_fingers_scale_it(window):
    lines_of_a_run("a.png")
    window.resize(390, 844, mobile=True)
    window.send("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
    window.open("sheet.html")
    edit(window, 3)
    x1, y1, x2, y2 = box_now(window)
    step = page_pixel(window)
    x, y = window.middle("#frame")
    window.touch([(x, y), (x + 8, y + 2), (x + 16, y + 4)])
    dx, dy = round(16 * step), round(4 * step)
    moved = [x1 + dx, y1 + dy, x2 + dx, y2 + dy]
    assert box_now(window) == moved and window.run("steps.length") == 1
    x, y = window.middle("#frame")
    window.touch([(x - 30, y)] * 3, [(x + 30, y), (x + 20, y), (x + 15, y)])
    scaled = box_now(window)
    assert scaled[2] - scaled[0] == pytest.approx((x2 - x1) * 45 / 60, abs=1)
    assert abs(scaled[0] + scaled[2] - moved[0] - moved[2]) <= 1 and window.run("steps.length") == 2


def test_a_click_on_the_picture_opens_the_smallest_crop_there(window):
    lines_of_a_run("a.png", options=("-a", "16:9,4:5", "-k", "2"))
    window.open("sheet.html")
    window.click(".picture")
    assert window.run("[edited.line.ratio, edited.line.rank]") == ["4:5", 2]
    window.press("Escape")
    x, y = window.middle(".picture")
    width = window.run("crops[0].picture.getBoundingClientRect().width")
    for kind in ("mousePressed", "mouseReleased"):
        window.mouse(kind, x - width / 2 + 2, y, clickCount=1)
    assert window.run("[edited.line.ratio, edited.line.rank]") == ["16:9", 1]


# Keys


def test_the_page_with_a_keyboard_alone(window):
    lines = lines_of_a_run("a.png", "b.png")
    window.open("sheet.html")
    for _ in range(40):  # past the controls
        window.press("Tab")
        if window.run("document.activeElement.className") == "open":
            break
    assert window.run("document.activeElement.getAttribute('aria-label')") == "Correct a.png, 16:9, #1"
    assert window.run("document.querySelector('svg.chosen .on').dataset.crop") == "0"
    window.press("Enter")
    assert window.run("isOpen() && document.activeElement.id") == "frame"
    window.press("-", "ArrowDown", "Shift+ArrowUp", "n", "2", "n", "r", "p", "n", "n", "Escape")
    window.wait("document.activeElement.getAttribute('aria-label') == 'Correct a.png, 1:1, #2'")  # once it has closed
    window.press("r")
    far = window.run("(() => { edit(crops[0]); const far = coarse(); close(); return far; })()")
    x1, y1, x2, y2 = lines[0]["box"]
    smaller = to_pixels(np.array([x1 + 0.5, y1, x2 - 0.5, y2]), (4000, 3000), 16 / 9)
    box = [smaller[0], smaller[1] + 1 - far, smaller[2], smaller[3] + 1 - far]
    window.wait("edited === null")
    window.run("document.getElementById('save').focus()")
    window.press("Enter")
    fixes = [json.loads(line) for line in window.download("fixes.jsonl").splitlines()]
    assert [(fix["rank"], fix["ratio"]) for fix in fixes] == [(1, "16:9"), (1, "1:1"), (2, "1:1")]
    assert fixes[0]["box"] == box
    assert fixes[1]["refused"] is True and fixes[2]["refused"] is True


@pytest.mark.parametrize("number, ratio", [(0, 16 / 9), (4, None)])
def test_arrow_keys_reach_every_pixel(window, number, ratio):
    lines_of_a_run("a.png")
    window.open("sheet.html")
    edit(window, number)
    window.press("PageDown")
    x1, y1, x2, y2 = box_now(window)
    for key, box in [("ArrowRight", (1, 0)), ("ArrowDown", (1, 1)), ("ArrowLeft", (0, 1)), ("ArrowUp", (0, 0))]:
        window.press(key)
        assert box_now(window) == [x1 + box[0], y1 + box[1], x2 + box[0], y2 + box[1]]
    window.run("document.querySelector('#frame .se').focus()")
    window.press("ArrowLeft")
    if ratio is None:
        assert box_now(window) == [x1, y1, x2 - 1, y2]
        window.press("ArrowDown")
        assert box_now(window) == [x1, y1, x2 - 1, y2 + 1]
    else:
        width = x2 - x1 - 1
        assert box_now(window) == [x1, y1, x2 - 1, y1 + round(width / ratio)]
        window.press("ArrowRight")
        assert box_now(window) == [x1, y1, x2, y2]
        for more in range(1, 30):
            window.press("+")
            got = box_now(window)
            assert got[2] - got[0] == x2 - x1 + more and got[3] - got[1] == round((x2 - x1 + more) / ratio)


def test_what_a_screen_reader_finds_has_names(window):
    lines_of_a_run("a.png")
    window.open("sheet.html")
    names = window.names()
    assert ("button", "Correct a.png, 1:1, #2") in names and ("button", "Save fixes.jsonl") in names
    for label in ("Name", "Changes", "Worth up to", "Sort"):
        assert any(name.startswith(label) for role, name in names if role not in ("StaticText", "LabelText")), label
    edit(window, 0)
    names = window.names()
    assert ("dialog", "a.png 16:9, #1") in names
    assert any(role == "application" and name.startswith("Frame of a.png, 16:9, #1") for role, name in names)
    assert ("button", "bottom right corner: arrow keys move it") in names
    assert not [role for role, name in names if role in ("button", "combobox", "slider", "searchbox") and not name]


# Others, refusals, undo


def test_another_of_the_best_is_taken_with_what_is_known_of_it(window):
    lines = lines_of_a_run("a.png")
    window.open("sheet.html")
    edit(window, 2)
    assert window.run("find('others').children.length") == 2
    window.click("#others button:nth-child(2)")
    assert window.run("find('state').textContent") == "#2 taken"
    (fix,) = saved(window)
    first, second = lines[2:4]
    known = OF_THE_BOX | {"box", "object_position"}
    assert {key: fix[key] for key in known} == {key: second[key] for key in known}
    assert fix["was"] == first["box"] and fix["rank"] == 1 and fix["output"] == first["output"]
    assert "#2 taken" in window.run("crops[2].figure.textContent")
    edit(window, 2)
    window.press("1")
    assert window.run("changes.size") == 0


def test_a_refused_crop_is_its_line_and_no_other(window):
    lines = lines_of_a_run("a.png")
    window.open("sheet.html")
    edit(window, 1)
    window.press("ArrowUp")
    window.click("#refuse")
    assert window.run("find('refuse').getAttribute('aria-pressed')") == "true"
    assert saved(window) == [lines[1] | {"refused": True}]
    edit(window, 1)
    window.click("#refuse")
    (fix,) = saved(window)
    assert "refused" not in fix and fix["was"] == lines[1]["box"]


def test_steps_are_undone_one_by_one_also_those_of_other_crops(window):
    lines = lines_of_a_run("a.png", "b.png")
    window.open("sheet.html")
    edit(window, 0)
    window.press("PageDown", "ArrowLeft", "ArrowLeft", "r")
    before = window.run("JSON.stringify([...changes])")
    window.press("n", "n", "2", "0")
    assert window.run("JSON.stringify([...changes])") == before and window.run("steps.length") == 6
    window.press("z")
    assert window.run("[edited.number, said(edited)]") == [2, "#2 taken"]
    window.press("Control+z")
    assert window.run("changes.size") == 1
    window.click("#undo")
    assert window.run("[edited.number, isRefused(edited)]") == [0, False]
    x1, y1, x2, y2 = box_now(window)
    window.press("z")
    assert box_now(window) == [x1 + 1, y1, x2 + 1, y2]
    window.press("z", "z")
    assert box_now(window) == lines[0]["box"] and window.run("[changes.size, steps.length]") == [0, 0]
    assert window.run("find('undo').disabled")
    window.press("z", "Escape")
    assert window.run("find('save').disabled && find('forget').disabled")


def test_all_is_reset_and_that_undone_from_the_list(window):
    lines_of_a_run("a.png", "b.png")
    window.open("sheet.html")
    for number in (0, 7):
        window.run(f"crops[{number}].opener.focus()")
        window.press("r")
    assert window.run("find('changes').textContent") == "2 changed"
    window.click("#forget")
    assert window.run("find('changes').textContent") == "0 changed"
    window.press("Control+z")
    assert window.run("[...changes.keys()]") == [0, 7]
    window.click("#take-back")
    assert window.run("[...changes.keys()]") == [0]


def test_a_key_that_is_held_is_one_step(window):
    lines_of_a_run("a.png")
    window.open("sheet.html")
    edit(window, 2)
    before = box_now(window)
    for repeat in (False, True, True, True):
        window.send("Input.dispatchKeyEvent", type="rawKeyDown", key="ArrowLeft", autoRepeat=repeat)
    assert box_now(window)[0] == before[0] - 4 and window.run("steps.length") == 1


# Kept, counted, marked


def test_changes_are_kept_over_a_reload_on_their_own_sheet_alone(window):
    options = "--dry-run", "-a", "16:9", "--sheet"
    for name in ("a.png", "b.png"):
        draw(name, (1200, 800))
    for page in ("one.html", "two.html"):
        records("a.png", "b.png", *options, page)
    window.open("one.html")
    edit(window, 1)
    window.press("PageDown", "ArrowUp", "Escape")
    box = window.run("boxOf(crops[1])")
    mark = window.run("crops[1].figure.className")
    assert mark == "crop moved"
    window.reload()
    assert window.run("[boxOf(crops[1]), crops[1].figure.className]") == [box, mark]
    window.wait("crops[1].figure.querySelector('canvas').height === 160")
    x1, y1, x2, y2 = box
    drawn = window.run("[...crops[1].article.querySelectorAll('rect')].map((one) => +one.getAttribute('height'))")
    assert drawn == [y2 - y1] * 2 and window.run("find('changes').textContent") == "1 changed"
    window.open("two.html")
    assert window.run("changes.size") == 0, "another sheet of the same pictures"
    records("a.png", "b.png", *options, "one.html")
    window.open("one.html")
    assert window.run("boxOf(crops[1])") == box, "the same run again"
    assert saved(window)[0]["box"] == box
    records("a.png", *options, "one.html")
    window.open("one.html")
    assert window.run("changes.size") == 0, "another run"


def test_a_browser_that_keeps_nothing_says_so(window):
    lines_of_a_run("a.png")
    window.send(
        "Page.addScriptToEvaluateOnNewDocument",
        source="Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } })",
    )
    window.open("sheet.html")
    edit(window, 0)
    window.press("r", "Escape")
    assert "keeps nothing" in window.run("find('changes').textContent")
    assert saved(window)[0]["refused"] is True


def test_another_window_s_changes_are_taken_over(window):
    lines_of_a_run("a.png")
    window.open("sheet.html")
    window.run("localStorage.setItem(PLACE, '[[1,{\"refused\":true}]]');"
               "window.dispatchEvent(new StorageEvent('storage', {key: PLACE}))")  # fmt: skip
    assert window.run("[crops[1].figure.className, find('changes').textContent]") == ["crop refused", "1 changed"]


def test_names_of_any_kind_come_back_as_they_were(window):
    names = [os.fsdecode(b"latin\xe9.png"), "\u202eж&'<\">.png", "line\nbreak.png"]
    lines = lines_of_a_run(*names, size=(960, 640), options=("-a", "1:1"))
    window.open("sheet.html")
    for number in range(len(names)):
        edit(window, number)
        window.press("ArrowLeft", "Escape")
    fixes = saved(window)
    assert [fix["input"] for fix in fixes] == [line["input"] for line in lines] and len(fixes) == 3
    assert {fix["input"] for fix in fixes} == set(names)


# Kinds of sheets


def image(size=(1200, 800), box=None):
    return sheet.thumbnail(Picture.open(pictures.encoded(pictures.photo(*size))), box)


@dataclass(frozen=True, kw_only=True)
class Padded(Record):
    padded: tuple[int, int, int, int] | None = None


def made_up(path, kept, ratios=("1:1",), top=1, circle=False):
    """A sheet of records of one input."""
    with sheet.Sheet(Path(path), list(ratios), total=1, top=top, circle=circle) as page:
        page.add(kept, [sheet.Thumbnails(image(), [image(box=record.box) for record in kept])])


def some(kind=Record, **more):
    told = {"input": "a.jpg", "width": 1200, "height": 800, "ratio": "1:1", "rank": 1, "box": (100, 0, 900, 800)}
    return kind(**told | {"score": 3.5, "worth": 0.8, "output": "a_1x1.jpg", "status": "written", "cut": []} | more)


def test_a_padded_crop_keeps_its_shape_or_gets_its_ratio_s(window):
    padded = some(Padded, box=(0, 100, 1200, 700), padded=(0, 160, 0, 160), output_width=640, output_height=640)
    made_up("sheet.html", [padded, some(Padded, rank=2)], top=2)
    window.open("sheet.html")
    assert window.run("crops.map((crop) => crop.isPadded)") == [True, False]
    assert window.run("crops[0].opener.getBoundingClientRect().toJSON()")["height"] == pytest.approx(160, abs=1)
    edit(window, 0)
    window.run("document.querySelector('#frame .e').focus()")
    window.press(*["ArrowLeft"] * 3)
    assert box_now(window) == [0, 100, 1197, 700]
    (fix,) = saved(window)
    assert fix["padded"] == [0, 298, 0, 299]
    edit(window, 0)
    window.click("#fill")
    assert box_now(window) == [198, 0, 998, 800]
    (fix,) = saved(window)
    assert fix["padded"] is None
    edit(window, 0)
    window.press("-")
    assert box_now(window) == [198, 0, 997, 799], "its ratio holds from here on"


def test_a_padded_crop_that_nearly_has_its_ratio_gets_it(window):
    made_up(
        "sheet.html", [some(Padded, box=(0, 0, 790, 800), padded=(5, 0, 5, 0), output_width=800, output_height=800)]
    )
    window.open("sheet.html")
    edit(window, 0)
    window.run("document.querySelector('#frame .e').focus()")
    window.press(*["ArrowRight"] * 6)
    assert box_now(window) == [0, 0, 796, 800]
    window.press("ArrowRight")
    assert box_now(window) == [0, 2, 797, 799] and saved(window)[0]["padded"] is None


@pytest.mark.parametrize(
    "box, ratio, is_round, pads",
    [
        ([0, 0, 100, 50], 1, False, [0, 25, 0, 25]), ([5, 5, 105, 56], 1, False, [0, 24, 0, 25]),
        ([0, 0, 50, 100], 16 / 9, False, [64, 0, 64, 0]), ([0, 0, 1000, 998], 1, False, None),
        ([0, 0, 30, 40], 1, True, [10, 5, 10, 5]), ([0, 0, 30, 40], None, False, None),
    ],
)  # fmt: skip
def test_pads_reach_to_the_ratio_or_the_circle(window, box, ratio, is_round, pads):
    made_up("sheet.html", [some()])
    window.open("sheet.html")
    assert window.run(f"padsOf({box}, {json.dumps(ratio)}, {json.dumps(is_round)})") == pads


def test_a_crop_of_several_sizes_is_one_crop(window):
    made_up("sheet.html", [some(output_width=side, output_height=side) for side in (320, 640, 1280)])
    window.open("sheet.html")
    assert window.run("[crops.length, crops[0].sizes, crops[0].isEnlarged]") == [
        1,
        ["320x320", "640x640", "1280x1280"],
        True,
    ]
    edit(window, 0)
    window.press("ArrowLeft")
    assert len(saved(window)) == 1


def test_covers_are_corrected_as_pictures_are(window):
    clip = {"input": "a.mp4", "type": "video"}
    covers = [some(**clip, time_s=time_s, cover_rank=rank) for rank, time_s in ((1, 75.24), (2, 3.1))]
    with sheet.Sheet(Path("sheet.html"), ["1:1"], total=1) as page:
        page.add(covers, [sheet.Thumbnails(image(), [image()])] * 2)
    window.open("sheet.html")
    edit(window, 1)
    window.press("ArrowRight")
    assert window.run("find('editor-crop').textContent") == "1:1, 0:03.1"
    (fix,) = saved(window)
    assert (fix["input"], fix["time_s"], fix["cover_rank"], fix["box"]) == ("a.mp4", 3.1, 2, [101, 0, 901, 800])


def test_circles_are_shown_round(window):
    made_up("sheet.html", [some()], circle=True)
    window.open("sheet.html")
    edit(window, 0)
    assert window.run("getComputedStyle(find('after')).borderRadius") == "50%"


def test_what_cannot_be_corrected_says_nothing_of_it(window):
    with sheet.Sheet(Path("sheet.html"), ["1:1"], total=1) as page:
        page.add([some(box=None, status="skipped")], [sheet.Thumbnails(image(), [image()])])
    window.open("sheet.html")
    assert window.run("[...document.querySelectorAll('.open')].length") == 0
    assert window.run("[...document.querySelectorAll('.correcting')].every((one) => one.hidden)")


def test_filters_find_what_needs_a_look(window):
    face = Thing("face", (1, 1, 9, 9))
    worths = {"a.jpg": (0.9, 0.6), "b.jpg": (0.8, 0.79), "c.jpg": (0.5, 0.3)}
    with sheet.Sheet(Path("sheet.html"), ["1:1"], total=3, top=2) as page:
        for name, (first, last) in worths.items():
            best = some(Padded, input=name, worth=first, output_width=900, output_height=900)
            second = some(Padded, input=name, worth=last, rank=2, box=(0, 0, 800, 800))
            second = replace(second, output_width=640, output_height=640)
            if name == "a.jpg":
                second = replace(second, padded=(0, 9, 0, 9))
            if name == "c.jpg":
                best = replace(best, cut=[face])
            page.add([best, second], [sheet.Thumbnails(image(), [image()] * 2)])
    window.open("sheet.html")
    window.run("crops[2].opener.focus()")
    window.press("r")
    shown = """(() => { const found = crops.filter((crop) => !crop.figure.hidden && !crop.article.hidden);
        return found.map((crop) => crop.line.input[0] + crop.line.rank).join(" "); })()"""
    for control, value, left in [
        ("worth", "0.6", "a2 c1 c2"), ("margin", "0.1", "b1 b2"), ("padded", "yes", "a2"), ("faults", "cut", "c1"),
        ("padded", "no", "a1 b1 b2 c1 c2"), ("changed", "any", "b1"), ("changed", "refused", "b1"),
        ("changed", "moved", ""), ("changed", "none", "a1 a2 b2 c1 c2"), ("size", "640x640", "a2 b2 c2"),
        ("size", "enlarged", "a1 b1 c1"),
    ]:  # fmt: skip
        one = f"find({json.dumps(control)})"
        unset = window.run(f"{one}.value")
        window.run(f"{one}.value = {json.dumps(value)}; update()")
        assert window.run(shown) == left, (control, value)
        window.run(f"{one}.value = {json.dumps(unset)}; update()")
    window.run("find('order').value = 'margin'; update()")
    assert window.run("[...document.querySelectorAll('article')].map((one) => one.dataset.name[0])") == ["b", "c", "a"]
    window.run("find('changed').value = 'moved'; update(); find('changed').value = 'refused'; update()")
    edit(window, 2)
    assert window.run("inTurn.length") == 1, "who goes on sees what is shown"


def test_a_thousand_pictures_open(window):
    whole, crop = image(), image(box=(0, 0, 900, 600))
    ratios = ["16:9", "1:1", "9:16"]
    with sheet.Sheet(Path("sheet.html"), ratios, total=1000) as page:
        for i in range(1000):
            page.add([some(input=f"photos/{i}.jpg", ratio=ratio, worth=i / 1000) for ratio in ratios],
                     [sheet.Thumbnails(whole, [crop] * 3)])  # fmt: skip
    window.open("sheet.html")
    assert window.run("find('count').textContent") == "1000 shown"


def test_a_printed_sheet_has_its_pictures_and_no_editor(window):
    lines_of_a_run("a.png")
    window.open("sheet.html")
    edit(window, 0)
    window.send("Emulation.setEmulatedMedia", media="print")
    assert window.run("getComputedStyle(editor).display") == "none"
    assert window.run("[...document.querySelectorAll('.crop img')].every((one) => one.getClientRects().length)")
