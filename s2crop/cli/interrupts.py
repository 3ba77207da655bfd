"""Ends that come early."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from s2crop.cli.status import INTERRUPTED

log = logging.getLogger("s2crop")


class Signals:
    """The first interrupt, request to terminate or hang-up becomes a KeyboardInterrupt; the next ones change nothing.

    See `s2crop.run.stopping.Interrupts`. An import may swallow the exception or make another of it: hence `received`.
    """

    def __init__(self) -> None:
        self.received = False
        self._at_once = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            # A terminal that is closed hangs up; Windows knows no such signal.
            for number in filter(None, (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None))):
                # Ignored ones stay so: nohup, and shells for what they run in the background, want it.
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        if self.received:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False

    def _stop(self, *_: object) -> None:
        if not self.received:
            self.received = True
            if self._at_once:
                raise KeyboardInterrupt


def interrupted(stop: BaseException, resumes: bool) -> int:
    summary = getattr(stop, "summary", None)
    text = summary.interrupted_text() if summary else "interrupted before the first picture"
    log.error("%s", text + "; the same command goes on from there" if resumes else text)
    if not getattr(stop, "idle", True):
        # A thread inside a decoder would hold the exit up until it is through; it has nothing to leave behind.
        logging.shutdown()
        if sys.stdout is not None:  # None where it was closed from the start
            sys.stdout.flush()
        os._exit(INTERRUPTED)
    return INTERRUPTED
