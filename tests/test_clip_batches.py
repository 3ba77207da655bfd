"""Batches with clips among the pictures: the rules of pictures hold for them."""

import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clips
from fake_cropper import FakeCropper
from s2crop.cropping.request import CropRequest
from s2crop.files.names import plan_names
from s2crop.files.sizes import parse_size
from s2crop.files.sources import find_sources
from s2crop.geometry.ratio import parse_ratio
from s2crop.run.incoming import Listed
from s2crop.run.pipeline import run
from s2crop.run.stopping import Interrupted, Interrupts
from s2crop.run.work import BatchOptions
from s2crop.video import ffmpeg
from scenes import scene

FPS = 25
SIZE = 96, 160  # height, width


def shot(seed, seconds, size=SIZE):
    """A scene that drifts a little."""
    wide = scene(seed, (size[0], size[1] + 16))
    for i in range(round(seconds * FPS)):
        x = int(8 + 7 * np.sin(i / 9))
        yield wide[:, x : x + size[1]]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two shots of 1.2 s."""
    return clips.write_clip(tmp_path_factory.mktemp("film") / "film.mp4", [*shot(1, 1.2), *shot(2, 1.2)])


@pytest.fixture
def here(tmp_path, monkeypatch, film):
    """A folder with a picture, a clip and a picture."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Image.fromarray(scene(5)).save("in/a.png")
    Path("in/b.mp4").write_bytes(film.read_bytes())
    Image.fromarray(scene(6)).save("in/c.png")
    return tmp_path


def crop(
    *inputs,
    ratios=("1:1",),
    top=1,
    keep=None,
    covers=2,
    keep_frames=False,
    overlay=False,
    cropper=None,
    cover=False,
    told=None,
    **options,
):
    """Crop inputs into out/; the records."""
    request = CropRequest(ratios=tuple(map(parse_ratio, ratios)), top=top, keep=keep)
    sources = find_sources(inputs or ["in"], recursive=True, covers=cover)
    plans = plan_names(
        sources,
        request.ratios,
        top,
        folder=Path("out"),
        fmt="same",
        circle=False,
        covers=covers,
        keep_frames=keep_frames,
        overlay=overlay,
    )
    records = []
    given = {key: options.pop(key) for key in ("interrupts", "on_progress") if key in options}
    run(
        Listed(sources, plans),
        cropper or FakeCropper(),
        BatchOptions(request, covers=covers, **options),
        records.append,
        told or (lambda *picture: None),
        **given,
    )
    return records


def files():
    return sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file())


def statuses(records):
    return [(Path(record.output).name if record.output else None, record.status) for record in records]


def test_a_folder_of_pictures_and_clips(here):
    records = crop(ratios=("1:1", "16:9"))
    assert [(r.input, r.type, r.cover_rank, r.ratio, r.status) for r in records] == [
        ("in/a.png", "image", None, "1:1", "written"), ("in/a.png", "image", None, "16:9", "written"),
        ("in/b.mp4", "video", 1, "1:1", "written"), ("in/b.mp4", "video", 1, "16:9", "written"),
        ("in/b.mp4", "video", 2, "1:1", "written"), ("in/b.mp4", "video", 2, "16:9", "written"),
        ("in/c.png", "image", None, "1:1", "written"), ("in/c.png", "image", None, "16:9", "written"),
    ]  # fmt: skip
    assert files() == [
        "a_16x9.png", "a_1x1.png", "b_cover1_16x9.jpg", "b_cover1_1x1.jpg", "b_cover2_16x9.jpg", "b_cover2_1x1.jpg",
        "c_16x9.png", "c_1x1.png",
    ]  # fmt: skip
    first, second = records[2], records[4]
    assert {first.time_s < 1.2, second.time_s < 1.2} == {True, False}
    assert (first.width, first.height, first.box, first.rank, first.model) == (160, 96, (32, 0, 128, 96), 1, "fake")
    for record, seed in ((first, 1 if first.time_s < 1.2 else 2), (second, 1 if second.time_s < 1.2 else 2)):
        with Image.open(record.output) as image:  # the right picture is in it
            distances = [np.abs(np.asarray(image, float) - next(shot(s, 1))[:, 32:128]).mean() for s in (1, 2)]
        assert np.argmin(distances) == seed - 1


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "batch_size"), [(1, 1), (4, 3)])
def test_any_jobs_and_batch_size_give_the_same_records(here, film, jobs, batch_size):
    for i in range(4):
        Path(f"in/{i}.mov").write_bytes(film.read_bytes())
    Path("in/broken.mp4").write_bytes(film.read_bytes()[:3000])
    expected = crop()
    assert crop(overwrite=True, jobs=jobs, batch_size=batch_size) == expected
    assert [r.input for r in expected if r.error] == ["in/broken.mp4"]


def test_a_clip_that_cannot_be_read_costs_one_record(here):
    Path("in/b.mp4").write_bytes(b"no video" * 100)
    records = crop()
    assert statuses(records) == [("a_1x1.png", "written"), (None, "error"), ("c_1x1.png", "written")]
    assert (records[1].type, records[1].cover_rank) == ("video", None) and "\n" not in records[1].error


def test_a_ratio_that_cannot_hold_what_must_be_kept_costs_no_other(here):
    records = crop("in/b.mp4", ratios=("1:1", "16:9"), keep=(10, 10, 140, 20), keep_frames=True)
    assert [(r.cover_rank, r.ratio, r.status) for r in records] == [
        (1, "1:1", "error"), (1, "16:9", "written"), (2, "1:1", "error"), (2, "16:9", "written")
    ]  # fmt: skip
    assert files() == ["b_cover1.jpg", "b_cover1_16x9.jpg", "b_cover2.jpg", "b_cover2_16x9.jpg"]
    none = crop("in/b.mp4", ratios=("1:1", "4:5"), keep=(10, 10, 140, 20))
    assert [(r.type, r.cover_rank, r.ratio, r.status) for r in none] == [
        ("video", None, "1:1", "error"), ("video", None, "4:5", "error")
    ]  # fmt: skip
    assert none[1].error.startswith("no crop of 4:5 holds")


def test_what_exists_is_skipped_without_decoding(here):
    crop(keep_frames=True)
    cropper = FakeCropper(fail=lambda prepared: pytest.fail("scored"))
    again = crop("in/b.mp4", keep_frames=True, cropper=cropper)
    assert statuses(again) == [("b_cover1_1x1.jpg", "skipped"), ("b_cover2_1x1.jpg", "skipped")]
    assert [(r.type, r.cover_rank, r.time_s, r.box) for r in again] == [
        ("video", 1, None, None),
        ("video", 2, None, None),
    ]
    assert cropper.batches == []


def test_a_clip_done_in_part_is_finished(here):
    whole = crop()
    Path("out/b_cover2_1x1.jpg").unlink()
    kept = Path("out/b_cover1_1x1.jpg").stat().st_ino
    again = crop()
    assert statuses(again)[1:3] == [("b_cover1_1x1.jpg", "skipped"), ("b_cover2_1x1.jpg", "written")]
    assert [r.box for r in again[1:3]] == [r.box for r in whole[1:3]]
    assert Path("out/b_cover1_1x1.jpg").stat().st_ino == kept


def test_more_covers_than_there_are(here, caplog):
    caplog.set_level(logging.WARNING, "s2crop")
    first = crop("in/b.mp4", covers=9)
    ranks = [record.cover_rank for record in first]
    assert ranks == list(range(1, len(ranks) + 1)) and 2 <= len(ranks) < 9
    assert f"in/b.mp4: {len(ranks)} of 9 covers: nothing else in it is good and different" in caplog.text
    assert [record.cover_score for record in first] == sorted((r.cover_score for r in first), reverse=True)
    again = crop("in/b.mp4", covers=9, cropper=FakeCropper(fail=lambda prepared: pytest.fail("scored")))
    assert [(r.cover_rank, r.status) for r in again] == [(rank, "skipped") for rank in ranks]


def test_a_clip_without_a_good_frame_is_warned_of(here, caplog):
    clips.write_clip(Path("in/b.mp4"), [np.zeros((*SIZE, 3), np.uint8)] * 40)
    caplog.set_level(logging.WARNING, "s2crop")
    assert statuses(crop("in/b.mp4", covers=1)) == [("b_cover1_1x1.jpg", "written")]
    assert "in/b.mp4: no stretch of it is bright" in caplog.text


def test_whole_frames_are_kept(here):
    records = crop("in/b.mp4", keep_frames=True)
    assert len(records) == 2  # one for each crop
    assert files() == ["b_cover1.jpg", "b_cover1_1x1.jpg", "b_cover2.jpg", "b_cover2_1x1.jpg"]
    assert Image.open("out/b_cover1.jpg").size == (160, 96)
    Path("out/b_cover2.jpg").unlink()
    crop("in/b.mp4", keep_frames=True)
    assert "b_cover2.jpg" in files()
    Path("out/b_cover1.jpg").unlink()
    Path("out/b_cover1.jpg").mkdir()
    records = crop("in/b.mp4", keep_frames=True, overwrite=True)
    assert [(r.cover_rank, r.status) for r in records] == [(1, "written"), (1, "error"), (2, "written")]
    assert "b_cover1.jpg" in records[1].error


def test_dry_run_and_overwrite(here):
    planned = crop("in/b.mp4", dry_run=True, keep_frames=True)
    assert {record.status for record in planned} == {"planned"} and not Path("out").exists()
    written = crop("in/b.mp4")
    assert [(r.box, r.time_s, r.score) for r in planned] == [(r.box, r.time_s, r.score) for r in written]
    Path("out/b_cover1_1x1.jpg").write_text("mine")
    assert {record.status for record in crop("in/b.mp4", overwrite=True)} == {"written"}
    assert Image.open("out/b_cover1_1x1.jpg").size == (96, 96)


def test_a_span(here):
    assert {record.time_s >= 1.2 for record in crop("in/b.mp4", start_s=1.3)} == {True}
    (record,) = crop("in/b.mp4", start_s=90.0, overwrite=True)
    assert record.error == "no frames in the span asked for"


def test_boxes_of_a_letterboxed_clip_are_in_the_whole_frame(here):
    framed = [np.pad(frame, [(24, 24), (0, 0), (0, 0)]) for frame in shot(1, 1.2)]
    clips.write_clip(Path("in/b.mp4"), framed)
    (record,) = crop("in/b.mp4", ratios=("16:9",), covers=1, overlay=True)
    assert (record.width, record.height, record.box) == (160, 144, (0, 27, 160, 117))
    with Image.open(record.output) as image:
        assert image.size == (160, 90) and np.asarray(image).min(axis=(1, 2)).max() > 20
    assert files() == ["b_cover1_16x9.jpg", "b_cover1_overlay.jpg"]


def test_a_size_and_more_crops_of_each_cover(here):
    records = crop("in/b.mp4", ratios=("1:1",), top=2, sizes=(parse_size("40"),))
    assert files() == ["b_cover1_1x1_1.jpg", "b_cover1_1x1_2.jpg", "b_cover2_1x1_1.jpg", "b_cover2_1x1_2.jpg"]
    assert {(r.output_width, r.output_height) for r in records} == {(40, 40)}


def test_an_animation_is_a_picture_or_a_clip(here):
    frames = [Image.fromarray(scene(1 + i // 12)) for i in range(24)]
    for suffix in ("gif", "webp"):
        frames[0].save(f"in/d.{suffix}", save_all=True, append_images=frames[1:], duration=100)
    frames[0].save("in/still.gif")
    assert [(r.type, Path(r.output).name) for r in crop("in/d.gif", "in/d.webp", "in/still.gif")] == [
        ("image", "d_1x1.png"), ("image", "d_1x1.webp"), ("image", "still_1x1.png"),
    ]  # fmt: skip
    records = crop("in/d.gif", "in/d.webp", "in/still.gif", cover=True, overwrite=True)
    assert [(r.type, r.cover_rank) for r in records] == [("video", 1), ("video", 2)] * 2 + [("image", None)]
    assert len({record.output for record in records}) == 5
    for i in (0, 2):
        assert {record.time_s < 1.2 for record in records[i : i + 2]} == {True, False}


def test_attached_pictures_are_marked(here, film):
    Image.fromarray(scene(7, (200, 200))).save("cover.png")
    options = ["-map", 0, "-map", 1, "-c", "copy", "-disposition:v:1", "attached_pic"]
    clips.run_ffmpeg("-i", film, "-i", "cover.png", *options, "in/d.mp4")
    clips.run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "sound.mp3")
    options = ["-map", 0, "-map", 1, "-c", "copy", "-disposition:v", "attached_pic"]
    clips.run_ffmpeg("-i", "sound.mp3", "-i", "cover.png", *options, "in/song.mp3")
    records = crop("in/d.mp4", covers=4)
    (art,) = [record for record in records if record.source == "art"]
    assert (art.type, art.time_s, art.width, art.height) == ("video", None, 200, 200)
    assert '"source": "art"' in art.to_json()
    others = [record for record in records if record.source is None]
    assert len(others) >= 2 and all((r.width, r.height) == (160, 96) and r.time_s is not None for r in others)
    assert "source" not in others[0].to_json()
    with Image.open(art.output) as image:
        assert np.abs(np.asarray(image.convert("RGB"), int) - scene(7, (200, 200))).mean() < 8
    (song,) = crop("in/song.mp3", cover=True, covers=3)
    assert (song.source, song.status, song.box) == ("art", "written", (0, 0, 200, 200))


def test_how_a_clip_was_looked_through_is_told(here, caplog):
    caplog.set_level(logging.DEBUG, "s2crop")
    crop("in/b.mp4")
    assert "in/b.mp4: looked at all frames, 60" in caplog.text
    crop("in/b.mp4", scan="keyframes", overwrite=True)
    assert "in/b.mp4: looked at I-frames alone, " in caplog.text


def test_animations_of_other_kinds_are_clips(here):
    frames = [Image.fromarray(frame) for frame in [*shot(1, 0.4), *shot(2, 0.4)]]
    for name in ("d.png", "d.avif"):
        frames[0].save(f"in/{name}", save_all=True, append_images=frames[1:], duration=100)
    assert [r.type for r in crop("in/d.png", "in/d.avif")] == ["image", "image"]
    records = crop("in/d.png", "in/d.avif", "in/a.png", cover=True, overwrite=True)
    assert [(r.type, r.cover_rank) for r in records] == [("video", 1), ("video", 2)] * 2 + [("image", None)]


def test_thumbnails_are_those_of_each_cover(here):
    told = []
    crop(
        thumbnails=True,
        told=lambda records, thumbnails: told.append((len(records), [len(t.crops) for t in thumbnails])),
    )
    assert told == [(1, [1]), (2, [1, 1]), (1, [1])]


def test_progress_adds_up(here):
    told = []
    crop(on_progress=told.append, jobs=2)
    assert sum(told) == pytest.approx(3) and min(told) >= 0 and len(told) > 5


@pytest.mark.slow
@pytest.mark.parametrize("when", ["watching", "showing", "scoring"])
def test_an_interrupt_ends_ffmpeg_and_leaves_no_partial_files(here, film, monkeypatch, when):
    for i in range(6):
        Path(f"in/{i}.mp4").write_bytes(film.read_bytes())
    stop, decoders = threading.Event(), []
    start = ffmpeg.Decoder.__init__

    class Stop(Interrupts):
        def check(self):
            if stop.is_set():
                raise KeyboardInterrupt

    class Cropper(FakeCropper):
        def prepare(self, picture, *more):
            if when == "showing" and picture.format is None:
                stop.set()
            return super().prepare(picture, *more)

        def rank(self, prepared, request):
            if when == "scoring" and len(prepared) > 1:
                raise KeyboardInterrupt
            return super().rank(prepared, request)

    def starting(self, *args):
        decoders.append(self)
        start(self, *args)

    monkeypatch.setattr(ffmpeg.Decoder, "__init__", starting)
    with pytest.raises(Interrupted) as stopped:
        crop(
            jobs=2,
            cropper=Cropper(),
            interrupts=Stop(),
            on_progress=lambda part: when == "watching" and part < 1 and stop.set(),
        )
    assert stopped.value.idle
    assert decoders and all(decoder._process.poll() is not None for decoder in decoders)
    for path in Path("out").rglob("*"):
        Image.open(path).load()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert {record.status for record in crop()} <= {"written", "skipped"}
    assert len(files()) == 2 + 7 * 2
