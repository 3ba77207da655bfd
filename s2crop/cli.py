"""The commands: options in, report out. What takes long to import is imported where it is used."""

import logging
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, TextIO

import click

from s2crop import __version__, report
from s2crop.errors import DeviceError, OutputError, S2CropError, WeightsError
from s2crop.geometry.ratio import FREE, Ratio, parse_ratio

if TYPE_CHECKING:
    from s2crop.batch import Plan
    from s2crop.cropper import Cropper
    from s2crop.inputs import Source

ALL_DONE, SOME_FAILED, NOTHING_TO_DO, UNUSABLE, INTERRUPTED = 0, 1, 3, 4, 130  # 2, wrong usage, is click's

MODELS = ("s2cnet", "sfrc", "asmnet")  # as in s2crop.models.weights, which takes long to import
MAX_TOP = 90  # as many as there are grid anchors
DEFAULT_COVERS, MAX_COVERS = 3, 99
_OUTPUT_FORMATS = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".webp": "webp", ".avif": "avif"}
_OTHER_SUFFIXES = frozenset(".bmp .gif .heic .heif .jp2 .jfif .pgm .pnm .ppm .qoi .tif .tiff".split())  # read only

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

log = logging.getLogger("s2crop")


def load_cropper(
    model: str, weights: Path | None, device: str, precision: str, proposals: str, jobs: int | None = None
) -> "Cropper":
    """Load the network, to work beside that many busy threads; importing torch takes most of the time."""
    # Read when torch is imported: its threads must not spin on the cores that others decode on.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _keep_freed_memory()
    from s2crop.cropper import Cropper

    threads = None if jobs is None else max(1, _cpu_count() // 2, _cpu_count() - jobs)
    return Cropper(model, weights, device, precision=precision, proposals=proposals, threads=threads)


def _keep_freed_memory() -> None:
    """Let the C library keep what pictures and maps leave for the next ones, as far as it can be asked.

    Large blocks go back to the system otherwise, and getting them again, page by page, takes as long as a resize.
    """
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
                libc.mallopt(parameter, 1 << 30)


# Values of options


class _Ratios(click.ParamType):
    name = "R"

    def convert(self, value, param, ctx):
        try:
            return [parse_ratio(part) for part in value.split(",")]
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Whole(click.ParamType):
    """A whole number within limits."""

    def __init__(self, name: str, lowest: int = 1, highest: int | None = None):
        self.name, self.lowest, self.highest = name, lowest, highest

    def convert(self, value, param, ctx):
        number = int(value) if re.fullmatch(r"\d{1,12}", str(value), re.ASCII) else -1
        if number < self.lowest or self.highest is not None and number > self.highest:
            upper = "" if self.highest is None else f" to {self.highest}"
            self.fail(f"{value!r} is not a whole number from {self.lowest}{upper}", param, ctx)
        return number


class _Size(click.ParamType):
    name = "S"

    def convert(self, value, param, ctx):
        from s2crop.outputs import parse_size

        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Numbers(click.ParamType):
    """Coordinates: `X,Y` or `X,Y,W,H`, where W and H are above 0."""

    def __init__(self, name: str):
        self.name = name
        self.count = name.count(",") + 1

    def convert(self, value, param, ctx):
        try:
            numbers = tuple(float(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != self.count or not all(math.isfinite(n) and n >= 0 for n in numbers):
            self.fail(f"{value!r} is not {self.name}: {self.count} numbers from 0 with commas between", param, ctx)
        if not all(numbers[2:]):
            self.fail(f"{value!r} has no area: W and H must be above 0", param, ctx)
        return numbers


class _Seconds(click.ParamType):
    name = "S"

    def convert(self, value, param, ctx):
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not (math.isfinite(seconds) and seconds >= 0):
            self.fail(f"{value!r} is not a time in seconds, such as 90 or 7.5", param, ctx)
        return seconds


class _Shard(click.ParamType):
    name = "I/N"

    def convert(self, value, param, ctx):
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", value, re.ASCII)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            self.fail(f"{value!r} is not a part: 1/4 to 4/4 are the parts of four", param, ctx)
        return int(match[1]), int(match[2])


class _Device(click.ParamType):
    name = "DEVICE"

    def convert(self, value, param, ctx):
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", value, re.ASCII):
            self.fail(f"{value!r} is not a device: auto, cpu, cuda, cuda:1 or mps", param, ctx)
        return value


# Help

_CROPS, _VIDEO, _OUTPUT, _INPUT, _MODEL, _MESSAGES = "Crops", "Videos", "Output", "Input", "Model and throughput", "Messages and help"
_HELP_COLUMN = 24  # characters for the options' names


class _Option(click.Option):
    def __init__(self, *args, group: str, **kwargs):
        super().__init__(*args, **kwargs)
        self.group = group


class _Command(click.Command):
    """Its help lists the options under the headings of their groups."""

    def format_options(self, ctx, formatter):
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (entry := param.get_help_record(ctx)):
                groups.setdefault(getattr(param, "group", _MESSAGES), []).append(entry)
        for group, entries in groups.items():
            with formatter.section(group):
                # padded, so that the second column starts at the same place in every group
                formatter.write_dl([(first.ljust(_HELP_COLUMN), rest) for first, rest in entries], _HELP_COLUMN)


def _option(group: str, *args, **kwargs) -> Callable:
    return click.option(*args, cls=_Option, group=group, **kwargs)


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"s2crop {__version__}")
        ctx.exit()


def _cpu_count() -> int:
    """CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@click.command(
    "s2crop",
    cls=_Command,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    options_metavar="[OPTIONS]",
)
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@_option(
    _CROPS, "-a", "--ratio", "ratios", type=_Ratios(), multiple=True,
    help="Aspect ratio: 16:9, 4x3, 1.91, square, original, free. Repeatable, commas allowed. Default: free, the best"
    " of any ratio. All ratios of an image cost one pass through the backbone.",
)
@_option(
    _CROPS, "-s", "--size", type=_Size(),
    help="Exact output size in pixels: 640 (width), x360 (height), 640x360 (also fixes the ratio).",
)
@_option(_CROPS, "--no-upscale", is_flag=True, help="Leave crops that are smaller than the size as they are.")
@_option(
    _CROPS, "-k", "--top", type=_Whole("K", 1, MAX_TOP), default=1, show_default=True,
    help="The K best distinct crops for each ratio, ranked.",
)
@_option(
    _CROPS, "--shape", type=click.Choice(["rect", "circle"]), default="rect", show_default=True,
    help="circle: square crops with transparent corners (PNG, WebP, AVIF); faces and text are kept inside the circle.",
)
@_option(
    _CROPS, "--focus", type=_Numbers("X,Y"),
    help="A point that every crop must contain: pixels of the upright image, or fractions when none is above 1.",
)
@_option(_CROPS, "--keep", type=_Numbers("X,Y,W,H"), help="A box that every crop must contain, likewise.")
@_option(
    _CROPS, "--protect", type=click.Choice(["none", "face", "text", "all"]), default="all", show_default=True,
    help="What a crop should not cut through.",
)
@_option(
    _VIDEO, "--cover", is_flag=True,
    help="Pull cover frames from videos and crop those. Understood for a video without it; with it an animated GIF or"
    " WebP is a video too.",
)
@_option(
    _VIDEO, "-n", "--covers", type=_Whole("N", 1, MAX_COVERS),
    help="How many cover frames at most, best first.  [default: 3, or 1 for a single output]",
)
@_option(_VIDEO, "--start", "start_s", type=_Seconds(), help="Look for covers from this time on, in seconds.")
@_option(_VIDEO, "--end", "end_s", type=_Seconds(), help="And up to this time.")
@_option(_VIDEO, "--keep-frames", is_flag=True, help="Also write the whole frames.")
@_option(
    _OUTPUT, "-o", "--output", default="s2crop-out", metavar="PATH", show_default=True,
    help="A folder (the input tree is mirrored in it), a file (one input, one crop), or - for standard output.",
)
@_option(
    _OUTPUT, "--name", "template", metavar="TEMPLATE",
    help="File names in the folder. Default: {stem}{cover}_{ratio}{rank}. Two inputs never write one file.",
)
@_option(
    _OUTPUT, "-f", "--format", "fmt", type=click.Choice(["same", "jpg", "png", "webp", "avif"]), default="same",
    show_default=True, help="Output format.",
)
@_option(
    _OUTPUT, "--quality", type=_Whole("Q", 1, 100), default=90, show_default=True,
    help="1 to 100, of lossy formats.",
)
@_option(
    _OUTPUT, "--overwrite", is_flag=True,
    help="Write outputs that exist again. Default: skip and report them, so a batch that was stopped resumes.",
)
@_option(_OUTPUT, "--json", "as_json", is_flag=True, help="One JSON object a line on standard output.")
@_option(_OUTPUT, "--dry-run", is_flag=True, help="Score and report, write nothing.")
@_option(
    _OUTPUT, "--overlay", is_flag=True,
    help="For looking: also write each input with its crops drawn on it, and with -v the proposals.",
)
@_option(
    _OUTPUT, "--heatmap", is_flag=True,
    help="For looking: also write what the scores rest on, drawn over each input.",
)
@_option(
    _OUTPUT, "--sheet", type=click.Path(path_type=Path), metavar="FILE.html",
    help="For looking: one page with every input and its crops; of a --dry-run too.",
)
@_option(_INPUT, "-r", "--recursive", is_flag=True, help="Walk the folders inside folders too.")
@_option(
    _INPUT, "--include", multiple=True, metavar="GLOB",
    help="Only files whose relative path matches. Repeatable.",
)
@_option(_INPUT, "--exclude", multiple=True, metavar="GLOB", help="No files whose relative path matches. Repeatable.")
@_option(
    _INPUT, "--files-from", type=click.Path(exists=True, dir_okay=False, allow_dash=True), metavar="FILE|-",
    help="Read input paths from a list, one a line.",
)
@_option(_INPUT, "-0", "null_separated", is_flag=True, help="The paths in the list are NUL-separated.")
@_option(
    _INPUT, "--shard", type=_Shard(),
    help="Do the I-th of N parts of the inputs (job arrays); the N parts together are the whole.",
)
@_option(
    _INPUT, "--max-pixels", type=_Whole("N"), default=200_000_000,
    help="Refuse larger images before decoding.  [default: 200 million]",
)
@_option(
    _MODEL, "-d", "--device", type=_Device(), default="auto",
    help="auto (CUDA, else CPU), cpu, cuda, cuda:1, mps.  [default: auto]",
)
@_option(
    _MODEL, "-b", "--batch-size", type=_Whole("N"),
    help="Images scored at once.  [default: 8, or 2 on the CPU, whose caches hold no more]",
)
@_option(
    _MODEL, "-j", "--jobs", type=_Whole("N"), default=_cpu_count,
    help="Threads that decode and encode.  [default: as many as CPUs]",
)
@_option(
    _MODEL, "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True,
    help="Of the network's arithmetic.",
)
@_option(
    _MODEL, "-m", "--model", type=click.Choice(MODELS), default="s2cnet", show_default=True, help="The network.",
)
@_option(
    _MODEL, "--weights", type=click.Path(path_type=Path), metavar="FILE",
    help="A checkpoint of ours or a published S2CNet .pth.",
)
@_option(
    _MODEL, "--proposals", type=click.Choice(["auto", "builtin", "torchvision"]), default="auto", show_default=True,
    help="Where object proposals come from.",
)
@_option(_MESSAGES, "-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@_option(
    _MESSAGES, "-v", "--verbose", is_flag=True,
    help="Print the path of each crop written, say more about what happens, show tracebacks.",
)
@_option(_MESSAGES, "--no-progress", is_flag=True, help="No progress bar.")
@_option(
    _MESSAGES, "--log-file", type=click.Path(dir_okay=False, path_type=Path), metavar="F",
    help="Append the messages to a file, with the time.",
)
@_option(
    _MESSAGES, "-V", "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
    help="Show the version and exit.",
)
def main(**given) -> None:
    """Crop pictures, and the best frames of videos, to the parts that are best to look at.

    An INPUT is an image, a video, a folder, a glob, or - (one image on standard input).
    """
    options = SimpleNamespace(**given)
    _check(options)
    with _messages(options) as terminal, _Signals() as signals:
        try:
            code = _crop(options, terminal, signals)
        except BrokenPipeError:
            _drop(sys.__stdout__, sys.__stderr__)
            code = ALL_DONE
        except KeyboardInterrupt as stop:
            code = _interrupted(stop, resumes=not (options.overwrite or options.dry_run))
        except S2CropError as error:
            log.error("%s", report.one_line(str(error)))
            code = UNUSABLE if isinstance(error, (WeightsError, DeviceError)) else SOME_FAILED
        except Exception as error:
            if not signals.received:
                raise
            code = _interrupted(error, resumes=not (options.overwrite or options.dry_run))
    sys.exit(code)


# Options that depend on each other


def _check(options: SimpleNamespace) -> None:
    """Settle ratios, format and kind of output; click.UsageError where options contradict each other."""
    options.ratios = list({ratio.label: ratio for ratios in options.ratios for ratio in ratios}.values())
    if options.size and options.size.width and options.size.height:
        options.ratios = [_ratio_of_size(options.ratios, options.size)]
    if options.shape == "circle":
        if any(ratio.value != 1 and ratio.label != FREE for ratio in options.ratios):
            raise click.UsageError(
                "--shape circle makes square crops: leave --ratio out or give square, and --size one number"
            )
        options.ratios = [Ratio("1:1", 1.0)]
    options.ratios = options.ratios or [Ratio(FREE, None)]

    output = options.output
    options.to_stdout = output == "-"
    suffix = Path(output).suffix.lower()
    is_folder = output.endswith(("/", os.sep)) or Path(output).is_dir()
    options.to_file = not options.to_stdout and not is_folder and suffix in _OUTPUT_FORMATS.keys() | _OTHER_SUFFIXES
    if not output:
        raise click.UsageError("--output is empty: give a folder, a file, or - for standard output")
    if options.to_file:
        options.fmt = _format_of_file(options, suffix)
    elif not options.to_stdout and Path(output).exists() and not Path(output).is_dir():
        raise click.UsageError(f"--output {output} exists and is no folder")
    if options.shape == "circle" and options.fmt == "jpg":
        raise click.UsageError("JPEG has no transparency for --shape circle: use png, webp or avif")
    if options.to_file or options.to_stdout:
        if options.template is not None:
            raise click.UsageError("--name is for outputs in a folder, and --output is none")
        for option in ("overlay", "heatmap", "keep_frames"):
            if getattr(options, option):
                option = f"--{option.replace('_', '-')}"
                raise click.UsageError(f"{option} writes a picture beside the crops: give --output a folder")
        if (count := len(options.ratios) * options.top) > 1:
            raise click.UsageError(f"--output {output} takes one crop, and {count} are asked for: give a folder")
    if options.sheet:
        _check_sheet(options)
    if sys.stdout is None and (options.to_stdout or options.as_json or options.verbose):
        raise click.UsageError("--json, --verbose and --output - need standard output, which is closed")
    if options.to_stdout and options.as_json:
        raise click.UsageError("--json and the picture (--output -) cannot share standard output")

    if None not in (options.start_s, options.end_s) and options.start_s >= options.end_s:
        raise click.UsageError(f"--start {options.start_s:g} is not before --end {options.end_s:g}")
    if not options.inputs and not options.files_from:
        raise click.UsageError("nothing to crop: give images, folders, globs, - or --files-from")
    if options.null_separated and not options.files_from:
        raise click.UsageError("-0 says how the list of --files-from is separated: give --files-from too")


def _check_sheet(options: SimpleNamespace) -> None:
    from s2crop import sheet

    if options.sheet.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"--sheet {options.sheet}: the page is HTML; give a name like crops.html")
    if options.sheet.is_dir():
        raise click.UsageError(f"--sheet {options.sheet} is a folder; give a name in it")
    if not options.overwrite and not sheet.may_replace(options.sheet):
        raise click.UsageError(f"--sheet {options.sheet} exists and is none of ours: --overwrite replaces it")


def _ratio_of_size(ratios: Sequence[Ratio], size) -> Ratio:
    """The ratio that a width and a height fix, under the name it was asked for by."""
    value = size.width / size.height
    if not ratios:
        divisor = math.gcd(size.width, size.height)
        try:
            return parse_ratio(f"{size.width // divisor}:{size.height // divisor}")
        except ValueError as error:
            raise click.UsageError(f"--size {size.width}x{size.height}: {error}") from None
    asked = ratios[0].value if len(ratios) == 1 else None
    # 1200x628 is what people mean by 1.91, to the pixel.
    if not asked or size.height != round(size.width / asked) and size.width != round(size.height * asked):
        labels = ", ".join(ratio.label for ratio in ratios)
        raise click.UsageError(
            f"--size {size.width}x{size.height} fixes the ratio, and --ratio {labels} asks for another: leave one out"
        )
    return replace(ratios[0], value=value)


def _format_of_file(options: SimpleNamespace, suffix: str) -> str:
    if suffix not in _OUTPUT_FORMATS:
        raise click.UsageError(f"--output {options.output}: pictures are written as jpg, png, webp or avif")
    if options.fmt not in ("same", _OUTPUT_FORMATS[suffix]):
        raise click.UsageError(f"--output {options.output} and --format {options.fmt} contradict each other")
    return _OUTPUT_FORMATS[suffix]


# The run


def _crop(options: SimpleNamespace, terminal: "_Terminal", signals: "_Signals") -> int:
    """Find, plan, load, crop; the exit status."""
    with signals.at_once():
        sources = _sources(options)
    if not sources:
        log.error("nothing to do: no picture or video matches")
        return NOTHING_TO_DO
    _check_covers(options, sources)
    plans = _plans(options, sources)
    protected = frozenset(Path(os.path.realpath(source.path)) for source in sources if source.path is not None)
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
        cropper = load_cropper(
            options.model, options.weights, options.device, options.precision, options.proposals, options.jobs
        )
    signals.check()
    log.debug("%s on %s, loaded in %.1f s", cropper.model, cropper.device, time.monotonic() - started)
    from s2crop import batch
    from s2crop.cropper import CropRequest

    batch_options = batch.BatchOptions(
        request=CropRequest(
            tuple(options.ratios), options.top, options.focus, options.keep, options.protect, options.shape == "circle"
        ),
        jobs=options.jobs,
        batch_size=options.batch_size,
        max_pixels=options.max_pixels,
        size=options.size,
        no_upscale=options.no_upscale,
        circle=options.shape == "circle",
        quality=options.quality,
        overwrite=options.overwrite,
        dry_run=options.dry_run,
        protected=protected,
        folder=None if options.to_file or options.to_stdout else Path(options.output),
        stream=sys.stdout.buffer if options.to_stdout else None,
        stream_format=options.fmt,
        overlay_proposals=options.overlay and options.verbose,
        thumbnails=options.sheet is not None,
        covers=options.covers,
        start_s=options.start_s,
        end_s=options.end_s,
    )

    def show(record: report.Record) -> None:
        if record.error is not None:
            log.error("%s: %s", report.one_line(record.input), record.error)
        with signals.at_once():  # who reads standard output may take long
            if options.as_json:
                _print(record.to_json())
            elif options.verbose and record.status == report.WRITTEN and not options.to_stdout:
                _print(report.one_line(record.output))

    with _progress(options, len(sources), terminal) as advance, _sheet(options, len(sources)) as add:

        summary = batch.run(sources, plans, cropper, batch_options, show, add, signals, advance)
    log.debug("%s", summary.clock.text(options.jobs))
    log.info("%s", summary.text())
    return SOME_FAILED if summary.failed else ALL_DONE


@contextmanager
def _sheet(options: SimpleNamespace, total: int) -> Iterator[Callable[..., None]]:
    """Yields what puts a picture on the sheet, if there is to be one."""
    if not options.sheet:
        yield lambda records, thumbnails: None
        return
    from s2crop.sheet import Sheet

    ratios = [ratio.label for ratio in options.ratios]
    with Sheet(options.sheet, ratios, total, options.top, options.shape == "circle") as page:
        yield page.add


def _check_covers(options: SimpleNamespace, sources: "Sequence[Source]") -> None:
    """Settle the number of covers; click.UsageError for options of videos where there is none."""
    from s2crop.inputs import Kind

    if all(source.kind == Kind.PICTURE for source in sources):
        for option, given in (
            ("--covers", options.covers), ("--start", options.start_s), ("--end", options.end_s),
            ("--keep-frames", options.keep_frames or None),
        ):  # fmt: skip
            if given is not None:
                raise click.UsageError(f"{option} is for videos, and none is among the inputs")
    elif (options.to_file or options.to_stdout) and (options.covers or 1) > 1:
        raise click.UsageError(f"--output {options.output} takes one crop, and {options.covers} covers are asked for: give a folder")
    options.covers = options.covers or (1 if options.to_file or options.to_stdout else DEFAULT_COVERS)


def _sources(options: SimpleNamespace) -> "list[Source]":
    from s2crop.inputs import find_sources, read_file_list

    names = list(options.inputs)
    if options.files_from:
        with click.open_file(options.files_from, "rb") as stream:
            names += read_file_list(stream, options.null_separated)
        if "-" in names and options.files_from == "-":
            raise click.UsageError("standard input is either the list of --files-from or a picture, not both")
    return find_sources(
        names,
        recursive=options.recursive,
        include=options.include,
        exclude=options.exclude,
        skip_folder=None if options.to_file or options.to_stdout else Path(options.output),
        covers=options.cover,
    )


def _plans(options: SimpleNamespace, sources: "Sequence[Source]") -> "list[Plan]":
    from s2crop import batch, outputs

    if options.to_file or options.to_stdout:
        if len(sources) > 1:
            raise click.UsageError(
                f"--output {options.output} takes one input, and {len(sources)} are given: give a folder"
            )
        path = batch.STDOUT if options.to_stdout else Path(options.output)
        return [{(options.ratios[0].label, 1): path, (options.ratios[0].label, 1, 1): path}]  # of a picture, of a clip
    template = {} if options.template is None else {"template": options.template}
    try:
        return outputs.plan_names(
            sources, options.ratios, options.top, folder=Path(options.output), fmt=options.fmt,
            circle=options.shape == "circle", overlay=options.overlay, heatmap=options.heatmap, covers=options.covers,
            keep_frames=options.keep_frames, **template,
        )
    except ValueError as error:
        raise click.UsageError(f"--name: {error}") from None


# Messages


class _Terminal(logging.Handler):
    """Standard error, above the progress bar while there is one."""

    def __init__(self):
        super().__init__()
        self.stream = sys.stderr
        self.console = None

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if self.console:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif self.stream is not None:  # None where it was closed from the start
            self.stream.write(text + "\n")
            self.stream.flush()


@contextmanager
def _messages(options: SimpleNamespace) -> Iterator[_Terminal]:
    """Send what is logged to standard error and to the log file."""
    terminal = _Terminal()
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
def _progress(options: SimpleNamespace, total: int, terminal: _Terminal) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal; yields what moves it on by so many pictures."""
    # Lines on standard output show how far it is, and would run through the bar.
    in_the_way = _is_terminal(sys.stdout) and (options.as_json or options.verbose)
    if options.quiet or options.no_progress or in_the_way or not _is_terminal(sys.stderr):
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


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _print(line: str) -> None:
    """A line on standard output at once; file names keep their bytes."""
    try:
        sys.stdout.buffer.write(os.fsencode(line + "\n"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop(sys.__stdout__)
        raise OutputError(f"cannot write to standard output: {error.strerror.lower()}") from error


# Ends that come early


class _Signals:
    """The first interrupt or request to terminate becomes a KeyboardInterrupt; the next ones change nothing.

    See `s2crop.batch.Interrupts`. An import may swallow the exception or make another of it: hence `received`.
    """

    def __init__(self):
        self.received = False
        self._at_once = False
        self._previous = {}

    def __enter__(self) -> "_Signals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
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


def _interrupted(stop: BaseException, resumes: bool) -> int:
    summary = getattr(stop, "summary", None)
    text = summary.interrupted_text() if summary else "interrupted before the first picture"
    log.error("%s", text + "; the same command goes on from there" if resumes else text)
    if not getattr(stop, "idle", True):
        # A thread inside a decoder would hold the exit up until it is through; it has nothing to leave behind.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(INTERRUPTED)
    return INTERRUPTED


def _drop(*streams: TextIO | None) -> None:
    """Let what is left in the streams go nowhere, so that nobody complains when they are flushed at exit."""
    sink = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        if stream is not None:
            os.dup2(sink, stream.fileno())
    os.close(sink)


# For those who measure and train


def _run(job: Callable[[], None]) -> None:
    """Run a job; an error of the world's is one line and an exit status, a bug keeps its traceback."""
    try:
        job()
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except S2CropError as error:
        click.echo(report.one_line(str(error)), err=True)
        sys.exit(UNUSABLE if isinstance(error, (WeightsError, DeviceError)) else SOME_FAILED)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version")
def evaluate() -> None:
    """Measure a model on labelled pictures. Prints a table; keeps figures in a JSON file if asked."""


def _measure(name: str, *where: Path, results: Path | None, model: str, weights: Path | None, proposals: str, device: str,
             precision: str, **options) -> None:
    """Run the evaluation `s2crop.evaluation.NAME` and print its table."""
    import json
    from importlib import import_module

    from s2crop.evaluation.tables import key_of

    measure = import_module(f"s2crop.evaluation.{name}")
    cropper = load_cropper(model, weights, device, precision, proposals)

    def progress(done: int, total: int) -> None:
        if _is_terminal(sys.stderr):
            click.echo(f"\r{done}/{total}", nl=done == total, err=True)

    result = measure.evaluate(cropper, *where, progress=progress, **options)
    click.echo(f"{result['data']}, {result['split']} split, {result['pictures']} pictures")
    click.echo(measure.table(result))
    if results:
        kept = json.loads(results.read_text()) if results.exists() else {}
        results.write_text(json.dumps(kept | {key_of(name, model): result}, indent=1) + "\n")


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_SPLIT_OPTIONS = (
    click.option("--split", type=click.Choice(["validation", "training", "all"]), default="validation", show_default=True,
                 help="Which photos: those that the shipped recipes keep aside, the others, or all."),
    click.option("--fold", type=click.IntRange(0, 6), default=0, show_default=True, help="Which part is kept aside."),
)
_MEASURE_OPTIONS = (
    click.option("--results", type=click.Path(path_type=Path), help="JSON file to keep the figures in, by what was measured and, but for s2cnet, the model."),
    click.option("-m", "--model", type=click.Choice(MODELS), default="s2cnet", show_default=True, help="Network."),
    click.option("--weights", type=_FILE, help="A checkpoint of ours or a published S2CNet .pth."),
    click.option("--proposals", type=click.Choice(["auto", "builtin", "torchvision"]), default="auto", show_default=True,
                 help="Where object proposals come from."),
    click.option("-d", "--device", type=_Device(), default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps."),
    click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True,
                 help="Of the backbone."),
)


def _options(options):
    def add(function):
        for option in reversed(options):
            function = option(function)
        return function

    return add


@evaluate.command()
@click.argument("folder", type=_FOLDER)
@click.option("--split", type=click.Choice(["test", "val", "train"]), default="test", show_default=True, help="Folder below images/.")
@click.option("--own-proposals", is_flag=True, help="Use the model's own proposals though there are some in bbox/.")
@_options(_MEASURE_OPTIONS)
def gaic(folder: Path, **options) -> None:
    """SRCC, PCC, ACC5 and ACC10 on a data set laid out as GAICD: images/, annotations/, bbox/."""
    _run(lambda: _measure("gaic", folder, **options))


@evaluate.command()
@click.argument("boxes", type=_FILE)
@_options(_SPLIT_OPTIONS + _MEASURE_OPTIONS)
def boxes(boxes: Path, **options) -> None:
    """SRCC, PCC, ACC5 and ACC10 on rated crops without their pictures: from boxes and proposals alone.

    BOXES is a JSON list of {id, width, height, proposals, candidates, mos}, boxes in fractions.
    """
    _run(lambda: _measure("boxes", boxes, **options))


@evaluate.command()
@click.argument("photos", type=_FOLDER)
@click.argument("labels", type=_FILE)
@_options(_SPLIT_OPTIONS + _MEASURE_OPTIONS)
def fcdb(photos: Path, labels: Path, **options) -> None:
    """IoU, Disp and agreement with voted pairs on FCDB, beside constant boxes.

    PHOTOS holds <id>.webp, .jpg or .png; LABELS is a JSON list of {id, width, height, best, pairs}.
    """
    _run(lambda: _measure("fcdb", photos, labels, **options))


@evaluate.command()
@click.argument("photos", type=_FOLDER)
@click.argument("boxes", type=_FILE)
@_options(_SPLIT_OPTIONS + _MEASURE_OPTIONS)
def integrity(photos: Path, boxes: Path, **options) -> None:
    """How often crops of 1:1, 16:9, 9:16 and 4:5 cut or lose faces and text, beside the centre crop.

    BOXES is JSON, gzipped or not: {id: [{box, score, kind}, ...]}, boxes in fractions of the photo.
    """
    _run(lambda: _measure("integrity", photos, boxes, **options))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("recipe")
@click.option("--data", type=_FOLDER, required=True, help="Training data, laid out as s2crop/training/data.py says.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="runs", show_default=True,
              help="Folder of runs; the recipe's name is added.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Change a choice of the recipe: network.num_proposals=8, training.seed=1. Repeatable.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of this run.")
@click.option("-d", "--device", type=_Device(), default="auto", show_default=True, help="auto (CUDA, else CPU), cpu, cuda, cuda:1.")
@click.option("--sanity", is_flag=True, help="Learn ten pictures by heart, in about a minute: a training that cannot is broken. Not for proposals.")
@click.option("--folds", type=click.IntRange(2, 7), help="Cross-validate: train so often, each time with other photos kept aside, and measure on those.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; default is torch's choice.")
@click.version_option(__version__, "-V", "--version")
def train(recipe: str, data: Path, out: Path, changes: tuple[str, ...], resume: bool, device: str, sanity: bool,
          folds: int | None, threads: int | None) -> None:
    """Train RECIPE: the name of one of ours (proposals, s2cnet, sfrc, asmnet, s2cnet-gaic) or a TOML file."""

    def job() -> None:
        from s2crop.training.recipe import run_recipe

        if threads:
            import torch

            torch.set_num_threads(threads)
        run_recipe(recipe, data, out, resume=resume, changes=changes, device=device, sanity=sanity, folds=folds or 0,
                   report=click.echo)

    _run(job)
