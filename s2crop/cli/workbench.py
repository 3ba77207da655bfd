"""The commands `s2crop-eval` and `s2crop-train`: for those who measure and train."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from s2crop import __version__
from s2crop.choices import GAICD_SPLITS, MODELS, PADS, PRECISIONS, PROPOSALS, SPLITS
from s2crop.cli import loading, values
from s2crop.cli.help import with_options
from s2crop.cli.messages import is_terminal
from s2crop.cli.options import flag
from s2crop.cli.status import INTERRUPTED, SOME_FAILED, UNUSABLE
from s2crop.errors import DeviceError, S2CropError, WeightsError
from s2crop.report import one_line


def _run(job: Callable[[], None]) -> None:
    """Run a job; an error of the world's is one line and an exit status, a bug keeps its traceback."""
    try:
        job()
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except S2CropError as error:
        click.echo(one_line(error.spelled(flag)), err=True)
        sys.exit(UNUSABLE if isinstance(error, (WeightsError, DeviceError)) else SOME_FAILED)


_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(context_settings=_HELP)
@click.version_option(__version__, "-V", "--version")
def evaluate() -> None:
    """Measure a model on labelled pictures, print a table, and with --results keep the figures in a JSON file.

    `s2crop-eval COMMAND --help` says what data a command reads.
    """


def _measure(
    name: str,
    *where: Path,
    results: Path | None,
    key: str | None,
    model: str,
    weights: Path | None,
    device: str,
    proposals: str = "auto",
    precision: str = "auto",
    **options: Any,
) -> None:
    """Run the evaluation `s2crop.evaluation.NAME` and print its table."""
    import json
    from importlib import import_module

    from s2crop.evaluation.tables import key_of
    from s2crop.files.picture import lift_pillow_limits

    lift_pillow_limits()

    measure = import_module(f"s2crop.evaluation.{name}")
    cropper = loading.load_cropper(model, weights, device, precision, proposals).loaded

    def progress(done: int, total: int) -> None:
        if is_terminal(sys.stderr):
            click.echo(f"\r{done}/{total}", nl=done == total, err=True)

    result = measure.evaluate(cropper, *where, progress=progress, **options)
    click.echo(f"{result['data']}, {result['split']} split, {result['pictures']} pictures")
    click.echo(measure.table(result))
    if results:
        kept = json.loads(results.read_text()) if results.exists() else {}
        results.write_text(json.dumps(kept | {key_of(key or name, model): result}, indent=1) + "\n")


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_SPLIT_OPTIONS = (
    click.option(
        "--split",
        type=click.Choice(SPLITS),
        default="validation",
        show_default=True,
        help="Photos to measure on: those that the shipped recipes hold out, the others, or all.",
    ),
    click.option("--fold", type=click.IntRange(0, 6), default=0, show_default=True, help="Which part is held out."),
)
_MEASURE_OPTIONS = (
    click.option(
        "--results",
        type=click.Path(path_type=Path),
        help="JSON file to keep the figures in, under the command's name and, except for s2cnet, the model's.",
    ),
    click.option("--key", help="Name to keep the figures under, in place of the command's."),
    click.option("-m", "--model", type=click.Choice(MODELS), default="s2cnet", show_default=True, help="The network."),
    click.option(
        "--weights",
        type=_FILE,
        help="A checkpoint in place of the shipped weights: one of ours or a published S2CNet .pth.",
    ),
    click.option(
        "-d",
        "--device",
        type=values.Device(),
        default="auto",
        show_default=True,
        help="Where the network runs: auto (CUDA, else CPU), cpu, cuda, cuda:1, mps.",
    ),
)
_PIXEL_OPTIONS = (  # of what looks at pictures
    click.option(
        "--proposals",
        type=click.Choice(PROPOSALS),
        default="auto",
        show_default=True,
        help="Where object proposals come from.",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="auto",
        show_default=True,
        help="Precision of the backbone's arithmetic.",
    ),
)


@evaluate.command(short_help="SRCC, PCC, ACC5 and ACC10 on a data set laid out as GAICD.")
@click.argument("folder", type=_FOLDER)
@click.option(
    "--split",
    type=click.Choice(GAICD_SPLITS),
    default="test",
    show_default=True,
    help="Which part of the data: a folder below images/.",
)
@click.option("--own-proposals", is_flag=True, help="Use the model's own proposals even where bbox/ has some.")
@with_options(_MEASURE_OPTIONS + _PIXEL_OPTIONS)
def gaic(folder: Path, **options: Any) -> None:
    """SRCC, PCC, ACC5 and ACC10 on a data set laid out as GAICD: images/, annotations/, bbox/."""
    _run(lambda: _measure("gaic", folder, **options))


@evaluate.command(short_help="SRCC, PCC, ACC5 and ACC10 from boxes and proposals alone.")
@click.argument("boxes", type=_FILE)
@with_options(_SPLIT_OPTIONS + _MEASURE_OPTIONS)
def boxes(boxes: Path, **options: Any) -> None:
    """SRCC, PCC, ACC5 and ACC10 on rated crops without their pictures: from boxes and proposals alone.

    BOXES is a JSON list of {id, width, height, proposals, candidates, mos}, boxes in fractions.
    """
    _run(lambda: _measure("boxes", boxes, **options))


@evaluate.command(short_help="Agreement with the crops and votes of FCDB.")
@click.argument("photos", type=_FOLDER)
@click.argument("labels", type=_FILE)
@with_options(_SPLIT_OPTIONS + _MEASURE_OPTIONS + _PIXEL_OPTIONS)
def fcdb(photos: Path, labels: Path, **options: Any) -> None:
    """IoU, Disp and agreement with voted pairs on FCDB, beside constant boxes.

    PHOTOS holds <id>.webp, .jpg or .png; LABELS is a JSON list of {id, width, height, best, pairs}.
    """
    _run(lambda: _measure("fcdb", photos, labels, **options))


@evaluate.command(short_help="How often crops cut or lose faces, text, persons and subjects.")
@click.argument("photos", type=_FOLDER)
@click.argument("boxes", type=_FILE)
@click.option("--masks", type=_FILE, help="An .npz with a mask of the subject of each photo.")
@click.option(
    "--pad",
    type=click.Choice(PADS),
    default="never",
    show_default=True,
    help="Measure crops that are padded as by `s2crop --pad`, in place of others'.",
)
@with_options(_SPLIT_OPTIONS + _MEASURE_OPTIONS + _PIXEL_OPTIONS)
def integrity(photos: Path, boxes: Path, **options: Any) -> None:
    """How often crops of 1:1, 16:9, 9:16 and 4:5 cut or lose faces, text, heads, persons, main things, beside others'.

    BOXES is JSON, gzipped or not: {id: [{box, score, kind}, ...]}, boxes in fractions of the photo; or
    {id: {heads: [{box, kind}, ...], head: box, person: box, main: [box, ...], core: box}} of what was marked.
    PHOTOS is searched with its subfolders.
    """
    _run(lambda: _measure("integrity", photos, boxes, **options))


@evaluate.command(short_help="Agreement with ranked or corrected crops.")
@click.argument("rankings", type=_FILE)
@click.argument("photos", type=_FOLDER)
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    help="Photos to measure on: those that the shipped recipes hold out (the default for rankings), the others, or all "
    "(the default for corrections).",
)
@with_options(_SPLIT_OPTIONS[1:] + _MEASURE_OPTIONS + _PIXEL_OPTIONS)
def editor(rankings: Path, photos: Path, **options: Any) -> None:
    """Agreement with an editor who ranked crops of one ratio, or who corrected crops, beside other croppers.

    RANKINGS is a JSON list of {photo, ratio, candidates, rank, bad}, boxes in fractions, and PHOTOS is searched in
    depth; or it is the fixes.jsonl of a sheet, whose inputs lie in PHOTOS or, as they were named, below the current
    folder.
    """
    _run(lambda: _measure("editor", rankings, photos, **options))


@click.command(context_settings=_HELP)
@click.argument("recipe")
@click.option(
    "--data",
    type=_FOLDER,
    required=True,
    help="Folder of training data, laid out as s2crop/datasets/photos.py says; for tune, the folder with fixes.jsonl "
    "and the photos.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="runs",
    show_default=True,
    help="Folder for runs; each goes into a subfolder named after its recipe.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the recipe, such as network.num_proposals=8 or training.seed=1. Repeatable.",
)
@click.option("--resume", is_flag=True, help="Resume from the last checkpoint of this run.")
@click.option(
    "-d",
    "--device",
    type=values.Device(),
    default="auto",
    show_default=True,
    help="Where to train: auto (CUDA, else CPU), cpu, cuda, cuda:1, mps.",
)
@click.option(
    "--sanity",
    is_flag=True,
    help="Overfit ten pictures, in about a minute: a training that cannot is broken. For s2cnet, sfrc, "
    "asmnet and the papers' own trainings.",
)
@click.option(
    "--folds",
    type=click.IntRange(2, 7),
    help="Cross-validate: train this many times, each time with other photos held out, and measure on those.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: torch's choice.")
@click.version_option(__version__, "-V", "--version")
def train(
    recipe: str,
    data: Path,
    out: Path,
    changes: tuple[str, ...],
    resume: bool,
    device: str,
    sanity: bool,
    folds: int | None,
    threads: int | None,
) -> None:
    """Train RECIPE, the name of a shipped recipe or a TOML file.

    Shipped: proposals, subjects, text, animals, appeal, s2cnet, sfrc, asmnet, choice; tune, for corrections made on a
    sheet; s2cnet-gaic, sfrc-gaic and asmnet-gaic, for data in GAICD's layout.
    """

    def job() -> None:
        from s2crop.evaluation import fcdb, gaic
        from s2crop.training.recipe import run_recipe

        if threads:
            import torch

            torch.set_num_threads(threads)
        run_recipe(
            recipe,
            data,
            out,
            evaluations={"fcdb": fcdb.evaluate, "gaic": gaic.evaluate},
            resume=resume,
            changes=changes,
            device=device,
            sanity=sanity,
            folds=folds or 0,
            report=click.echo,
        )

    _run(job)
