"""The command `s2crop`: options in, report out. What takes long to import is imported where it is used."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click

from s2crop.cli import loading
from s2crop.cli.help import Command, with_options
from s2crop.cli.interrupts import Signals, interrupted
from s2crop.cli.messages import Terminal, drop, messages, print_line, progress
from s2crop.cli.options import OPTIONS, Options, flag
from s2crop.cli.settle import settle, settle_covers
from s2crop.cli.status import ALL_DONE, NOTHING_TO_DO, SOME_FAILED, UNUSABLE
from s2crop.errors import DeviceError, S2CropError, WeightsError
from s2crop.report import WRITTEN, Record, one_line, passed_over_text

if TYPE_CHECKING:
    from s2crop.files.names import Plan
    from s2crop.files.sources import Source
    from s2crop.run.incoming import Incoming, Listed, Recent, Streamed

log = logging.getLogger("s2crop")

_REMEMBERED = 20_000  # inputs of an endless list that are kept in mind, to tell names apart: some 20 MB
_BOTH = "standard input is either the list of --files-from or a picture, not both"


@click.command(
    "s2crop",
    cls=Command,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    options_metavar="[OPTIONS]",
)
@with_options(OPTIONS)
def main(**given: Any) -> None:
    """Crop pictures, and the best frames of videos, to the parts that are best to look at.

    An INPUT is an image, a video, a folder, a glob, or - (one image on standard input).
    """
    options = settle(given)
    with messages(options) as terminal, Signals() as signals:
        try:
            code = _crop(options, terminal, signals)
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


def _crop(options: Options, terminal: Terminal, signals: Signals) -> int:
    """Find, plan, load, crop; the exit status."""
    passed_over: Counter[str] = Counter()
    # What needs to know all inputs has the list read to its end first.
    streamed = options.files_from == "-" and options.folder is not None and not options.sheet
    incoming: Incoming
    protected: Container[Path]
    if streamed:
        options = settle_covers(options, None)
        incoming, protected = _streamed(options, passed_over)
    else:
        with signals.at_once():
            sources = _sources(options, passed_over)
        if not sources:
            return _nothing(options, 0, passed_over)
        options = settle_covers(options, sources)
        incoming, protected = _listed(options, sources)
        if not incoming.total:
            return _nothing(options, len(sources), passed_over)

    cropper = loading.load_cropper(
        options.model, options.weights, options.device, options.precision, options.proposals, options.jobs
    )
    signals.check()
    from s2crop.files.picture import lift_pillow_limits
    from s2crop.run import pipeline

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

    total = None if streamed else incoming.total
    with progress(options, total, terminal) as advance, _sheet(options, incoming.total) as add:
        summary = pipeline.run_incoming(incoming, cropper, batch, show, add, signals, advance)
    if not summary.pictures:
        return _nothing(options, incoming.seen, passed_over)
    log.debug("%s", summary.clock.text(options.jobs))
    summary.passed_over = passed_over
    log.info("%s", summary.text())
    return SOME_FAILED if summary.failed else ALL_DONE


def _nothing(options: Options, seen: int, passed_over: Counter[str]) -> int:
    """Say that there is nothing to do; the exit status. Args: seen: how many inputs there are, all in other parts."""
    if seen and options.shard:
        log.info("part %d of %d has no pictures", *options.shard)
        return ALL_DONE
    rest = f" ({passed_over_text(passed_over)})" if passed_over else ""
    log.error("nothing to do: no picture or video matches%s", rest)
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


def _sources(options: Options, passed_over: Counter[str]) -> "list[Source]":
    from s2crop.files.sources import find_sources, read_file_list

    names = list(options.inputs)
    if options.files_from:
        with click.open_file(options.files_from, "rb") as stream:
            names += read_file_list(cast("BinaryIO", stream), options.null_separated)
        if "-" in names and options.files_from == "-":
            raise click.UsageError(_BOTH)
    return find_sources(names, **_filters(options, passed_over))


def _listed(options: Options, sources: "list[Source]") -> "tuple[Listed, frozenset[Path]]":
    """Our part of the inputs, and the files that must not be written."""
    from s2crop.run.incoming import Listed

    plans = _plans(options, sources)
    protected = frozenset(source.real for source in sources if source.real is not None)
    for option, path in (("--log-file", options.log_file), ("--sheet", options.sheet)):
        if path and Path(os.path.realpath(path)) in protected:
            raise click.UsageError(f"{option} {path} is an input")
    part, parts = options.shard or (1, 1)
    return Listed(sources[part - 1 :: parts], plans[part - 1 :: parts]), protected


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
        Namer(options.ratios, options.top, **_naming(options)).plan(Source("a.jpg", Path("a.jpg"), Path("a.jpg")))
    except ValueError as error:
        raise click.UsageError(f"--name: {error}") from None
    namer = Namer(options.ratios, options.top, **_naming(options), remember=_REMEMBERED)
    stream = cast("BinaryIO", click.open_file("-", "rb"))
    protected = Recent(_REMEMBERED)
    part, parts = options.shard or (1, 1)
    names = NameStream(stream, options.null_separated, options.inputs)
    return Streamed(names, find, namer.plan, protected, (part - 1, parts)), protected


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


def _naming(options: Options) -> dict[str, Any]:
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
        return plan_names(sources, options.ratios, options.top, **_naming(options))
    except ValueError as error:
        raise click.UsageError(f"--name: {error}") from None
