"""Many pictures: decode and write on threads, score in batches, go on past failures, report in input order."""

import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from s2crop import heatmap, outputs, overlay, pixels, report, sheet
from s2crop.errors import InputError, OutputError, S2CropError
from s2crop.heatmap import Heatmap
from s2crop.inputs import MAX_PIXELS, Kind, Picture, Source
from s2crop.outputs import FRAME, HEATMAP, OVERLAY, Plan
from s2crop.overlay import Outline
from s2crop.report import Clock, Record, Summary, failed
from s2crop.sheet import Thumbnail, Thumbnails

if TYPE_CHECKING:
    from s2crop.cropper import Crop, Cropper, CropRequest, Prepared
    from s2crop.video.covers import Cover, Shown
    from s2crop.video.reader import Video

STDOUT = Path("-")  # the output path that stands for `BatchOptions.stream`

# A picture of a rare shape is scored in a batch that is not full after this many batches' worth of others,
# so that its record, and those behind it, are not held back for long.
_PATIENCE_BATCHES = 4
# Pictures scored at once. A processor gains nothing from more: their maps leave its caches, and at the start and the end of a
# run some cores wait for a batch to fill or to be scored. 60 photos of 12 megapixels on two cores, with other work beside them
# at low priority: 8.2 pictures/s in batches of 8 and 10.7 in batches of 2 (medians of six runs), about 9.5 in batches of 4 or 1.
_BATCH, _BATCH_ON_CPU = 8, 2
# One decode serves scoring and output where its pixels are kept between the two. Where there is no room left for
# them, a picture is decoded again to be written, which gives the same crops.
_ROOM_BYTES = 24 << 20  # for each of the jobs and of the pictures of a batch: 12 megapixels, halved, take 12 MB
_NICER = 6  # how much the workers give way to the thread that scores
_POLL_SECONDS = 0.2  # how often a run that waits for its workers asks whether it is to stop
_STOP_SECONDS = 1.0  # how long a run that is interrupted waits for a decoder or encoder to come to its end

Box = tuple[int, int, int, int]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchOptions:
    """How a run crops and writes."""

    request: "CropRequest"
    jobs: int = 1  # threads that decode, crop, encode and write
    batch_size: int | None = None  # pictures scored at once; None for what is fastest on the cropper's device
    max_pixels: int = MAX_PIXELS
    size: outputs.Size | None = None  # exact output size
    no_upscale: bool = False
    circle: bool = False
    quality: int = 90  # 1 to 100, for lossy formats
    overwrite: bool = False  # otherwise an output that exists is skipped
    dry_run: bool = False
    protected: frozenset[Path] = frozenset()  # resolved paths that must not be written: the inputs
    folder: Path | None = None  # links lead no output out of it
    stream: BinaryIO | None = None  # where an output planned as STDOUT goes
    stream_format: str = "same"  # its format, which no file name tells
    overlay_proposals: bool = False  # overlays show the proposals too
    thumbnails: bool = False  # for a sheet
    covers: int = 1  # of each clip, at most
    start_s: float | None = None  # span of clips that covers come from
    end_s: float | None = None


class _Stopped(BaseException):
    """Raised in a worker that is to go no further."""


class Interrupts:
    """How a run learns that it is to stop. This one leaves it to Python's KeyboardInterrupt.

    That may come between any two steps, also while a lock is held that workers need. A handler of signals does better
    to raise it in `check` and `at_once` only; between the two the run never waits for long.
    """

    def check(self) -> None:
        """Raise KeyboardInterrupt if the run is to stop."""

    def at_once(self) -> AbstractContextManager:
        """Inside, KeyboardInterrupt may come at any time."""
        return nullcontext()


class Interrupted(KeyboardInterrupt):
    """The run was stopped; no partial or temporary file is left.

    Args:
        summary: how far it came.
        idle: no worker is running any more. If False, one is inside a decoder or encoder, cannot be stopped and
            will write nothing.
    """

    def __init__(self, summary: Summary, idle: bool):
        super().__init__()
        self.summary = summary
        self.idle = idle


def run(
    sources: Sequence[Source],
    plans: Sequence[Plan],
    cropper: "Cropper",
    options: BatchOptions,
    on_record: Callable[[Record], None],
    on_picture: Callable[[list[Record], list[Thumbnails]], None] = lambda records, thumbnails: None,
    interrupts: Interrupts = Interrupts(),
    on_progress: Callable[[float], None] = lambda pictures: None,
) -> Summary:
    """Crop the sources; the outcome is the same for any number of jobs and any batch size.

    A picture that cannot be read, cropped or written costs one error record. Memory depends on the jobs and the
    batch size, not on the number of sources.

    Args:
        sources: the pictures.
        plans: for each of them where its crops go, from `outputs.plan_names`.
        cropper: scores, in the calling thread; prepares pictures, in the worker threads.
        options: see there.
        on_record: called in the calling thread, in the order of the sources, with what became of each crop.
        on_picture: called for each source with all its records, before on_record, and thumbnails if asked for: one of
            a picture, one for each cover of a clip.
        interrupts: how to learn that the run is to stop.
        on_progress: called from any thread with what was done since, in pictures; parts of one for clips.
    Raises:
        Interrupted: on KeyboardInterrupt.
        S2CropError: the cropper itself cannot go on, as when its device is lost.
    """
    if options.batch_size is None:
        options = replace(options, batch_size=_BATCH_ON_CPU if cropper.device == "cpu" else _BATCH)
    # Read here because a worker that waits for standard input could not be interrupted.
    wanted = any(source.path is None for source in sources)
    with interrupts.at_once():
        stdin = sys.stdin.buffer.read() if wanted and sys.stdin else b""
    summary = Summary(total=len(sources))
    started = time.monotonic()
    workers = _Workers(cropper, options, stdin, summary.clock, on_progress)
    pipeline = _Pipeline(workers, cropper, options, interrupts, summary.clock)
    try:
        for job in pipeline.results(sources, plans):
            summary.add(job.records, time.monotonic() - started)
            on_picture(job.records, job.thumbnails)
            for record in job.records:
                on_record(record)
            on_progress(1 - job.progress)
    except KeyboardInterrupt:
        raise Interrupted(summary, pipeline.stop(_STOP_SECONDS)) from None
    except BaseException:
        pipeline.stop(None)
        raise
    pipeline.stop(None)
    return summary


@dataclass(eq=False)
class _Job:
    """One picture or clip on its way, or one cover of it; each stage fills in what the next one needs."""

    index: int
    source: Source
    plan: Plan
    about: dict[str, object] = field(default_factory=dict)  # what its records say besides
    progress: float = 0.0  # how much of it was told of
    notes: list[str] = field(default_factory=list)  # to tell the user
    video: "Video | None" = None
    shown: "list[Shown] | None" = None  # key frames of a clip, to be scored
    preparing: "Future[list[Record] | None] | None" = None
    picture: Picture | None = None
    prepared: "Prepared | None" = None
    proposals: list[tuple] = field(default_factory=list)
    heatmaps: list[Heatmap] = field(default_factory=list)
    scale: int = 1  # how many times smaller the JPEG decoder makes the picture that the crops are cut from
    room: int = 0  # bytes of decoded pixels that are kept for the crops
    writing: "Future[list[Record]] | None" = None
    records: list[Record] | None = None  # set when nothing is left to do
    thumbnails: list[Thumbnails] = field(default_factory=list)


class _Pipeline:
    """Moves pictures through prepare (workers), score (the calling thread) and write (workers).

    Pictures are taken up in input order whichever of them is decoded first, so that what is scored together depends
    on the pictures and the batch size only.
    """

    def __init__(
        self, workers: "_Workers", cropper: "Cropper", options: BatchOptions, interrupts: Interrupts, clock: Clock
    ):
        self._clock = clock
        self._workers = workers
        self._interrupts = interrupts
        self._cropper = cropper
        self._options = options
        self._pool = ThreadPoolExecutor(options.jobs, thread_name_prefix="s2crop", initializer=_stand_back)
        self._in_flight = options.jobs + options.batch_size  # most pictures that wait for each of the workers' stages
        self._patience = _PATIENCE_BATCHES * options.batch_size
        self._unreported: deque[_Job] = deque()
        self._waiting: list[_Job] = []  # prepared, to be scored; oldest first
        self._writing: deque[Future] = deque()

    def results(self, sources: Sequence[Source], plans: Sequence[Plan]) -> Iterator[_Job]:
        """Yield each source's job, in their order, when it has its records."""
        todo = (_Job(i, source, plan) for i, (source, plan) in enumerate(zip(sources, plans, strict=True)))
        preparing: deque[_Job] = deque()
        while True:
            for job in islice(todo, self._in_flight - len(preparing)):
                job.preparing = self._pool.submit(self._workers.prepare, job)
                preparing.append(job)
                self._unreported.append(job)
            if not preparing:
                break
            job = preparing.popleft()
            while not self._is_ready(job.preparing):  # a clip takes long: what is done meanwhile is told
                yield from self._finished()
            job.records = job.preparing.result()
            if job.shown is not None:
                self._score_clip(job)
            elif job.records is None:
                self._waiting.append(job)
            self._score_what_is_due(job)
            yield from self._finished()
        while self._waiting:
            self._score(self._like(self._waiting[0]))
            yield from self._finished()
        yield from self._finished(to_the_end=True)

    def stop(self, timeout_s: float | None) -> bool:
        """Let no worker begin or write anything more; whether all came to rest within the time (None: wait)."""
        self._workers.stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        futures = [future for job in self._unreported for future in (job.preparing, job.writing)]
        running = wait([future for future in futures if future and not future.cancelled()], timeout_s).not_done
        self._workers.wait_for_files()
        return not running

    def _score_what_is_due(self, newest: _Job) -> None:
        batch = self._like(newest) if newest.prepared is not None else []
        if len(batch) == self._options.batch_size:
            self._score(batch)
        while self._waiting and newest.index - self._waiting[0].index >= self._patience:
            self._score(self._like(self._waiting[0]))

    def _like(self, job: _Job) -> list[_Job]:
        """The pictures that wait and have the shape of this one, itself among them: never more than a batch."""
        return [other for other in self._waiting if other.prepared.shape == job.prepared.shape]

    def _score(self, batch: list[_Job]) -> None:
        while len(self._writing) > self._in_flight:
            self._result(self._writing.popleft())
        for job, crops in zip(batch, self._rank(batch), strict=True):
            self._waiting.remove(job)
            if crops and not isinstance(crops, Exception):
                crops = self._look(job, crops)
            job.prepared = None
            if isinstance(crops, Exception):
                self._workers.drop_pixels(job)
                job.records = [failed(self._workers.record(job), crops)]
            else:
                job.writing = self._pool.submit(self._workers.write, job, crops)
                self._writing.append(job.writing)

    def _look(self, job: _Job, crops: "list[Crop]") -> "list[Crop] | Exception":
        """See what overlays and heatmaps show besides the crops; what went wrong in place of these if it did."""
        try:
            with self._interrupts.at_once(), self._clock("score"):
                if self._options.overlay_proposals and OVERLAY in job.plan:
                    job.proposals = self._cropper.proposals_prepared(job.prepared)
                if HEATMAP in job.plan and not self._options.dry_run:
                    job.heatmaps = self._cropper.heatmaps_prepared(job.prepared, crops[0].box)
        except Exception as error:
            self._raise_if_it_ends_the_run(error)
            return error
        return crops

    def _score_clip(self, job: _Job) -> None:
        """Choose the covers of a clip: its key frames are a batch of their own."""
        from s2crop.video import covers

        while len(self._writing) > self._in_flight:
            self._result(self._writing.popleft())
        try:
            with self._interrupts.at_once(), self._clock("score"):
                wanted = (*HEATMAP, 1) in job.plan and not self._options.dry_run
                chosen = covers.rank(self._cropper, job.shown, self._options.request, self._options.covers, wanted)
        except Exception as error:
            self._raise_if_it_ends_the_run(error)
            job.records = [failed(self._workers.record(job), error)]
        else:
            job.writing = self._pool.submit(self._workers.write_covers, job, chosen)
            self._writing.append(job.writing)
        job.shown = None

    def _rank(self, batch: list[_Job]) -> "list[list[Crop] | Exception]":
        try:
            with self._interrupts.at_once(), self._clock("score"):
                return self._cropper.rank([job.prepared for job in batch], self._options.request)
        except Exception as error:
            self._raise_if_it_ends_the_run(error)
            if len(batch) == 1:
                return [error]
        # One bad picture, or a batch too big for the device's memory: the others may do alone.
        return [crops for job in batch for crops in self._rank([job])]

    def _raise_if_it_ends_the_run(self, error: Exception) -> None:
        """What the cropper raised is of one picture, unless the cropper itself cannot go on or the run was interrupted."""
        self._interrupts.check()  # an import that is interrupted makes another error of it
        if isinstance(error, S2CropError) and not isinstance(error, InputError):
            raise error

    def _result(self, future: "Future[list[Record] | None]") -> list[Record] | None:
        while not self._is_ready(future):
            pass
        return future.result()

    def _is_ready(self, future: Future) -> bool:
        """Whether a worker is done, after a moment's wait."""
        self._interrupts.check()
        with self._clock("waiting"):
            return bool(wait([future], _POLL_SECONDS).done)

    def _finished(self, to_the_end: bool = False) -> Iterator[_Job]:
        """Yield the oldest pictures as far as they are done, or all that are left."""
        while self._unreported:
            job = self._unreported[0]
            if job.records is None:
                # However many are skipped or fail behind one that is slow to write, they do not pile up.
                must_wait = to_the_end or len(self._unreported) > self._patience + 3 * self._in_flight
                if not job.writing or not (must_wait or job.writing.done()):
                    return
                job.records = self._result(job.writing)
            if job.picture and job.picture.frames > 1 and job.picture.format != "JPEG":  # phones hide a second one there
                log.info("%s: %d frames, the first is cropped", report.one_line(job.source.name), job.picture.frames)
            for note in job.notes:
                log.warning("%s: %s", report.one_line(job.source.name), report.one_line(note))
            yield job
            self._unreported.popleft()


def _stand_back() -> None:
    """Let the thread that scores go first: on as many CPUs as there are workers, it is what they wait for in the end."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        mine = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, mine, min(19, os.getpriority(os.PRIO_PROCESS, mine) + _NICER))


class _Room:
    """Bytes that threads share."""

    def __init__(self, size: int):
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take this much if it is left."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += size


class _Workers:
    """What happens to one picture in a worker thread."""

    def __init__(
        self, cropper: "Cropper", options: BatchOptions, stdin: bytes, clock: Clock, on_progress: Callable[[float], None]
    ):
        self._on_progress = on_progress
        self._clock = clock
        self._cropper = cropper
        self._options = options
        self._stdin = stdin
        self._ratios = {ratio.label: ratio for ratio in options.request.ratios}
        self._gate = threading.Semaphore(options.jobs)  # held while a file is written
        self._room = _Room(_ROOM_BYTES * (options.jobs + options.batch_size))
        self.stop = threading.Event()

    def wait_for_files(self) -> None:
        """Wait until the files that are being written are whole; once `stop` is set no others are begun."""
        for _ in range(self._options.jobs):
            self._gate.acquire()
        self._gate.release(self._options.jobs)

    def record(self, job: _Job, **more: object) -> Record:
        size = {"width": job.picture.width, "height": job.picture.height} if job.picture else {}
        whose = {"model": self._cropper.model, "device": self._cropper.device}
        return Record(**{"input": job.source.name, "status": report.ERROR} | size | whose | job.about | more)

    def prepare(self, job: _Job) -> list[Record] | None:
        """Open and decode as far as scoring needs; records if that was all there is to do."""
        try:
            is_clip = job.source.kind == Kind.CLIP or job.source.kind == Kind.EITHER and self._open(job).frames > 1
        except Exception as error:
            return [failed(self.record(job), error)]
        if is_clip:
            return self._prepare_clip(job)
        job.plan = outputs.part_of_plan(job.plan, None)
        if self._is_done(job):
            return self._skipped(job)
        self._check_stop()
        try:
            with self._clock("decode"):
                picture = self._open(job)
                # A dry run decodes alike, so that it finds the same boxes.
                prepared = self._cropper.prepare(picture, self._likely_scale(picture))
        except Exception as error:
            return [failed(self.record(job), error)]
        job.picture, job.prepared, job.scale = picture, prepared, picture.decoded_scale
        if self._options.dry_run or not self._room.take(picture.decoded_bytes):
            picture.close()
        job.room = picture.decoded_bytes
        return None

    def _skipped(self, job: _Job) -> list[Record]:
        records = [
            self.record(job, ratio=key[0], rank=key[1], output=str(path), status=report.SKIPPED)
            for key, path in job.plan.items() if key not in (OVERLAY, HEATMAP, FRAME)
        ]  # fmt: skip
        job.thumbnails = self._thumbnails(job, records)
        return records

    def _prepare_clip(self, job: _Job) -> list[Record] | None:
        """Find the key frames of a clip; records if that was all there is to do.

        A clip with fewer covers than asked for is looked through again on every run: which ones were asked for before
        cannot be told from the files.
        """
        from s2crop.video import covers
        from s2crop.video.reader import Video

        job.about = {"type": "video"}
        covers_ = [self._cover(job, rank) for rank in range(1, self._options.covers + 1)]
        if all(self._is_done(cover) for cover in covers_):
            records = [record for cover in covers_ for record in self._skipped(cover)]
            job.thumbnails = [thumbnails for cover in covers_ for thumbnails in cover.thumbnails]
            return records
        self._check_stop()
        try:
            with self._clock("decode"):
                job.video = Video.open(job.source.path, max_pixels=self._options.max_pixels)
                job.about |= {"width": job.video.width, "height": job.video.height}
                winners = covers.find_winners(
                    job.video, self._options.covers, self._options.start_s, self._options.end_s,
                    lambda time_s: self._tell_time(job, time_s),
                )  # fmt: skip
                shown = []
                for one in covers.show(job.video, winners, self._cropper):
                    self._check_stop()
                    shown.append(one)
        except Exception as error:
            return [failed(self.record(job), error)]
        job.shown = shown
        return None

    def _tell_time(self, job: _Job, time_s: float) -> None:
        """Tell the progress through a clip; nine tenths of the work are in finding its key frames."""
        self._check_stop()
        start_s = self._options.start_s or 0.0
        end_s = job.video.duration_s if self._options.end_s is None else self._options.end_s
        if end_s and end_s > start_s:
            reached = 0.9 * min((time_s - start_s) / (end_s - start_s), 1.0)
            self._on_progress(max(0.0, reached - job.progress))
            job.progress = max(job.progress, reached)

    def _cover(self, job: _Job, rank: int, cover: "Cover | None" = None, frame: np.ndarray | None = None) -> _Job:
        """One cover of a clip as a picture of its own."""
        time = {} if cover is None else {"time_s": cover.time_s}
        return _Job(
            job.index, job.source, outputs.part_of_plan(job.plan, rank), job.about | {"cover_rank": rank} | time,
            picture=None if frame is None else Picture.open(frame),
            proposals=cover.proposals if cover and self._options.overlay_proposals else [],
            heatmaps=cover.heatmaps if cover else [],
        )  # fmt: skip

    def write_covers(self, job: _Job, chosen: "Sequence[Cover]") -> list[Record]:
        """Cut, encode and write the crops of a clip's covers, up to the first that fails."""
        from s2crop.video import covers

        records = []
        try:
            for rank, (cover, frame) in enumerate(covers.frames_of(job.video, chosen), start=1):
                part = self._cover(job, rank, cover, frame)
                records += self.write(part, cover.crops)
                job.thumbnails += part.thumbnails
                if any(record.status == report.ERROR for record in records):
                    break
        except BrokenPipeError:
            raise  # the stream's
        except Exception as error:
            records.append(failed(self.record(job), error))
        job.notes += job.video.warnings + covers.notes(chosen, self._options.covers)
        return records

    def _keep_frame(self, job: _Job) -> list[Record]:
        """Write a cover whole if it is to be kept; a record if it cannot be written."""
        output = job.plan.get(FRAME)
        if output is None or self._options.dry_run or not self._options.overwrite and self._exists(output):
            return []
        try:
            self._check_stop()
            with self._clock("encode"):
                whole = job.picture.crop((0, 0, job.picture.width, job.picture.height))
                data = outputs.encode(whole, output.suffix, self._options.quality)
            self._write_data(output, data)
        except Exception as error:
            return [failed(self.record(job, output=str(output)), error)]
        return []

    def _open(self, job: _Job) -> Picture:
        source = self._stdin if job.source.path is None else job.source.path
        return Picture.open(source, max_pixels=self._options.max_pixels)

    def _likely_scale(self, picture: Picture) -> int:
        return outputs.likely_scale(picture, self._ratios, self._options.size, self._options.no_upscale)

    def _scale(self, boxes: Sequence[tuple[str, Box]]) -> int:
        return outputs.needed_scale(boxes, self._ratios, self._options.size, self._options.no_upscale)

    def _size(self, box: Box, label: str) -> tuple[int, int] | None:
        return outputs.output_size(box, self._options.size, self._options.no_upscale, self._ratios[label])

    def drop_pixels(self, job: _Job) -> None:
        """Make room: the pixels of this picture are not needed any more, nor its maps."""
        job.picture.close()
        job.heatmaps = []
        self._room.give(job.room)
        job.room = 0

    def write(self, job: _Job, crops: "Sequence[Crop]") -> list[Record]:
        """Cut, encode and write the crops of a picture, up to the first that fails."""
        try:
            if not crops:
                return [failed(self.record(job), InputError("no crop fits"))]
            # Of all crops, also those that are there already: what is written does not depend on how far a run came before.
            job.scale = min(job.scale, self._scale([(crop.ratio, crop.box) for crop in crops]))
            records = []
            for crop in crops:
                self._check_stop()
                output = job.plan[crop.ratio, crop.rank]
                box = tuple(int(edge) for edge in crop.box)
                score = float(crop.score)
                record = self.record(job, ratio=crop.ratio, rank=crop.rank, box=box, output=str(output))
                try:
                    if not math.isfinite(score):
                        raise InputError("the score is not a number (--precision fp32 may help)")
                    records.append(self._write_crop(job, replace(record, score=score), output))
                except BrokenPipeError:
                    raise  # the stream's; files give OutputError
                except Exception as error:
                    records.append(failed(record, error))
                    break
            else:
                records += self._overlay(job, crops) + self._heatmap(job, crops) + self._keep_frame(job)
            job.thumbnails = self._thumbnails(job, records)
            return records
        finally:
            self.drop_pixels(job)

    def _is_done(self, job: _Job) -> bool:
        if self._options.overwrite or self._options.dry_run:
            return False
        return all(self._exists(path) for path in job.plan.values())

    def _exists(self, output: Path) -> bool:
        """Whether there is an output already; an input in its place is none."""
        if output == STDOUT or not output.is_file():
            return False
        return Path(os.path.realpath(output)) not in self._options.protected

    def _write_crop(self, job: _Job, record: Record, output: Path) -> Record:
        options = self._options
        to_stream = output == STDOUT
        if not options.overwrite and self._exists(output):
            return replace(record, status=report.SKIPPED)
        x1, y1, x2, y2 = record.box
        size_wh = self._size(record.box, record.ratio)
        width, height = size_wh or (x2 - x1, y2 - y1)
        record = replace(record, output_width=width, output_height=height)
        if options.dry_run:
            return replace(record, status=report.PLANNED)
        if to_stream:
            suffix = outputs.output_suffix(job.picture.format or "JPEG", options.stream_format, options.circle)
        else:
            suffix = output.suffix
        with self._clock("decode"):
            job.picture.decode(job.scale)
        with self._clock("crop and resize"):
            image = job.picture.crop(record.box, size_wh)
        self._check_stop()
        with self._clock("encode"):
            data = outputs.encode(image, suffix, options.quality, circle=options.circle)
        if not self._write_data(output, data):  # someone else wrote it meanwhile
            return replace(record, output_width=None, output_height=None, status=report.SKIPPED)
        return replace(record, status=report.WRITTEN)

    def _write_data(self, output: Path, data: bytes) -> bool:
        options = self._options
        with self._gate, self._clock("write"):
            self._check_stop()
            if output == STDOUT:
                return _write_stream(options.stream, data)
            return outputs.write_atomic(
                output, data, overwrite=options.overwrite, protected=options.protected, folder=options.folder
            )

    def _overlay(self, job: _Job, crops: "Sequence[Crop]") -> list[Record]:
        def draw(whole: Image.Image, size_wh: tuple[int, int], outlines: list[Outline]) -> Image.Image:
            return overlay.draw(whole, size_wh, outlines, overlay.proposal_outlines(job.proposals))

        return self._for_looking(job, OVERLAY, crops, draw)

    def _heatmap(self, job: _Job, crops: "Sequence[Crop]") -> list[Record]:
        def draw(whole: Image.Image, size_wh: tuple[int, int], outlines: list[Outline]) -> Image.Image:
            return heatmap.draw(whole, size_wh, job.heatmaps, outlines)

        return self._for_looking(job, HEATMAP, crops[:1], draw)

    def _for_looking(self, job: _Job, key: tuple[str, int], crops: "Sequence[Crop]", draw: Callable[..., Image.Image]) -> list[Record]:
        """Write what is drawn on a picture, if that is planned; a record if it cannot be written.

        Args:
            draw: called with the picture as it is to be drawn on, the size that boxes are in, and outlines of the crops.
        """
        output = job.plan.get(key)
        if output is None or self._options.dry_run or not self._options.overwrite and self._exists(output):
            return []
        try:
            self._check_stop()
            size_wh = job.picture.width, job.picture.height
            with self._clock("overlay and thumbnails"):
                job.picture.decode(job.scale)
                whole = pixels.for_screens(job.picture.crop((0, 0, *size_wh), overlay.size_wh(*size_wh)))
                outlines = overlay.crop_outlines(crops, list(self._ratios), self._options.circle)
                data = outputs.encode(draw(whole, size_wh, outlines), output.suffix, self._options.quality)
            self._write_data(output, data)
        except Exception as error:
            return [failed(self.record(job, output=str(output)), error)]
        return []

    def _thumbnails(self, job: _Job, records: Sequence[Record]) -> list[Thumbnails]:
        """Of a picture and of its crops, if asked for: as they are cut, or of the files that there were already."""
        if not self._options.thumbnails:
            return []
        with self._clock("overlay and thumbnails"):
            crops = []
            for record in records:
                if record.status == report.SKIPPED:
                    crops.append(self._thumbnail(lambda path=record.output: Picture.open(path)))
                else:
                    crops.append(self._thumbnail(lambda: job.picture, record.box) if record.status != report.ERROR else None)
            return [Thumbnails(self._thumbnail(lambda: job.picture or self._open(job)), crops)]

    def _thumbnail(self, opened: Callable[[], Picture], box: tuple[int, int, int, int] | None = None) -> Thumbnail | None:
        self._check_stop()
        try:
            return sheet.thumbnail(opened(), box)
        except Exception as error:  # a page without it is better than none
            log.debug("no thumbnail: %s", report.one_line(str(error)))
            return None

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise _Stopped


def _write_stream(stream: BinaryIO, data: bytes) -> bool:
    try:
        stream.write(data)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {error.strerror.lower()}") from error
    return True
