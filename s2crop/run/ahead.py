"""Outputs that are there already are looked at ahead of the rest."""

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from s2crop.run.incoming import Incoming, Taken
from s2crop.run.job import Job
from s2crop.run.writing import Workers

# In blocks: handing over each input by itself takes longer than the look, and on a file system far away it is the
# waiting that takes long.
_BLOCK, _BLOCKS, _LOOKERS = 16, 3, 4


class LookAhead:
    """Takes inputs as they come, and has their outputs looked at, some blocks ahead, on threads of its own.

    Args:
        incoming: the inputs.
        jobs: how many threads there may be.
    """

    def __init__(self, incoming: Incoming, workers: Workers, jobs: int):
        self._incoming, self._workers = incoming, workers
        self.pool = ThreadPoolExecutor(min(jobs, _LOOKERS), thread_name_prefix="s2crop-look")
        self.blocks: deque[Future[deque[Job]]] = deque()
        self._taken = 0

    def fill(self) -> None:
        """See to it that outputs of what comes next are being looked at."""
        while len(self.blocks) < _BLOCKS:
            block: list[Taken] = []
            while len(block) < _BLOCK and (taken := self._incoming.take()) is not None:
                block.append(taken)
            if not block:
                return
            jobs = [
                Job(self._taken + i, taken.source, taken.plan, contents=taken.source.contents, given=taken.given)
                for i, taken in enumerate(block)
            ]
            self._taken += len(jobs)
            looked = self.pool.submit(self._look_at, jobs, [taken.error for taken in block])
            tell_when_done(looked, self._incoming.news)
            self.blocks.append(looked)

    def take(self) -> Job:
        """The next job, once the first block is done; it has records where nothing is left to do."""
        first = self.blocks[0].result()
        job = first.popleft()
        if not first:
            self.blocks.popleft()
            self.fill()
        return job

    def _look_at(self, jobs: list[Job], errors: list[Exception | None]) -> deque[Job]:
        """Give those jobs their records of which nothing is left to do."""
        for job, error in zip(jobs, errors, strict=True):
            if error is not None:
                job.records = [self._workers.failed(self._workers.record(job), error)]
            else:
                job.records = self._workers.guarded(self._workers.look, job)
        return deque(jobs)


def tell_when_done(future: Future, news: threading.Event | None) -> None:
    """Set an event, if there is one, when a worker is done."""
    if news is not None:
        future.add_done_callback(lambda _: news.set())
