"""Many pictures: decode and write on threads, score in batches, go on past failures, report in input order."""

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from s2crop import report
from s2crop.cropping.early import EarlyCropper
from s2crop.cropping.request import Crop
from s2crop.preview.sheet import Thumbnails
from s2crop.report import Clock, Record, Summary
from s2crop.run.ahead import LookAhead, tell_when_done
from s2crop.run.batches import Batches
from s2crop.run.clips import ClipWorkers
from s2crop.run.given import BoxWorkers, NoCropper
from s2crop.run.incoming import Incoming
from s2crop.run.job import Job
from s2crop.run.stopping import Interrupted, Interrupts, Stops
from s2crop.run.work import BatchOptions, batch_size_on, ends_a_run, rank

if TYPE_CHECKING:
    from s2crop.cropping.cropper import Cropper

# Pictures that are prepared besides while the network is loaded, as long as half of the room for their pixels is left:
# loading holds one core, and the workers would wait for most of it.
_WHILE_LOADING = 12
_NICER = 6  # how much the workers give way to the thread that scores
_POLL_SECONDS = 0.2  # how often a run that waits for its workers asks whether it is to stop
_STOP_SECONDS = 1.0  # how long a run that is interrupted waits for a decoder or encoder to come to its end

log = logging.getLogger(__name__)


def run(
    incoming: Incoming,
    cropper: "Cropper | EarlyCropper | NoCropper",
    options: BatchOptions,
    on_record: Callable[[Record], None],
    on_picture: Callable[[list[Record], list[Thumbnails]], None] = lambda records, thumbnails: None,
    interrupts: Stops = Interrupts(),
    on_progress: Callable[[float], None] = lambda pictures: None,
) -> Summary:
    """Crop what comes in; the outcome is the same for any number of jobs and any batch size.

    A picture that cannot be read, cropped or written costs one error record. Memory depends on the jobs and the
    batch size, not on the number of sources. Sources that are still on their way are done and told of as soon as that
    can be, in order: which ones are scored together depends on when they come; what comes out does not.

    Args:
        incoming: the sources and where their crops go, each asked for when there is room for it; `Listed` where all
            are known.
        cropper: scores, in the calling thread; prepares pictures, in the worker threads. An `EarlyCropper` is loaded
            while these are at the first ones; a `NoCropper` does where all sources come with their boxes.
        options: how to crop and write.
        on_record: called in the calling thread, in the order of the sources, with what became of each crop.
        on_picture: called for each source with all its records, before on_record, and thumbnails if asked for: one of
            a picture, one for each cover of a clip.
        interrupts: how to learn that the run is to stop.
        on_progress: called from any thread with what was done since, in pictures; parts of one for clips.
    Raises:
        Interrupted: on KeyboardInterrupt.
        S2CropError: the cropper itself cannot be loaded or cannot go on, as when its device is lost.
    """
    summary = Summary()
    pipeline = _Pipeline(incoming, cropper, options, interrupts, summary.clock, on_progress)
    try:
        for job in pipeline.results():
            assert job.records is not None
            summary.total = incoming.total
            summary.add(job.records, time.monotonic() - pipeline.started_s)
            on_picture(job.records, job.thumbnails)
            for record in job.records:
                on_record(record)
            on_progress(1 - job.progress)
    except KeyboardInterrupt:
        summary.total = incoming.total
        raise Interrupted(summary, pipeline.stop(_STOP_SECONDS)) from None
    except BaseException:
        pipeline.stop(None)
        raise
    pipeline.stop(None)
    return summary


class _Pipeline:
    """Moves pictures through prepare (workers), score (the calling thread) and write (workers).

    Pictures are taken up in input order whichever of them is decoded first, so that what is scored together depends
    on the pictures and the batch size only.
    """

    def __init__(
        self,
        incoming: Incoming,
        cropper: "Cropper | EarlyCropper | NoCropper",
        options: BatchOptions,
        interrupts: Stops,
        clock: Clock,
        on_progress: Callable[[float], None],
    ):
        self._incoming = incoming
        self._clock = clock
        self._interrupts = interrupts
        # An early one does whatever else is asked of it once it is loaded.
        self._cropper = cast("Cropper", cropper)
        self._asked_batch = options.batch_size
        self._batches = Batches(1)
        self._set_batch_size(options)
        self._chooses = not isinstance(cropper, NoCropper)
        kind = ClipWorkers if self._chooses else BoxWorkers
        self._workers = kind(self._cropper, self._options, clock, on_progress)
        first = _stand_back if self._chooses else None
        self._pool = ThreadPoolExecutor(options.jobs, thread_name_prefix="s2crop", initializer=first)
        self._ahead = LookAhead(incoming, self._workers, options.jobs)
        self._unreported: deque[Job] = deque()
        self._preparing: deque[Job] = deque()
        self._writing: deque[Future] = deque()
        self._told_of_previews = False
        self._is_loading = False
        self._early = threading.RLock()  # held by who takes pictures up meanwhile
        self.started_s = time.monotonic()  # when all was loaded

    def _set_batch_size(self, options: BatchOptions) -> None:
        """Before the network is loaded, its device is not known: as on the CPU."""
        size = self._asked_batch or batch_size_on(self._cropper.device or "cpu")
        self._options = replace(options, batch_size=size)
        self._in_flight = options.jobs + size  # most pictures that wait for each of the workers' stages
        self._batches.size = size

    def results(self) -> Iterator[Job]:
        """Yield each source's job, in their order, when it has its records."""
        news = self._incoming.news
        early: object = self._cropper
        self._is_loading = news is None and isinstance(early, EarlyCropper)
        with self._early:
            self._take_up()
        try:
            self._load()
        finally:
            with self._early:
                self._is_loading = False
        while True:
            if news is not None:
                news.clear()
            self._take_up()
            if self._preparing and self._is_prepared(self._preparing[0]):
                self._take_prepared()
            elif not self._preparing and not self._ahead.blocks and self._incoming.ended:
                break
            elif news is not None:
                self._score_what_waited()
                self._wait_for(news)
            yield from self._finished()  # a clip takes long: what is done meanwhile is told
        for batch in self._batches.rest():
            self._score(batch)
            yield from self._finished()
        yield from self._finished(to_the_end=True)

    def _load(self) -> None:
        """Load the network, while the workers are at the first pictures."""
        early: object = self._cropper
        started_s = time.monotonic()
        if isinstance(early, EarlyCropper):
            with self._interrupts.at_once():
                early.load()
            self._interrupts.check()
        cropper = self._cropper
        if self._chooses:
            log.debug("%s on %s, loaded in %.1f s", cropper.model, cropper.device, time.monotonic() - started_s)
        before = self._options.batch_size or 0
        self._set_batch_size(self._options)
        self._workers.more_room((self._options.batch_size or 0) - before)
        self.started_s = time.monotonic()

    def _take_up_early(self, done: Job, _: Future) -> None:
        """Begin with one picture more, in a worker that is done with another while the network is loaded."""
        with self._early:
            if self._is_loading and done.video is None and self._workers.has_room:
                self._take_up(min(len(self._preparing) + 1, self._in_flight + _WHILE_LOADING))

    def _take_up(self, most: int | None = None) -> None:
        """Let workers begin with what is there, as far as there is room for it.

        Args: most: pictures that are being prepared; None for as many as the workers need.
        """
        self._ahead.fill()
        while len(self._preparing) < (most or self._in_flight) and self._ahead.blocks:
            looked = self._ahead.blocks[0]
            if not looked.done() and (self._preparing or self._incoming.news is not None):
                return
            self._result(looked)
            job = self._ahead.take()
            self._begin(job)
            if self._is_loading and job.preparing is not None:
                job.preparing.add_done_callback(partial(self._take_up_early, job))

    def _begin(self, job: Job) -> None:
        if job.records is not None:
            job.preparing = Future()
            job.preparing.set_result(job.records)
            job.records = None
        else:
            job.preparing = self._submit(self._workers.prepare, job)
        self._preparing.append(job)
        self._unreported.append(job)

    def _submit(self, work: Callable[..., Any], job: Job, *given: Any) -> Future:
        future = self._pool.submit(self._workers.guarded, work, job, *given)
        tell_when_done(future, self._incoming.news)
        return future

    def _is_prepared(self, job: Job) -> bool:
        assert job.preparing is not None
        return self._is_ready(job.preparing) if self._incoming.news is None else job.preparing.done()

    def _take_prepared(self) -> None:
        """Score the oldest picture of those that were being prepared, or let it wait for others."""
        job = self._preparing.popleft()
        assert job.preparing is not None
        job.records = job.preparing.result()
        if job.shown is not None:
            self._score_clip(job)
        elif job.records is None:
            self._batches.add(job)
        for batch in self._batches.due(job):
            self._score(batch)

    def _score_what_waited(self) -> None:
        """Score what waited for company long enough."""
        left_s = self._batches.left_s(bool(self._preparing))
        if left_s is not None and left_s <= 0:
            self._score(self._batches.oldest())

    def _wait_for(self, news: threading.Event) -> None:
        """Wait for a name, or for a worker to be done; not for long."""
        self._interrupts.check()
        left_s = self._batches.left_s(bool(self._preparing))
        with self._clock("waiting"):
            news.wait(_POLL_SECONDS if left_s is None else min(max(left_s, 0.0), _POLL_SECONDS))

    def stop(self, timeout_s: float | None) -> bool:
        """Let no worker begin or write anything more; whether all came to rest within the time (None: wait)."""
        self._workers.stop.set()
        for pool in (self._ahead.pool, self._pool):
            pool.shutdown(wait=False, cancel_futures=True)
        futures: list[Future[Any] | None] = list(self._ahead.blocks)
        for job in self._unreported:
            futures += [job.preparing, job.writing]
        running = wait([future for future in futures if future and not future.cancelled()], timeout_s).not_done
        self._workers.wait_for_files()
        return not running

    def _score(self, batch: list[Job]) -> None:
        while len(self._writing) > self._in_flight:
            self._result(self._writing.popleft())
        for job, crops in zip(batch, self._rank(batch), strict=True):
            if crops and not isinstance(crops, Exception):
                crops = self._look(job, crops)
            job.prepared = None
            if isinstance(crops, Exception):
                self._workers.drop_pixels(job)
                job.records = [self._workers.failed(self._workers.record(job), crops)]
            else:
                job.writing = self._submit(self._workers.write, job, crops)
                self._writing.append(job.writing)

    def _look(self, job: Job, crops: list[Crop]) -> list[Crop] | Exception:
        """See what overlays and heatmaps show besides the crops; what went wrong in place of these if it did."""
        try:
            with self._scoring():
                if self._options.overlay_proposals and job.plan.overlay:
                    job.proposals = self._cropper.proposals_prepared(job.ready)
                if job.plan.heatmap and not self._options.dry_run:
                    bars = self._options.request.counts_bars(crops[0].ratio)
                    job.heatmaps = self._cropper.heatmaps_prepared(job.ready, crops[0].box, bars)
        except Exception as error:
            self._raise_if_it_ends_the_run(error)
            return error
        return crops

    def _score_clip(self, job: Job) -> None:
        """Choose the covers of a clip: its key frames are a batch of their own."""
        from s2crop.video import covers

        assert job.shown is not None
        while len(self._writing) > self._in_flight:
            self._result(self._writing.popleft())
        try:
            with self._scoring():
                wanted = any(cover.heatmap for cover in job.plan.covers) and not self._options.dry_run
                chosen = covers.rank(self._cropper, job.shown, self._options.request, self._options.covers, wanted)
        except Exception as error:
            self._raise_if_it_ends_the_run(error)
            job.records = [self._workers.failed(self._workers.record(job), error)]
        else:
            job.writing = self._submit(self._workers.write_covers, job, chosen)
            self._writing.append(job.writing)
        job.shown = None

    def _rank(self, batch: list[Job]) -> list[list[Crop] | Exception]:
        return rank(self._cropper, batch, self._options.request, self._scoring, self._interrupts.check)

    @contextmanager
    def _scoring(self) -> Iterator[None]:
        with self._interrupts.at_once(), self._clock("score"):
            yield

    def _raise_if_it_ends_the_run(self, error: Exception) -> None:
        """What the cropper raised is of one picture, unless it cannot go on itself or the run was interrupted."""
        self._interrupts.check()  # an import that is interrupted makes another error of it
        if ends_a_run(error):
            raise error

    def _result(self, future: Future) -> Any:
        while not self._is_ready(future):
            pass
        return future.result()

    def _is_ready(self, future: Future) -> bool:
        """Whether a worker is done, after a moment's wait."""
        self._interrupts.check()
        if future.done():
            return True
        with self._clock("waiting"):
            return bool(wait([future], _POLL_SECONDS).done)

    def _finished(self, to_the_end: bool = False) -> Iterator[Job]:
        """Yield the oldest pictures as far as they are done, or all that are left."""
        while self._unreported:
            job = self._unreported[0]
            if job.records is None:
                # However many are skipped or fail behind one that is slow to write, they do not pile up.
                must_wait = to_the_end or len(self._unreported) > self._batches.patience + 3 * self._in_flight
                if not job.writing or not (must_wait or job.writing.done()):
                    return
                job.records = self._result(job.writing)
            # What was skipped or failed before the network was loaded.
            device = self._cropper.device
            job.records = [
                replace(record, device=device) if record.device is None else record for record in job.records
            ]
            self._tell_of(job)
            yield job
            self._unreported.popleft()

    def _tell_of(self, job: Job) -> None:
        """Say what is not as it seems about an input that is done."""
        name, picture = report.one_line(job.source.name), job.picture
        if picture:
            if picture.frames > 1 and picture.format != "JPEG":  # phones hide a second one there
                log.info(
                    "%s: %d frames, %s is cropped", name, picture.frames, "the largest" if picture.page else "the first"
                )
            if picture.is_preview and not self._told_of_previews:
                self._told_of_previews = True
                log.info("of raw files the JPEG that the camera put into them is cropped")
            for note in picture.notes:
                log.debug("%s: %s", name, note)
        for note in job.notes:
            log.warning("%s: %s", name, report.one_line(note))


def _stand_back() -> None:
    """Let the thread that scores go first: on as many CPUs as there are workers,
    it is what they wait for in the end.
    """
    if sys.platform == "linux":  # where a thread has a priority of its own
        mine = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, mine, min(19, os.getpriority(os.PRIO_PROCESS, mine) + _NICER))
