"""Inputs whose boxes are given: what belongs to one input, and its place in the tree that outputs mirror."""

import os
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from s2crop.choices import DEFAULT_TEMPLATE, MAX_COVERS
from s2crop.files.boxes import Boxes, Fault, Line
from s2crop.files.formats import Kind
from s2crop.files.lengths import cut_in
from s2crop.files.sources import Source, content, place_of

_TAG = re.compile(r"_(\d{1,9})", re.ASCII)  # a number that tells inputs of one name apart


@dataclass
class Given:
    """What is given of one input: a picture, or a clip, of which some frames are covers."""

    source: Source
    lines: list[Line]  # in their order
    ranks: dict[tuple[float | None, bool], int] = field(default_factory=dict)  # moment -> cover, from 1
    has_ranks: bool = False  # the run that chose gave its outputs ranks in their names

    @property
    def covers(self) -> dict[int | None, list[Line]]:
        """The lines of each cover, best first; of a picture under None."""
        found: dict[int | None, list[Line]] = {}
        for line in sorted(self.lines, key=lambda line: self.ranks.get(line.moment, 0)):
            found.setdefault(self.ranks.get(line.moment), []).append(line)
        return found

    @property
    def crops(self) -> dict[int | None, list[tuple[str, int]]]:
        """Ratio label and rank of each crop, by cover."""
        return {cover: [(line.ratio.label, line.rank) for line in lines] for cover, lines in self.covers.items()}


def group(boxes: Boxes, folder: Path | None, template: str | None = None, stdin: bool = True) -> list[Given]:
    """The inputs in the order of their first lines; lines that say the same twice become faults.

    Args:
        folder: that outputs go to, if to one.
        template: of their names.
        stdin: standard input may be one of them.
    """
    folders: dict[Path, str] = {}
    found: dict[tuple[str, bool], Given] = {}
    seen: dict[tuple, Line] = {}
    for line in boxes.lines:
        if line.input == "-" and (line.is_clip or not stdin):
            boxes.faults.append(Fault(line.number, line.input, "standard input has no picture to crop"))
            continue
        source = _source(line, folders)
        place = "-" if source.path is None else place_of(source, folders)
        what = place, line.moment if line.is_clip else None, line.ratio.label, line.rank
        if what in seen and line.size is not None and line.box == seen[what].box:
            continue  # another size of the same crop
        if what in seen:
            also = f"{line.ratio.label} of rank {line.rank} of this input is given by line {seen[what].number} already"
            boxes.faults.append(Fault(line.number, line.input, also))
            continue
        seen[what] = line
        if (place, line.is_clip) not in found:
            real = Path(os.path.realpath(place) if os.path.islink(place) else place)
            if source.path is not None:
                inside = None if line.is_clip else content(source.path)
                source = replace(source, real=real, inside=inside)
            found[place, line.is_clip] = Given(source, [])
        found[place, line.is_clip].lines.append(line)
    for given in found.values():
        boxes.faults += _rank_covers(given)
    inputs = [given for given in found.values() if given.lines]
    _place(inputs, folder, [template or DEFAULT_TEMPLATE, DEFAULT_TEMPLATE, f"{DEFAULT_TEMPLATE}_{{size}}"])
    return inputs


def _source(line: Line, folders: dict[Path, str]) -> Source:
    if line.input == "-":
        return Source("-", None, Path("stdin"))
    path = Path(line.input)
    return Source(line.input, path, Path(path.name or line.input), Kind.CLIP if line.is_clip else Kind.PICTURE)


def _rank_covers(given: Given) -> list[Fault]:
    """Give each frame of a clip its number, the one that lines say where they do; lines that contradict others go."""
    faults, taken = [], set[int]()
    for line in given.lines:
        rank, known = line.cover_rank, given.ranks.get(line.moment)
        if not line.is_clip or rank is None or known == rank:
            continue
        if known is not None or rank in taken:
            faults.append(Fault(line.number, line.input, f"cover {rank} of this clip is another frame by a line above"))
            given.lines = [one for one in given.lines if one is not line]
            continue
        given.ranks[line.moment] = rank
        taken.add(rank)
    free = (rank for rank in range(1, MAX_COVERS + 1) if rank not in taken)
    for line in [line for line in given.lines if line.is_clip and line.moment not in given.ranks]:
        rank = next(free, None) if line.moment not in given.ranks else given.ranks[line.moment]
        if rank is None:
            faults.append(Fault(line.number, line.input, f"a clip has {MAX_COVERS} covers at most"))
            given.lines = [one for one in given.lines if one is not line]
        else:
            given.ranks[line.moment] = rank
    return faults


# Where an input belongs in the tree. The run that chose mirrored the tree below each folder that it was given, and told
# inputs of one name apart. Its arguments are not there any more, but the names of its outputs are, which have the same
# folders behind their output folder. Nothing else is taken from them: parts of the input's own path, and a tag.


@dataclass(frozen=True)
class _Match:
    """What the name of an output tells."""

    folder: tuple[str, ...]  # of the output, with what a template adds taken off
    tag: str  # behind the input's stem
    has_rank: bool


def _place(inputs: Sequence[Given], folder: Path | None, templates: Sequence[str]) -> None:
    """Set the relative path of each input."""
    own = () if folder is None else folder.parts
    matches = [None if given.source.path is None else _first_match(given, templates) for given in inputs]
    count: Counter[tuple[str, ...]] = Counter()  # of inputs that an output folder would explain
    for given, match in zip(inputs, matches, strict=True):
        if match is not None:
            given.has_ranks = match.has_rank
            count.update(_output_folders(given, match))
    # Where several would do: the one that outputs go to now, or else the one that keeps most of the tree.
    ranked = sorted(count, key=lambda parts: (-count[parts], parts != own, len(parts)))
    tops: set[str] = set()
    lost = []
    for given, match in zip(inputs, matches, strict=True):
        if given.source.path is None:
            continue
        fits = set(_output_folders(given, match)) if match is not None else set()
        base = next((parts for parts in ranked if parts in fits), None)
        if match is None or base is None:
            lost.append(given)
            continue
        depth = len(match.folder) - len(base)
        path = given.source.path
        below = Path(*path.parent.parts[len(path.parent.parts) - depth :])
        named = f"{path.stem}{match.tag}{path.suffix}"
        given.source = replace(given.source, relative=below / named)
        tops.add(os.path.abspath(Path(*path.parent.parts[: len(path.parent.parts) - depth])))
    _place_lost(lost, tops)


def _place_lost(inputs: Sequence[Given], tops: set[str]) -> None:
    """Inputs without a name that tells: below a folder that others are below, or below what they have in common."""
    parents = {
        given.source.path.parent: os.path.abspath(given.source.path.parent) for given in inputs if given.source.path
    }
    left = {parent for parent in parents.values() if not _top_of(parent, tops)}
    try:
        common = os.path.commonpath(left) if left else None
    except ValueError:  # on several drives
        common = None
    for given in inputs:
        if given.source.path is None:
            continue
        parent = parents[given.source.path.parent]
        top = _top_of(parent, tops) or common
        below = Path() if top is None else Path(os.path.relpath(parent, top))
        given.source = replace(given.source, relative=below / given.source.relative.name)


def _top_of(parent: str, tops: set[str]) -> str | None:
    """The nearest of these folders that holds another or is it."""
    for place in (parent, *map(str, Path(parent).parents)):
        if place in tops:
            return place
    return None


def _output_folders(given: Given, match: _Match) -> list[tuple[str, ...]]:
    """Output folders that explain where an output is: all or some of its last folders are the input's own."""
    assert given.source.path is not None
    found, left = [match.folder], match.folder
    for own in reversed(given.source.path.parent.parts):
        if not left or left[-1] != own or own == ".." or Path(own).anchor:
            break
        left = left[:-1]
        found.append(left)
    return found


def _first_match(given: Given, templates: Sequence[str]) -> _Match | None:
    for template in dict.fromkeys(templates):
        for line in given.lines:
            if line.output is not None and (match := _match(line, line.output, given, template)) is not None:
                return match
    return None


def _match(line: Line, output: str, given: Given, template: str) -> _Match | None:
    """What an output's name tells if this template made it; None if it did not."""
    path = Path(output)
    depth = template.count("/") + 1
    if len(path.parts) < depth:
        return None
    rank = given.ranks.get(line.moment)
    cover = "" if rank is None else f"_cover{rank}"
    own = Path(line.input)
    for rank_word in (f"_{line.rank}", ""):  # numbers that tell inputs apart begin at 2, where there is no rank
        pattern = _pattern(template, cover, line.ratio.file_label, rank_word, own.suffix[1:])
        if found := pattern.fullmatch("/".join(path.parts[-depth:])):
            stem = found.groupdict().get("stem") or own.stem
            bare = own.stem if stem.startswith(own.stem) else cut_in(stem, own.stem)
            tag = stem.removeprefix(bare or "")
            if bare is not None and (tag in ("", f"_{own.suffix[1:]}") or _TAG.fullmatch(tag)):
                return _Match(path.parts[:-depth], tag, bool(rank_word) and "{rank}" in template)
    return None


@lru_cache(maxsize=1000)
def _pattern(template: str, cover: str, ratio: str, rank: str, ext: str) -> re.Pattern[str]:
    """The names that a template gives."""
    known = {"cover": cover, "ratio": ratio, "rank": rank, "ext": ext}
    any_of = {"stem": "(?P<stem>[^/]+)", "width": r"\d+", "height": r"\d+", "size": r"\d*(?:x\d+)?"}
    text = ""
    for literal, name, _, _ in string.Formatter().parse(template):
        text += re.escape(literal + known.get(name or "", "")) + any_of.get(name or "", "")
        any_of["stem"] = "(?P=stem)" if name == "stem" else any_of["stem"]
    return re.compile(text + r"\.[A-Za-z]{2,5}", re.DOTALL)
