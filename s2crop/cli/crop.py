"""The command `s2crop`: options in, report out. What takes long to import is imported where it is used."""

import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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

log = logging.getLogger("s2crop")


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
    with signals.at_once():
        passed_over: Counter[str] = Counter()
        sources = _sources(options, passed_over)
    if not sources:
        rest = f" ({passed_over_text(passed_over)})" if passed_over else ""
        log.error("nothing to do: no picture or video matches%s", rest)
        return NOTHING_TO_DO
    options = settle_covers(options, sources)
    plans = _plans(options, sources)
    protected = frozenset(source.real for source in sources if source.real is not None)
    for option, path in (("--log-file", options.log_file), ("--sheet", options.sheet)):
        if path and Path(os.path.realpath(path)) in protected:
            raise click.UsageError(f"{option} {path} is an input")
    if options.shard:
        part, parts = options.shard
        sources, plans = sources[part - 1 :: parts], plans[part - 1 :: parts]
        if not sources:
            log.info("part %d of %d has no pictures", part, parts)
            return ALL_DONE

    started = time.monotonic()
    with signals.at_once():
        cropper = loading.load_cropper(
            options.model, options.weights, options.device, options.precision, options.proposals, options.jobs
        )
    signals.check()
    log.debug("%s on %s, loaded in %.1f s", cropper.model, cropper.device, time.monotonic() - started)
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

    with progress(options, len(sources), terminal) as advance, _sheet(options, len(sources)) as add:
        summary = pipeline.run(sources, plans, cropper, batch, show, add, signals, advance)
    log.debug("%s", summary.clock.text(options.jobs))
    summary.passed_over = passed_over
    log.info("%s", summary.text())
    return SOME_FAILED if summary.failed else ALL_DONE


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
            raise click.UsageError("standard input is either the list of --files-from or a picture, not both")
    return find_sources(
        names,
        recursive=options.recursive,
        include=options.include,
        exclude=options.exclude,
        skip_folder=options.folder,
        covers=options.cover,
        passed_over=passed_over,
    )


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
    template = {} if options.template is None else {"template": options.template}
    try:
        return plan_names(
            sources,
            options.ratios,
            options.top,
            size=None if options.no_upscale else options.size,
            folder=options.folder,
            fmt=options.fmt,
            circle=options.circle,
            overlay=options.overlay,
            heatmap=options.heatmap,
            covers=options.covers or 1,
            keep_frames=options.keep_frames,
            **template,
        )
    except ValueError as error:
        raise click.UsageError(f"--name: {error}") from None
