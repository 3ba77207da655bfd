"""The options of `s2crop`: their help, and whether they fit each other."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import click

from s2crop import __version__
from s2crop.choices import (
    DEFAULT_QUALITY,
    FORMATS,
    MAX_COVERS,
    MAX_PIXELS,
    MAX_TOP,
    MODELS,
    PRECISIONS,
    PROPOSALS,
    PROTECT,
    SCANS,
    SHAPES,
)
from s2crop.cli import values
from s2crop.cli.loading import cpu_count
from s2crop.files.formats import OTHER_SUFFIXES, OUTPUT_FORMATS
from s2crop.geometry.ratio import FREE, Ratio, parse_ratio

_CROPS, _VIDEO, _OUTPUT, _INPUT, _MODEL, _MESSAGES = (
    "Crops",
    "Videos",
    "Output",
    "Input",
    "Model and throughput",
    "Messages and help",
)
_HELP_COLUMN = 24  # characters for the options' names


class _Option(click.Option):
    def __init__(self, *args, group: str, **kwargs):
        super().__init__(*args, **kwargs)
        self.group = group


class Command(click.Command):
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


def option(group: str, *args, **kwargs) -> Callable:
    return click.option(*args, cls=_Option, group=group, **kwargs)


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"s2crop {__version__}")
        ctx.exit()


def with_options(options: Iterable[Callable]) -> Callable[[Callable], Callable]:
    """A decorator that gives a command these options, which its help lists in their order."""

    def add(function: Callable) -> Callable:
        for option in reversed(list(options)):
            function = option(function)
        return function

    return add


OPTIONS = (
    click.argument("inputs", nargs=-1, metavar="INPUT..."),
    option(
        _CROPS,
        "-a",
        "--ratio",
        "ratios",
        type=values.Ratios(),
        multiple=True,
        help="Aspect ratio: 16:9, 4x3, 1.91, square, original, free. Repeatable, commas allowed. Default: free, the best"
        " of any ratio. All ratios of an image cost one pass through the backbone.",
    ),
    option(
        _CROPS,
        "-s",
        "--size",
        type=values.Size(),
        help="Exact output size in pixels: 640 (width), x360 (height), 640x360 (also fixes the ratio).",
    ),
    option(_CROPS, "--no-upscale", is_flag=True, help="Leave crops that are smaller than the size as they are."),
    option(
        _CROPS,
        "-k",
        "--top",
        type=values.Whole("K", 1, MAX_TOP),
        default=1,
        show_default=True,
        help="The K best distinct crops for each ratio, ranked.",
    ),
    option(
        _CROPS,
        "--shape",
        type=click.Choice(SHAPES),
        default="rect",
        show_default=True,
        help="circle: square crops with transparent corners (PNG, WebP, AVIF); faces and text are kept inside the circle.",
    ),
    option(
        _CROPS,
        "--focus",
        type=values.Numbers("X,Y"),
        help="A point that every crop must contain: pixels of the upright image, or fractions when none is above 1.",
    ),
    option(_CROPS, "--keep", type=values.Numbers("X,Y,W,H"), help="A box that every crop must contain, likewise."),
    option(
        _CROPS,
        "--protect",
        type=click.Choice(PROTECT),
        default="all",
        show_default=True,
        help="What a crop should not cut through.",
    ),
    option(
        _VIDEO,
        "--cover",
        is_flag=True,
        help="Pull cover frames from videos and crop those. Understood for a video without it; with it an animated"
        " picture (GIF, WebP, APNG, AVIF, HEIC) is a video too, and a sound file gives its cover picture.",
    ),
    option(
        _VIDEO,
        "-n",
        "--covers",
        type=values.Whole("N", 1, MAX_COVERS),
        help="How many cover frames at most, best first.  [default: 3, or 1 for a single output]",
    ),
    option(_VIDEO, "--start", "start_s", type=values.Seconds(), help="Look for covers from this time on, in seconds."),
    option(_VIDEO, "--end", "end_s", type=values.Seconds(), help="And up to this time."),
    option(
        _VIDEO,
        "--scan",
        type=click.Choice(SCANS),
        default="auto",
        show_default=True,
        help="How a video is looked through: full decodes all of it, keyframes its I-frames and a moment behind the best."
        " auto takes keyframes for long videos that have enough of them.",
    ),
    option(_VIDEO, "--keep-frames", is_flag=True, help="Also write the whole frames."),
    option(
        _OUTPUT,
        "-o",
        "--output",
        default="s2crop-out",
        metavar="PATH",
        show_default=True,
        help="A folder (the input tree is mirrored in it), a file (one input, one crop), or - for standard output.",
    ),
    option(
        _OUTPUT,
        "--name",
        "template",
        metavar="TEMPLATE",
        help="File names in the folder. Default: {stem}{cover}_{ratio}{rank}. Two inputs never write one file.",
    ),
    option(
        _OUTPUT,
        "-f",
        "--format",
        "fmt",
        type=click.Choice(FORMATS),
        default="same",
        show_default=True,
        help="Output format.",
    ),
    option(
        _OUTPUT,
        "--quality",
        type=values.Whole("Q", 1, 100),
        default=DEFAULT_QUALITY,
        show_default=True,
        help="1 to 100, of lossy formats.",
    ),
    option(
        _OUTPUT,
        "--overwrite",
        is_flag=True,
        help="Write outputs that exist again. Default: skip and report them, so a batch that was stopped resumes.",
    ),
    option(_OUTPUT, "--json", "as_json", is_flag=True, help="One JSON object a line on standard output."),
    option(_OUTPUT, "--dry-run", is_flag=True, help="Score and report, write nothing."),
    option(
        _OUTPUT,
        "--overlay",
        is_flag=True,
        help="For looking: also write each input with its crops drawn on it, and with -v the proposals.",
    ),
    option(
        _OUTPUT,
        "--heatmap",
        is_flag=True,
        help="For looking: also write what the scores rest on, drawn over each input.",
    ),
    option(
        _OUTPUT,
        "--sheet",
        type=click.Path(path_type=Path),
        metavar="FILE.html",
        help="For looking: one page with every input and its crops; of a --dry-run too.",
    ),
    option(_INPUT, "-r", "--recursive", is_flag=True, help="Walk the folders inside folders too."),
    option(
        _INPUT,
        "--include",
        multiple=True,
        metavar="GLOB",
        help="Only files whose relative path matches. Repeatable.",
    ),
    option(
        _INPUT, "--exclude", multiple=True, metavar="GLOB", help="No files whose relative path matches. Repeatable."
    ),
    option(
        _INPUT,
        "--files-from",
        type=click.Path(exists=True, dir_okay=False, allow_dash=True),
        metavar="FILE|-",
        help="Read input paths from a list, one a line.",
    ),
    option(_INPUT, "-0", "null_separated", is_flag=True, help="The paths in the list are NUL-separated."),
    option(
        _INPUT,
        "--shard",
        type=values.Shard(),
        help="Do the I-th of N parts of the inputs (job arrays); the N parts together are the whole.",
    ),
    option(
        _INPUT,
        "--max-pixels",
        type=values.Whole("N"),
        default=MAX_PIXELS,
        help="Refuse larger images before decoding.  [default: 200 million]",
    ),
    option(
        _MODEL,
        "-d",
        "--device",
        type=values.Device(),
        default="auto",
        help="auto (CUDA, else CPU), cpu, cuda, cuda:1, mps.  [default: auto]",
    ),
    option(
        _MODEL,
        "-b",
        "--batch-size",
        type=values.Whole("N"),
        help="Images scored at once.  [default: 8, or 2 on the CPU, whose caches hold no more]",
    ),
    option(
        _MODEL,
        "-j",
        "--jobs",
        type=values.Whole("N"),
        default=cpu_count,
        help="Threads that decode and encode.  [default: as many as CPUs]",
    ),
    option(
        _MODEL,
        "--precision",
        type=click.Choice(PRECISIONS),
        default="auto",
        show_default=True,
        help="Of the network's arithmetic.",
    ),
    option(
        _MODEL,
        "-m",
        "--model",
        type=click.Choice(MODELS),
        default="s2cnet",
        show_default=True,
        help="The network.",
    ),
    option(
        _MODEL,
        "--weights",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A checkpoint of ours or a published S2CNet .pth.",
    ),
    option(
        _MODEL,
        "--proposals",
        type=click.Choice(PROPOSALS),
        default="auto",
        show_default=True,
        help="Where object proposals come from.",
    ),
    option(_MESSAGES, "-q", "--quiet", is_flag=True, help="Say nothing but errors."),
    option(
        _MESSAGES,
        "-v",
        "--verbose",
        is_flag=True,
        help="Print the path of each crop written, say more about what happens, show tracebacks.",
    ),
    option(_MESSAGES, "--no-progress", is_flag=True, help="No progress bar."),
    option(
        _MESSAGES,
        "--log-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="F",
        help="Append the messages to a file, with the time.",
    ),
    option(
        _MESSAGES,
        "-V",
        "--version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        help="Show the version and exit.",
    ),
)


def check(options: SimpleNamespace) -> None:
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
    options.to_file = not options.to_stdout and not is_folder and suffix in OUTPUT_FORMATS.keys() | OTHER_SUFFIXES
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
    from s2crop.preview import sheet

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
    if suffix not in OUTPUT_FORMATS:
        raise click.UsageError(f"--output {options.output}: pictures are written as jpg, png, webp or avif")
    if options.fmt not in ("same", OUTPUT_FORMATS[suffix]):
        raise click.UsageError(f"--output {options.output} and --format {options.fmt} contradict each other")
    return OUTPUT_FORMATS[suffix]
