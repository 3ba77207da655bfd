"""The mark in each output: what it was made from and how, so that a run can tell its own outputs from others'.

It stands in the Software tag (EXIF of JPEG, WebP and AVIF, text of PNG): "s2crop 0.2.0 INPUT PATH OPTIONS k2 c1". INPUT
is a digest of the input's name, size and time, PATH one of where it was, OPTIONS one of what outputs depend on. "k2"
says that the input has two crops of this ratio and no more, "c1" that the clip has one cover. Where the box was given,
not chosen, "b" and a digest of it stand there instead.
"""

import base64
import hashlib
import os
import re
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from s2crop.choices import VERSION
from s2crop.errors import OutputError

_SOFTWARE = 305  # EXIF
_HEAD_BYTES = 4096  # in which a mark mostly is
_AVIF_BYTES = 64 << 10, 4 << 20  # of the front of an AVIF that are searched; a colour profile may come first
_MAX_EXIF = 1 << 20
_PATTERN = re.compile(
    rb"s2crop [!-~]{1,16} ([\w-]{8}) ([\w-]{8}) ([\w-]{8})(?: k(\d{1,4}))?(?: c(\d{1,4}))?(?: b([\w-]{8}))?(?![\w -])",
    re.ASCII,
)
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(frozen=True)
class Origin:
    """Digests that tell an input."""

    input: str  # name, size and time
    path: str


@dataclass(frozen=True)
class Mark:
    """What an output was made from, and how."""

    origin: Origin
    options: str  # digest
    crops: int | None = None  # how many there are of this ratio, where that is fewer than were asked for
    covers: int | None = None  # how many covers the clip has, where these are fewer than asked for
    box: str | None = None  # digest of what was given, where nothing was chosen

    def __str__(self) -> str:
        parts = ["s2crop", VERSION[:16], self.origin.input, self.origin.path, self.options]
        parts += [f"{letter}{count}" for letter, count in (("k", self.crops), ("c", self.covers)) if count is not None]
        parts += [f"b{self.box}"] if self.box else []
        return " ".join(parts)


class State(Enum):
    """What stands at an output's place."""

    NOTHING = "nothing"
    BROKEN = "empty or cut off"
    OURS = "whole, with a mark"
    FOREIGN = "whole, without one"


@dataclass(frozen=True)
class Standing:
    """What stands at an output's place, and its mark if it has one."""

    state: State
    mark: Mark | None = None
    head: bytes = b""  # the first bytes


def digest(*parts: object) -> str:
    """Eight letters that stand for the parts."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(hashlib.blake2b(text, digest_size=6).digest()).decode()


def origin_of(path: Path, real: Path | None = None) -> Origin:
    """Of an input that is a file.

    Args:
        real: the same with links followed, if that is known.
    Raises:
        OSError: there is none.
    """
    info = os.stat(path)
    place = os.path.realpath(path) if real is None else str(real)
    return Origin(digest(path.name, info.st_size, info.st_mtime_ns), digest(place))


def origin_of_bytes(data: bytes) -> Origin:
    """Of standard input, which has its contents only."""
    return origin_of_stream(len(data), hashlib.sha256(data).hexdigest())


def origin_of_stream(size: int, sha256: str) -> Origin:
    """The same where the contents are not at hand any more."""
    both = digest("-", size, sha256)
    return Origin(both, both)


def look(path: Path) -> Standing:
    """See what stands at a path; its header is read, and its last bytes.

    Raises:
        OutputError: it cannot be told.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):
        return Standing(State.NOTHING)
    except OSError as error:
        raise OutputError(f"cannot look at {path}: {(error.strerror or str(error)).lower()}") from error
    try:
        info = os.fstat(descriptor)
        if stat.S_ISDIR(info.st_mode):
            return Standing(State.NOTHING)  # writing tells that a folder is in the way
        if not stat.S_ISREG(info.st_mode):
            return Standing(State.FOREIGN)
        file = _Reader(descriptor, info.st_size)
        return replace(_look(file), head=file.head)
    except OSError as error:
        raise OutputError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    finally:
        os.close(descriptor)


class _Reader:
    """The bytes of a file, by place; the front is read once."""

    def __init__(self, descriptor: int, size: int):
        self._descriptor, self.size = descriptor, size
        self.head = self._read(0, _HEAD_BYTES)

    def at(self, place: int, count: int) -> bytes:
        if place + count <= len(self.head):
            return self.head[place : place + count]
        return self._read(place, count)

    def _read(self, place: int, count: int) -> bytes:
        os.lseek(self._descriptor, place, os.SEEK_SET)
        return os.read(self._descriptor, count)


def _look(file: _Reader) -> Standing:
    head = file.head
    if not head.strip(b"\0"):  # a power cut leaves files of zeros too
        return Standing(State.BROKEN)
    kinds: list[tuple[bool, Callable, Callable]] = [
        (head.startswith(_JPEG), _ends_jpeg, _of_jpeg),
        (head.startswith(_PNG), _ends_png, _of_png),
        (head[:4] == b"RIFF" and head[8:12] == b"WEBP", _ends_webp, _of_webp),
        (head[4:12] == b"ftypavif", _ends_avif, _of_avif),
    ]
    for fits, is_whole, software in kinds:
        if fits:
            if not is_whole(file):
                return Standing(State.BROKEN)
            mark = parse(software(file))
            return Standing(State.FOREIGN if mark is None else State.OURS, mark)
    starts = [_JPEG, _PNG, b"RIFF", head[:4] + b"ftypavif" if head[:3] == b"\0\0\0" else _JPEG]
    is_begun = len(head) < 12 and any(start.startswith(head[: len(start)]) for start in starts)
    return Standing(State.BROKEN if is_begun else State.FOREIGN)


def parse(software: bytes) -> Mark | None:
    """The mark in a Software tag, if it is one of ours."""
    found = _PATTERN.search(software)
    if found is None:
        return None
    known, path, options, crops, covers, box = (part.decode() if part is not None else None for part in found.groups())
    assert known and path and options
    return Mark(Origin(known, path), options, int(crops) if crops else None, int(covers) if covers else None, box)


def _ends_jpeg(file: _Reader) -> bool:
    return file.at(file.size - 2, 2) == b"\xff\xd9"


def _ends_png(file: _Reader) -> bool:
    return file.size > 20 and file.at(file.size - len(_PNG_END), len(_PNG_END)) == _PNG_END


def _ends_webp(file: _Reader) -> bool:
    return int.from_bytes(file.head[4:8], "little") + 8 <= file.size


def _ends_avif(file: _Reader) -> bool:
    place = 0
    while place < file.size:
        size = int.from_bytes(file.at(place, 4), "big")
        if size == 1:
            size = int.from_bytes(file.at(place + 8, 8), "big")
        elif size == 0:  # up to the end of the file, which it does not tell
            return True
        if size < 8:
            return False
        place += size
    return place == file.size


def _of_jpeg(file: _Reader) -> bytes:
    place = 2
    while (start := file.at(place, 10))[:1] == b"\xff" and start[1:2] not in (b"\xda", b"\xd9", b""):
        size = int.from_bytes(start[2:4], "big")
        if start[1:2] == b"\xe1" and start[4:] == b"Exif\0\0":
            return _of_exif(file.at(place + 10, size - 8))
        place += 2 + max(2, size)
    return b""


def _of_png(file: _Reader) -> bytes:
    place = 8
    while (start := file.at(place, 17))[4:8] not in (b"IDAT", b"IEND", b""):
        size = int.from_bytes(start[:4], "big")
        if start[4:] == b"tEXtSoftware\0":
            return file.at(place + 8, min(size, 200))
        place += 12 + size
    return b""


def _of_webp(file: _Reader) -> bytes:
    place = 12
    while len(start := file.at(place, 8)) == 8:
        size = int.from_bytes(start[4:], "little")
        if start[:4] == b"EXIF":
            return _of_exif(file.at(place + 8, min(size, _MAX_EXIF)).removeprefix(b"Exif\0\0"))
        place += 8 + size + size % 2
    return b""


def _of_avif(file: _Reader) -> bytes:
    for count in _AVIF_BYTES:  # EXIF lies in front of the pixels, in no box of its own
        if found := _PATTERN.search(file.at(0, count)):
            return found[0]
    return b""


def _of_exif(data: bytes) -> bytes:
    """The Software tag of the first directory."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return b""
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    count = int.from_bytes(data[place : place + 2], "little" if order == "<" else "big")
    for i in range(min(count, 1000)):
        entry = data[place + 2 + 12 * i : place + 14 + 12 * i]
        if len(entry) < 12:
            break
        tag, kind, length, where = struct.unpack(f"{order}HHII", entry)
        if (tag, kind) == (_SOFTWARE, 2) and length > 4:
            return data[where : where + min(length, 200)]
    return b""
