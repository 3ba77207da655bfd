"""Name the outputs before anything is decoded."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from s2crop.choices import DEFAULT_TEMPLATE
from s2crop.errors import OutputError
from s2crop.files import marks
from s2crop.files.formats import Kind, either, suffix_for_name
from s2crop.files.lengths import cut, name_limit
from s2crop.files.marks import Mark, Origin
from s2crop.files.plan import Key, Plan, key_of
from s2crop.files.sizes import Size, sizes_of
from s2crop.files.sources import Source
from s2crop.files.template import FRAME, Template
from s2crop.geometry.ratio import Ratio

_Crop = tuple[Ratio, int, Size | None, Key]  # what a crop is, and what its output is planned under
_Only = Mapping[int | None, Iterable[tuple[str, int]]]  # ratio label and rank of crops, by cover; None for a picture


def plan_names(sources: Sequence[Source], ratios: Sequence[Ratio], top: int, **how: Any) -> list[Plan]:
    """Give each crop of each source a path of its own, which depends on the names of all sources only.

    But where two of them would share a path, what stands there already and was made from one of them stays that one's.

    Args:
        how: see `Namer`.
    Returns:
        A plan for each source.
    Raises:
        ValueError: see `Namer`.
    """
    namer = Namer(ratios, top, **how)
    first = [namer.first_choice(source) for source in sources]
    wanted = Counter(key for _, keys in first for key in keys)
    rivals = [any(wanted[key] > 1 for key in keys) for _, keys in first]
    owners = _Owners(sources, rivals) if any(rivals) else None
    return [
        namer.plan(source, first=known, owners=owners if is_rival else None)
        for source, known, is_rival in zip(sources, first, rivals, strict=True)
    ]


class _Owners:
    """Tells whose the outputs are that stand already, by their marks.

    Args:
        rivals: for each source, whether another one wants the same names. What was moved is told too if it is of these.
    """

    def __init__(self, sources: Sequence[Source], rivals: Sequence[bool]):
        self._by_place: dict[str, Source] = {}
        self._by_input: dict[str, list[Source]] = {}
        for source, is_rival in zip(sources, rivals, strict=True):
            if source.path is None or source.origin is not None:
                continue
            place = os.path.realpath(source.path) if source.real is None else str(source.real)
            self._by_place[marks.digest(place)] = source
            if is_rival:
                with suppress(OSError):  # opening it will say what is wrong
                    self._by_input.setdefault(marks.origin_of(source.path, source.real).input, []).append(source)
        self._kept: dict[int, str] = {}  # by id of a source, the tag of its outputs that another one came upon

    def leave(self, plan: Plan, tag: str, source: Source) -> bool:
        """Whether a source may have the names of a plan: what stands there, if anything does, is no other one's."""
        mark = next(_marks_of(plan), None)
        if mark is None:
            return True
        alike = self._by_input.get(mark.origin.input, [])
        owner = self._by_place.get(mark.origin.path) or (alike[0] if len(alike) == 1 else None)
        if owner is not None:
            self._kept.setdefault(id(owner), tag)
        return owner in (None, source)

    def kept(self, source: Source) -> list[str]:
        """The tag of a source's outputs, if it is known."""
        tag = self._kept.get(id(source))
        return [] if tag is None else [tag]


class Strangers:
    """Tells what stands already and is to stay another source's, of sources that come one by one: whatever has the
    mark of another input is that one's, as it may come yet.

    Args:
        remember: how many tags of others are kept in mind.
    """

    def __init__(self, remember: int):
        self._remember = remember
        # By the folder of outputs in the tree, and the digest of an input or of its place: the tag of its outputs.
        self._kept: dict[tuple[Path, str], str] = {}
        self._last: tuple[Source, Origin | None] | None = None

    def leave(self, plan: Plan, tag: str, source: Source) -> bool:
        """Whether a source may have the names of a plan: what stands there, if anything does, is its own."""
        own = self._origin(source)
        if own is None:
            return True
        others = [
            mark.origin for mark in _marks_of(plan) if mark.origin.input != own.input and mark.origin.path != own.path
        ]
        for origin in others:
            for whose in origin.path, origin.input:
                self._kept.setdefault((source.relative.parent, whose), tag)
        while len(self._kept) > 2 * self._remember:
            del self._kept[next(iter(self._kept))]
        return not others

    def kept(self, source: Source) -> list[str]:
        """The tag of a source's outputs, if another one came upon them."""
        own = self._origin(source)
        digests = [] if own is None else [own.path, own.input]
        tags = [self._kept.get((source.relative.parent, whose)) for whose in digests]
        return [tag for tag in tags if tag is not None][:1]

    def _origin(self, source: Source) -> Origin | None:
        if self._last is None or self._last[0] is not source:
            self._last = source, None
            if source.path is not None:
                with suppress(OSError, ValueError):  # opening it will say what is wrong
                    self._last = source, marks.origin_of(source.path, source.real)
        return self._last[1]


def _marks_of(plan: Plan) -> Iterator[Mark]:
    """The marks in what stands where a plan's outputs go."""
    for path in plan.all_paths():
        with suppress(OutputError):  # writing it will say what is wrong
            if mark := marks.look(path).mark:
                yield mark


class Namer:
    """Gives each crop of each source a path of its own, which depends on the names of sources that came before only.

    Where two inputs would share a path, also on a file system that does not tell case or Unicode forms apart,
    the later one gets its extension in the stem ("a_png_16x9.jpg"), or else a number ("a_2_16x9.jpg"). Where a name
    would be longer than the file system takes, the stem is cut and ends with a hash of the whole one.

    Args:
        template: of the name below `folder`, without suffix; {stem}, {cover} (empty for pictures), {ratio},
            {rank} (empty if `top` is 1), {ext}, {size} (as it was asked for), {width} and {height} are filled in, and
            `/` makes folders. None for the default, which has the size where there are several.
        sizes: of the outputs, without which {size}, {width} and {height} are not known.
        exact: outputs have those sizes, however small the crop is.
        circle: outputs need transparency.
        overlay, heatmap: name a JPEG for these too.
        covers: how many each clip has.
        keep_frames: name the whole frames of covers too, "{stem}{cover}".
        remember: how many of the last sources are kept in mind, so that one that comes again gets its names again;
            None for all, each of which comes once.
    Raises:
        ValueError: a template with another field, or with a size, width or height that is not known before crops are
            chosen.
    """

    def __init__(
        self,
        ratios: Sequence[Ratio],
        top: int,
        *,
        template: str | None = None,
        sizes: Sequence[Size] = (),
        exact: bool = True,
        folder: Path,
        fmt: str,
        circle: bool,
        overlay: bool = False,
        heatmap: bool = False,
        covers: int = 1,
        keep_frames: bool = False,
        remember: int | None = None,
    ):
        several = len(sizes) > 1
        self._most_bytes = name_limit(folder)
        usual = DEFAULT_TEMPLATE if template is None else template
        named = f"{DEFAULT_TEMPLATE}_{{size}}" if template is None and several else usual
        self._template, self._of_drawn, self._of_frames = (
            Template(text, self._most_bytes) for text in (named, usual, FRAME)
        )
        asked = {ratio: sizes_of(sizes, ratio) or (() if several else (None,)) for ratio in ratios}
        self._sides = {
            (ratio.label, size): self._template.sides(ratio, size, exact) for ratio in ratios for size in asked[ratio]
        }
        self._crops = [
            (ratio, rank, size, key_of(ratio.label, rank, str(size) if several else None))
            for ratio in asked for rank in range(1, top + 1) for size in asked[ratio]
        ]  # fmt: skip
        self._top, self._folder, self._fmt, self._circle = top, folder, fmt, circle
        self._drawn = ["overlay"] * overlay + ["heatmap"] * heatmap
        self._covers, self._keep_frames, self._remember = covers, keep_frames, remember
        self._last_place: tuple[Path, Path] | None = None
        self._taken: set[str] = set()
        self._next_number: dict[str, int] = {}
        self._known: dict[Path | None, tuple[str, set[str]]] = {}  # files -> their tags and keys, if not all are kept

    def first_choice(self, source: Source) -> tuple[Plan, set[str]]:
        """Where the crops of a source go if no other one is in the way, and what stands for these paths.

        Raises:
            ValueError: see `plan`.
        """
        plan = self._plan(source, "")
        return plan, self._keys(source, plan)

    def plan(
        self,
        source: Source,
        only: _Only | None = None,
        first: tuple[Plan, set[str]] | None = None,
        owners: "_Owners | Strangers | None" = None,
    ) -> Plan:
        """Where the crops of one more source go.

        Args:
            only: ratio label and rank of the crops that it has, by cover, or under None for a picture; None for all.
            first: its `first_choice`, if that is known.
            owners: tell what stands already and is to stay another source's.
        Raises:
            ValueError: a template without {ratio}, {rank} or {cover} where it takes them to tell crops apart, or whose
                names are empty or lie outside `folder`.
        """
        place = None if source.path is None else source.path.absolute()
        if self._remember is not None and place in self._known:
            self._known[place] = self._known.pop(place)
            return self._plan(source, self._known[place][0], only)
        for tag in _tags(source, self._next_number, owners.kept(source) if owners else []):
            if tag or first is None:
                plan = self._plan(source, tag, only)
                keys = self._keys(source, plan)
            else:
                plan, keys = first
            if not keys & self._taken and (owners is None or owners.leave(plan, tag, source)):
                break
        self._taken |= keys
        if self._remember is not None:
            self._known[place] = tag, keys
            if len(self._known) > self._remember:
                self._taken -= self._known.pop(next(iter(self._known)))[1]
            while len(self._next_number) > self._remember:
                del self._next_number[next(iter(self._next_number))]
        return plan

    def _keys(self, source: Source, plan: Plan) -> set[str]:
        paths = list(plan.all_paths())
        keys = {_key(path) for path in paths}
        if len(keys) < len(paths):
            missing = ["{ratio}", "{rank}"] + ["{cover}"] * (source.kind != Kind.PICTURE)
            missing += ["{size}"] * any(len(key) > 2 for *_, key in self._crops)
            raise ValueError(f"{self._template.text!r} gives crops of one input the same name: add {either(missing)}")
        return keys

    def _plan(self, source: Source, tag: str, only: _Only | None = None) -> Plan:
        """For a source and its covers; the tag tells its names from those of others."""

        def one(cover: int | None) -> Plan:
            wanted = None if only is None else set(only.get(cover, ()))
            crops = [crop for crop in self._crops if wanted is None or (crop[0].label, crop[1]) in wanted]
            return self._plan_one(source, tag, cover, crops) if crops else Plan()

        own = one(None) if source.kind != Kind.CLIP else Plan()
        count = self._covers if only is None else max((cover or 0 for cover in only), default=0)
        of_covers = range(1, count + 1) if source.kind != Kind.PICTURE else ()
        return replace(own, covers=tuple(map(one, of_covers)))

    def _plan_one(self, source: Source, tag: str, cover: int | None, crops: Sequence[_Crop]) -> Plan:
        """For a source as a picture, or for a cover of it."""
        place = self._place(source.relative.parent)
        word = "" if cover is None else f"_cover{cover}"
        known, inside = (source.relative.name, source.inside) if cover is None else ("x.jpg", None)

        def path(template: Template, end: str, ratio: str, rank: str = "", **sides: Any) -> Path:
            return place / template.name(source, tag, end, cover=word, ratio=ratio, rank=rank, **sides)

        suffix = suffix_for_name(known, self._fmt, self._circle, inside)
        planned = {}
        for ratio, rank, size, key in crops:
            number, sides = f"_{rank}" if self._top > 1 else "", self._sides[ratio.label, size]
            planned[key] = path(self._template, suffix, ratio.file_label, number, **sides)
        drawn: dict[str, Any] = {}
        first, _, size, _ = crops[0]
        sides = self._sides[first.label, size]
        for kind in self._drawn:
            end = f"{'' if 'ratio' in self._template.fields else f'_{kind}'}.jpg"
            drawn[kind] = path(self._of_drawn, end, kind, **sides)
        if self._keep_frames and cover is not None:
            drawn["frame"] = path(self._of_frames, suffix_for_name("x.jpg", self._fmt, False), "")
        return Plan(planned, **drawn)

    def _place(self, parent: Path) -> Path:
        """The folder that mirrors one of the inputs'; those of a folder come one after another."""
        if self._last_place is None or self._last_place[0] != parent:
            self._last_place = parent, self._folder.joinpath(*(cut(part, self._most_bytes) for part in parent.parts))
        return self._last_place[1]


def _tags(source: Source, next_number: dict[str, int], kept: Sequence[str]) -> Iterator[str]:
    """What to tell a name apart by, until one is free: what did so before, nothing, the extension, numbers from 2."""
    yield from kept
    yield ""
    if extension := source.relative.suffix[1:]:
        yield f"_{extension}"
    # Numbers go on from the last that was tried: many inputs of one name stay cheap.
    key = _key(source.relative.parent / source.relative.stem)
    while True:
        next_number[key] = next_number.get(key, 1) + 1
        yield f"_{next_number[key]}"


def _key(path: Path) -> str:
    """Equal for paths that some file systems take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())
