"""Pictures and videos on standard input."""

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from PIL import Image

import clips
from commands import ENDS, draw, files, process, records, s2crop, usage_error
from s2crop import cli
from s2crop.errors import InputError
from s2crop.files import sources, stdin
from s2crop.files.formats import Kind
from s2crop.files.sources import Source, read_file_list

pytestmark = pytest.mark.usefixtures("folder")
STDIN = Source("-", None, Path("stdin"))


@pytest.fixture
def clip(folder) -> bytes:
    return clips.lavfi_clip(folder / "film.mp4", "testsrc2=size=160x96:rate=25:duration=1").read_bytes()


def no_folder():
    raise AssertionError("a picture needs none")


def test_a_video_gives_the_covers_of_a_file(clip, monkeypatch, tmp_path_factory):
    place = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    told = records("-", "-n", "2", "-a", "1:1", input=clip)
    of_file = records("film.mp4", "-n", "2", "-a", "1:1")
    keys = "type", "time_s", "cover_rank", "box", "width", "height", "status"
    assert told and [[r[key] for key in keys] for r in told] == [[r[key] for key in keys] for r in of_file]
    assert all(r["input"] == "-" for r in told)
    assert [r["output"] for r in told] == [f"s2crop-out/stdin_cover{i}_1x1.jpg" for i in range(1, len(told) + 1)]
    assert [r["status"] for r in records("-", "-n", "2", "-a", "1:1", input=clip)] == ["skipped"] * len(told)
    assert list(place.iterdir()) == [], "nothing is left behind"
    assert s2crop("-", "-a", "1:1", "-o", "one.jpg", input=clip)[0] == 0 and Image.open("one.jpg").format == "JPEG"


def test_an_animation_is_a_video_with_cover(folder):
    frames = [Image.new("RGB", (64, 48), (40 * i, 90, 200 - 30 * i)) for i in range(5)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:], duration=200)
    data = Path("a.gif").read_bytes()
    assert {r["type"] for r in records("-", "-o", "one", input=data)} == {"image"}
    assert {r["type"] for r in records("-", "-o", "two", "--cover", input=data)} == {"video"}
    still = draw("b.png").read_bytes()
    assert {r["type"] for r in records("-", "-o", "three", "--cover", input=still)} == {"image"}


def test_options_of_videos_are_refused_for_a_picture():
    assert "--covers is for videos" in usage_error("-", "-n", "3", input=draw("a.png").read_bytes())


def test_a_damaged_video_is_one_line(clip):
    (record,) = records("-", input=clip[:200], code=1)
    assert record["input"] == "-" and record["error"] and files("s2crop-out") == []


def test_a_picture_is_read_up_to_what_its_pixels_can_take(monkeypatch):
    monkeypatch.setattr(stdin, "BESIDE_BYTES", 1000)
    data = draw("a.png", (30, 20)).read_bytes()
    assert stdin.receive(io.BytesIO(data), STDIN, False, 600, no_folder).contents == data
    endless = io.BytesIO(data + bytes(100_000))
    with pytest.raises(InputError, match="more than 5800 bytes on standard input: max_pixels takes larger pictures"):
        stdin.receive(endless, STDIN, False, 600, no_folder)
    assert endless.tell() <= 5801, "and not to the end"
    draw("b.png")
    told = records("-", "b.png", "--max-pixels", "1600", input=data + bytes(100_000), code=1)
    assert [(r["input"], r["status"]) for r in told] == [("-", "error"), ("b.png", "written")]
    assert "--max-pixels takes larger pictures" in told[0]["error"]


def test_a_video_is_read_up_to_a_limit(monkeypatch, clip, tmp_path):
    received = stdin.receive(io.BytesIO(clip), STDIN, False, 600, lambda: tmp_path)
    assert received.kind is Kind.CLIP and received.path.read_bytes() == clip
    assert received.origin == stdin.marks.origin_of_stream(len(clip), hashlib.sha256(clip).hexdigest())
    monkeypatch.setattr(stdin, "MAX_CLIP_BYTES", 2000)
    (record,) = records("-", input=clip, code=1)
    assert "more than 2000 bytes on standard input: give the video as a file" in record["error"]


@pytest.mark.parametrize("number", ENDS)
def test_an_interrupt_leaves_no_part_of_a_video(number, clip, monkeypatch, tmp_path_factory):
    place = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(place))
    run = process("-", stdin=subprocess.PIPE)
    run.stdin.write(clip)  # and there is more to come
    run.stdin.flush()
    started = time.monotonic()
    while not list(place.rglob("stdin")):
        assert time.monotonic() - started < 20
        time.sleep(0.05)
    run.send_signal(number)
    assert run.wait(20) == 130 and run.stderr.read().startswith(b"s2crop: interrupted before the first picture")
    assert list(place.iterdir()) == []


def test_a_full_disk_is_one_line(monkeypatch, clip):
    def full(*given, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    (record,) = records("-", input=clip, code=1)
    assert record["error"] == "no space left on device"


def test_nothing_on_standard_input():
    (record,) = records("-", input=b"", code=1)
    assert "empty" in record["error"]


@pytest.mark.parametrize(
    "asked, said",
    [(["--files-from", "-"], "no picture or video matches"), (["--boxes", "-"], "- has no boxes"),
     (["--files-from", "-", "--sheet", "sheet.html"], "no picture or video matches")],
)  # fmt: skip
def test_a_list_on_standard_input_that_is_closed_is_an_empty_one(monkeypatch, asked, said):
    nothing = (3, "", f"s2crop: nothing to do: {said}\n")
    assert s2crop(*asked, input=b"") == nothing
    monkeypatch.setattr(sys, "stdin", None)
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    with pytest.raises(SystemExit) as ended:
        cli.main(asked)
    assert (ended.value.code, errors.getvalue(), files()) == (3, nothing[2], [])


def test_a_list_is_read_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(sources, "_MAX_LIST_BYTES", 3 << 20)
    assert read_file_list(io.BytesIO(b"a.jpg\nb.jpg"), False) == ["a.jpg", "b.jpg"]
    with open(os.devnull if not os.path.exists("/dev/zero") else "/dev/zero", "rb") as endless:
        if os.path.exists("/dev/zero"):
            with pytest.raises(InputError, match="larger than 3 MiB"):
                read_file_list(endless, True)
    with pytest.raises(InputError, match="larger than 3 MiB"):
        read_file_list(io.BytesIO(b"name\n" * (1 << 20)), False)
