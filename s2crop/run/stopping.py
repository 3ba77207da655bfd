"""How a run learns that it is to stop, and how it says that it did."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from s2crop.report import Summary


class Stops(Protocol):
    """What has the methods of `Interrupts`."""

    def check(self) -> None: ...

    def at_once(self) -> AbstractContextManager: ...


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


class Stopped(BaseException):
    """Raised in a worker that is to go no further."""
