"""Which pictures are scored together, and how long one waits for others."""

import time
from collections.abc import Iterator

from s2crop.run.job import Job

# A picture of a rare shape is scored in a batch that is not full after this many batches' worth of others,
# so that its record, and those behind it, are not held back for long.
_PATIENCE_BATCHES = 4
# In a run whose pictures come one by one, what is prepared waits for company this long at most: while nothing else is
# there, and while something is that takes its time.
_COMPANY_SECONDS, _SLOW_SECONDS = 0.05, 0.5


class Batches:
    """Pictures that are prepared, and wait for others of their shape to be scored together with.

    Args:
        size: how many pictures make a full batch.
    """

    def __init__(self, size: int):
        self.size = size
        self._waiting: list[Job] = []  # oldest first
        self._oldest_s = 0.0  # when the first of them was there

    @property
    def patience(self) -> int:
        """How many other pictures one waits for."""
        return _PATIENCE_BATCHES * self.size

    def add(self, job: Job) -> None:
        """Let a picture that is prepared wait."""
        if not self._waiting:
            self._oldest_s = time.monotonic()
        self._waiting.append(job)

    def due(self, newest: Job) -> Iterator[list[Job]]:
        """Yield the batches to be scored now that a picture was taken up: the one that it fills, and those whose
        patience is at an end."""
        if newest in self._waiting and len(self._like(newest)) == self.size:
            yield self._take(newest)
        while self._waiting and newest.index - self._waiting[0].index >= self.patience:
            yield self._take(self._waiting[0])

    def rest(self) -> Iterator[list[Job]]:
        """Yield all that is left."""
        while self._waiting:
            yield self._take(self._waiting[0])

    def left_s(self, others: bool) -> float | None:
        """How long what waits may still do so in a run whose pictures come one by one; None where nothing waits.

        Args:
            others: some are being prepared.
        """
        if not self._waiting:
            return None
        return self._oldest_s + (_SLOW_SECONDS if others else _COMPANY_SECONDS) - time.monotonic()

    def oldest(self) -> list[Job]:
        """Take the batch of the picture that waits longest."""
        return self._take(self._waiting[0])

    def _take(self, job: Job) -> list[Job]:
        batch = self._like(job)
        self._waiting = [other for other in self._waiting if other not in batch]
        return batch

    def _like(self, job: Job) -> list[Job]:
        """The pictures that wait and have the shape of this one, itself among them: never more than a batch."""
        return [other for other in self._waiting if other.ready.shape == job.ready.shape]
