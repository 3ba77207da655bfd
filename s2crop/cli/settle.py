"""Whether the options of `s2crop` fit each other, and what follows from them."""

import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from s2crop.choices import DEFAULT_COVERS
from s2crop.cli.declare import declared, is_given
from s2crop.cli.options import Options, Target, flag
from s2crop.files.formats import (
    ALPHA_FORMATS,
    FILE_SUFFIXES,
    SAME,
    WRITTEN,
    Kind,
    can_hold_circles,
    either,
    format_to_write,
)
from s2crop.files.sizes import sizes_of
from s2crop.geometry.ratio import FREE, Ratio, parse_ratio

if TYPE_CHECKING:
    from s2crop.files.sizes import Size
    from s2crop.files.sources import Source


def settle(given: dict[str, Any]) -> Options:
    """Settle ratios, format and kind of output; click.UsageError where options contradict each other.

    Args:
        given: what click read, by the names of the fields.
    """
    given = given | {"sizes": tuple(dict.fromkeys(size for sizes in given["sizes"] for size in sizes))}  # each once
    options = Options(**given | {"ratios": _ratios(given)})
    if options.boxes:
        _check_boxes(replace(options, ratios=given["ratios"]))
    if given["ratios"]:
        _check_inputs(options)
    output = options.output
    if not output:
        raise click.UsageError("--output is empty: give a folder, a file, or - for standard output")
    options = replace(options, target=_target(output))
    if options.target is Target.FILE:
        options = replace(options, fmt=_format_of_file(options))
    elif options.target is Target.FOLDER and os.path.exists(output) and not os.path.isdir(output):
        raise click.UsageError(f"--output {output} exists and is no folder")
    if options.clear and not can_hold_circles(options.fmt):
        name = next(row.name for row in WRITTEN if row.choice == options.fmt)
        wish = "--shape circle" if options.circle else "--pad-with transparent"
        raise click.UsageError(f"{name} has no transparency for {wish}: use {either(ALPHA_FORMATS)}")
    _check_pads(options)
    if options.folder is None:
        if options.template is not None:
            raise click.UsageError("--name is for outputs in a folder, and --output is none")
        for option in ("overlay", "heatmap", "keep_frames"):
            if getattr(options, option):
                raise click.UsageError(f"{flag(option)} writes a picture beside the crops: give --output a folder")
        if (count := options.top * sum(max(1, len(sizes_of(options.sizes, r))) for r in options.ratios)) > 1:
            raise click.UsageError(f"--output {output} takes one crop, and {count} are asked for: give a folder")
    if options.sheet:
        _check_sheet(options, options.sheet)
    if options.overwrite and options.skip_existing:
        raise click.UsageError("--overwrite and --skip-existing contradict each other")
    if sys.stdout is None and (options.to_stdout or options.as_json or options.verbose):
        raise click.UsageError("--json, --verbose and --output - need standard output, which is closed")
    if options.to_stdout and options.as_json:
        raise click.UsageError("--json and the picture (--output -) cannot share standard output")

    _check_needs(options)
    if options.quality is not None and not options.is_lossy:
        raise click.UsageError(f"--quality is for lossy formats, and {options.fmt} loses nothing: leave it out")

    if options.start_s is not None and options.end_s is not None and options.start_s >= options.end_s:
        raise click.UsageError(f"--start {options.start_s:g} is not before --end {options.end_s:g}")
    if not options.inputs and not options.files_from and not options.boxes:
        raise click.UsageError("nothing to crop: give images, folders, globs, - or --files-from")
    return options


def _check_boxes(options: Options) -> None:
    """Whether there is something to choose though boxes are given."""
    given = [
        flag(about.name) for about in declared(options) if about.metadata["chooses"] and is_given(options, about.name)
    ]
    given += ["INPUT"] if options.inputs else []
    if given:
        *first, last = given
        names = f"{', '.join(first)} and {last}" if first else last
        raise click.UsageError(f"--boxes says what to crop, and how: leave out {names}")


def _check_needs(options: Options) -> None:
    """Whether options have beside them what they need to have an effect."""
    for about in declared(options):
        if about.metadata["needs"] and is_given(options, about.name):
            needed, why = about.metadata["needs"]
            if not any(is_given(options, name) for name in needed.split()):
                raise click.UsageError(f"{flag(about.name)} {why}")


def settle_covers(options: Options, sources: "Sequence[Source] | None") -> Options:
    """Settle the number of covers; click.UsageError for options of videos where there is none.

    Args:
        sources: None where they come one by one.
    """
    if sources is not None and all(source.kind is Kind.PICTURE for source in sources):
        for option, given in (
            ("--covers", options.covers), ("--start", options.start_s), ("--end", options.end_s),
            ("--keep-frames", options.keep_frames or None),
        ):  # fmt: skip
            if given is not None:
                raise click.UsageError(f"{option} is for videos, and none is among the inputs")
    elif options.folder is None and (options.covers or 1) > 1:
        raise click.UsageError(
            f"--output {options.output} takes one crop, and {options.covers} covers are asked for: give a folder"
        )
    return replace(options, covers=options.covers or (1 if options.folder is None else DEFAULT_COVERS))


def without_effect(options: Options, names: Sequence[str] | None, outputs: Iterable[Path]) -> list[str]:
    """Lines about options that change nothing here.

    Args:
        names: of the inputs; None where they come one by one.
        outputs: where crops go, if that is known.
    """
    lines = []
    if options.recursive and names is not None and not any(os.path.isdir(name) or has_magic(name) for name in names):
        lines.append("--recursive changes nothing: no folder is among the inputs")
    if options.dry_run:
        lines += [
            f"--dry-run writes no {word}: {flag(name)} changes nothing"
            for name, word in (("overlay", "overlay"), ("heatmap", "heatmap"), ("keep_frames", "frame"))
            if getattr(options, name)
        ]
    if options.quality is not None and options.fmt == SAME and options.folder is not None:
        formats = [format_to_write(suffix) for suffix in {path.suffix for path in outputs}]
        if formats and not any(fmt is None or fmt.lossy for fmt in formats):
            lines.append("--quality changes nothing: no output is of a lossy format")
    return lines


def _ratios(given: dict[str, Any]) -> tuple[Ratio, ...]:
    """The ratios asked for, each once, or those that follow from size and shape."""
    asked: Sequence[Ratio] = list({ratio.label: ratio for ratios in given["ratios"] for ratio in ratios}.values())
    whole = [size for size in given["sizes"] if size.width and size.height]
    if whole:
        asked = _ratios_of_sizes(asked, whole, open_too=len(whole) < len(given["sizes"]))
    if given["shape"] == "circle":
        if any(ratio.value != 1 and ratio.label != FREE for ratio in asked):
            raise click.UsageError(
                "--shape circle makes square crops: leave --ratio out or give square, and --size one number"
            )
        asked = [Ratio("1:1", 1.0)]
    return tuple(asked) or (Ratio(FREE, None),)


def _check_pads(options: Options) -> None:
    """Whether pads do something."""
    if options.pad == "never":
        return
    if all(ratio.value is None for ratio in options.ratios):
        raise click.UsageError(f"--pad {options.pad} fills up to a ratio: give one, as --ratio 1:1")
    if options.pad == "auto" and options.protect == "none" and options.keep is None:
        raise click.UsageError("--pad auto fills up for what is protected, and --protect none leaves nothing")


def _check_inputs(options: Options) -> None:
    """Whether an input is meant to be one more ratio."""
    for text in options.inputs:
        try:
            label = parse_ratio(text).label
        except ValueError:
            continue
        if not os.path.lexists(text):
            several = ",".join([*(ratio.label for ratio in options.ratios), label])
            raise click.UsageError(
                f"there is no file {text}; several ratios go together with commas: --ratio {several}"
            )


def _target(output: str) -> Target:
    if output == "-":
        return Target.STDOUT
    is_folder = output.endswith(("/", os.sep)) or os.path.isdir(output)
    return Target.FILE if not is_folder and Path(output).suffix.lower() in FILE_SUFFIXES else Target.FOLDER


def _check_sheet(options: Options, path: Path) -> None:
    from s2crop.preview import sheet

    if path.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"--sheet {path}: the page is HTML; give a name like crops.html")
    if os.path.isdir(path):
        raise click.UsageError(f"--sheet {path} is a folder; give a name in it")
    if not options.overwrite and not sheet.may_replace(path):
        raise click.UsageError(f"--sheet {path} exists and is none of ours: --overwrite replaces it")


def _ratios_of_sizes(ratios: "Sequence[Ratio]", sizes: "Sequence[Size]", open_too: bool) -> list[Ratio]:
    """The ratios that sizes of a width and a height fix, under the names they were asked for by.

    Sizes that are of one ratio to the pixel share it, that of the plainest.

    Args:
        open_too: there are sizes of one side besides, which any other ratio may have.
    """
    found: dict[str, Ratio] = {}
    for size in sorted(sizes, key=_plainness):
        assert size.width and size.height
        value = size.width / size.height
        if ratios:
            # 1200x628 is what people mean by 1.91, to the pixel.
            fitting = [ratio for ratio in ratios if ratio.value and size.has_ratio(ratio.value)]
            if not fitting:
                raise _contradiction(size, ratios)
            for ratio in fitting:
                found.setdefault(ratio.label, replace(ratio, value=value))
        elif not any(ratio.value and size.has_ratio(ratio.value) for ratio in found.values()):
            divisor = math.gcd(size.width, size.height)
            try:
                ratio = parse_ratio(f"{size.width // divisor}:{size.height // divisor}")
            except ValueError as error:
                raise click.UsageError(f"--size {size}: {error}") from None
            found[ratio.label] = ratio
    if not ratios:
        order = [next(label for label in found if size.has_ratio(found[label].value or 0)) for size in sizes]
        return [found[label] for label in dict.fromkeys(order)]
    if not open_too and len(found) < len(ratios):
        raise _contradiction(sizes[0], ratios)
    return [found.get(ratio.label, ratio) for ratio in ratios]


def _plainness(size: "Size") -> int:
    """Low for sizes whose ratio is one of small numbers."""
    assert size.width and size.height
    return (size.width + size.height) // math.gcd(size.width, size.height)


def _contradiction(size: "Size", ratios: "Sequence[Ratio]") -> click.UsageError:
    labels = ", ".join(ratio.label for ratio in ratios)
    return click.UsageError(f"--size {size} fixes the ratio, and --ratio {labels} asks for another: leave one out")


def _format_of_file(options: Options) -> str:
    written = format_to_write(Path(options.output).suffix)
    if written is None:
        raise click.UsageError(
            f"--output {options.output}: pictures are written as {either(row.choice for row in WRITTEN)}"
        )
    if options.fmt not in (SAME, written.choice):
        raise click.UsageError(f"--output {options.output} and --format {options.fmt} contradict each other")
    return written.choice
