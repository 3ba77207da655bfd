"""The options of `s2crop`: one frozen `Options`, what each is called and what it means."""

from collections.abc import Callable, Container
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from s2crop import __version__
from s2crop.choices import (
    COLOURS,
    DEFAULT_QUALITY,
    MAX_COVERS,
    MAX_PIXELS,
    MAX_TOP,
    METADATA,
    MODELS,
    PADS,
    PRECISIONS,
    PROPOSALS,
    PROTECT,
    SCANS,
    SHAPES,
)
from s2crop.cli import values
from s2crop.cli.help import Option, show_brief
from s2crop.cli.loading import cpu_count
from s2crop.files.formats import (
    FORMATS,
    SAME,
    WRITTEN,
)
from s2crop.geometry.ratio import Ratio

if TYPE_CHECKING:
    from s2crop.cropping.request import CropRequest
    from s2crop.files.sizes import Size
    from s2crop.run.work import BatchOptions

_CROPS, _VIDEO, _OUTPUT, _INPUT = "Crops", "Videos", "Output", "Input"
_MODEL, _MESSAGES = "Model and throughput", "Messages and help"
_ROUND = ", ".join(row.name for row in WRITTEN if row.alpha)  # formats for circles


class Target(Enum):
    """What --output names."""

    FOLDER = "folder"
    FILE = "file"
    STDOUT = "standard output"


def _option(group: str, flags: str, help: str, *, brief: str | None = None, **click_arguments: Any) -> Any:
    """A field of `Options` that a user sets.

    Args:
        brief: its line on the one screen of -h, if it has one.
        click_arguments: of `click.Option`; an option without type and default is a flag.
    """
    given = {"help": help} | click_arguments
    if not click_arguments.keys() & {"type", "metavar", "default"}:
        given |= {"is_flag": True}
    if "default" in given and "[default: " not in help:
        given |= {"show_default": True}
    default = () if "multiple" in given else given.get("default", False if "is_flag" in given else None)
    default = default() if callable(default) else default
    return field(default=default, metadata={"group": group, "flags": flags.split(), "brief": brief, "click": given})


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user asked for; `settle.settle` makes it of what click read."""

    inputs: tuple[str, ...] = ()
    target: Target = Target.FOLDER  # follows from `output`

    ratios: tuple[Ratio, ...] = _option(
        _CROPS,
        "-a --ratio",
        "Aspect ratio: 16:9, 4x3, 1.91, square, original, free. Repeatable, commas allowed. Default: free, "
        "the best of any ratio. All ratios of an image cost one pass through the backbone.",
        type=values.Ratios(),
        multiple=True,
        brief="16:9, 4x3, square, original, free; commas allowed",
    )
    sizes: "tuple[Size, ...]" = _option(
        _CROPS,
        "-s --size",
        "Exact output size in pixels: 640 (width), x360 (height), 640x360 (also fixes the ratio). Commas give several "
        "sizes of each crop.",
        type=values.Sizes(),
        default=(),
        show_default=False,
        brief="exact size in pixels: 640, x360 or 640x360",
    )
    no_upscale: bool = _option(_CROPS, "--no-upscale", "Leave crops that are smaller than the size as they are.")
    top: int = _option(
        _CROPS,
        "-k --top",
        "The K best distinct crops for each ratio, ranked.",
        type=values.Whole("K", 1, MAX_TOP),
        default=1,
        brief="the K best crops for each ratio",
    )
    shape: str = _option(
        _CROPS,
        "--shape",
        f"circle: square crops with transparent corners ({_ROUND}); faces and text are kept inside the circle.",
        type=click.Choice(SHAPES),
        default="rect",
    )
    focus: tuple[float, float] | None = _option(
        _CROPS,
        "--focus",
        "A point that every crop must contain: pixels of the upright image, per cent, or fractions if none is above 1.",
        type=values.Numbers("X,Y"),
    )
    keep: tuple[float, float, float, float] | None = _option(
        _CROPS, "--keep", "A box that every crop must contain, likewise.", type=values.Numbers("X,Y,W,H")
    )
    protect: str = _option(
        _CROPS,
        "--protect",
        "What a crop should not cut through.",
        type=click.Choice(PROTECT),
        default="all",
        brief="what not to cut through",
    )
    keep_bars: bool = _option(
        _CROPS,
        "--keep-bars",
        "Even bars at the edges count as picture: black, white, grey. Default: crops leave them out.",
    )
    min_scale: float = _option(
        _CROPS,
        "--min-scale",
        "The least size of a crop, as a share of the sides of the largest one of its ratio; 1 is as large as possible."
        "  [default: 0, whatever is best]",
        type=values.Share(),
        default=0.0,
    )
    pad: str = _option(
        _CROPS,
        "--pad",
        "Fill up to the ratio: auto where a crop would cut or lose what matters of what is protected, always the whole "
        "image.",
        type=click.Choice(PADS),
        default="never",
    )
    pad_with: str | None = _option(
        _CROPS,
        "--pad-with",
        "What pads are filled with: the image itself, blurred; its border; a colour; or nothing "
        f"({_ROUND}).  [default: blur]",
        type=values.Ground("blur", "edge", "transparent"),
    )
    boxes: str | None = _option(
        _CROPS,
        "--boxes",
        "Take boxes from JSON lines as --json prints them, and choose nothing: no network is loaded. Inputs are those "
        "of the lines, which need input, ratio and box.",
        type=click.Path(exists=True, dir_okay=False, allow_dash=True),
        metavar="FILE|-",
    )
    cover: bool = _option(
        _VIDEO,
        "--cover",
        "Pull cover frames from videos and crop those. Understood for a video without it; with it an animated "
        "picture (GIF, WebP, APNG, AVIF, HEIC) is a video too, and a sound file gives its cover picture.",
        brief="pull cover frames from videos and crop those",
    )
    covers: int | None = _option(
        _VIDEO,
        "-n --covers",
        "How many cover frames at most, best first.  [default: 3, or 1 for a single output]",
        type=values.Whole("N", 1, MAX_COVERS),
        brief="how many cover frames",
    )
    start_s: float | None = _option(
        _VIDEO, "--start", "Look for covers from this time on: seconds, or 00:01:30.", type=values.Seconds()
    )
    end_s: float | None = _option(_VIDEO, "--end", "And up to this time.", type=values.Seconds())
    scan: str = _option(
        _VIDEO,
        "--scan",
        "How a video is looked through: full decodes all of it, keyframes its I-frames and a moment behind the best. "
        "auto takes keyframes for long videos that have enough of them.",
        type=click.Choice(SCANS),
        default="auto",
    )
    keep_frames: bool = _option(_VIDEO, "--keep-frames", "Also write the whole frames.")
    output: str = _option(
        _OUTPUT,
        "-o --output",
        "A folder (the input tree is mirrored in it), a file (one input, one crop), or - for standard output.",
        default="s2crop-out",
        metavar="PATH",
        brief="folder, file, or - for standard output",
    )
    template: str | None = _option(
        _OUTPUT,
        "--name",
        "File names in the folder. Default: {stem}{cover}_{ratio}{rank}, with _{size} where there are several; also "
        "{ext}, the input's, and {width} and {height}, which follow from --size. Two inputs never write one file.",
        metavar="TEMPLATE",
    )
    fmt: str = _option(
        _OUTPUT, "-f --format", "Output format.", type=values.Format(FORMATS), default="same", brief="output format"
    )
    quality: int | None = _option(
        _OUTPUT,
        "--quality",
        f"1 to 100, of lossy formats.  [default: {DEFAULT_QUALITY}]",
        type=values.Whole("Q", 1, 100),
    )
    metadata: str = _option(
        _OUTPUT,
        "--metadata",
        "What outputs keep of EXIF, XMP and IPTC. rights: creator, credit, copyright, licence and date of taking; "
        "never where or with what.",
        type=click.Choice(METADATA),
        default="rights",
    )
    colour: str = _option(
        _OUTPUT,
        "--colour",
        "Colour profiles: keep them, or convert to sRGB. auto keeps them, but for CMYK and large ones in outputs of up "
        "to 2560 pixels.",
        type=click.Choice(COLOURS),
        default="auto",
    )
    background: str | None = _option(
        _OUTPUT,
        "--background",
        "What transparent pixels are judged on, and laid on in JPEG. auto: white, or black for what is white itself."
        "  [default: auto]",
        type=values.Ground("auto"),
    )
    overwrite: bool = _option(
        _OUTPUT,
        "--overwrite",
        "Replace whatever stands where outputs go. Default: skip what was made from the same input with the same "
        "options, so a batch that was stopped resumes; make again what was edited since or has other options; "
        "report anything else as an error.",
        brief="replace whatever stands where outputs go",
    )
    skip_existing: bool = _option(
        _OUTPUT, "--skip-existing", "Leave whatever stands where outputs go, but for files that are empty or cut off."
    )
    as_json: bool = _option(
        _OUTPUT,
        "--json",
        "One JSON object a line on standard output.",
        brief="one JSON object a line on standard output",
    )
    dry_run: bool = _option(
        _OUTPUT, "--dry-run", "Score and report, write nothing.", brief="score and report, write nothing"
    )
    overlay: bool = _option(
        _OUTPUT,
        "--overlay",
        "For looking: also write each input with its crops drawn on it, and with -v the proposals.",
    )
    heatmap: bool = _option(
        _OUTPUT, "--heatmap", "For looking: also write what the scores rest on, drawn over each input."
    )
    sheet: Path | None = _option(
        _OUTPUT,
        "--sheet",
        "One page with every input and its crops, to look at and to correct; of a --dry-run too.",
        type=click.Path(path_type=Path),
        metavar="FILE.html",
        brief="one page with every input and its crops",
    )
    recursive: bool = _option(
        _INPUT, "-r --recursive", "Walk the folders inside folders too.", brief="walk the folders inside folders too"
    )
    include: tuple[str, ...] = _option(
        _INPUT, "--include", "Only files whose relative path matches. Repeatable.", multiple=True, metavar="GLOB"
    )
    exclude: tuple[str, ...] = _option(
        _INPUT, "--exclude", "No files whose relative path matches. Repeatable.", multiple=True, metavar="GLOB"
    )
    files_from: str | None = _option(
        _INPUT,
        "--files-from",
        "Read input paths from a list, one a line. From - each is done as it comes.",
        type=click.Path(exists=True, dir_okay=False, allow_dash=True),
        metavar="FILE|-",
    )
    null_separated: bool = _option(_INPUT, "-0", "The paths in the list are NUL-separated.")
    shard: tuple[int, int] | None = _option(
        _INPUT,
        "--shard",
        "Do the I-th of N parts of the inputs (job arrays); the N parts together are the whole.",
        type=values.Shard(),
    )
    max_pixels: int = _option(
        _INPUT,
        "--max-pixels",
        "Refuse larger images before decoding.  [default: 200 million]",
        type=values.Whole("N"),
        default=MAX_PIXELS,
    )
    device: str = _option(
        _MODEL,
        "-d --device",
        "auto (CUDA, else CPU), cpu, cuda, cuda:1, mps.  [default: auto]",
        type=values.Device(),
        default="auto",
    )
    batch_size: int | None = _option(
        _MODEL,
        "-b --batch-size",
        "Images scored at once.  [default: 8, or 2 on the CPU, whose caches hold no more]",
        type=values.Whole("N"),
    )
    jobs: int = _option(
        _MODEL,
        "-j --jobs",
        "Threads that decode and encode.  [default: as many as CPUs]",
        type=values.Whole("N"),
        default=cpu_count,
    )
    precision: str = _option(
        _MODEL, "--precision", "Of the network's arithmetic.", type=click.Choice(PRECISIONS), default="auto"
    )
    model: str = _option(_MODEL, "-m --model", "The network.", type=click.Choice(MODELS), default="s2cnet")
    weights: Path | None = _option(
        _MODEL,
        "--weights",
        "A checkpoint of ours or a published S2CNet .pth.",
        type=click.Path(path_type=Path),
        metavar="FILE",
    )
    proposals: str = _option(
        _MODEL, "--proposals", "Where object proposals come from.", type=click.Choice(PROPOSALS), default="auto"
    )
    quiet: bool = _option(_MESSAGES, "-q --quiet", "Say nothing but errors.")
    verbose: bool = _option(
        _MESSAGES, "-v --verbose", "Print the path of each crop written, say more about what happens, show tracebacks."
    )
    no_progress: bool = _option(_MESSAGES, "--no-progress", "No progress bar.")
    log_file: Path | None = _option(
        _MESSAGES,
        "--log-file",
        "Append the messages to a file, with the time.",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="F",
    )

    @property
    def circle(self) -> bool:
        return self.shape == "circle"

    @property
    def is_lossy(self) -> bool:
        """Whether some of what is written may have a quality: crops, or what is drawn of inputs, which is JPEG."""
        return (
            self.fmt == SAME
            or self.overlay
            or self.heatmap
            or any(row.lossy for row in WRITTEN if row.choice == self.fmt)
        )

    @property
    def clear(self) -> bool:
        """Outputs need transparency."""
        return self.circle or self.pad_with == "transparent"

    @property
    def to_stdout(self) -> bool:
        return self.target is Target.STDOUT

    @property
    def folder(self) -> Path | None:
        """Where outputs go; None for a single one."""
        return Path(self.output) if self.target is Target.FOLDER else None

    def request(self) -> "CropRequest":
        """What is asked of every picture."""
        from s2crop.cropping.request import CropRequest

        return CropRequest(
            ratios=self.ratios,
            top=self.top,
            focus=self.focus,
            keep=self.keep,
            protect=self.protect,
            circle=self.circle,
            keep_bars=self.keep_bars,
            min_scale=self.min_scale,
            pad=self.pad,
        )

    def batch(self, protected: Container[Path], stream: BinaryIO | None) -> "BatchOptions":
        """How a run crops and writes.

        Args:
            protected: the inputs, with links followed.
            stream: standard output.
        """
        from s2crop.run.work import BatchOptions

        return BatchOptions(
            request=self.request(),
            jobs=self.jobs,
            batch_size=self.batch_size,
            max_pixels=self.max_pixels,
            sizes=self.sizes,
            no_upscale=self.no_upscale,
            quality=DEFAULT_QUALITY if self.quality is None else self.quality,
            metadata=self.metadata,
            colour=self.colour,
            ground=None if self.background == "auto" else self.background,
            pad_with=self.pad_with or "blur",
            weights=None if self.weights is None else _digest_of_file(self.weights),
            proposals=self.proposals,
            overwrite=self.overwrite,
            skip_existing=self.skip_existing,
            dry_run=self.dry_run,
            protected=protected,
            folder=self.folder,
            stream=stream if self.to_stdout else None,
            stream_format=self.fmt,
            spell=flag,
            overlay_proposals=self.overlay and self.verbose,
            thumbnails=self.sheet is not None,
            covers=self.covers or 1,
            start_s=self.start_s,
            end_s=self.end_s,
            scan=self.scan,
        )


def _digest_of_file(path: Path) -> str:
    import hashlib

    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:16]
    except OSError:  # loading it will say what is wrong
        return str(path)


def flag(name: str) -> str:
    """How users write an option whose Python name is known."""
    flags = {about.name: about.metadata["flags"][-1] for about in fields(Options) if about.metadata}
    return flags.get(name, f"--{name.replace('_', '-')}")


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"s2crop {__version__}")
        ctx.exit()


_VERSION = click.option(
    "-V", "--version", cls=Option, group=_MESSAGES, is_flag=True, is_eager=True, expose_value=False,
    callback=_show_version, help="Show the version and exit.",
)  # fmt: skip
_HELP = click.option(
    "-h", "brief_help", cls=Option, group=_MESSAGES, is_flag=True, is_eager=True, expose_value=False,
    callback=show_brief, help="Show the options that most people need, on one screen.",
)  # fmt: skip


def _declared() -> list[Callable]:
    """The fields of `Options` as click's options, in their order."""
    return [
        click.option(
            *about.metadata["flags"], about.name, cls=Option, group=about.metadata["group"],
            brief=about.metadata["brief"], **about.metadata["click"],
        )
        for about in fields(Options) if about.metadata
    ]  # fmt: skip


OPTIONS = (click.argument("inputs", nargs=-1, metavar="INPUT..."), *_declared(), _VERSION, _HELP)
