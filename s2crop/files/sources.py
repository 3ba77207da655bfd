"""Find the pictures and clips that were asked for."""

import codecs
import fnmatch
import glob
import hashlib
import os
import queue
import re
import stat
import threading
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from s2crop.choices import FOLDER, OWN_OUTPUT
from s2crop.errors import InputError, OutputError
from s2crop.files import marks, sound
from s2crop.files.formats import Kind, format_of_content, format_of_name
from s2crop.files.marks import Origin, Standing
from s2crop.files.sniff import CLIP, HEAD_BYTES, sniff


@dataclass(frozen=True)
class Source:
    """One picture or clip to crop: its name in reports, its file, its place in the mirrored tree."""

    name: str  # as given, or as found under the folder given: "photos/a.jpg"; "-" for standard input
    path: Path | None  # None: standard input
    relative: Path  # "sub/a.jpg" below a folder, "a.jpg" for a file, "stdin" for "-"
    kind: Kind = Kind.PICTURE
    real: Path | None = None  # the file with links followed; None where `find_sources` did not find it
    contents: bytes | None = field(default=None, repr=False)  # of a picture on standard input
    inside: str | None = field(default=None, compare=False)  # what it is by its first bytes, if that is known
    origin: Origin | None = None  # of a clip on standard input, which `path` is a copy of
    named: bool = field(default=False, compare=False)  # by itself, in a list or by a glob; False where it was walked to

    def is_in_part(self, part: int, parts: int) -> bool:
        """Whether it belongs to a part, from 1, of several: by a hash of its place in the tree that was walked, or of
        its path as it was given, whatever is beside.
        """
        known = self.path if self.named and self.path is not None else self.relative
        place = unicodedata.normalize("NFC", known.as_posix())
        number = int.from_bytes(hashlib.blake2b(os.fsencode(place), digest_size=8).digest(), "big")
        return number % parts == part - 1


def find_sources(
    inputs: Sequence[str],
    *,
    recursive: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    skip_folder: Path | None = None,
    covers: bool = False,
    passed_over: Counter[str] | None = None,
) -> list[Source]:
    """List the pictures and clips that the inputs name, each once, in the order given and sorted within folders.

    A file that was named is listed even if it does not exist or is neither: opening it says so.

    Args:
        inputs: files, folders, globs that the shell did not expand, or "-" for standard input.
        recursive: walk the folders inside folders too; links are followed, loops end.
        include: globs on the relative path, `/` between folders; with any, a file must match one.
        exclude: globs on the same path; a file must match none.
        skip_folder: a folder that walks of others leave out, such as the one that outputs go to.
        covers: animations are clips, and so are files with a suffix that is not known; sound files with a picture
            are listed from folders too.
        passed_over: counts, by suffix, the files in folders that are of no kind that is read, under OWN_OUTPUT those
            that this tool made, and under FOLDER the folders in folders.
    """
    found: dict[str, Source] = {}
    folders: dict[Path, str] = {}
    for text in inputs:
        for source in _expand(text, recursive, skip_folder, passed_over, covers):
            if source.path is not None and not _wanted(source.relative, include, exclude):
                continue
            place = place_of(source, folders)
            if place not in found:
                real = (
                    None if source.path is None else Path(os.path.realpath(place) if os.path.islink(place) else place)
                )
                inside = source.inside or (None if source.path is None else content(source.path))
                found[place] = replace(source, kind=_kind(source, inside, covers), real=real, inside=inside)
    return list(found.values())


_MAX_LIST_BYTES = 1 << 30  # of names that are all read before the first is done


def read_file_list(stream: BinaryIO, null_separated: bool) -> list[str]:
    """Read input paths, one a line or NUL-separated; empty ones are passed over.

    A byte-order mark, as editors on Windows write it, says that lines are UTF-8 or UTF-16 and is no part of the first.

    Raises:
        InputError: lines with NUL in them, a mark that does not fit what follows, or a list without end.
    """
    data = stream.read(_MAX_LIST_BYTES + 1)
    if len(data) > _MAX_LIST_BYTES:
        raise InputError(f"the list of files is larger than {_MAX_LIST_BYTES >> 20} MiB: give it in parts")
    data = _without_mark(data, null_separated)
    if not null_separated and b"\0" in data:
        raise InputError("the list of files is separated by NUL: add {option}", "null_separated")
    items = data.split(b"\0") if null_separated else data.splitlines()
    return [os.fsdecode(item) for item in items if item]


_NAMES_AHEAD = 64  # read before they are asked for; who writes more waits
_MAX_NAME_BYTES = 1 << 16


class NameStream:
    """The input paths of a list that may go on for ever: one a line or NUL-separated, each there when it has come.

    A thread of its own reads them, so that nobody has to wait for the next one.

    Args:
        first: names that are there before the list's.
    Attributes:
        news: set when there is something to take. ended: all were taken.
    """

    def __init__(self, stream: BinaryIO, null_separated: bool, first: Sequence[str] = ()):
        self._first = deque(first)
        self.news = threading.Event()
        self.ended = False
        self._stream, self._null_separated = stream, null_separated
        self._names: queue.Queue[str | InputError | None] = queue.Queue(_NAMES_AHEAD)
        threading.Thread(target=self._read, name="s2crop-names", daemon=True).start()

    def take(self) -> str | None:
        """The next name; None if it has not come, or none will (`ended`).

        Raises:
            InputError: lines with NUL in them, one that is too long, or a stream that cannot be read.
        """
        if self._first:
            return self._first.popleft()
        if self.ended:
            return None
        try:
            name = self._names.get_nowait()
        except queue.Empty:
            return None
        self.ended = not isinstance(name, str)
        if isinstance(name, InputError):
            raise name
        return name

    def _read(self) -> None:
        try:
            for name in self._split():
                self._put(name)
            self._put(None)
        except OSError as error:
            self._put(InputError(f"the list of files cannot be read: {(error.strerror or str(error)).lower()}"))
        except InputError as error:
            self._put(error)

    def _put(self, item: str | InputError | None) -> None:
        self._names.put(item)
        self.news.set()

    def _split(self) -> Iterator[str]:
        separator = b"\0" if self._null_separated else b"\n"
        rest, decoder = b"", None
        first = True
        while data := self._bytes():
            if first:
                data, decoder = _start_of_list(data, self._null_separated)
                first = False
            if decoder:
                data = _in_utf16(decoder, data)
            *items, rest = (rest + data).split(separator)
            if not self._null_separated and b"\0" in data:
                raise InputError("the list of files is separated by NUL: add {option}", "null_separated")
            for item in items:
                yield from self._named(item)
            if len(rest) > _MAX_NAME_BYTES:
                raise InputError(f"the list of files has a name of more than {_MAX_NAME_BYTES} bytes")
        yield from self._named(rest)

    def _named(self, item: bytes) -> Iterator[str]:
        for name in [item] if self._null_separated else item.splitlines():
            if name:
                yield os.fsdecode(name)

    def _bytes(self) -> bytes:
        """What has come; nothing at the end."""
        try:
            descriptor = self._stream.fileno()
        except OSError:  # not a file of the system's
            return self._stream.read()
        return os.read(descriptor, 1 << 16)  # not through Python's buffer, whose lock a thread at its end would hold


def _without_mark(data: bytes, null_separated: bool) -> bytes:
    """A list in the encoding of the file system, whatever its byte-order mark says that it is in."""
    data, decoder = _start_of_list(data, null_separated)
    return _in_utf16(decoder, data, final=True) if decoder else data


def _start_of_list(data: bytes, null_separated: bool) -> tuple[bytes, codecs.IncrementalDecoder | None]:
    """The beginning of a list without the mark of UTF-8, and what decodes it where it is in UTF-16, marked or not."""
    if data.startswith(codecs.BOM_UTF8):
        return data.removeprefix(codecs.BOM_UTF8), None
    if null_separated:
        return data, None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data, codecs.getincrementaldecoder("utf-16")()
    evens, odds = data[0:8:2], data[1:8:2]  # names of one letter would have to be separated by NUL to look so
    is_wide = len(odds) > 2 and not odds.strip(b"\0") and b"\0" not in evens
    return data, codecs.getincrementaldecoder("utf-16-le")() if is_wide else None


def _in_utf16(decoder: codecs.IncrementalDecoder, data: bytes, final: bool = False) -> bytes:
    try:
        return os.fsencode(decoder.decode(data, final))
    except UnicodeError as error:
        raise InputError(f"the list of files begins like UTF-16 and is none: {error}") from error


def _expand(
    text: str, recursive: bool, skip_folder: Path | None, passed_over: Counter[str] | None, covers: bool
) -> Iterator[Source]:
    if text == "-":
        yield Source("-", None, Path("stdin"))
    elif os.path.isdir(text):
        visited = {os.path.realpath(skip_folder)} if skip_folder else set()
        visited.discard(os.path.realpath(text))  # it was asked for by name
        yield from _walk(Path(text), recursive, visited, passed_over, covers)
    elif glob.has_magic(text) and not os.path.lexists(text):
        for path in sorted(glob.glob(text, recursive=True), key=_natural_order):
            yield from _expand(path, recursive, skip_folder, passed_over, covers)
    else:
        yield Source(text, Path(text), Path(Path(text).name or text), named=True)


def _walk(
    top: Path, recursive: bool, visited: set[str], passed_over: Counter[str] | None, covers: bool
) -> Iterator[Source]:
    """The pictures and clips of a folder; each real folder is visited once, so loops of links end."""
    # Below the top, and with links followed; on a list of its own, as trees may be deeper than calls can be.
    waiting = [(Path(), os.path.realpath(top))]
    while waiting:
        below, real = waiting.pop()
        folder = top / below
        if os.path.islink(real):
            real = os.path.realpath(real)
        if real in visited:
            continue
        visited.add(real)
        try:
            names = sorted(os.listdir(folder), key=_natural_order)
        except OSError:  # not ours to list: reported when it is opened
            yield Source(str(folder), folder, below if below.name else Path(top.name))
            continue
        names = [name for name in names if not name.startswith(".")]
        folders = {name for name in names if os.path.isdir(os.path.join(folder, name))}
        for name in names:
            if name in folders:
                continue
            path = folder / name
            if not _is_looked_at(path, covers):
                passed = path.suffix.lower()
            else:
                standing = _standing(path)
                if standing is None or standing.mark is None:
                    inside = sniff(standing.head[:HEAD_BYTES]) if standing else None
                    yield Source(str(path), path, below / name, inside=inside)
                    continue
                passed = OWN_OUTPUT
            if passed_over is not None:
                passed_over[passed] += 1
        deeper = [name for name in names if name in folders]
        if recursive:
            waiting += [(below / name, os.path.join(real, name)) for name in reversed(deeper)]
        elif passed_over is not None:
            passed_over.update(FOLDER for name in deeper if os.path.realpath(folder / name) not in visited)


def _is_looked_at(path: Path, covers: bool) -> bool:
    """Whether a file in a folder is one to crop, by its suffix; what has none, or one that is more often another
    kind's, shows by its first bytes what it is. Where covers are asked for, sound with a picture is one too."""
    known = format_of_name(path)
    if covers and path.suffix.lower() in sound.SUFFIXES:
        return sound.has_picture(path)
    if known is None:
        return not path.suffix and content(path) is not None
    return known.walked or content(path) == CLIP


def _standing(path: Path) -> Standing | None:
    """The mark that says that this tool made a file, where a file of its kind can have one."""
    known = format_of_name(path)
    if known is not None and not known.writes:
        return None
    try:
        return marks.look(path)
    except OutputError:  # opening it will say what is wrong
        return None


def content(path: Path) -> str | None:
    """What a file is by its first bytes, as `sniff` says; None where they don't tell or it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            return sniff(file.read(HEAD_BYTES))
    except (OSError, ValueError):  # opening it will say what is wrong
        return None


def _kind(source: Source, inside: str | None, covers: bool) -> Kind:
    """What a source is: by its first bytes, or by its name where these don't tell."""
    if source.path is None:
        return Kind.PICTURE
    return kind_of(inside, source.relative, covers and not os.path.isdir(source.path), covers)


def kind_of(inside: str | None, name: Path, unknown_is_clip: bool, covers: bool) -> Kind:
    """What an input is.

    Args:
        inside: what its first bytes say, as `sniff` does.
        name: what counts where they don't tell.
        unknown_is_clip: and what it is if the name does not tell either.
        covers: animations are clips.
    """
    if inside == CLIP:
        return Kind.CLIP
    known = format_of_name(name) if inside is None else format_of_content(inside)
    if known is not None and (covers or known.holds is Kind.CLIP):
        return known.holds
    return Kind.CLIP if unknown_is_clip and inside is None else Kind.PICTURE


def _natural_order(name: str) -> tuple:
    """Sort key that puts "img2" before "img10", in the digits of any script."""
    parts = re.split(r"(\d+)", name)  # a number between any two texts; superscripts are text
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)], name


def _wanted(relative: Path, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether the globs take a path, in any case: cameras write IMG_1.JPG."""
    name = relative.as_posix().casefold()
    included = not include or any(fnmatch.fnmatchcase(name, pattern.casefold()) for pattern in include)
    return included and not any(fnmatch.fnmatchcase(name, pattern.casefold()) for pattern in exclude)


def place_of(source: Source, folders: dict[Path, str]) -> str:
    """The same for one file named in two ways; links with names of their own stay apart.

    Args:
        folders: the real paths of folders, as far as they are known.
    """
    if source.path is None:
        return "-"
    parent = source.path.parent
    if parent not in folders:
        folders[parent] = os.path.realpath(parent)
    return os.path.join(folders[parent], source.path.name)
