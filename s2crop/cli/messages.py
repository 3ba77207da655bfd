"""What the command tells: messages, the progress bar, lines on standard output."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from s2crop.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console

    from s2crop.cli.options import Options

log = logging.getLogger("s2crop")


class Lenient:
    """A stream that lacks what cannot be written to it, as on a full disk or a terminal that was closed.

    That nobody reads it any more is an error all the same.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        with _unless_it_is_a_broken_pipe():
            self._stream.write(text)

    def flush(self) -> None:
        with _unless_it_is_a_broken_pipe():
            self._stream.flush()


@contextmanager
def _unless_it_is_a_broken_pipe() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        pass


class Terminal(logging.Handler):
    """Standard error, above the progress bar while there is one; what cannot be told is done all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = sys.stderr
        self.console: Console | None = None
        self.log_file: LogFile | None = None  # where messages go besides

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if self.console:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif self.stream is not None:  # None where it was closed from the start
            lenient = Lenient(self.stream)
            lenient.write(text + "\n")
            lenient.flush()

    def close(self) -> None:
        super().close()
        try:
            if self.stream is not None:
                self.stream.flush()
        except OSError:  # Python would try once more as it ends, and make that the exit status
            drop(self.stream)


class LogFile(logging.FileHandler):
    """The file of --log-file; that it cannot be written is told once, on standard error.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path):
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.failed = False  # something of it could not be written
        self._path = path

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._tell(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:  # what is left of it
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self.failed:
            self.failed = True
            log.error("--log-file %s cannot be written: %s", self._path, (error.strerror or str(error)).lower())


@contextmanager
def messages(options: "Options") -> Iterator[Terminal]:
    """Send what is logged to standard error and to the log file."""
    terminal = Terminal()
    terminal.setLevel(logging.ERROR if options.quiet else logging.DEBUG if options.verbose else logging.INFO)
    terminal.setFormatter(logging.Formatter("s2crop: %(message)s"))
    handlers: list[logging.Handler] = [terminal]
    if options.log_file:
        try:
            file = terminal.log_file = LogFile(options.log_file)
        except OSError as error:
            raise click.UsageError(f"--log-file {options.log_file}: {error.strerror}") from None
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        handlers.append(file)
    level, propagate = log.level, log.propagate
    log.setLevel(logging.DEBUG)
    log.propagate = False
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield terminal
    finally:
        log.setLevel(level)
        log.propagate = propagate
        for handler in reversed(handlers):  # what the log file lacks is told on the terminal
            log.removeHandler(handler)
            handler.close()


@contextmanager
def progress(options: "Options", total: int | None, terminal: Terminal) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal; yields what moves it on by so many pictures. Args: total: None where it is not known."""
    # Lines on standard output show how far it is, and would run through the bar.
    in_the_way = is_terminal(sys.stdout) and (options.as_json or options.verbose)
    if options.quiet or options.no_progress or in_the_way or not is_terminal(sys.stderr):
        yield lambda pictures: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(file=cast("TextIO", Lenient(sys.stderr)))
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True)
    # Not redirected: with standard output in a pipe, the bar must not take what is written there.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("", total=total)
        terminal.console = console
        try:
            yield lambda pictures: bar.advance(task, pictures)
        finally:
            terminal.console = None


def is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def print_line(line: str) -> None:
    """A line on standard output at once; file names keep their bytes."""
    try:
        sys.stdout.buffer.write(os.fsencode(line + "\n"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop(sys.__stdout__)
        raise OutputError(f"cannot write to standard output: {(error.strerror or str(error)).lower()}") from error


def drop(*streams: TextIO | None) -> None:
    """Let what is left in the streams go nowhere, so that nobody complains when they are flushed at exit."""
    sink = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        if stream is not None:
            os.dup2(sink, stream.fileno())
    os.close(sink)
