"""The sheet: what is on it, what names from strangers cannot do to it, and how a browser sorts and filters it."""

import base64
import io
import itertools
import json
import os
import re
import signal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import browser
import pictures
from commands import draw, files, process, s2crop, usage_error
from s2crop.cropping.request import Thing
from s2crop.errors import OutputError
from s2crop.files.picture import Picture
from s2crop.preview import sheet
from s2crop.report import Record

pytestmark = pytest.mark.usefixtures("folder")

VOID = {"img", "input", "meta", "rect", "br", "link"}


class Page(HTMLParser):
    """The elements of a page, each (tag, attributes, text in it), in order; the tags must match."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        element = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for element in self.open:
            element[2].append(data)

    def all(self, tag, **wanted):
        """Attributes and text of the elements of a kind."""
        return [(attrs, " ".join("".join(text).split())) for kind, attrs, text in self.elements
                if kind == tag and all(attrs.get(key.rstrip("_")) == wanted[key] for key in wanted)]  # fmt: skip


def page(path="sheet.html"):
    return Page(Path(path).read_text("utf-8"))


def image_of(attrs):
    head, data = attrs["src"].split(",")
    assert head == "data:image/webp;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    width, height = int(attrs["width"]), int(attrs["height"])  # on the page
    assert width <= 320 and height <= 160
    if attrs["alt"]:  # a crop; frames are set on whole pictures, which are finer
        assert image.size == (width, height)
    else:
        assert width <= image.width <= 640 and height <= image.height <= 320
    return image


def mixed():
    """Two good pictures and a bad one, of which the page tells, and the page."""
    draw("photos/a.png", (960, 640))
    Path("photos/b.jpg").write_text("no picture")
    draw("photos/c.jpg", (480, 640))
    code, _, _ = s2crop("photos", "-a", "1:1,16:9", "-k", "2", "-s", "64", "--sheet", "sheet.html")
    assert code == 1
    return page()


# What is on it


def test_every_input_is_there_with_its_crops_ratios_and_scores():
    got = mixed()
    assert [(a["data-name"], a["data-status"]) for a, _ in got.all("article")] == [
        ("photos/a.png", "written"), ("photos/b.jpg", "error"), ("photos/c.jpg", "written"),
    ]  # fmt: skip
    assert [text for _, text in got.all("h2")] == ["photos/a.png960 × 640", "photos/b.jpg", "photos/c.jpg480 × 640"]
    captions = [text for _, text in got.all("figcaption")]
    assert captions[:4] == [
        "1:1 #1 0.76 3.86 64 × 64",
        "1:1 #2 0.61 3.71 64 × 64",
        "16:9 #1 0.76 3.86 64 × 36",
        "16:9 #2 0.61 3.71 64 × 36",
    ]
    assert len(captions) == 8
    assert [text for _, text in got.all("p", class_="error")] == ["not an image"]
    assert [text for a, text in got.all("p")][-1] == "3 pictures, 8 crops written, 0 skipped, 1 failed"
    assert [a["data-score"] for a, _ in got.all("figure")][:2] == ["3.8571", "3.7143"]
    assert [a["data-worth"] for a, _ in got.all("figure")][:2] == ["0.7571", "0.6143"]


def test_thumbnails_show_the_input_and_its_crops():
    got = mixed()
    images = [image_of(attrs) for attrs, _ in got.all("img")]
    assert [image.size for image in images[:5]] == [(480, 320), (160, 160), (160, 160), (284, 160), (284, 160)]
    assert len(images) == 10
    assert [a["alt"] for a, _ in got.all("img")][:2] == ["", "photos/a.png, 1:1"]


def test_boxes_are_drawn_over_the_input():
    got = mixed()
    svgs = [attrs["viewbox"] for attrs, _ in got.all("svg")]
    assert svgs == ["0 0 960 640", "0 0 480 640"]
    drawn = [a for a, _ in got.all("rect") if "data-crop" in a]
    assert [(a["x"], a["y"], a["width"], a["height"], a["class"], a["data-crop"]) for a in drawn[:3]] == [
        ("160", "0", "640", "640", "c0", "0"), ("192", "32", "576", "576", "c0", "1"),
        ("0", "50", "960", "540", "c1", "2"),
    ]  # fmt: skip


def test_links_lead_to_the_files_from_where_the_page_is():
    draw("photos/a #1?%.png")
    s2crop("photos", "--sheet", "pages/deep/sheet.html")
    links = [attrs["href"] for attrs, _ in page("pages/deep/sheet.html").all("a")]
    assert links == ["../../photos/a%20%231%3F%25.png", "../../s2crop-out/a%20%231%3F%25_free.png"]
    s2crop("-", "--sheet", "sheet.html", input=Path("photos/a #1?%.png").read_bytes())
    assert [attrs["href"] for attrs, _ in page().all("a")] == ["s2crop-out/stdin_free.png"]


def test_skipped_outputs_are_shown_as_they_are():
    draw("a.png", (960, 640))
    s2crop("a.png", "-a", "1:1")
    Image.new("RGB", (90, 90), "lime").save("s2crop-out/a_1x1.png")
    code, _, _ = s2crop("a.png", "-a", "1:1", "--skip-existing", "--sheet", "sheet.html")
    got = page()
    assert (code, [text for _, text in got.all("figcaption")]) == (0, ["1:1 skipped"])
    whole, crop = (image_of(attrs) for attrs, _ in got.all("img"))
    assert whole.size == (480, 320) and crop.size == (90, 90)
    red, green, _ = crop.convert("RGB").getpixel((45, 45))
    assert green > 240 and red < 20
    Path("s2crop-out/a_1x1.png").write_text("no picture any more")
    Path("a.png").write_text("nor this")
    assert s2crop("a.png", "-a", "1:1", "--skip-existing", "--sheet", "sheet.html")[0] == 0
    assert page().all("img") == []


def test_dry_run_shows_what_is_planned():
    draw("a.png")
    assert s2crop("a.png", "--dry-run", "--sheet", "sheet.html")[0] == 0
    assert [text for _, text in page().all("figcaption")] == ["free 0.76 3.86 48 × 32 planned"]
    assert files() == ["a.png", "sheet.html"] and len(page().all("img")) == 2


def test_a_sheet_beside_other_kinds_of_output():
    draw("a.png", (96, 64))
    assert s2crop("a.png", "-o", "b.webp", "--sheet", "one.html")[0] == 0
    assert s2crop("a.png", "-o", "-", "--sheet", "stdout.html", "-q")[0] == 0
    assert s2crop("a.png", "--shape", "circle", "--overlay", "--sheet", "round.html")[0] == 0
    assert len(page("one.html").all("img")) == len(page("stdout.html").all("img")) == 2
    assert [a["class"] for a, _ in page("round.html").all("figure")] == ["crop round"]


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (8000, 40)])
def test_extreme_shapes_have_thumbnails(size):
    draw("a.png", size)
    assert s2crop("a.png", "--sheet", "sheet.html")[0] == 0
    assert len([image_of(attrs) for attrs, _ in page().all("img")]) == 2


def test_a_thumbnail_is_in_srgb_and_opaque(tmp_path):
    wide = Picture.open(
        pictures.encoded(Image.new("RGB", (300, 200), (200, 30, 30)), icc_profile=pictures.p3_profile())
    )
    made = Image.open(io.BytesIO(sheet.thumbnail(wide).data))
    assert not made.info.get("icc_profile") and made.getpixel((9, 9))[0] > 210
    clear = Picture.open(pictures.encoded(Image.new("LA", (300, 200), (0, 0)), "PNG"))
    assert min(Image.open(io.BytesIO(sheet.thumbnail(clear, (9, 9, 99, 99)).data)).getpixel((5, 5))) > 250


def test_times_of_frames_are_shown(tmp_path):
    frames = [Record(input="a.mp4", type="video", ratio="1:1", rank=1, score=3.0, status="planned",
                     box=(0, 0, 9, 9), time_s=time_s,
                     width=9, height=9) for time_s in (0.04, 75.26, 3723.0)]  # fmt: skip
    with sheet.Sheet(tmp_path / "s.html", ["1:1"], total=1) as made:
        made.add(frames)
    assert [text for _, text in page(tmp_path / "s.html").all("figcaption")] == [
        "1:1 3.00 0:00.0 planned", "1:1 3.00 1:15.3 planned", "1:1 3.00 1:02:03.0 planned",
    ]  # fmt: skip


def test_each_cover_of_a_clip_has_an_entry_of_its_own(tmp_path):
    image = sheet.thumbnail(Picture.open(Image.new("RGB", (160, 90))))
    frames = [Record(input="a.mp4", type="video", ratio="1:1", rank=1, score=3.0, status="planned",
                     box=(0, 0, 90, 90), time_s=rank,
                     cover_rank=rank, width=160, height=90) for rank in (1, 2)]  # fmt: skip
    with sheet.Sheet(tmp_path / "s.html", ["1:1"], total=1) as made:
        made.add(frames, [sheet.Thumbnails(image, [image])] * 2)
    text = (tmp_path / "s.html").read_text()
    assert text.count("<article") == 2 and text.count('class="picture"') == 2 and "1 video, 2 crops planned" in text


# What strangers' names cannot do

HOSTILE = [
    "<script>alert(1)<",
    '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "&lt;b&gt;", "-->", "]]>", "javascript:alert(1)",
    "\x1b[31m\nnew line", os.fsdecode(b"latin\xe9"), "\u202egpj.exe", "{{7*7}}", "%3Cscript%3E",
]  # fmt: skip


def hostile_page():
    for i, name in enumerate(HOSTILE):
        path = Path("photos") / f"{name}.png"
        if "/" in name or i % 2 == 0:
            draw("photos/x.png").rename(path)
        else:
            path.write_text("no picture")
    assert s2crop("photos", "--sheet", "sheet.html")[0] == 1
    return page()


def test_names_are_text_and_nothing_else():
    got = hostile_page()
    text = Path("sheet.html").read_text("utf-8")
    assert {tag for tag, _, _ in got.elements} == {
        "html", "head", "meta", "title", "style", "body", "form", "label", "input", "select", "option", "output",
        "span", "main",
        "article", "h2", "a", "div", "img", "svg", "rect", "figure", "figcaption", "i", "b", "p", "header", "h1",
        "script", "button", "canvas", "code", "dialog", "kbd", "strong",
    }  # fmt: skip
    assert len(got.all("script")) == 1 and len(got.all("article")) == len(HOSTILE)
    assert not any(key.startswith("on") or key == "style" for _, attrs, _ in got.elements for key in attrs)
    for attrs, _ in got.all("a"):
        assert re.fullmatch(r"[A-Za-z0-9_.%/~-]+", attrs["href"])
    assert "\x1b" not in text and "\u202e" not in text
    assert {attrs["data-name"] for attrs, _ in got.all("article")} > {
        "photos/<script>alert(1)<.png",
        r"photos/latin\udce9.png",
    }


def test_nothing_comes_from_elsewhere():
    mixed()
    text = Path("sheet.html").read_text("utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch\(", re.sub(r"base64,[^\"]*", "", text))
    (policy,) = [
        attrs["content"] for attrs, _ in page().all("meta") if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:" and "unsafe" not in policy
    assert re.fullmatch(r"'sha256-\S+'", rules["script-src"]) and re.fullmatch(r"'sha256-\S+'", rules["style-src"])


# Where it goes


def test_only_a_sheet_of_ours_is_replaced():
    draw("a.png")
    Path("mine.html").write_text("<html>mine</html>")
    refusal = "--sheet mine.html exists and is none of ours: --overwrite replaces it"
    assert usage_error("a.png", "--sheet", "mine.html") == refusal
    assert Path("mine.html").read_text() == "<html>mine</html>"
    assert s2crop("a.png", "--sheet", "mine.html", "--overwrite")[0] == 0
    assert s2crop("a.png", "--sheet", "mine.html")[0] == 0, "a run that goes on writes its page again"
    assert [text for _, text in page("mine.html").all("figcaption")] == ["free skipped"]
    Path("folder.html").mkdir()
    assert usage_error("a.png", "--sheet", "folder.html") == "--sheet folder.html is a folder; give a name in it"
    assert usage_error("a.png", "--sheet", "a.png") == "--sheet a.png: the page is HTML; give a name like crops.html"
    Path("b.html").write_bytes(Path("a.png").read_bytes())
    assert usage_error("b.html", "--sheet", "b.html", "--overwrite") == "--sheet b.html is an input"


def test_a_page_that_cannot_be_written_is_one_line():
    draw("a.png")
    Path("file").touch()
    code, _, err = s2crop("a.png", "--sheet", "file/sheet.html")
    assert (code, err) == (1, "s2crop: cannot write file/sheet.html: not a directory\n")
    assert files() == ["a.png", "file"]


def test_a_disk_that_fills_up_leaves_no_part_of_a_page(tmp_path):
    made = sheet.Sheet(tmp_path / "s.html", ["1:1"], total=1)
    with pytest.raises(OutputError, match="cannot write .*s.html: no space left on device"):
        with made:
            made._file.close()
            made._file = open("/dev/full", "w") if os.path.exists("/dev/full") else pytest.skip("no /dev/full")
            for _ in range(1000):
                made.add([Record(input="a", status="error", error="x")])
    assert os.listdir(tmp_path) == []


def full_from(number, monkeypatch):
    """Let a page's writes fail from one on: the first is its head, then comes one for each input, and its end."""
    write, numbers = sheet.Sheet._write, itertools.count(1)

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    def fill_up(made, text):
        if next(numbers) >= number:
            made._file.close()
            made._file = Full()
        write(made, text)

    monkeypatch.setattr(sheet.Sheet, "_write", fill_up)


@pytest.mark.parametrize("number", [2, 4, 11])
@pytest.mark.parametrize("more, status", [([], "written"), (["--dry-run"], "planned")])
def test_a_page_that_can_be_written_no_more_stops_nothing(monkeypatch, number, more, status):
    for i in range(9):
        draw(f"photos/{i}.png")
    full_from(number, monkeypatch)
    code, out, err = s2crop("photos", "--sheet", "made/sheet.html", "--json", *more)
    full, summary = err.splitlines()
    assert (code, full) == (1, "s2crop: cannot write made/sheet.html: no space left on device")
    assert summary.startswith("s2crop: 9 pictures, ")
    assert [json.loads(line)["status"] for line in out.splitlines()] == [status] * 9
    assert os.listdir("made") == [] and len(files()) == (9 if more else 18)


def test_a_page_that_cannot_be_begun_leaves_nothing(monkeypatch):
    draw("a.png")
    full_from(1, monkeypatch)
    code, out, err = s2crop("a.png", "--sheet", "sheet.html")
    assert (code, out, err) == (1, "", "s2crop: cannot write sheet.html: no space left on device\n")
    assert files() == ["a.png"]


def test_an_interrupted_run_leaves_a_whole_page_of_what_was_done():
    for i in range(40):
        draw(f"photos/{i:02}.png")
    run = process("photos", "--json", "-b", "1", "-j", "2", "--sheet", "sheet.html", cropper="FakeCropper(delay_s=0.1)")
    lines = [run.stdout.readline() for _ in range(3)]
    run.send_signal(signal.SIGTERM)
    out, _ = run.communicate(timeout=30)
    assert run.returncode == 130
    got = page()
    done = len(got.all("article"))
    lines += out.splitlines()
    assert len(lines) <= done <= len(lines) + 1 < 40
    assert [text for _, text in got.all("p")][-1] == f"interrupted after {done} of 40 pictures, {done} crops written"
    assert sorted(name for name in files() if "/" not in name) == ["sheet.html"]


def test_memory_does_not_grow_with_the_page(tmp_path):
    """What is added is on disk, or in a buffer of a fixed size, at once."""
    image = sheet.thumbnail(Picture.open(pictures.encoded(pictures.photo(600, 400, noise=30))))
    record = Record(
        input="a.jpg",
        width=600,
        height=400,
        ratio="1:1",
        rank=1,
        box=(0, 0, 9, 9),
        score=3.0,
        status="written",
        output="b",
    )
    path = tmp_path / "s.html"
    with sheet.Sheet(path, ["1:1"], total=1000) as made:
        sizes = []
        for _ in range(100):
            made.add([record], [sheet.Thumbnails(image, [image])])
            sizes.append(made._temporary.stat().st_size)
        assert sizes[-1] > 100 * len(image.data) and not path.exists()
    assert path.stat().st_size / 100 < 100_000


# In a browser

SEEN = """(() => {
  const find = (id) => document.getElementById(id), shown = (one) => one.getClientRects().length > 0;
  return {
    names: [...document.querySelectorAll("article")].filter(shown).map((one) => one.dataset.name),
    crops: [...document.querySelectorAll("article .crop")].filter(shown).length,
    count: find("count").textContent, nothing: shown(find("nothing")), controls: shown(find("controls")) };
})()"""
DECODED = """Promise.all([...document.querySelectorAll("img")].map((image) => {
  image.loading = "eager";
  return image.decode().then(() => 1, () => 0);
}))"""


def choose(window, control, value):
    """What is to be seen after a control was set."""
    one = f"document.getElementById({json.dumps(control)})"
    window.run(f"{one}.value = {json.dumps(value)}; {one}.dispatchEvent(new Event('input', {{bubbles: true}}))")
    return window.run(SEEN)


@browser.needed
def test_sorting_and_filtering_in_a_browser(window):
    names = [f"photos/{name}.jpg" for name in ("b10", "b2", "a", "c")]
    crops = [[("1:1", 3.5), ("16:9", 2.5)], [("1:1", 2.0), ("16:9", 4.5)], [("1:1", 4.0), ("16:9", 1.5)]]
    image = sheet.thumbnail(Picture.open(pictures.encoded(pictures.photo())))
    with sheet.Sheet(Path("sheet.html"), ["1:1", "16:9"], total=4) as made:
        for name, scored in zip(names, crops, strict=False):
            records = [Record(input=name, width=320, height=200, ratio=ratio, rank=1, box=(9, 9, 99, 99),
                              score=score, worth=score / 5, output="x.jpg",
                              status="written") for ratio, score in scored]  # fmt: skip
            made.add(records, [sheet.Thumbnails(image, [image] * 2)])
        made.add([Record(input=names[3], status="error", error="not an image")])
    b10, b2, a, c = names
    window.open("sheet.html")
    assert window.run(SEEN) == {"names": names, "crops": 6, "count": "4 shown", "nothing": False, "controls": True}
    for control, value, shown, left in [
        ("order", "best", [b2, a, b10, c], 6), ("order", "worst", [b10, a, b2, c], 6),
        ("order", "name", [a, b2, b10, c], 6), ("ratio", "0", [a, b2, b10], 3), ("order", "best", [a, b10, b2], 3),
        ("least", "3.4", [a, b10], 2), ("ratio", "", [b2, a, b10], 3), ("order", "", [b10, b2, a], 3),
        ("least", "1", names, 6), ("name", " B", [b10, b2], 4), ("name", "", names, 6), ("status", "error", [c], 0),
        ("status", "written", [b10, b2, a], 6), ("status", "", names, 6), ("worth", "0.4", [b2, a], 2),
        ("worth", "9", names, 6), ("name", "nowhere", [], 0),
    ]:  # fmt: skip
        seen = choose(window, control, value)
        assert (seen["names"], seen["crops"]) == (shown, left), (control, value)
    assert seen["nothing"] and seen["count"] == "0 of 4 shown"
    choose(window, "name", "")
    x, y = window.middle(".crop:nth-of-type(2) img")
    window.mouse("mouseMoved", x, y)
    assert window.run("[...document.querySelectorAll('rect.on')].map((one) => one.dataset.crop)") == ["1"]
    assert window.run(DECODED) == [1] * 9 and window.said == []


@browser.needed
def test_a_run_s_page_in_a_browser(window):
    hostile_page()
    window.open("sheet.html")
    seen = window.run(SEEN)
    assert len(seen["names"]) == len(HOSTILE) and seen["controls"]
    assert window.run("[document.title, document.scripts.length]") == ["Crops", 1]
    assert set(window.run(DECODED)) == {1} and window.said == []


@browser.needed
def test_a_script_that_slips_in_does_not_run(window):
    """The page's policy knows its own script by hash; nothing else runs even if escaping failed."""
    mixed()
    text = Path("sheet.html").read_text("utf-8")
    slipped = text.replace("<h2>", "<h2><script>window.alarmed = 1</script><img src=x onerror='window.alarmed = 1'>", 1)
    Path("sheet.html").write_text(slipped, "utf-8")
    window.open("sheet.html")
    assert window.run("[document.scripts.length, 'alarmed' in window]") == [2, False]
    assert window.run(SEEN)["controls"] and any("Content Security Policy" in said for said in window.said)


def test_crops_that_cut_or_lose_something_are_marked_and_can_be_filtered():
    face, text = Thing("face", (1, 1, 9, 9)), Thing("text", (1, 30, 60, 40))
    with sheet.Sheet(Path("sheet.html"), ["1:1"], total=1, top=3) as made:
        made.add([
            Record(input="a.jpg", width=99, height=99, ratio="1:1", rank=rank, box=(9, 9, 99, 99), score=3.0, worth=0.5,
                   cut=cut, lost=lost, status="planned")
            for rank, (cut, lost) in enumerate([([], []), ([face, face], [text]), ([], [face])], start=1)
        ])  # fmt: skip
    got = page()
    assert [a["data-faults"] for a, _ in got.all("figure")] == ["", "cut lost", "lost"]
    assert [text for _, text in got.all("span", class_="fault")] == ["cuts face", "loses text", "loses face"]
    assert [a["id"] for a, _ in got.all("select")] == [
        "ratio",
        "status",
        "faults",
        "padded",
        "changed",
        "size",
        "order",
    ]
