"""Many pictures: decode and write on threads, score in batches, go on past failures, report in input order."""

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from s2crop import report
from s2crop.cropping.early import EarlyCropper
from s2crop.cropping.request import Crop
from s2crop.files.names import Plan
from s2crop.files.sources import Source
from s2crop.preview.sheet import Thumbnails
from s2crop.report import Clock, Record, Summary
from s2crop.run.clips import ClipWorkers
from s2crop.run.given import BoxWorkers, NoCropper
from s2crop.run.incoming import Incoming, Listed, Taken
from s2crop.run.work import BatchOptions, Job, Stopped, batch_size_on, ends_a_run, rank

if TYPE_CHECKING:
    from s2crop.cropping.cropper import Cropper

# A picture of a rare shape is scored in a batch that is not full after this many batches' worth of others,
# so that its record, and those behind it, are not held back for long.
_PATIENCE_BATCHES = 4
# In a run whose pictures come one by one, what is prepared waits for company this long at most: while nothing else is
# there, and while something is that takes its time.
_COMPANY_SECONDS, _SLOW_SECONDS = 0.05, 0.5
# Outputs that are there are looked at ahead of the rest, in blocks: handing over each by itself takes longer than the
# look, and on a file system far away it is the waiting that takes long.
_BLOCK, _BLOCKS, _LOOKERS = 16, 3, 4
_NICER = 6  # how much the workers give way to the thread that scores
_POLL_SECONDS = 0.2  # how often a run that waits for its workers asks whether it is to stop
_STOP_SECONDS = 1.0  # how long a run that is interrupted waits for a decoder or encoder to come to its end

log = logging.getLogger(__name__)


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


class Stops(Protocol):
    """What has the methods of `Interrupts`."""

    def check(self) -> None: ...

    def at_once(self) -> AbstractContextManager: ...


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
    cropper: "Cropper | EarlyCropper",
    options: BatchOptions,
    on_record: Callable[[Record], None],
    on_picture: Callable[[list[Record], list[Thumbnails]], None] = lambda records, thumbnails: None,
    interrupts: "Stops" = Interrupts(),
    on_progress: Callable[[float], None] = lambda pictures: None,
) -> Summary:
    """Crop the sources; the outcome is the same for any number of jobs and any batch size.

    A picture that cannot be read, cropped or written costs one error record. Memory depends on the jobs and the
    batch size, not on the number of sources.

    Args:
        sources: the pictures.
        plans: for each of them where its crops go, from `files.names.plan_names`.
        cropper: scores, in the calling thread; prepares pictures, in the worker threads. An `EarlyCropper` is loaded
            while these are at the first ones.
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
    return run_incoming(Listed(sources, plans), cropper, options, on_record, on_picture, interrupts, on_progress)


def run_incoming(
    incoming: Incoming,
    cropper: "Cropper | EarlyCropper | NoCropper",
    options: BatchOptions,
    on_record: Callable[[Record], None],
    on_picture: Callable[[list[Record], list[Thumbnails]], None] = lambda records, thumbnails: None,
    interrupts: "Stops" = Interrupts(),
    on_progress: Callable[[float], None] = lambda pictures: None,
) -> Summary:
    """`run` for sources that may still be on their way: each is done and told of as soon as that can be, in order.

    Which ones are scored together depends on when they come; what comes out does not.

    Args:
        incoming: sources and where their crops go, each asked for when there is room for it.
        cropper: a `NoCropper` where all of them come with their boxes.
    """
    summary = Summary()
    pipeline = _Pipeline(cropper, options, interrupts, summary.clock, on_progress)
    try:
        for job in pipeline.results(incoming):
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
        cropper: "Cropper | EarlyCropper | NoCropper",
        options: BatchOptions,
        interrupts: "Stops",
        clock: Clock,
        on_progress: Callable[[float], None],
    ):
        self._clock = clock
        self._interrupts = interrupts
        # An early one does whatever else is asked of it once it is loaded.
        self._cropper = cast("Cropper", cropper)
        self._asked_batch = options.batch_size
        self._set_batch_size(options)
        self._chooses = not isinstance(cropper, NoCropper)
        kind = ClipWorkers if self._chooses else BoxWorkers
        self._workers = kind(self._cropper, self._options, clock, on_progress)
        first = _stand_back if self._chooses else None
        self._pool = ThreadPoolExecutor(options.jobs, thread_name_prefix="s2crop", initializer=first)
        self._lookers = ThreadPoolExecutor(min(options.jobs, _LOOKERS), thread_name_prefix="s2crop-look")
        self._ahead: deque[Future[deque[Job]]] = deque()  # whose outputs are being looked at
        self._unreported: deque[Job] = deque()
        self._preparing: deque[Job] = deque()
        self._waiting: list[Job] = []  # prepared, to be scored; oldest first
        self._oldest_s = 0.0  # when the first of them was there
        self._writing: deque[Future] = deque()
        self._told_of_previews = False
        self._taken = 0
        self.started_s = time.monotonic()  # when all was loaded

    def _set_batch_size(self, options: BatchOptions) -> None:
        """Before the network is loaded, its device is not known: as on the CPU."""
        size = self._asked_batch or batch_size_on(self._cropper.device or "cpu")
        self._options = replace(options, batch_size=size)
        self._in_flight = options.jobs + size  # most pictures that wait for each of the workers' stages
        self._patience = _PATIENCE_BATCHES * size

    def results(self, incoming: Incoming) -> Iterator[Job]:
        """Yield each source's job, in their order, when it has its records."""
        self._take_up(incoming)
        self._load()
        while True:
            if incoming.news is not None:
                incoming.news.clear()
            self._take_up(incoming)
            if self._preparing and self._is_prepared(self._preparing[0], incoming.news is None):
                self._take_prepared()
            elif not self._preparing and not self._ahead and incoming.ended:
                break
            elif incoming.news is not None:
                self._score_what_waited()
                self._wait_for(incoming.news)
            yield from self._finished()  # a clip takes long: what is done meanwhile is told
        while self._waiting:
            self._score(self._like(self._waiting[0]))
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

    def _take_up(self, incoming: Incoming) -> None:
        """Let workers begin with what is there, as far as there is room for it."""
        self._look_ahead(incoming)
        while len(self._preparing) < self._in_flight and self._ahead:
            looked = self._ahead[0]
            if not looked.done():
                if self._preparing or incoming.news is not None:
                    break
                while not self._is_ready(looked):
                    pass
            self._begin(looked.result().popleft(), incoming.news)
            if not looked.result():
                self._ahead.popleft()
                self._look_ahead(incoming)

    def _look_ahead(self, incoming: Incoming) -> None:
        """See to it that outputs of what comes next are being looked at."""
        while len(self._ahead) < _BLOCKS:
            block: list[Taken] = []
            while len(block) < _BLOCK and (taken := incoming.take()) is not None:
                block.append(taken)
            if not block:
                return
            jobs = [
                Job(self._taken + i, taken.source, taken.plan, contents=taken.source.contents, given=taken.given)
                for i, taken in enumerate(block)
            ]
            self._taken += len(jobs)
            looked = self._lookers.submit(self._look_at, jobs, [taken.error for taken in block])
            _tell_when_done(looked, incoming.news)
            self._ahead.append(looked)

    def _look_at(self, jobs: list[Job], errors: list[Exception | None]) -> deque[Job]:
        """Give those jobs their records of which nothing is left to do."""
        for job, error in zip(jobs, errors, strict=True):
            if error is not None:
                job.records = [self._workers.failed(self._workers.record(job), error)]
            else:
                job.records = self._guarded(self._workers.look, job)
        return deque(jobs)

    def _begin(self, job: Job, news: threading.Event | None) -> None:
        if job.records is not None:
            job.preparing = Future()
            job.preparing.set_result(job.records)
            job.records = None
        else:
            job.preparing = self._submit(news, self._workers.prepare, job)
        job.news = news
        self._preparing.append(job)
        self._unreported.append(job)

    def _submit(self, news: threading.Event | None, work: Callable[..., Any], job: Job, *given: Any) -> Future:
        future = self._pool.submit(self._guarded, work, job, *given)
        _tell_when_done(future, news)
        return future

    def _guarded(self, work: Callable[..., Any], job: Job, *given: Any) -> Any:
        """Do a worker's work; whatever goes wrong that it does not know of is of one picture.

        Not every error is an `Exception`: those of libraries written in Rust are none.
        """
        try:
            return work(job, *given)
        except (Stopped, KeyboardInterrupt, BrokenPipeError):
            raise
        except BaseException as error:
            job.shown = job.prepared = None
            return [self._workers.failed(self._workers.record(job), error)]

    def _is_prepared(self, job: Job, wait: bool) -> bool:
        assert job.preparing is not None
        return self._is_ready(job.preparing) if wait else job.preparing.done()

    def _take_prepared(self) -> None:
        """Score the oldest picture of those that were being prepared, or let it wait for others."""
        job = self._preparing.popleft()
        assert job.preparing is not None
        job.records = job.preparing.result()
        if job.shown is not None:
            self._score_clip(job)
        elif job.records is None:
            if not self._waiting:
                self._oldest_s = time.monotonic()
            self._waiting.append(job)
        self._score_what_is_due(job)

    def _company_ends_s(self) -> float:
        """When what waits for company is to be scored without."""
        return self._oldest_s + (_SLOW_SECONDS if self._preparing else _COMPANY_SECONDS)

    def _score_what_waited(self) -> None:
        """Score what waited for company long enough."""
        if self._waiting and time.monotonic() >= self._company_ends_s():
            self._score(self._like(self._waiting[0]))

    def _wait_for(self, news: threading.Event) -> None:
        """Wait for a name, or for a worker to be done; not for long."""
        self._interrupts.check()
        left_s = self._company_ends_s() - time.monotonic() if self._waiting else _POLL_SECONDS
        with self._clock("waiting"):
            news.wait(min(max(left_s, 0.0), _POLL_SECONDS))

    def stop(self, timeout_s: float | None) -> bool:
        """Let no worker begin or write anything more; whether all came to rest within the time (None: wait)."""
        self._workers.stop.set()
        for pool in (self._lookers, self._pool):
            pool.shutdown(wait=False, cancel_futures=True)
        futures: list[Future[Any] | None] = list(self._ahead)
        for job in self._unreported:
            futures += [job.preparing, job.writing]
        running = wait([future for future in futures if future and not future.cancelled()], timeout_s).not_done
        self._workers.wait_for_files()
        return not running

    def _score_what_is_due(self, newest: Job) -> None:
        batch = self._like(newest) if newest.prepared is not None else []
        if len(batch) == self._options.batch_size:
            self._score(batch)
        while self._waiting and newest.index - self._waiting[0].index >= self._patience:
            self._score(self._like(self._waiting[0]))

    def _like(self, job: Job) -> list[Job]:
        """The pictures that wait and have the shape of this one, itself among them: never more than a batch."""
        return [other for other in self._waiting if other.ready.shape == job.ready.shape]

    def _score(self, batch: list[Job]) -> None:
        while len(self._writing) > self._in_flight:
            self._result(self._writing.popleft())
        for job, crops in zip(batch, self._rank(batch), strict=True):
            self._waiting.remove(job)
            if crops and not isinstance(crops, Exception):
                crops = self._look(job, crops)
            job.prepared = None
            if isinstance(crops, Exception):
                self._workers.drop_pixels(job)
                job.records = [self._workers.failed(self._workers.record(job), crops)]
            else:
                job.writing = self._submit(job.news, self._workers.write, job, crops)
                self._writing.append(job.writing)

    def _look(self, job: Job, crops: list[Crop]) -> list[Crop] | Exception:
        """See what overlays and heatmaps show besides the crops; what went wrong in place of these if it did."""
        try:
            with self._scoring():
                if self._options.overlay_proposals and job.plan.overlay:
                    job.proposals = self._cropper.proposals_prepared(job.ready)
                if job.plan.heatmap and not self._options.dry_run:
                    job.heatmaps = self._cropper.heatmaps_prepared(job.ready, crops[0].box)
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
            job.writing = self._submit(job.news, self._workers.write_covers, job, chosen)
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

    def _result(self, future: "Future[list[Record]]") -> list[Record]:
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
                must_wait = to_the_end or len(self._unreported) > self._patience + 3 * self._in_flight
                if not job.writing or not (must_wait or job.writing.done()):
                    return
                job.records = self._result(job.writing)
            # What was skipped or failed before the network was loaded.
            device = self._cropper.device
            job.records = [
                replace(record, device=device) if record.device is None else record for record in job.records
            ]
            if (
                job.picture and job.picture.frames > 1 and job.picture.format != "JPEG"
            ):  # phones hide a second one there
                which = "the largest" if job.picture.page else "the first"
                log.info("%s: %d frames, %s is cropped", report.one_line(job.source.name), job.picture.frames, which)
            if job.picture and job.picture.is_preview and not self._told_of_previews:
                self._told_of_previews = True
                log.info("of raw files the JPEG that the camera put into them is cropped")
            for note in job.picture.notes if job.picture else ():
                log.debug("%s: %s", report.one_line(job.source.name), note)
            for note in job.notes:
                log.warning("%s: %s", report.one_line(job.source.name), report.one_line(note))
            yield job
            self._unreported.popleft()


def _tell_when_done(future: Future, news: threading.Event | None) -> None:
    if news is not None:
        future.add_done_callback(lambda _: news.set())


def _stand_back() -> None:
    """Let the thread that scores go first: on as many CPUs as there are workers,
    it is what they wait for in the end.
    """
    if sys.platform == "linux":  # where a thread has a priority of its own
        mine = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, mine, min(19, os.getpriority(os.PRIO_PROCESS, mine) + _NICER))
