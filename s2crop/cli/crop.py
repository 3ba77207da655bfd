"""The command `s2crop`: options in, report out. What takes long to import is imported where it is used."""

import logging
import sys
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from s2crop.cli import handover, inputs, loading
from s2crop.cli.declare import for_click
from s2crop.cli.help import ABOUT, Command, with_options
from s2crop.cli.interrupts import Signals, interrupted
from s2crop.cli.messages import Terminal, drop, messages, print_line, progress
from s2crop.cli.options import Options, flag
from s2crop.cli.settle import settle, settle_covers, without_effect
from s2crop.cli.status import ALL_DONE, NOTHING_TO_DO, SOME_FAILED, UNUSABLE
from s2crop.errors import DeviceError, OutputError, S2CropError, WeightsError
from s2crop.report import WRITTEN, Record, one_line, passed_over_text

if TYPE_CHECKING:
    from s2crop.cropping.early import EarlyCropper
    from s2crop.files.boxes import Boxes
    from s2crop.preview.sheet import Sheet, Thumbnails
    from s2crop.run.given import NoCropper
    from s2crop.run.incoming import Incoming

log = logging.getLogger("s2crop")


@click.command(
    "s2crop",
    cls=Command,
    context_settings={"max_content_width": 110},
    options_metavar="[OPTIONS]",
)
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@with_options((*for_click(Options), *ABOUT))
def main(**given: Any) -> None:
    """Crop pictures, and the best frames of videos, to the parts that are best to look at.

    An INPUT is an image, a video, a folder, a glob, or - (an image or a video on standard input).
    """
    options = settle(given)
    with messages(options) as terminal, Signals() as signals:
        try:
            with ExitStack() as cleanup:
                code = _crop(options, terminal, signals, cleanup)
        except BrokenPipeError:
            drop(sys.__stdout__, sys.__stderr__)
            code = ALL_DONE
        except KeyboardInterrupt as stop:
            code = interrupted(stop, resumes=not (options.overwrite or options.dry_run))
        except S2CropError as error:
            log.error("%s", one_line(error.spelled(flag)))
            code = UNUSABLE if isinstance(error, (WeightsError, DeviceError)) else SOME_FAILED
        except Exception as error:
            if not signals.received:
                raise
            code = interrupted(error, resumes=not (options.overwrite or options.dry_run))
    if code == ALL_DONE and terminal.log_file and terminal.log_file.failed:
        code = SOME_FAILED
    sys.exit(code)


def _crop(options: Options, terminal: Terminal, signals: Signals, cleanup: ExitStack) -> int:
    """Find, plan, load, crop; the exit status. Args: cleanup: what is undone at the end."""
    passed_over: Counter[str] = Counter()
    # What needs to know all inputs has the list read to its end first.
    streamed = options.files_from == "-" and options.folder is not None and not options.sheet
    given: Boxes | None = None
    incoming: Incoming
    protected: Container[Path]
    if options.boxes:
        from s2crop.cli.boxes import fault_records, read, settled

        with signals.at_once():
            given = read(options)
        options, incoming, protected = settled(options, given, cleanup)
        if not incoming.seen and not given.faults:
            return _nothing(options, 0, passed_over, given.left_out_text())
    elif streamed:
        options = settle_covers(options, None)
        incoming, protected = inputs.streamed(options, passed_over)
        _tell(without_effect(options, None, ()))
    else:
        with signals.at_once():
            names = inputs.names_of(options)
            sources = inputs.found(options, names, passed_over)
            if not sources:
                return _nothing(options, 0, passed_over)
            sources, stdin_error = inputs.received(options, sources, cleanup)
        options = settle_covers(options, sources)
        plans = inputs.plans_of(options, sources)
        _tell(without_effect(options, names, (path for plan in plans for path in plan.all_paths())))
        incoming, protected = inputs.listed(options, sources, plans, stdin_error)
        if not incoming.total:
            return _nothing(options, len(sources), passed_over)

    cropper: EarlyCropper | NoCropper
    if not given:
        cropper = loading.load_cropper(
            options.model, options.weights, options.device, options.precision, options.proposals, options.jobs
        )
    signals.check()
    from s2crop.files.picture import lift_pillow_limits
    from s2crop.run import pipeline

    if given:
        from s2crop.run import given as without_choice

        loading.keep_freed_memory()
        cropper = without_choice.NoCropper()
    lift_pillow_limits()
    batch = handover.batch(options, protected, sys.stdout.buffer if sys.stdout else None)

    def show(record: Record) -> None:
        if record.error is not None:
            log.error("%s: %s", one_line(record.input), record.error)
        with signals.at_once():  # who reads standard output may take long
            if options.as_json:
                print_line(record.to_json())
            elif options.verbose and record.status == WRITTEN and not options.to_stdout:
                print_line(one_line(record.output or ""))

    faults = fault_records(options, given) if given else []
    for record in faults:
        show(record)
    total = None if streamed else incoming.total
    with progress(options, total, terminal) as advance, _Page(options, incoming.total) as page:
        summary = pipeline.run(incoming, cropper, batch, show, page.add, signals, advance)
    if not summary.pictures and not faults:
        return _nothing(options, incoming.seen, passed_over)
    if any(summary.clock.seconds.values()):
        log.debug("%s", summary.clock.text(options.jobs))
    summary.passed_over = passed_over
    if given:
        summary.left_out = given.left_out_text()
    log.info("%s", summary.text())
    return SOME_FAILED if summary.failed or faults or page.failed else ALL_DONE


def _nothing(options: Options, seen: int, passed_over: Counter[str], left_out: str = "") -> int:
    """Say that there is nothing to do; the exit status. Args: seen: how many inputs there are, all in other parts."""
    if seen and options.shard:
        log.info("part %d of %d has no pictures", *options.shard)
        return ALL_DONE
    left_out = passed_over_text(passed_over) if passed_over else left_out
    what = f"{options.boxes} has no boxes" if options.boxes else "no picture or video matches"
    log.error("nothing to do: %s%s", what, f" ({left_out})" if left_out else "")
    return NOTHING_TO_DO


class _Page:
    """The page of --sheet, if there is to be one. That it can be written no more is told once; the run goes on.

    Raises:
        OutputError: as the block begins.
    """

    def __init__(self, options: Options, total: int) -> None:
        self.failed = False
        self._sheet: Sheet | None = None
        if options.sheet:
            from s2crop.preview import sheet

            ratios = [ratio.label for ratio in options.ratios]
            self._sheet = sheet.Sheet(options.sheet, ratios, total, options.top, options.circle)

    def __enter__(self) -> "_Page":
        if self._sheet:
            self._sheet.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._sheet:
            with self._told():
                self._sheet.__exit__()

    def add(self, records: list[Record], thumbnails: "list[Thumbnails]") -> None:
        if self._sheet and not self.failed:
            with self._told():
                self._sheet.add(records, thumbnails)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OutputError as error:
            self.failed = True
            log.error("%s", one_line(str(error)))


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        log.warning("%s", line)
