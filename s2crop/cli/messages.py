"""What the command tells: messages, the progress bar, lines on standard output."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

from s2crop.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console

    from s2crop.cli.options import Options

log = logging.getLogger("s2crop")


class Terminal(logging.Handler):
    """Standard error, above the progress bar while there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = sys.stderr
        self.console: Console | None = None

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if self.console:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif self.stream is not None:  # None where it was closed from the start
            self.stream.write(text + "\n")
            self.stream.flush()


@contextmanager
def messages(options: "Options") -> Iterator[Terminal]:
    """Send what is logged to standard error and to the log file."""
    terminal = Terminal()
    terminal.setLevel(logging.ERROR if options.quiet else logging.DEBUG if options.verbose else logging.INFO)
    terminal.setFormatter(logging.Formatter("s2crop: %(message)s"))
    handlers: list[logging.Handler] = [terminal]
    if options.log_file:
        try:
            file = logging.FileHandler(options.log_file, encoding="utf-8", errors="backslashreplace")
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
        for handler in handlers:
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

    console = Console(stderr=True)
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
