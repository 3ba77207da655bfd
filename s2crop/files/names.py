"""Name the outputs before anything is decoded."""

import hashlib
import os
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from s2crop.choices import DEFAULT_TEMPLATE
from s2crop.errors import OutputError
from s2crop.files import marks
from s2crop.files.formats import Kind, either, suffix_for_name
from s2crop.files.sizes import Size, sides_of, sizes_of
from s2crop.files.sources import Source
from s2crop.geometry.ratio import Ratio

STDOUT = Path("-")  # the output path that stands for standard output

_FIELDS = ("stem", "cover", "ratio", "rank", "ext", "width", "height", "size")

Key = tuple[str, int] | tuple[str, int, str]  # of a crop: ratio label, rank, and its size where several are asked for


def key_of(ratio: str, rank: int, size: str | None = None) -> Key:
    """What a crop's output is planned under. Args: size: as a record has it."""
    return (ratio, rank) if size is None else (ratio, rank, size)


_Crop = tuple[Ratio, int, Size | None, Key]  # what a crop is, and what its output is planned under
_Only = Mapping[int | None, Iterable[tuple[str, int]]]  # ratio label and rank of crops, by cover; None for a picture

_FRAME = "{stem}{cover}"  # of whole frames
_NAME_BYTES = 255  # of a file name, where the file system does not tell
_STEM_SHARE = 0.6  # of these, that a stem is cut to where a name would be too long


@dataclass(frozen=True)
class Plan:
    """Where the outputs of a picture go, and of a clip those of each of its covers."""

    crops: Mapping[Key, Path] = field(default_factory=dict)
    overlay: Path | None = None  # for the input with its crops drawn on it
    heatmap: Path | None = None  # for the input with what its scores rest on
    frame: Path | None = None  # for the whole frame of a cover
    covers: tuple["Plan", ...] = ()  # best first

    def paths(self) -> Iterator[Path]:
        """Of the picture itself, without those of covers."""
        yield from self.crops.values()
        yield from (path for path in (self.overlay, self.heatmap, self.frame) if path is not None)

    def all_paths(self) -> Iterator[Path]:
        """Of the picture and of the covers."""
        yield from self.paths()
        for cover in self.covers:
            yield from cover.paths()


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

    def owner(self, plan: Plan, tag: str) -> Source | None:
        """The source that the outputs of a plan were made from, as far as there are any."""
        for path in plan.all_paths():
            try:
                mark = marks.look(path).mark
            except OutputError:  # writing it will say what is wrong
                continue
            if mark is not None:
                alike = self._by_input.get(mark.origin.input, [])
                owner = self._by_place.get(mark.origin.path) or (alike[0] if len(alike) == 1 else None)
                if owner is not None:
                    self._kept.setdefault(id(owner), tag)
                return owner
        return None

    def kept(self, source: Source) -> list[str]:
        """The tag of a source's outputs, if it is known."""
        tag = self._kept.get(id(source))
        return [] if tag is None else [tag]


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
        self._drawn_template = DEFAULT_TEMPLATE if template is None else template
        self._template = f"{DEFAULT_TEMPLATE}_{{size}}" if template is None and several else self._drawn_template
        self._fields = _check_template(self._template)
        asked = {ratio: sizes_of(sizes, ratio) or (() if several else (None,)) for ratio in ratios}
        self._sides = {
            (ratio.label, size): _sides(self._fields, ratio, size, exact) for ratio in ratios for size in asked[ratio]
        }
        self._crops = [
            (ratio, rank, size, key_of(ratio.label, rank, str(size) if several else None))
            for ratio in asked for rank in range(1, top + 1) for size in asked[ratio]
        ]  # fmt: skip
        self._top, self._folder, self._fmt, self._circle = top, folder, fmt, circle
        self._drawn = ["overlay"] * overlay + ["heatmap"] * heatmap
        self._covers, self._keep_frames, self._remember = covers, keep_frames, remember
        self._most_bytes = _name_limit(folder)
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
        owners: "_Owners | None" = None,
    ) -> Plan:
        """Where the crops of one more source go.

        Args:
            only: ratio label and rank of the crops that it has, by cover, or under None for a picture; None for all.
            first: its `first_choice`, if that is known.
            owners: tells what stands already and is to stay another source's.
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
            if not keys & self._taken and (owners is None or owners.owner(plan, tag) in (None, source)):
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
            raise ValueError(f"{self._template!r} gives crops of one input the same name: add {either(missing)}")
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
        word, known = ("", source.relative.name) if cover is None else (f"_cover{cover}", "x.jpg")
        suffix = suffix_for_name(known, self._fmt, self._circle)
        planned = {}
        for ratio, rank, size, key in crops:
            number, sides = f"_{rank}" if self._top > 1 else "", self._sides[ratio.label, size]
            planned[key] = place / self._name(source, tag, word, ratio, suffix, number, sides)
        drawn: dict[str, Any] = {}
        first, _, size, _ = crops[0]
        sides = self._sides[first.label, size]
        for kind in self._drawn:
            end = f"{'' if 'ratio' in self._fields else f'_{kind}'}.jpg"
            name = self._name(source, tag, word, Ratio(kind, None), end, "", sides, self._drawn_template)
            drawn[kind] = place / name
        if self._keep_frames and cover is not None:
            end = suffix_for_name("x.jpg", self._fmt, False)
            drawn["frame"] = place / self._name(source, tag, word, first, end, "", {}, _FRAME)
        return Plan(planned, **drawn)

    def _place(self, parent: Path) -> Path:
        """The folder that mirrors one of the inputs'; those of a folder come one after another."""
        if self._last_place is None or self._last_place[0] != parent:
            self._last_place = parent, self._folder.joinpath(*(_cut(part, self._most_bytes) for part in parent.parts))
        return self._last_place[1]

    def _name(
        self,
        source: Source,
        tag: str,
        word: str,
        ratio: Ratio,
        end: str,
        rank: str,
        sides: Mapping[str, int],
        template: str | None = None,
    ) -> PurePosixPath:
        """A path below the folder that mirrors the source's, none of whose parts is too long."""
        template = self._template if template is None else template
        fields = {"stem"} if template == _FRAME else self._fields

        def fill(stem: str) -> PurePosixPath:
            name = _fill(template, fields, source, stem, tag, word, ratio, rank, sides)
            return name.with_name(name.name + end)

        def is_short(name: PurePosixPath) -> bool:
            return all(len(os.fsencode(part)) <= self._most_bytes for part in name.parts)

        stem = source.relative.stem
        if is_short(name := fill(stem)) or is_short(name := fill(_cut(stem, int(self._most_bytes * _STEM_SHARE)))):
            return name
        *folders, last = name.parts
        last = _cut(last.removesuffix(end), self._most_bytes - len(end)) + end
        return PurePosixPath(*(_cut(part, self._most_bytes) for part in folders), last)


def _check_template(template: str) -> set[str]:
    """The fields of a template; ValueError where it cannot give names inside a folder."""
    fields = set()
    try:
        for _, field, spec, conversion in string.Formatter().parse(template):
            if field is not None:
                fields.add(field)
                if field not in _FIELDS or spec or conversion:
                    raise ValueError(f"unknown field {{{field}}}")
    except ValueError as error:
        known = " ".join(f"{{{field}}}" for field in _FIELDS)
        raise ValueError(f"bad template {template!r}: {error} (known: {known})") from None
    for kind in (PurePosixPath, PureWindowsPath):  # one template means the same everywhere
        if kind(template).anchor or ".." in kind(template).parts or "\0" in template:
            raise ValueError(f"{template!r} leads outside of the output folder")
    return fields


def _sides(fields: set[str], ratio: Ratio, size: Size | None, exact: bool) -> dict[str, Any]:
    """The {size}, {width} and {height} of the outputs of a ratio, as far as a template has them; ValueError where they
    are not known before the crops are chosen."""
    known: dict[str, Any] = {"width": None, "height": None, "size": None if size is None else str(size)}
    if size and exact:
        known["width"], known["height"] = sides_of(size, ratio.value) if ratio.value else (size.width, size.height)
    wanted = {name: side for name, side in known.items() if name in fields}
    for name, side in wanted.items():
        if not side and name == "size":
            raise ValueError("{size} is the size that is asked for: give one")
        if not side:
            raise ValueError(
                f"{{{name}}} of {ratio.label} crops is not known beforehand: give a size that says it, and let crops "
                "that are smaller be enlarged"
            )
    return wanted


def _name_limit(folder: Path) -> int:
    """How many bytes a name in a folder may have, which need not be there yet."""
    if hasattr(os, "pathconf"):
        for place in (folder, *folder.absolute().parents):
            try:
                limit = os.pathconf(place, "PC_NAME_MAX")
                return min(limit, _NAME_BYTES) if limit > 0 else _NAME_BYTES
            except (OSError, ValueError):
                continue
    return _NAME_BYTES


def _cut(text: str, most: int) -> str:
    """A name cut to so many bytes, between characters, with a hash of all of it at its end; whole if it fits."""
    data = os.fsencode(text)
    if len(data) <= most:
        return text
    end = _end_of_cut(data)
    while len(os.fsencode(text)) > most - len(end):
        text = text[:-1]
    return text + end


def _end_of_cut(data: bytes) -> str:
    return f"~{hashlib.blake2b(data, digest_size=5).hexdigest()}"


def cut_in(name: str, whole: str) -> str | None:
    """What a name was cut to, where a name that begins with that is one of ours; None where it is not."""
    start, end, _ = name.partition(_end_of_cut(os.fsencode(whole)))
    return start + end if end and whole.startswith(start) else None


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


def _fill(
    template: str,
    fields: set[str],
    source: Source,
    stem: str,
    tag: str,
    cover: str,
    ratio: Ratio,
    rank: str,
    sides: Mapping[str, Any],
) -> PurePosixPath:
    extension = source.relative.suffix[1:]
    name = template.format(stem=stem + tag, cover=cover, ratio=ratio.file_label, rank=rank, ext=extension, **sides)
    if "stem" not in fields:
        name += tag
    path = PurePosixPath(name)
    last = name.rpartition("/")[2]
    if path.is_absolute() or ".." in path.parts or not last.strip("."):
        raise ValueError(f"{template!r} gives {source.name} no name inside the output folder: {name!r}")
    return path


def _key(path: Path) -> str:
    """Equal for paths that some file systems take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())
