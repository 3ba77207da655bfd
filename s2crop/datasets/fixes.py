"""Corrections as labels: the `fixes.jsonl` of a sheet, whose frames are better than those that were given."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2crop.datasets.rankings import Ranking
from s2crop.errors import InputError
from s2crop.files.boxes import Box, Fault, Line, has_ratio, read_boxes, why_not

PASSED_OVER = (  # why a line teaches nothing, in the order in which it is told
    "of clips",
    "from standard input",
    "padded",
    "refused without a better one",
    "unchanged",
    "of inputs that failed or were skipped",
)


@dataclass(frozen=True)
class Fixes:
    """What a file of corrections says."""

    rankings: list[Ranking]  # of two crops or more: the better ones, and the one that was given
    passed_over: Counter[str]  # lines that teach nothing, by the reason of PASSED_OVER
    concerned: frozenset[tuple[str, str]]  # input and ratio of crops that were corrected or refused

    def text(self) -> str:
        """ "24 corrections, passed over 2 of clips, 1 padded" """
        count = len(self.rankings)
        parts = [f"{self.passed_over[why]} {why}" for why in PASSED_OVER if self.passed_over[why]]
        told = f"{count} correction{'' if count == 1 else 's'}"
        return f"{told}, passed over {', '.join(parts)}" if parts else told


def is_fixes(path: Path) -> bool:
    """Whether a file holds JSON lines of crops, by its suffix or by how it begins; rankings are one JSON list."""
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return True
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:
        return False  # who reads it says what is wrong
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def read_fixes(path: Path) -> Fixes:
    """The corrections of a file of JSON lines as rankings.

    A corrected frame (`box`) is better than the one that was given (`was`), and any crop that the file gives of that
    picture and ratio is better than one that was refused. Nothing is taken to follow from the order of lines.

    Raises:
        InputError: a line is broken.
    """
    lines, passed_over = _lines(path)
    given: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        given.setdefault((line.input, line.ratio.label), []).append(line)
    rankings: dict[tuple, Ranking] = {}  # by what they say: several sizes of a crop say it once
    for line in lines:
        ranking = _ranking(line, given[line.input, line.ratio.label])
        if ranking is None:
            passed_over["refused without a better one" if line.is_refused else "unchanged"] += 1
        else:
            rankings[line.input, line.ratio.label, ranking.candidates.tobytes()] = ranking
    concerned = frozenset((line.input, line.ratio.label) for line in lines if line.is_refused or line.was is not None)
    return Fixes(list(rankings.values()), passed_over, concerned)


def read_accepted(path: Path, concerned: Collection[tuple[str, str]]) -> list[Ranking]:
    """The best crop of each picture and ratio of a file of JSON lines, those alone that nobody corrected or refused.

    Args:
        concerned: input and ratio of those that somebody did.
    Raises:
        InputError: a line is broken.
    """
    lines, _ = _lines(path)
    found = {}
    for line in lines:
        if line.rank == 1 and not line.is_refused and (line.input, line.ratio.label) not in concerned:
            found[line.input, line.ratio.label] = _as_ranking(line, [line.box], None)
    return list(found.values())


def _lines(path: Path) -> tuple[list[Line], Counter[str]]:
    """Lines whose boxes can be compared, and how many others are passed over. Raises InputError."""
    try:
        with path.open("rb", buffering=0) as file:
            found = read_boxes(file, corrections=True)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    passed_over = Counter({"of inputs that failed or were skipped": found.failed + found.without})
    lines: list[Line] = []
    for line in found.lines:
        if why := _useless(line):
            passed_over[why] += 1
        elif why := _wrong(line):
            found.faults.append(Fault(line.number, line.input, why))
        else:
            lines.append(line)
    if found.faults:
        first = min(found.faults)
        more = f" ({len(found.faults) - 1} more lines are broken)" if len(found.faults) > 1 else ""
        raise InputError(f"{path}, line {first.number}: {first.reason}{more}")
    return lines, passed_over


def _useless(line: Line) -> str | None:
    """Why a crop teaches nothing whatever its boxes are."""
    if line.is_clip:
        return "of clips"
    if line.input == "-":
        return "from standard input"
    return "padded" if _padded(line) else None


def _padded(line: Line) -> bool:
    """Whether the crop is filled up to its ratio, or was before: what lies around a box is no part of its features."""
    value = line.ratio.for_size(line.width, line.height) if line.width and line.height else line.ratio.value
    return line.is_padded or (line.was is not None and value is not None and not has_ratio(line.was, value))


def _wrong(line: Line) -> str | None:
    """Why the boxes of a line cannot be."""
    if line.width is None or line.height is None:
        return "width and height are missing, without which boxes are no shares of the picture"
    size_wh = line.width, line.height
    was = line.was
    if was is not None and (was[2] > size_wh[0] or was[3] > size_wh[1]):
        return f"what it was, {list(was)}, does not lie in the picture of {size_wh[0]}x{size_wh[1]}"
    return why_not(line, size_wh)


def _ranking(line: Line, given: list[Line]) -> Ranking | None:
    """What a line says of crops, beside all lines of that picture and ratio; None if nothing."""
    worse = line.was if line.was is not None else line.box if line.is_refused else None
    better = [line.box]
    if line.is_refused:
        better += [one.box for one in given if not one.is_refused]
    better = [box for box in dict.fromkeys(better) if box != worse]
    if worse is None or not better:
        return None
    return _as_ranking(line, better, worse)


def _as_ranking(line: Line, better: list[Box], worse: Box | None) -> Ranking:
    assert line.width is not None and line.height is not None  # checked by _wrong
    last = len(better)
    return Ranking(
        line.input,
        line.ratio.label,
        np.array([*better, *([worse] if worse else [])], float) / np.tile((line.width, line.height), 2),
        (tuple(range(last)), *([(last,)] if worse else [])),
        frozenset({last} if line.is_refused else ()),
        (line.width, line.height),
    )
