"""Name the outputs before anything is decoded."""

import string
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from s2crop.choices import DEFAULT_TEMPLATE
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

    Args:
        how: see `Namer`.
    Returns:
        A plan for each source.
    Raises:
        ValueError: see `Namer`.
    """
    namer = Namer(ratios, top, **how)
    return [namer.plan(source) for source in sources]


class Namer:
    """Gives each crop of each source a path of its own, which depends on the names of sources that came before only.

    Where two inputs would share a path, also on a file system that does not tell case or Unicode forms apart,
    the later one gets its extension in the stem ("a_png_16x9.jpg"), or else a number ("a_2_16x9.jpg").

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
        asked = {ratio: sizes_of(sizes, ratio) or (None,) for ratio in ratios}
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
        self._taken: set[str] = set()
        self._next_number: dict[str, int] = {}
        self._known: dict[Path | None, tuple[str, set[str]]] = {}  # files -> their tags and keys, if not all are kept

    def plan(self, source: Source) -> Plan:
        """Where the crops of one more source go.

        Raises:
            ValueError: a template without {ratio}, {rank} or {cover} where it takes them to tell crops apart, or whose
                names are empty or lie outside `folder`.
        """
        place = None if source.path is None else source.path.absolute()
        if self._remember is not None and place in self._known:
            self._known[place] = self._known.pop(place)
            return self._plan(source, self._known[place][0])
        for tag in _tags(source, self._next_number):
            plan = self._plan(source, tag)
            paths = list(plan.all_paths())
            keys = {_key(path) for path in paths}
            if len(keys) < len(paths):
                missing = ["{ratio}", "{rank}"] + ["{cover}"] * (source.kind != Kind.PICTURE)
                missing += ["{size}"] * any(len(key) > 2 for *_, key in self._crops)
                raise ValueError(f"{self._template!r} gives crops of one input the same name: add {either(missing)}")
            if not keys & self._taken:
                break
        self._taken |= keys
        if self._remember is not None:
            self._known[place] = tag, keys
            if len(self._known) > self._remember:
                self._taken -= self._known.pop(next(iter(self._known)))[1]
            while len(self._next_number) > self._remember:
                del self._next_number[next(iter(self._next_number))]
        return plan

    def _plan(self, source: Source, tag: str) -> Plan:
        """For a source and its covers; the tag tells its names from those of others."""
        own = self._plan_one(source, tag, None) if source.kind != Kind.CLIP else Plan()
        of_covers = range(1, self._covers + 1) if source.kind != Kind.PICTURE else ()
        return replace(own, covers=tuple(self._plan_one(source, tag, cover) for cover in of_covers))

    def _plan_one(self, source: Source, tag: str, cover: int | None) -> Plan:
        """For a source as a picture, or for a cover of it."""
        place = self._folder / source.relative.parent
        word, known = ("", source.relative.name) if cover is None else (f"_cover{cover}", "x.jpg")
        suffix = suffix_for_name(known, self._fmt, self._circle)
        planned = {}
        for ratio, rank, size, key in self._crops:
            number = f"_{rank}" if self._top > 1 else ""
            name = _fill(self._template, self._fields, source, tag, word, ratio, number, self._sides[ratio.label, size])
            planned[key] = place / f"{name}{suffix}"
        drawn: dict[str, Any] = {}
        first, _, size, _ = self._crops[0]
        sides = self._sides[first.label, size]
        for kind in self._drawn:
            name = _fill(self._drawn_template, self._fields, source, tag, word, Ratio(kind, None), "", sides)
            drawn[kind] = place / f"{name}{'' if 'ratio' in self._fields else f'_{kind}'}.jpg"
        if self._keep_frames and cover is not None:
            name = _fill("{stem}{cover}", {"stem"}, source, tag, word, first, "")
            drawn["frame"] = place / f"{name}{suffix_for_name('x.jpg', self._fmt, False)}"
        return Plan(planned, **drawn)


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


def _tags(source: Source, next_number: dict[str, int]) -> Iterator[str]:
    """What to tell a name apart by, until one is free: nothing, the extension, numbers from 2."""
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
    tag: str,
    cover: str,
    ratio: Ratio,
    rank: str,
    sides: Mapping[str, Any] = {},
) -> PurePosixPath:
    stem, extension = source.relative.stem, source.relative.suffix[1:]
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
