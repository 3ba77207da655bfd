"""Runs of `s2crop` whose boxes are given: what the file of --boxes makes of the options, and the inputs it names."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from s2crop.cli.handover import naming
from s2crop.cli.inputs import check_protected, opened, received
from s2crop.cli.options import Options
from s2crop.cli.settle import settle_covers
from s2crop.files.boxes import Boxes, read_boxes
from s2crop.files.given import Given, group
from s2crop.files.names import Namer
from s2crop.files.plan import STDOUT, Plan
from s2crop.geometry.ratio import Ratio
from s2crop.report import ERROR, Record
from s2crop.run.incoming import Listed

_MOST_TOLD = 100  # lines of which not even the input can be read that are told of, each by itself


def read(options: Options) -> Boxes:
    """Read the file of --boxes."""
    assert options.boxes is not None
    with opened(options.boxes) as stream:
        return read_boxes(stream)


def settled(options: Options, boxes: Boxes, cleanup: ExitStack) -> tuple[Options, Listed, frozenset[Path]]:
    """The options with what follows from the boxes, our part of the inputs, and the files that must not be written.

    Lines that contradict others become faults.
    """
    inputs = group(boxes, options.folder, options.template, stdin=options.boxes != "-")
    sources = [given.source for given in inputs]
    lines = [line for given in inputs for line in given.lines]
    if inputs:
        ratios = tuple({line.ratio.label: _as_sized(line.ratio, options) for line in lines}.values())
        top = max(max(line.rank for line in lines), *(1 + given.has_ranks for given in inputs))
        options = settle_covers(replace(options, ratios=ratios, top=top), sources)
    protected = frozenset(source.real for source in sources if source.real is not None)
    if options.boxes != "-":
        protected |= {Path(os.path.realpath(options.boxes or ""))}
    check_protected(options, protected)
    sources, stdin_error = received(options, sources, cleanup)
    for given, source in zip(inputs, sources, strict=True):
        given.source = source
    plans = _plans(options, inputs)
    own = [i for i, source in enumerate(sources) if source.is_in_part(*(options.shard or (1, 1)))]
    listed = Listed([sources[i] for i in own], [plans[i] for i in own], [inputs[i] for i in own], stdin_error)
    listed.seen = len(inputs)
    return options, listed, protected


def fault_records(options: Options, boxes: Boxes) -> list[Record]:
    """The lines that cannot be used; of several parts the first tells of them."""
    if options.shard and options.shard[0] > 1:
        return []
    name = options.boxes or ""
    records, untold = [], 0
    for fault in sorted(boxes.faults):
        untold += fault.input is None
        if fault.input is not None or untold <= _MOST_TOLD:
            reason = f"line {fault.number}: {fault.reason}"
            records.append(Record(input=fault.input or name, status=ERROR, error=reason))
    if untold > _MOST_TOLD:
        records.append(Record(input=name, status=ERROR, error=f"{untold - _MOST_TOLD} more lines cannot be used"))
    return records


def _as_sized(ratio: Ratio, options: Options) -> Ratio:
    """A ratio with the value that the size of outputs fixes, if it fixes one."""
    whole = [size for size in options.sizes if size.width and size.height]
    if len(options.sizes) > 1:
        whole = [size for size in whole if ratio.value and size.has_ratio(ratio.value)]
    return replace(ratio, value=whole[0].width / whole[0].height) if whole else ratio  # type: ignore[operator]


def _plans(options: Options, inputs: Sequence[Given]) -> list[Plan]:
    if options.folder is None:
        return _single_plan(options, inputs)
    try:
        namer = Namer(options.ratios, options.top, **naming(options))
        return [namer.plan(given.source, given.crops) for given in inputs]
    except ValueError as error:
        raise click.UsageError(f"--name: {error}") from None


def _single_plan(options: Options, inputs: Sequence[Given]) -> list[Plan]:
    count = max(1, len(options.sizes)) * sum(len(given.lines) for given in inputs)
    if count > 1:
        raise click.UsageError(f"--output {options.output} takes one crop, and {count} are given: give a folder")
    plans = []
    for given in inputs:
        ((cover, (crop,)),) = given.crops.items()
        plan = Plan({crop: STDOUT if options.to_stdout else Path(options.output)})
        plans.append(plan if cover is None else Plan(covers=(Plan(),) * (cover - 1) + (plan,)))
    return plans
