"""Batches: the same records however the work is cut up, and one bad file stops nothing."""

import os
import sys
import threading
import time

import pytest
from PIL import Image

from fake_cropper import FakeCropper
from s2crop.cropping.request import CropRequest
from s2crop.errors import DeviceError, InputError, OutputError
from s2crop.files import encode as encode_module
from s2crop.files import write as write_module
from s2crop.files.names import plan_names
from s2crop.files.picture import Picture
from s2crop.files.sizes import parse_size
from s2crop.files.sources import find_sources
from s2crop.geometry.ratio import parse_ratio
from s2crop.run import pipeline, work, writing
from s2crop.run.incoming import Listed
from s2crop.run.pipeline import run
from s2crop.run.stopping import Interrupted
from s2crop.run.work import BatchOptions

WIDE, TALL = (48, 32), (32, 48)


def draw(path, size=WIDE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").resize(size).convert("RGB").save(path)
    return path


class Batch:
    """A folder of pictures and what became of them."""

    def __init__(self, tmp_path, ratios=("3:2", "1:1"), top=1):
        self.photos, self.out = tmp_path / "photos", tmp_path / "out"
        self.photos.mkdir()
        self.request = CropRequest(ratios=tuple(map(parse_ratio, ratios)), top=top)
        self.records = []

    def run(self, cropper=None, on_record=None, out=None, **options):
        self.records = []
        sources = find_sources([str(self.photos)], recursive=True)
        plans = plan_names(
            sources,
            self.request.ratios,
            self.request.top,
            template="{stem}{cover}_{ratio}{rank}",
            folder=out or self.out,
            fmt="same",
            circle=False,
        )
        return run(
            Listed(sources, plans),
            cropper or FakeCropper(),
            BatchOptions(request=self.request, **options),
            on_record or self.records.append,
        )

    def told(self):
        """(file name, ratio, status) of each record."""
        return [(r.input.rsplit("/", 1)[-1], r.ratio, r.status) for r in self.records]

    def contents(self):
        return {path.name: path.read_bytes() for path in self.out.rglob("*") if path.is_file()}

    def files(self):
        return sorted(path.name for path in self.out.rglob("*") if path.is_file())


@pytest.fixture
def pictures(tmp_path):
    return Batch(tmp_path)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def test_crops_every_picture_at_every_ratio(pictures):
    draw(pictures.photos / "a.png")
    draw(pictures.photos / "b.png", TALL)
    summary = pictures.run()
    assert pictures.told() == [(name, ratio, "written") for name in ("a.png", "b.png") for ratio in ("3:2", "1:1")]
    assert pictures.files() == ["a_1x1.png", "a_3x2.png", "b_1x1.png", "b_3x2.png"]
    square = pictures.records[1]
    assert (square.width, square.height, square.box, square.rank) == (48, 32, (8, 0, 40, 32), 1)
    assert (square.output_width, square.output_height, square.model, square.device) == (32, 32, "fake", "cpu")
    assert square.output == str(pictures.out / "a_1x1.png")
    with Image.open(square.output) as image:
        assert image.size == (32, 32)
    assert (summary.pictures, summary.crops["written"], summary.failed) == (2, 4, 0)


@pytest.mark.parametrize("jobs", [1, 5])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_any_jobs_and_batch_size_give_the_same_records(pictures, jobs, batch_size):
    for i in range(30):
        draw(pictures.photos / f"{i}.png", TALL if i % 7 == 0 else WIDE)
    (pictures.photos / "12.png").write_bytes(b"")
    truncate(pictures.photos / "21.png")
    pictures.run()
    expected, files = pictures.records, pictures.files()
    assert len(expected) == 28 * 2 + 2
    pictures.run(overwrite=True, jobs=jobs, batch_size=batch_size)
    assert pictures.records == expected
    assert pictures.files() == files


def test_like_shaped_pictures_are_scored_together(pictures):
    for i in range(12):
        draw(pictures.photos / f"{i:02}.png", TALL if i % 3 == 0 else WIDE)
    cropper = FakeCropper()
    pictures.run(cropper, batch_size=4, jobs=3)
    assert cropper.batches == [4, 4, 4]


@pytest.mark.parametrize(("device", "batches"), [("cpu", [2] * 8), ("cuda", [8, 8])])
def test_fewer_are_scored_together_on_a_processor(pictures, device, batches):
    for i in range(16):
        draw(pictures.photos / f"{i:02}.png")
    cropper = FakeCropper()
    cropper.device = device
    pictures.run(cropper)
    assert cropper.batches == batches


def test_a_picture_of_a_rare_shape_does_not_hold_the_reports_back(pictures):
    draw(pictures.photos / "00.png", TALL)
    for i in range(1, 40):
        draw(pictures.photos / f"{i:02}.png", WIDE)
    scored_at_first_record = []
    cropper = FakeCropper()
    pictures.run(cropper, lambda record: scored_at_first_record.append(sum(cropper.batches)), batch_size=2)
    assert scored_at_first_record[0] <= 4 * 2 + 2 + 2


def test_memory_does_not_grow_with_the_number_of_pictures(pictures):
    for i in range(60):
        draw(pictures.photos / f"{i:02}.png", TALL if i % 2 else WIDE)
    reported, ahead = [], []

    class Counting(FakeCropper):
        def prepare(self, picture, keep=False):
            ahead.append(next(started) - len(reported))
            return super().prepare(picture, keep)

    started = iter(range(1000))
    pictures.request = CropRequest(ratios=(parse_ratio("1:1"),))
    pictures.run(Counting(), reported.append, jobs=2, batch_size=3)
    assert len(reported) == 60
    assert max(ahead) <= 5 * 3 + 3 * (2 + 3)


def test_what_is_skipped_does_not_pile_up_behind_a_slow_write(pictures, monkeypatch):
    for i in range(300):
        draw(pictures.photos / f"{i:03}.png")
    pictures.request = CropRequest(ratios=(parse_ratio("1:1"),))
    pictures.run()
    (pictures.out / "000_1x1.png").unlink()
    taken_up, at_write = [], []
    is_done, encode = writing.Workers._is_done, encode_module.encode

    def slow(*args, **kwargs):
        time.sleep(0.5)
        at_write.append(len(taken_up))
        return encode(*args, **kwargs)

    monkeypatch.setattr(encode_module, "encode", slow)
    monkeypatch.setattr(writing.Workers, "_is_done", lambda self, job: taken_up.append(job) or is_done(self, job))
    pictures.run(jobs=2, batch_size=2)
    assert at_write[0] < 100
    assert [record.status for record in pictures.records] == ["written"] + ["skipped"] * 299


def test_a_bad_file_costs_one_record(pictures):
    draw(pictures.photos / "a.png")
    (pictures.photos / "b.png").write_text("no picture")
    truncate(draw(pictures.photos / "c.png", (300, 200)))
    draw(pictures.photos / "d.png")
    summary = pictures.run(batch_size=2)
    a, b, c, d = (record for record in pictures.records if record.ratio in ("1:1", None))
    assert (a.status, b.status, c.status, d.status) == ("written", "error", "error", "written")
    assert (b.error, b.width, b.box, b.output) == ("not an image", None, None, None)
    assert "truncated" in c.error
    assert (summary.pictures, summary.crops["written"], summary.failed) == (4, 4, 2)


def test_damage_found_only_when_the_crop_is_cut_costs_one_record(pictures):
    truncate(draw(pictures.photos / "a.png", (300, 200)))
    draw(pictures.photos / "b.png")
    pictures.run(FakeCropper(decode=False))
    assert pictures.told() == [("a.png", "3:2", "error"), ("b.png", "3:2", "written"), ("b.png", "1:1", "written")]
    assert "truncated" in pictures.records[0].error and pictures.records[0].width == 300
    assert pictures.files() == ["b_1x1.png", "b_3x2.png"]


def test_what_cannot_be_written_costs_no_other_crop(pictures):
    draw(pictures.photos / "a.png")
    draw(pictures.photos / "b.png")
    (pictures.out / "a_3x2.png").mkdir(parents=True)
    summary = pictures.run()
    assert pictures.told() == [
        ("a.png", "3:2", "error"), ("a.png", "1:1", "written"), ("b.png", "3:2", "written"), ("b.png", "1:1", "written")
    ]  # fmt: skip
    assert (summary.failed, summary.crops["written"]) == (1, 3)
    assert pictures.records[0].output == str(pictures.out / "a_3x2.png")
    assert "\n" not in pictures.records[0].error


def test_a_disk_that_fills_up_leaves_whole_files(pictures, monkeypatch):
    draw(pictures.photos / "a.png")
    draw(pictures.photos / "b.png")
    write = write_module.write_atomic

    def full(path, *args, **kwargs):
        if path.name == "a_1x1.png":
            raise OutputError("no space left on device")
        return write(path, *args, **kwargs)

    monkeypatch.setattr(write_module, "write_atomic", full)
    pictures.run(jobs=2)
    assert [record.status for record in pictures.records] == ["written", "error", "written", "written"]
    assert pictures.records[1].error == "no space left on device"
    assert pictures.files() == ["a_3x2.png", "b_1x1.png", "b_3x2.png"]


def test_a_request_that_one_picture_cannot_meet_costs_one_record(pictures):
    draw(pictures.photos / "a.png")
    draw(pictures.photos / "b.png", (100, 90))
    pictures.request = CropRequest(ratios=(parse_ratio("1:1"),), focus=(60.0, 50.0))
    pictures.run()
    assert pictures.told() == [("a.png", None, "error"), ("b.png", "1:1", "written")]
    assert pictures.records[0].error == "focus is outside the picture of 48x32"


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_written_over(pictures, overwrite):
    photo = draw(pictures.photos / "a.png")
    before = photo.read_bytes()
    pictures.request = CropRequest(ratios=(parse_ratio("1:1"),))
    pictures.out.mkdir()
    (pictures.out / "a_1x1.png").symlink_to(photo)
    pictures.run(overwrite=overwrite, protected=frozenset([photo.resolve()]))
    assert pictures.told() == [("a.png", "1:1", "error")]
    assert "is an input" in pictures.records[0].error
    assert photo.read_bytes() == before


def test_no_link_leads_out_of_the_output_folder(pictures, tmp_path):
    draw(pictures.photos / "sub" / "a.png")
    (tmp_path / "elsewhere").mkdir()
    pictures.out.mkdir()
    (pictures.out / "sub").symlink_to(tmp_path / "elsewhere")
    pictures.run(folder=pictures.out)
    assert pictures.told() == [("a.png", "3:2", "error"), ("a.png", "1:1", "error")]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_batch_that_fails_is_tried_one_by_one(pictures):
    for name in "abc":
        draw(pictures.photos / f"{name}.png", (100, 50) if name == "b" else WIDE)

    def fail(prepared):
        if any(p.width == 100 for p in prepared):
            raise RuntimeError("too much\nfor this device")

    pictures.run(FakeCropper(fail=fail))
    assert [r.error for r in pictures.records if r.status == "error"] == [
        r"internal error: RuntimeError: too much\nfor this device"
    ]
    assert pictures.files() == ["a_1x1.png", "a_3x2.png", "c_1x1.png", "c_3x2.png"]


def test_a_score_that_is_not_a_number_is_an_error(pictures, monkeypatch):
    draw(pictures.photos / "a.png")
    crops = FakeCropper._crops

    def nan(*args):
        made = crops(*args)
        made[1].score = float("nan")
        return made

    monkeypatch.setattr(FakeCropper, "_crops", nan)
    pictures.run()
    assert pictures.told() == [("a.png", "3:2", "written"), ("a.png", "1:1", "error")]
    assert pictures.records[1].score is None


def test_a_lost_device_ends_the_run(pictures):
    draw(pictures.photos / "a.png")

    def lost(prepared):
        raise DeviceError("cuda:0 is gone")

    with pytest.raises(DeviceError):
        pictures.run(FakeCropper(fail=lost))


def test_what_exists_is_skipped_without_decoding(pictures):
    draw(pictures.photos / "a.png")
    pictures.run()
    cropper = FakeCropper(fail=lambda prepared: pytest.fail("scored"))
    summary = pictures.run(cropper)
    assert pictures.told() == [("a.png", "3:2", "skipped"), ("a.png", "1:1", "skipped")]
    assert cropper.batches == []
    first = pictures.records[0]
    assert (first.box, first.score, first.rank, first.output) == (None, None, 1, str(pictures.out / "a_3x2.png"))
    assert summary.crops["skipped"] == 2


def test_a_picture_done_in_part_is_finished(pictures):
    draw(pictures.photos / "a.png")
    pictures.run()
    whole = pictures.records
    kept = pictures.out / "a_3x2.png"
    inode = kept.stat().st_ino
    (pictures.out / "a_1x1.png").unlink()
    pictures.run()
    assert pictures.told() == [("a.png", "3:2", "skipped"), ("a.png", "1:1", "written")]
    assert [record.box for record in pictures.records] == [record.box for record in whole]
    assert kept.stat().st_ino == inode


def test_overwrite(pictures):
    draw(pictures.photos / "a.png")
    pictures.run()
    (pictures.out / "a_3x2.png").write_text("mine")
    pictures.run(overwrite=True)
    assert {record.status for record in pictures.records} == {"written"}
    Image.open(pictures.out / "a_3x2.png").close()


def test_dry_run_scores_and_writes_nothing(pictures):
    draw(pictures.photos / "a.png")
    pictures.run(dry_run=True)
    assert pictures.told() == [("a.png", "3:2", "planned"), ("a.png", "1:1", "planned")]
    assert not pictures.out.exists()
    planned = pictures.records[1]
    pictures.run()
    written = pictures.records[1]
    assert (planned.box, planned.score, planned.output, planned.output_width) == (
        written.box,
        written.score,
        written.output,
        written.output_width,
    )


def test_fewer_crops_than_asked_for_are_all_right(pictures):
    pictures.request = CropRequest(ratios=(parse_ratio("1:1"),), top=3)
    draw(pictures.photos / "a.png")

    class Two(FakeCropper):
        def rank(self, prepared, request):
            return [crops[:2] for crops in super().rank(prepared, request)]

    pictures.run(Two())
    assert [record.rank for record in pictures.records] == [1, 2]


def test_the_time_of_each_stage_is_told(pictures, monkeypatch):
    for name in "abcd":
        draw(pictures.photos / f"{name}.png")
    encode = encode_module.encode
    monkeypatch.setattr(encode_module, "encode", lambda *args, **kwargs: time.sleep(0.05) or encode(*args, **kwargs))
    seconds = pictures.run(FakeCropper(delay_s=0.1), jobs=2, batch_size=2).clock.seconds
    assert seconds["encode"] >= 8 * 0.05 and seconds["score"] >= 2 * 0.1
    assert min(seconds[stage] for stage in ("decode", "crop and resize", "write", "waiting")) > 0
    assert seconds["overlay and thumbnails"] == 0


def test_output_size(pictures):
    draw(pictures.photos / "a.png")
    pictures.run(sizes=(parse_size("60"),))
    sizes = [(r.output_width, r.output_height) for r in pictures.records]
    assert sizes == [(60, 40), (60, 60)] == [Image.open(r.output).size for r in pictures.records]
    pictures.run(sizes=(parse_size("60"),), no_upscale=True, overwrite=True)
    assert [(r.output_width, r.output_height) for r in pictures.records] == [(48, 32), (32, 32)]


@pytest.mark.parametrize("where", ["rank", "record", "prepare"])
def test_an_interrupted_run_stops_and_leaves_no_partial_files(pictures, where):
    for i in range(20):
        draw(pictures.photos / f"{i:02}.png")
    seen = []

    def on_record(record):
        seen.append(record)
        if where == "record" and len(seen) == 5:
            raise KeyboardInterrupt

    def fail(prepared):
        if where == "rank" and len(seen) >= 4:
            raise KeyboardInterrupt

    class Cropper(FakeCropper):
        def prepare(self, picture, keep=False):
            if where == "prepare" and threading.current_thread() is not threading.main_thread() and len(seen) > 2:
                raise KeyboardInterrupt  # comes up where its result is taken
            return super().prepare(picture, keep)

    with pytest.raises(Interrupted) as stopped:
        pictures.run(Cropper(fail=fail), on_record, batch_size=1, jobs=2)
    assert stopped.value.idle
    assert 0 < stopped.value.summary.pictures < stopped.value.summary.total == 20
    for path in pictures.out.iterdir():
        Image.open(path).load()
    assert {path.suffix for path in pictures.out.iterdir()} == {".png"}
    assert not any(thread.name.startswith("s2crop") and thread.is_alive() for thread in settled_threads())
    pictures.run()
    assert len(pictures.files()) == 40 and {r.status for r in pictures.records} == {"written", "skipped"}


def settled_threads():
    for thread in threading.enumerate():
        if thread.name.startswith("s2crop"):
            thread.join(5)
    return threading.enumerate()


@pytest.fixture
def decodes(monkeypatch):
    """(stored width, scale of the decoder) of each decode."""
    seen = []
    decode = Picture._decode
    monkeypatch.setattr(
        Picture, "_decode", lambda picture, scale: seen.append((picture._stored_wh[0], scale)) or decode(picture, scale)
    )
    return seen


def test_one_decode_serves_scoring_and_all_crops(pictures, decodes):
    draw(pictures.photos / "a.jpg", (960, 640))
    draw(pictures.photos / "b.png", (97, 64))
    draw(pictures.photos / "c.jpg", (2400, 1600))
    pictures.run(sizes=(parse_size("60"),))
    assert sorted(decodes) == [(97, 1), (960, 1), (2400, 2)]
    pictures.run(overwrite=True)
    assert sorted(decodes[3:]) == [(97, 1), (960, 1), (2400, 1), (2400, 2)], "once in full, for the crops"


def test_a_large_picture_that_no_decoder_makes_smaller_is_decoded_once(pictures, decodes):
    Image.new("L", (6000, 4000), 128).save(pictures.photos / "a.png")  # as large as a HEIC of 24 megapixels
    pictures.run(batch_size=1, jobs=1)
    assert [width for width, _ in decodes] == [6000]


def test_pictures_that_there_is_no_room_to_keep_are_decoded_twice_and_cropped_alike(pictures, decodes, monkeypatch):
    for i in range(6):
        draw(pictures.photos / f"{i}.jpg", (2400, 1600))
    pictures.run(sizes=(parse_size("60"),), batch_size=6)
    records, written = pictures.records, pictures.contents()
    assert decodes == [(2400, 2)] * 6
    monkeypatch.setattr(work, "LEAST_ROOM", 0)
    monkeypatch.setattr(work, "ROOM_BYTES", 1200 * 800 * 4 // 3)  # for two and a bit, with seven in flight
    pictures.run(sizes=(parse_size("60"),), batch_size=6, overwrite=True)
    assert decodes == [(2400, 2)] * (6 + 6 + 4)
    assert pictures.records == records and pictures.contents() == written


def test_a_dry_run_decodes_as_the_run_itself_would_and_keeps_nothing(pictures, decodes, monkeypatch):
    draw(pictures.photos / "a.jpg", (960, 640))
    monkeypatch.setattr(work.Room, "take", lambda *args: pytest.fail("kept"))
    pictures.run(sizes=(parse_size("60"),), dry_run=True)
    assert decodes == [(960, 1)]


@pytest.mark.parametrize("failing", ["rank", "write", "nothing"])
def test_room_is_given_back_whatever_becomes_of_a_picture(pictures, monkeypatch, failing):
    rooms = []
    init = work.Room.__init__
    monkeypatch.setattr(work.Room, "__init__", lambda room, size: rooms.append((room, size)) or init(room, size))
    for i in range(5):
        draw(pictures.photos / f"{i}.png")

    def fail(*args, **kwargs):
        raise InputError("damaged") if failing == "rank" else OutputError("no space left on device")

    if failing == "write":
        monkeypatch.setattr(write_module, "write_atomic", fail)
    pictures.run(FakeCropper(fail=fail if failing == "rank" else lambda prepared: None))
    ((room, size),) = rooms
    assert room._left == size
    assert {record.status for record in pictures.records} == {"written" if failing == "nothing" else "error"}


def test_an_interrupt_does_not_wait_for_a_slow_encoder(pictures, monkeypatch):
    draw(pictures.photos / "a.png")
    draw(pictures.photos / "b.png", TALL)
    encoding, go_on = threading.Event(), threading.Event()

    def slow(*args, **kwargs):
        encoding.set()
        go_on.wait(10)
        return b"late"

    def fail(prepared):
        if prepared[0].shape == (3, 2):
            encoding.wait(10)
            raise KeyboardInterrupt

    monkeypatch.setattr(encode_module, "encode", slow)
    monkeypatch.setattr(pipeline, "_STOP_SECONDS", 0.1)
    with pytest.raises(Interrupted) as stopped:
        pictures.run(FakeCropper(fail=fail), jobs=2, batch_size=1)
    assert not stopped.value.idle
    go_on.set()
    assert not any(thread.name.startswith("s2crop") and thread.is_alive() for thread in settled_threads())
    assert pictures.files() == []


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_workers_give_way_to_the_thread_that_scores(pictures):
    def priority():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    class Watched(FakeCropper):
        def prepare(self, *given, **more):
            seen.append(("prepare", priority()))
            return super().prepare(*given, **more)

        def rank(self, *given):
            seen.append(("rank", priority()))
            return super().rank(*given)

    seen, mine = [], priority()
    draw(pictures.photos / "a.png")
    pictures.run(Watched(), jobs=2)
    assert seen == [("prepare", min(19, mine + pipeline._NICER)), ("rank", mine)] and priority() == mine
