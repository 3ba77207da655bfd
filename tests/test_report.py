"""Records as JSON lines, and the line at the end of a run."""

import json
import os
import threading
import time

import pytest

from s2crop.cropping.request import Thing
from s2crop.geometry.boxes import object_position
from s2crop.report import Clock, Record, Summary, one_line

EXAMPLE = (
    '{"input": "photos/a.jpg", "type": "image", "width": 4000, "height": 3000, "time_s": null, "cover_rank": null, '
    '"ratio": "16:9", "rank": 1, "box": [120, 340, 3960, 2500], "score": 3.71, "output": "s2crop-out/a_16x9.jpg", '
    '"output_width": 3840, "output_height": 2160, "status": "written", "error": null, "model": "s2cnet", '
    '"device": "cpu", "worth": 0.81, "cover_score": null, "cut": [], '
    '"lost": [{"kind": "text", "box": [40, 20, 610, 96]}], "focus": [0.46, 0.38], "object_position": "75% 40.48%", '
    '"padded": null}'
)


def test_json_line_is_the_promised_one():
    record = Record(
        input="photos/a.jpg",
        width=4000,
        height=3000,
        ratio="16:9",
        rank=1,
        box=(120, 340, 3960, 2500),
        score=3.71,
        output="s2crop-out/a_16x9.jpg",
        output_width=3840,
        output_height=2160,
        status="written",
        model="s2cnet",
        device="cpu",
        worth=0.81,
        cut=[],
        lost=[Thing("text", (40, 20, 610, 96))],
        focus=(0.46, 0.38),
        object_position=object_position((120, 340, 3960, 2500), (4000, 3000)),
    )
    assert record.to_json() == EXAMPLE


@pytest.mark.parametrize(
    ("box", "position"),
    [
        ((0, 0, 80, 60), "50% 50%"), ((20, 0, 80, 60), "100% 50%"), ((0, 10, 80, 50), "50% 50%"),
        ((10, 5, 40, 20), "20% 11.11%"),
    ],
)  # fmt: skip
def test_object_position_shows_the_same_crop(box, position):
    assert object_position(box, (80, 60)) == position


def test_scores_are_rounded_and_never_nan():
    assert '"score": 3.1416,' in Record(input="a", status="planned", score=3.14159265).to_json()
    with pytest.raises(ValueError):
        Record(input="a", status="planned", score=float("nan")).to_json()


@pytest.mark.parametrize("name", [b"caf\xe9.jpg", "\u753b\u50cf.jpg".encode(), b'new\nline "quoted".jpg', b"\xff\xfe"])
def test_any_file_name_survives_json(name):
    line = Record(input=os.fsdecode(name), status="error", error="not an image").to_json()
    assert line.isascii() and "\n" not in line
    assert os.fsencode(json.loads(line)["input"]) == name


def test_messages_stay_on_one_line():
    assert one_line("a\nb\r\x1b[31m.jpg") == r"a\nb\r\x1b[31m.jpg"
    assert one_line(os.fsdecode(b"\xff.jpg")) == r"\udcff.jpg"
    assert one_line("\u753b\u50cf caf\u00e9.jpg") == "\u753b\u50cf caf\u00e9.jpg"


def summary_of(*pictures: str, seconds: float = 0.0) -> Summary:
    """Of pictures that are given by the first letters of their records' statuses."""
    summary = Summary(total=40)
    names = {"w": "written", "s": "skipped", "p": "planned", "e": "error"}
    for i, picture in enumerate(pictures, start=1):
        summary.add([Record(input="a", status=names[letter]) for letter in picture], seconds * i / len(pictures))
    return summary


def test_summary():
    assert Summary().text() == "0 pictures, 0 crops written, 0 skipped, 0 failed"
    done = summary_of(*["www"] * 24, seconds=24 / 11.2)
    assert done.text() == "24 pictures, 72 crops written, 0 skipped, 0 failed, 11.2 pictures/s"
    mixed = summary_of("w", "s", "we", "ww", seconds=0.01)
    assert mixed.text() == "4 pictures, 4 crops written, 1 skipped, 1 failed, 300 pictures/s"
    assert summary_of("pp").text() == "1 picture, 2 crops planned, 0 skipped, 0 failed"


def test_enlarged_crops_are_counted():
    crops = [
        Record(input="a", box=(0, 0, 100, 100), output_width=width, output_height=height, status=status)
        for width, height, status in [
            (100, 100, "written"), (101, 101, "written"), (50, 101, "written"), (300, 300, "skipped"),
        ]
    ]  # fmt: skip
    summary = Summary(total=1)
    summary.add(crops, 0.0)
    assert summary.text() == "1 picture, 3 crops written, 2 of them enlarged, 1 skipped, 0 failed"


def test_the_rate_is_of_pictures_that_were_cropped():
    assert summary_of("ss", "e", "ss", seconds=1.0).text() == "3 pictures, 0 crops written, 4 skipped, 1 failed"
    assert summary_of("ss", "sw", seconds=2.0).text().endswith(", 0.5 pictures/s")


def test_summary_of_an_interrupted_run():
    assert summary_of("w", "s").interrupted_text() == "interrupted after 2 of 40 pictures, 1 crop written"


def test_a_clock_adds_up_what_its_threads_spend():
    clock = Clock()
    assert clock.text(1) == "0 s; on 1 thread 0 s"
    clock.seconds |= {"score": 8.12, "waiting": 3.94, "decode": 10.2, "write": 0.04}
    assert clock.text(2) == "8.1 s score, 3.9 s waiting; on 2 threads 10.2 s decode, 0.0 s write"

    def work():
        with pytest.raises(KeyError), clock("encode"):
            time.sleep(0.02)
            raise KeyError

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.seconds["encode"] >= 4 * 0.02


def test_videos_are_counted_apart():
    summary = Summary(total=3)
    clip = [Record(input="a.mp4", type="video", cover_rank=rank, status="written") for rank in (1, 2)]
    summary.add(clip, 2.0)
    assert summary.text() == "1 video, 2 crops written, 0 skipped, 0 failed"
    summary.add([Record(input="b.png", status="written")], 3.0)
    summary.add([Record(input="c.mov", type="video", status="error", error="damaged")], 4.0)
    assert summary.text() == "1 picture, 2 videos, 3 crops written, 0 skipped, 1 failed"
    assert summary.interrupted_text() == "interrupted after 3 of 3 inputs, 3 crops written"
