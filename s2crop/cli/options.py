"""The options of `s2crop`: one frozen `Options`, what each is called and what it means."""

from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

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
from s2crop.cli.declare import flag_of, option
from s2crop.cli.loading import cpu_count
from s2crop.files.formats import (
    FORMATS,
    SAME,
    WRITTEN,
)
from s2crop.geometry.ratio import Ratio

if TYPE_CHECKING:
    from s2crop.files.sizes import Size

_CROPS, _VIDEO, _OUTPUT, _INPUT = "Crops", "Videos", "Output", "Input"
_MODEL, _MESSAGES = "Model and throughput", "Messages and help"
_ROUND = ", ".join(row.name for row in WRITTEN if row.alpha)  # formats for circles


class Target(Enum):
    """What --output names."""

    FOLDER = "folder"
    FILE = "file"
    STDOUT = "standard output"


_choosing = partial(option, chooses=True)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user asked for; `settle.settle` makes it of what click read."""

    inputs: tuple[str, ...] = ()
    target: Target = Target.FOLDER  # follows from `output`

    ratios: tuple[Ratio, ...] = _choosing(
        _CROPS,
        "-a --ratio",
        "Aspect ratio: 16:9, 4x3, 1.91, square, original, free. Repeatable, commas allowed. Default: free, the best of "
        "any ratio. All ratios of an image cost one pass through the backbone.",
        type=values.Ratios(),
        multiple=True,
        brief="16:9, 4x3, square, original, free; commas allowed",
    )
    sizes: "tuple[Size, ...]" = option(
        _CROPS,
        "-s --size",
        "Exact output size in pixels: 640 (width), x360 (height), 640x360 (also fixes the ratio). Repeatable, commas "
        "allowed: each crop comes in each size.",
        type=values.Sizes(),
        multiple=True,
        brief="exact size in pixels: 640, x360 or 640x360",
    )
    no_upscale: bool = option(
        _CROPS,
        "--no-upscale",
        "Leave crops that are smaller than the size as they are.",
        needs=("sizes", "is about crops that are smaller than --size: give that too"),
    )
    top: int = _choosing(
        _CROPS,
        "-k --top",
        "Give the K best distinct crops for each ratio, ranked.",
        type=values.Whole("K", 1, MAX_TOP),
        default=1,
        brief="the K best crops for each ratio",
    )
    shape: str = option(
        _CROPS,
        "--shape",
        f"circle: square crops with transparent corners ({_ROUND}); faces and text are kept inside the circle.",
        type=click.Choice(SHAPES),
        default="rect",
    )
    focus: tuple[float, float] | None = _choosing(
        _CROPS,
        "--focus",
        "A point that every crop must contain: in pixels of the upright image, in per cent, or in fractions if no "
        "number is above 1.",
        type=values.Numbers("X,Y"),
    )
    keep: tuple[float, float, float, float] | None = _choosing(
        _CROPS,
        "--keep",
        "A box that every crop must contain, in the same units as --focus.",
        type=values.Numbers("X,Y,W,H"),
    )
    protect: str = _choosing(
        _CROPS,
        "--protect",
        "What a crop should not cut through.",
        type=click.Choice(PROTECT),
        default="all",
        brief="what not to cut: none, face, text, subject, all",
    )
    keep_bars: bool = option(
        _CROPS,
        "--keep-bars",
        "Even bars at the edges, black, white or grey, count as part of the picture. Default: crops leave them out.",
    )
    min_scale: float = _choosing(
        _CROPS,
        "--min-scale",
        "The smallest crop allowed, as a share of the sides of the largest one of its ratio; 1 is as large as possible."
        "  [default: 0, whatever is best]",
        type=values.Share(),
        default=0.0,
    )
    pad: str = _choosing(
        _CROPS,
        "--pad",
        "Fill up to the ratio instead of cutting. auto: where a crop would cut or lose something that matters of what "
        "--protect names; always: every image, kept whole.",
        type=click.Choice(PADS),
        default="never",
    )
    pad_with: str | None = option(
        _CROPS,
        "--pad-with",
        "What pads are filled with: the image itself, blurred, or its ground where that is plain; its border; a "
        f"colour; or nothing ({_ROUND}).  [default: blur]",
        type=values.Ground("blur", "edge", "transparent"),
        needs=("pad boxes", "says what pads are filled with: give --pad auto or always too"),
    )
    boxes: str | None = option(
        _CROPS,
        "--boxes",
        "Crop to the boxes in these JSON lines, as --json prints them, and choose nothing: no network is loaded. The "
        "lines name the inputs; they need input, ratio and box.",
        type=click.Path(exists=True, dir_okay=False, allow_dash=True),
        metavar="FILE|-",
    )
    cover: bool = _choosing(
        _VIDEO,
        "--cover",
        "Pull cover frames from videos and crop those. Video files need no --cover; with it an animated picture (GIF, "
        "WebP, APNG, AVIF, HEIC) counts as a video too, and a sound file gives its cover picture.",
        brief="pull cover frames from videos and crop those",
    )
    covers: int | None = _choosing(
        _VIDEO,
        "-n --covers",
        "How many cover frames at most, best first.  [default: 3, or 1 for a single output]",
        type=values.Whole("N", 1, MAX_COVERS),
        brief="how many cover frames of each video",
    )
    start_s: float | None = _choosing(
        _VIDEO, "--start", "Look for covers from this time on: seconds, or 00:01:30.", type=values.Seconds()
    )
    end_s: float | None = _choosing(_VIDEO, "--end", "Look for covers up to this time.", type=values.Seconds())
    scan: str = _choosing(
        _VIDEO,
        "--scan",
        "How a video is searched for covers. full: decode all of it; keyframes: decode its I-frames, and a moment "
        "after each of the best; auto: keyframes for long videos that have enough of them.",
        type=click.Choice(SCANS),
        default="auto",
    )
    keep_frames: bool = option(_VIDEO, "--keep-frames", "Also write each cover frame whole.")
    output: str = option(
        _OUTPUT,
        "-o --output",
        "A folder (the input tree is mirrored in it), a file (one input, one crop), or - for standard output.",
        default="s2crop-out",
        metavar="PATH",
        brief="folder, file, or - for standard output",
    )
    template: str | None = option(
        _OUTPUT,
        "--name",
        "Template of file names in the folder. Default: {stem}{cover}_{ratio}{rank}, with _{size} where there are "
        "several; also {ext}, the input's, and {width} and {height}, which follow from --size. Two inputs never write "
        "one file.",
        metavar="TEMPLATE",
    )
    fmt: str = option(
        _OUTPUT,
        "-f --format",
        "Output format.",
        type=values.Format(FORMATS),
        default="same",
        brief="same, jpg, png, webp, avif",
    )
    quality: int | None = option(
        _OUTPUT,
        "--quality",
        f"Quality of lossy formats, 1 to 100.  [default: {DEFAULT_QUALITY}]",
        type=values.Whole("Q", 1, 100),
    )
    metadata: str = option(
        _OUTPUT,
        "--metadata",
        "What outputs keep of EXIF, XMP and IPTC. rights: creator, credit, copyright, licence and date of taking; "
        "never where or with what.",
        type=click.Choice(METADATA),
        default="rights",
    )
    colour: str = option(
        _OUTPUT,
        "--colour",
        "What becomes of colour profiles: keep them, or convert to sRGB. auto keeps them, except CMYK and large ones "
        "in outputs of up to 2560 pixels.",
        type=click.Choice(COLOURS),
        default="auto",
    )
    background: str | None = option(
        _OUTPUT,
        "--background",
        "What transparent pixels lie on, for scoring and in JPEG. auto: white, or black where the picture itself is "
        "white.  [default: auto]",
        type=values.Ground("auto"),
    )
    overwrite: bool = option(
        _OUTPUT,
        "--overwrite",
        "Replace whatever stands where outputs go. Default: what was made from the same input with the same options is "
        "skipped, so a batch that was stopped resumes; what was made from an earlier version of the input, or with "
        "other options, is made again; anything else is an error.",
        brief="replace whatever stands where outputs go",
    )
    skip_existing: bool = option(
        _OUTPUT, "--skip-existing", "Leave whatever stands where outputs go, except files that are empty or cut off."
    )
    as_json: bool = option(
        _OUTPUT,
        "--json",
        "Print one JSON object a line on standard output: one for each crop, one for each input that failed.",
        brief="one JSON object a line on standard output",
    )
    dry_run: bool = option(
        _OUTPUT, "--dry-run", "Score and report, write nothing.", brief="score and report, write nothing"
    )
    overlay: bool = option(
        _OUTPUT,
        "--overlay",
        "Also write each input with its crops drawn on it; with -v, the proposals too.",
    )
    heatmap: bool = _choosing(_OUTPUT, "--heatmap", "Also write what drove the score, drawn over each input.")
    sheet: Path | None = option(
        _OUTPUT,
        "--sheet",
        "One page with every input and its crops, to look at and to correct. --dry-run writes it too.",
        type=click.Path(path_type=Path),
        metavar="FILE.html",
        brief="one page with every input and its crops",
    )
    recursive: bool = _choosing(_INPUT, "-r --recursive", "Walk subfolders too.", brief="walk subfolders too")
    include: tuple[str, ...] = _choosing(
        _INPUT, "--include", "Only files whose relative path matches. Repeatable.", multiple=True, metavar="GLOB"
    )
    exclude: tuple[str, ...] = _choosing(
        _INPUT, "--exclude", "No files whose relative path matches. Repeatable.", multiple=True, metavar="GLOB"
    )
    files_from: str | None = _choosing(
        _INPUT,
        "--files-from",
        "Read input paths from a list, one a line. From -, each is cropped as it comes.",
        type=click.Path(exists=True, dir_okay=False, allow_dash=True),
        metavar="FILE|-",
    )
    null_separated: bool = _choosing(
        _INPUT,
        "-0",
        "The paths in the list are NUL-separated.",
        needs=("files_from", "says how the list of --files-from is separated: give --files-from too"),
    )
    shard: tuple[int, int] | None = option(
        _INPUT,
        "--shard",
        "Do part I of N of the inputs, for job arrays; the N parts together are the whole.",
        type=values.Shard(),
    )
    max_pixels: int = option(
        _INPUT,
        "--max-pixels",
        "Refuse images of more pixels before decoding them.  [default: 200 million]",
        type=values.Whole("N"),
        default=MAX_PIXELS,
    )
    device: str = _choosing(
        _MODEL,
        "-d --device",
        "Where the network runs: auto (CUDA, else CPU), cpu, cuda, cuda:1, mps.  [default: auto]",
        type=values.Device(),
        default="auto",
    )
    batch_size: int | None = _choosing(
        _MODEL,
        "-b --batch-size",
        "Images scored at once.  [default: 8, or 2 on the CPU, whose caches hold no more]",
        type=values.Whole("N"),
    )
    jobs: int = option(
        _MODEL,
        "-j --jobs",
        "Threads that decode and encode.  [default: as many as CPUs]",
        type=values.Whole("N"),
        default=cpu_count,
    )
    precision: str = _choosing(
        _MODEL, "--precision", "Precision of the network's arithmetic.", type=click.Choice(PRECISIONS), default="auto"
    )
    model: str = _choosing(
        _MODEL, "-m --model", "The network that scores crops.", type=click.Choice(MODELS), default="s2cnet"
    )
    weights: Path | None = _choosing(
        _MODEL,
        "--weights",
        "A checkpoint in place of the shipped weights: one of ours or a published S2CNet .pth.",
        type=click.Path(path_type=Path),
        metavar="FILE",
    )
    proposals: str = _choosing(
        _MODEL, "--proposals", "Where object proposals come from.", type=click.Choice(PROPOSALS), default="auto"
    )
    quiet: bool = option(_MESSAGES, "-q --quiet", "Print nothing but errors.")
    verbose: bool = option(
        _MESSAGES, "-v --verbose", "Print the path of each crop written, say more about what happens, show tracebacks."
    )
    no_progress: bool = option(_MESSAGES, "--no-progress", "Show no progress bar.")
    log_file: Path | None = option(
        _MESSAGES,
        "--log-file",
        "Append the messages to a file, each with its time.",
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


def flag(name: str) -> str:
    """How users write an option whose Python name is known."""
    return flag_of(Options, name)
