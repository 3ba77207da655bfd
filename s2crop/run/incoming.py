"""What a run is to do: sources that are all known, or that are named while it goes on."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from s2crop.files.plan import Plan
from s2crop.files.sources import NameStream, Source

if TYPE_CHECKING:
    from s2crop.files.given import Given


class Taken(NamedTuple):
    """A source, where its crops go, why it cannot be done, if that is known, and its boxes, where they are given."""

    source: Source
    plan: Plan
    error: Exception | None = None
    given: "Given | None" = None


class Incoming(Protocol):
    """Sources, one by one."""

    @property
    def total(self) -> int:
        """How many there are, or were so far."""

    @property
    def seen(self) -> int:
        """The same with those of other parts."""

    @property
    def news(self) -> threading.Event | None:
        """Set when there is more to take; None where all is there from the start."""

    @property
    def ended(self) -> bool:
        """No more will come."""

    def take(self) -> Taken | None:
        """The next one; None where it is not there yet, or never will be."""


class Listed:
    """Sources that are all known.

    Args:
        plans: for each of them where its crops go.
        given: for each of them its boxes, where these are given.
        stdin_error: why standard input cannot be done.
    """

    news = None

    def __init__(
        self,
        sources: Sequence[Source],
        plans: Sequence[Plan],
        given: "Sequence[Given] | None" = None,
        stdin_error: Exception | None = None,
    ):
        self.total = self.seen = len(sources)
        self.ended = False
        boxes: Sequence[Given | None] = given or [None] * len(sources)
        self._rest = zip(sources, plans, boxes, strict=True)
        self._stdin_error = stdin_error

    def take(self) -> Taken | None:
        """The next one; None at the end."""
        one = next(self._rest, None)
        self.ended = one is None
        if one is None:
            return None
        source, plan, given = one
        return Taken(source, plan, self._stdin_error if source.path is None else None, given)


class Recent:
    """The paths that were added last."""

    def __init__(self, most: int):
        self._paths: dict[Path, None] = {}
        self._most = most

    def add(self, path: Path) -> None:
        """Add a path, and forget the oldest where there are too many."""
        self._paths[path] = None
        if len(self._paths) > self._most:
            del self._paths[next(iter(self._paths))]

    def __contains__(self, path: object) -> bool:
        return path in self._paths


class Streamed:
    """Sources that are named while the run goes on, on a stream that stays open.

    A file that is named again is done again. Where outputs go depends on what came before.

    Args:
        names: of files, folders and globs.
        find: what a name stands for.
        plan: where the crops of a source go; ValueError: it can have no name.
        protected: gets the files that are read, which must not be written.
        part: which part of the sources is ours, from 1, and how many there are.
    """

    def __init__(
        self,
        names: NameStream,
        find: Callable[[str], Sequence[Source]],
        plan: Callable[[Source], Plan],
        protected: Recent,
        part: tuple[int, int] = (1, 1),
    ):
        self.news: threading.Event | None = names.news
        self.total = 0  # of our part
        self.seen = 0  # of all
        self._names, self._find, self._plan, self._protected, self._part = names, find, plan, protected, part
        self._found: deque[Source] = deque()

    @property
    def ended(self) -> bool:
        """Whether no more will come."""
        return self._names.ended and not self._found

    def take(self) -> Taken | None:
        """The next one; None where it is not there yet, or never will be. Raises InputError: what comes is no list of
        names."""
        while True:
            while not self._found:
                name = self._names.take()
                if name is None:
                    return None
                try:
                    self._found.extend(self._find(name))
                except Exception as reason:
                    self.seen += 1
                    self.total += 1
                    return Taken(Source(name, Path(name), Path(Path(name).name)), Plan(), reason)
            source = self._found.popleft()
            if source.real is not None:
                self._protected.add(source.real)
            error: Exception | None = None
            try:
                plan = self._plan(source)
            except Exception as reason:
                plan, error = Plan(), reason
            self.seen += 1
            if source.is_in_part(*self._part):
                self.total += 1
                return Taken(source, plan, error)
