"""The inputs of a run of `s2crop`: which they are, and where their crops go."""

import io
import os
import stat
import sys
from collections import Counter
from collections.abc import Container, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import click

from s2crop.cli.handover import filters, naming
from s2crop.cli.options import Options
from s2crop.errors import InputError

if TYPE_CHECKING:
    from s2crop.files.plan import Plan
    from s2crop.files.sources import Source
    from s2crop.run.incoming import Listed, Recent, Streamed

_REMEMBERED = 20_000  # inputs of an endless list that are kept in mind, to tell names apart: some 20 MB
_BOTH = "standard input is either the list of --files-from or a picture, not both"


def names_of(options: Options) -> list[str]:
    """Of the inputs given, and of those in the list."""
    from s2crop.files.sources import read_file_list

    names = list(options.inputs)
    check_protected(options, _list_file(options))  # before anything is told, of a list without names too
    if options.files_from:
        with opened(options.files_from) as stream:
            names += read_file_list(stream, options.null_separated)
        if "-" in names and options.files_from == "-":
            raise click.UsageError(_BOTH)
    return names


def opened(name: str) -> BinaryIO:
    """A file that has a list in it, or standard input ("-"); nothing is in that where it was closed from the start."""
    if name == "-" and sys.stdin is None:
        return io.BytesIO()
    return cast("BinaryIO", click.open_file(name, "rb"))


def found(options: Options, names: Sequence[str], passed_over: Counter[str]) -> "list[Source]":
    from s2crop.files.sources import find_sources

    return find_sources(names, **filters(options, passed_over))


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


def listed(
    options: Options, sources: "list[Source]", plans: "list[Plan]", stdin_error: InputError | None
) -> "tuple[Listed, frozenset[Path]]":
    """Our part of the inputs, and the files that must not be written."""
    from s2crop.run.incoming import Listed

    protected = frozenset(source.real for source in sources if source.real is not None) | _list_file(options)
    check_protected(options, protected)
    ours = [i for i, source in enumerate(sources) if source.is_in_part(*(options.shard or (1, 1)))]
    return Listed([sources[i] for i in ours], [plans[i] for i in ours], stdin_error=stdin_error), protected


def _list_file(options: Options) -> frozenset[Path]:
    """The file of --files-from, with links followed; none where that is standard input, a pipe or a terminal."""
    name = options.files_from or "-"
    return frozenset([Path(os.path.realpath(name))] if name != "-" and os.path.isfile(name) else [])


def check_protected(options: Options, protected: Container[Path]) -> None:
    """Whether messages or the sheet would be written to an input, or to the list of inputs."""
    for option, path in (("--log-file", options.log_file), ("--sheet", options.sheet)):
        if path and (Path(os.path.realpath(path)) in protected or _is_read(path, options)):
            raise click.UsageError(f"{option} {path} is an input")


def _is_read(path: Path, options: Options) -> bool:
    """Whether a file is what names or boxes on standard input come from: what is added to it would be read as well."""
    if "-" not in (options.files_from, options.boxes) or sys.stdin is None:
        return False
    try:
        read = os.fstat(sys.stdin.fileno())
        return stat.S_ISREG(read.st_mode) and os.path.samestat(read, os.stat(path))
    except (OSError, ValueError):  # the file is not there yet; standard input is none of the system's
        return False


def streamed(options: Options, passed_over: Counter[str]) -> "tuple[Streamed, Recent]":
    """The inputs given and, as they come, those named on standard input; and the files that must not be written."""
    from s2crop.files.names import Namer, Strangers
    from s2crop.files.sources import NameStream, Source, find_sources
    from s2crop.run.incoming import Recent, Streamed

    if "-" in options.inputs:
        raise click.UsageError(_BOTH)
    check_protected(options, frozenset())

    def find(name: str) -> list[Source]:
        if name == "-":  # standard input is taken: a file of that name
            return [Source(name, Path(name), Path(name))]
        return find_sources([name], **filters(options, passed_over))

    try:
        Namer(options.ratios, options.top, **naming(options)).plan(Source("a.jpg", Path("a.jpg"), Path("a.jpg")))
    except ValueError as error:
        raise click.UsageError(f"--name: {error}") from None
    namer = Namer(options.ratios, options.top, **naming(options), remember=_REMEMBERED)
    stream = opened("-")
    protected = Recent(_REMEMBERED)
    names = NameStream(stream, options.null_separated, options.inputs)
    # With these options what stands at an output's place is settled there.
    owners = None if options.overwrite or options.skip_existing else Strangers(_REMEMBERED)
    plan = partial(namer.plan, owners=owners)
    return Streamed(names, find, plan, protected, options.shard or (1, 1)), protected


def plans_of(options: Options, sources: "Sequence[Source]") -> "list[Plan]":
    from s2crop.files.names import plan_names
    from s2crop.files.plan import STDOUT, Plan

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
