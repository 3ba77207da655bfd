"""The command `s2crop`: options in, report out. What takes long to import is imported where it is used."""

import io
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click

from s2crop.cli import loading
from s2crop.cli.help import Command, with_options
from s2crop.cli.interrupts import Signals, interrupted
from s2crop.cli.messages import Terminal, drop, messages, print_line, progress
from s2crop.cli.options import OPTIONS, Options, flag
from s2crop.cli.settle import settle, settle_covers, without_effect
from s2crop.cli.status import ALL_DONE, NOTHING_TO_DO, SOME_FAILED, UNUSABLE
from s2crop.errors import DeviceError, InputError, S2CropError, WeightsError
from s2crop.report import WRITTEN, Record, one_line, passed_over_text

if TYPE_CHECKING:
    from s2crop.cropping.early import EarlyCropper
    from s2crop.files.boxes import Boxes
    from s2crop.files.names import Plan
    from s2crop.files.sources import Source
    from s2crop.run.given import NoCropper
    from s2crop.run.incoming import Incoming, Listed, Recent, Streamed

log = logging.getLogger("s2crop")

_REMEMBERED = 20_000  # inputs of an endless list that are kept in mind, to tell names apart: some 20 MB
_BOTH = "standard input is either the list of --files-from or a picture, not both"


@click.command(
    "s2crop",
    cls=Command,
    context_settings={"max_content_width": 110},
    options_metavar="[OPTIONS]",
)
@with_options(OPTIONS)
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
        incoming, protected = _streamed(options, passed_over)
        _tell(without_effect(options, None, ()))
    else:
        with signals.at_once():
            names = _names(options)
            sources = _sources(options, names, passed_over)
            if not sources:
                return _nothing(options, 0, passed_over)
            sources, stdin_error = received(options, sources, cleanup)
        options = settle_covers(options, sources)
        plans = _plans(options, sources)
        _tell(without_effect(options, names, (path for plan in plans for path in plan.all_paths())))
        incoming, protected = _listed(options, sources, plans, stdin_error)
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
    batch = options.batch(protected, sys.stdout.buffer if sys.stdout else None)

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
    with progress(options, total, terminal) as advance, _sheet(options, incoming.total) as add:
        summary = pipeline.run_incoming(incoming, cropper, batch, show, add, signals, advance)
    if not summary.pictures and not faults:
        return _nothing(options, incoming.seen, passed_over)
    if any(summary.clock.seconds.values()):
        log.debug("%s", summary.clock.text(options.jobs))
    summary.passed_over = passed_over
    if given:
        summary.left_out = given.left_out_text()
    log.info("%s", summary.text())
    return SOME_FAILED if summary.failed or faults else ALL_DONE


def _nothing(options: Options, seen: int, passed_over: Counter[str], left_out: str = "") -> int:
    """Say that there is nothing to do; the exit status. Args: seen: how many inputs there are, all in other parts."""
    if seen and options.shard:
        log.info("part %d of %d has no pictures", *options.shard)
        return ALL_DONE
    left_out = passed_over_text(passed_over) if passed_over else left_out
    what = f"{options.boxes} has no boxes" if options.boxes else "no picture or video matches"
    log.error("nothing to do: %s%s", what, f" ({left_out})" if left_out else "")
    return NOTHING_TO_DO


@contextmanager
def _sheet(options: Options, total: int) -> Iterator[Callable[..., None]]:
    """Yields what puts a picture on the sheet, if there is to be one."""
    if not options.sheet:
        yield lambda records, thumbnails: None
        return
    from s2crop.preview.sheet import Sheet

    ratios = [ratio.label for ratio in options.ratios]
    with Sheet(options.sheet, ratios, total, options.top, options.circle) as page:
        yield page.add


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        log.warning("%s", line)


def _names(options: Options) -> list[str]:
    """Of the inputs given, and of those in the list."""
    from s2crop.files.sources import read_file_list

    names = list(options.inputs)
    if options.files_from:
        with click.open_file(options.files_from, "rb") as stream:
            names += read_file_list(cast("BinaryIO", stream), options.null_separated)
        if "-" in names and options.files_from == "-":
            raise click.UsageError(_BOTH)
    return names


def _sources(options: Options, names: Sequence[str], passed_over: Counter[str]) -> "list[Source]":
    from s2crop.files.sources import find_sources

    return find_sources(names, **_filters(options, passed_over))


def received(options: Options, sources: "list[Source]", cleanup: ExitStack) -> tuple["list[Source]", InputError | None]:
    """The inputs with what comes on standard input, which is read here as a worker that waits could not be stopped;
    and what is wrong with it."""
    if all(source.path is not None for source in sources):
        return sources, None
    import tempfile

    from s2crop.files.stdin import receive

    def folder() -> Path:
        return Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="s2crop-", ignore_cleanup_errors=True)))

    stream = sys.stdin.buffer if sys.stdin else io.BytesIO()
    try:
        return [
            source if source.path is not None else receive(stream, source, options.cover, options.max_pixels, folder)
            for source in sources
        ], None
    except InputError as error:
        return sources, error


def _listed(
    options: Options, sources: "list[Source]", plans: "list[Plan]", stdin_error: InputError | None
) -> "tuple[Listed, frozenset[Path]]":
    """Our part of the inputs, and the files that must not be written."""
    from s2crop.run.incoming import Listed

    protected = frozenset(source.real for source in sources if source.real is not None)
    check_protected(options, protected)
    ours = [i for i, source in enumerate(sources) if source.is_in_part(*(options.shard or (1, 1)))]
    return Listed([sources[i] for i in ours], [plans[i] for i in ours], stdin_error=stdin_error), protected


def check_protected(options: Options, protected: Container[Path]) -> None:
    """Whether messages or the sheet would be written to an input."""
    for option, path in (("--log-file", options.log_file), ("--sheet", options.sheet)):
        if path and Path(os.path.realpath(path)) in protected:
            raise click.UsageError(f"{option} {path} is an input")


def _streamed(options: Options, passed_over: Counter[str]) -> "tuple[Streamed, Recent]":
    """The inputs given and, as they come, those named on standard input; and the files that must not be written."""
    from s2crop.files.names import Namer
    from s2crop.files.sources import NameStream, Source, find_sources
    from s2crop.run.incoming import Recent, Streamed

    if "-" in options.inputs:
        raise click.UsageError(_BOTH)

    def find(name: str) -> list[Source]:
        if name == "-":  # standard input is taken: a file of that name
            return [Source(name, Path(name), Path(name))]
        return find_sources([name], **_filters(options, passed_over))

    try:
        Namer(options.ratios, options.top, **naming(options)).plan(Source("a.jpg", Path("a.jpg"), Path("a.jpg")))
    except ValueError as error:
        raise click.UsageError(f"--name: {error}") from None
    namer = Namer(options.ratios, options.top, **naming(options), remember=_REMEMBERED)
    stream = cast("BinaryIO", click.open_file("-", "rb"))
    protected = Recent(_REMEMBERED)
    names = NameStream(stream, options.null_separated, options.inputs)
    return Streamed(names, find, namer.plan, protected, options.shard or (1, 1)), protected


def _filters(options: Options, passed_over: Counter[str]) -> dict[str, Any]:
    """What `find_sources` is told."""
    return {
        "recursive": options.recursive,
        "include": options.include,
        "exclude": options.exclude,
        "skip_folder": options.folder,
        "covers": options.cover,
        "passed_over": passed_over,
    }


def naming(options: Options) -> dict[str, Any]:
    """What a `Namer` is told."""
    template = {} if options.template is None else {"template": options.template}
    return {
        "sizes": options.sizes,
        "exact": not options.no_upscale,
        "folder": options.folder,
        "fmt": options.fmt,
        "circle": options.clear,
        "overlay": options.overlay,
        "heatmap": options.heatmap,
        "covers": options.covers or 1,
        "keep_frames": options.keep_frames,
    } | template


def _plans(options: Options, sources: "Sequence[Source]") -> "list[Plan]":
    from s2crop.files.names import STDOUT, Plan, plan_names

    if options.folder is None:
        if len(sources) > 1:
            raise click.UsageError(
                f"--output {options.output} takes one input, and {len(sources)} are given: give a folder"
            )
        path = STDOUT if options.to_stdout else Path(options.output)
        plan = Plan({(options.ratios[0].label, 1): path})
        return [replace(plan, covers=(plan,))]  # a picture, or a cover of a clip
    try:
        return plan_names(sources, options.ratios, options.top, **naming(options))
    except ValueError as error:
        raise click.UsageError(f"--name: {error}") from None
