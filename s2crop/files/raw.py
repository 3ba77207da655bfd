"""The JPEG that cameras put into their raw files, in full size or nearly so."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from s2crop.errors import InputError
from s2crop.files import iso

MAX_PREVIEW_BYTES = 96 << 20
_MAX_DIRECTORIES, _MAX_ENTRIES = 40, 1000  # of a file; damaged ones would go round in circles
_SCAN_BYTES = 256 << 20  # of a file whose directories name no preview

# TIFF tags and what marks a directory as that of a sensor's data.
_COMPRESSION, _PHOTOMETRIC, _OFFSETS, _LENGTHS = 259, 262, 273, 279
_ORIENTATION, _SUB_DIRECTORIES, _EXIF, _MAKER_NOTE = 274, 330, 34665, 37500
_JPEG_OFFSET, _JPEG_LENGTH = 513, 514
_PANASONIC_JPEG = 0x2E
_DNG_VERSION = 50706
_SENSOR_PHOTOMETRIC = (32803, 34892)  # colour filter array, linear raw
_SENSOR_COMPRESSION = (32767, 32769, 32770, 34713, 65535)  # Sony, packed, Samsung, Nikon, Pentax
_JPEG_COMPRESSION = (6, 7)

_WHOLE_NUMBERS = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4), 7: ("B", 1), 13: ("I", 4)}  # types of TIFF
_CANON_UUID = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")


@dataclass(frozen=True)
class Preview:
    """Where the largest JPEG in a raw file lies, and how the raw file says that it is turned."""

    offset: int
    length: int
    width: int
    height: int
    orientation: int | None  # 1 to 8; None: as the JPEG itself says


def find_preview(file: BinaryIO) -> Preview | None:
    """The preview of a raw file; None if the file is none.

    Known are DNG, CR2, NEF, ARW, PEF, SRW and others that are TIFF inside, ORF, RW2, RAF and CR3. The file is left
    anywhere.

    Raises:
        InputError: a raw file without a JPEG that can be read.
    """
    file.seek(0, 2)
    size = file.tell()
    head = _read(file, 0, 128)
    places: Iterable[tuple[int, int]]
    if head.startswith(b"FUJIFILMCCD-RAW"):
        offset, length = struct.unpack_from(">II", head.ljust(92, b"\0"), 84)
        places, orientation = [(offset, length)], None
    elif head[4:12] == b"ftypcrx ":
        places, orientation = _of_boxes(file, size)
    else:
        tiff = _Tiff(file, 0)
        if not tiff.is_raw(head):
            return None
        places, orientation = tiff.places(), tiff.orientation
    found = list(_readable(file, size, places)) or list(_readable(file, size, _scanned(file, size)))
    if not found:
        raise InputError("a raw file without a JPEG preview; develop it first")
    offset, length, width, height = max(found, key=lambda one: one[2] * one[3])
    return Preview(offset, length, width, height, orientation)


def read_preview(file: BinaryIO, preview: Preview) -> bytes:
    """The bytes of the preview as a JPEG file."""
    return _read(file, preview.offset, preview.length)


class _Tiff:
    """The directories of a file that is TIFF inside."""

    def __init__(self, file: BinaryIO, base: int):
        self._file, self._base = file, base
        head = _read(file, base, 8)
        self._order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        self.directories: list[dict[int, tuple[int, ...]]] = []
        if len(head) == 8 and self._order:
            self._collect(struct.unpack(self._order + "I", head[4:])[0])

    @property
    def orientation(self) -> int | None:
        value = self.directories[0].get(_ORIENTATION, (0,))[0] if self.directories else 0
        return value if value in range(1, 9) else None

    def is_raw(self, head: bytes) -> bool:
        if (
            head[:4] in (b"IIRO", b"IIRS", b"MMOR", b"IIU\0")
            or head[8:10] == b"CR"
            and head[:4] in (b"II*\0", b"MM\0*")
        ):
            return True
        return any(
            _DNG_VERSION in one
            or one.get(_PHOTOMETRIC, (0,))[0] in _SENSOR_PHOTOMETRIC
            or one.get(_COMPRESSION, (0,))[0] in _SENSOR_COMPRESSION
            for one in self.directories
        )

    def places(self) -> Iterator[tuple[int, int]]:
        """Offset and length of what may be a JPEG."""
        for one in self.directories:
            if _JPEG_OFFSET in one and _JPEG_LENGTH in one:
                yield self._base + one[_JPEG_OFFSET][0], one[_JPEG_LENGTH][0]
            if _PANASONIC_JPEG in one and len(one[_PANASONIC_JPEG]) == 2:
                yield one[_PANASONIC_JPEG][0], one[_PANASONIC_JPEG][1]
            strips = one.get(_OFFSETS, ()), one.get(_LENGTHS, ())
            if one.get(_COMPRESSION, (0,))[0] in _JPEG_COMPRESSION and len(strips[0]) == len(strips[1]) == 1:
                yield self._base + strips[0][0], strips[1][0]

    def _collect(self, first: int) -> None:
        waiting, seen = [first], set()
        while waiting and len(self.directories) < _MAX_DIRECTORIES:
            offset = waiting.pop(0)
            if offset in seen or not offset:
                continue
            seen.add(offset)
            values, following = self._directory(offset)
            if values is None:
                continue
            self.directories.append(values)
            waiting += [*values.get(_SUB_DIRECTORIES, ()), *values.get(_EXIF, ()), following]

    def _directory(self, offset: int) -> tuple[dict[int, tuple[int, ...]] | None, int]:
        """The whole numbers of a directory, and where the next one is."""
        head = _read(self._file, self._base + offset, 2)
        count = struct.unpack(self._order + "H", head)[0] if len(head) == 2 else 0
        table = _read(self._file, self._base + offset + 2, 12 * count + 4)
        if not 0 < count <= _MAX_ENTRIES or len(table) < 12 * count:
            return None, 0
        values: dict[int, tuple[int, ...]] = {}
        for at in range(0, 12 * count, 12):
            tag, kind, number = struct.unpack_from(self._order + "HHI", table, at)
            if kind == 7 and tag == _PANASONIC_JPEG:
                (where,) = struct.unpack_from(self._order + "I", table, at + 8)
                values[tag] = self._base + where, number
            elif kind in _WHOLE_NUMBERS and 0 < number <= 64:
                code, length = _WHOLE_NUMBERS[kind]
                data = table[at + 8 : at + 12]
                if number * length > 4:
                    (where,) = struct.unpack(self._order + "I", data)
                    data = _read(self._file, self._base + where, number * length)
                if len(data) >= number * length:
                    values[tag] = struct.unpack_from(f"{self._order}{number}{code}", data)
        following = table[12 * count : 12 * count + 4]
        return values, struct.unpack(self._order + "I", following)[0] if len(following) == 4 else 0


def _of_boxes(file: BinaryIO, size: int) -> tuple[list[tuple[int, int]], int | None]:
    """What may be a JPEG in a CR3, and the orientation."""
    places, orientation = [], None
    for kind, start, end in iso.boxes(file, 0, size):
        if kind == b"uuid" and (at := _read(file, start + 16, 4096).find(b"PRVW")) >= 0:
            # version, unknown, width, height, unknown: the JPEG's length, and the JPEG
            header = _read(file, start + 16 + at, 24)
            if len(header) == 24:
                places.append((start + 16 + at + 20, struct.unpack_from(">I", header, 16)[0]))
        if kind != b"moov":
            continue
        for inner, inner_start, inner_end in iso.boxes(file, start, end):
            if inner == b"uuid" and _read(file, inner_start, 16) == _CANON_UUID:
                for name, at, _ in iso.boxes(file, inner_start + 16, inner_end):
                    if name == b"CMT1":
                        orientation = _Tiff(file, at).orientation
            elif inner == b"trak":
                places += _of_track(file, inner_start, inner_end)
    return places, orientation


def _of_track(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Offset and length of the first sample of a track."""
    for name in (b"mdia", b"minf", b"stbl"):
        inside = [(s, e) for kind, s, e in iso.boxes(file, start, end) if kind == name]
        if not inside:
            return
        start, end = inside[0]
    offset = length = 0
    for kind, at, _ in iso.boxes(file, start, end):
        data = _read(file, at, 16)
        if len(data) < 16:
            continue
        if kind == b"stsz":
            length = struct.unpack_from(">I", data, 4)[0] or struct.unpack_from(">I", data, 12)[0]
        elif kind == b"co64":
            offset = struct.unpack_from(">Q", data, 8)[0]
        elif kind == b"stco":
            offset = struct.unpack_from(">I", data, 8)[0]
    yield offset, length


def _scanned(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Wherever in the file a JPEG may begin, up to the end of the file."""
    step, found = 1 << 20, 0
    for start in range(0, min(size, _SCAN_BYTES), step):
        block = _read(file, start, step + 3)
        at = block.find(b"\xff\xd8\xff")
        while 0 <= at < step and found < 50:
            found += 1
            yield start + at, min(size - start - at, MAX_PREVIEW_BYTES)
            at = block.find(b"\xff\xd8\xff", at + 1)


def _readable(file: BinaryIO, size: int, places: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """Those of the places where a JPEG of a usual kind lies whole, with its width and height."""
    for offset, length in places:
        if 0 < length <= MAX_PREVIEW_BYTES and 0 < offset <= size - length:
            if sides := jpeg_size(file, offset, length):
                yield offset, length, *sides


def jpeg_size(file: BinaryIO, offset: int, length: int) -> tuple[int, int] | None:
    """Width and height of a JPEG with eight bits, baseline or progressive; None for lossless ones and others."""
    if _read(file, offset, 3) != b"\xff\xd8\xff":
        return None
    at, end = offset + 2, offset + length
    for _ in range(200):
        head = _read(file, at, 4)
        if len(head) < 4 or at >= end or head[0] != 0xFF:
            return None
        marker = head[1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = _read(file, at + 4, 5)
            if marker > 0xC2 or len(frame) < 5 or frame[0] != 8:
                return None
            height, width = struct.unpack(">HH", frame[1:])
            return (width, height) if width and height else None
        if marker in (0xD9, 0xDA):
            return None
        at += 2 + int.from_bytes(head[2:], "big")
    return None


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    if offset < 0 or offset >= 1 << 62:
        return b""
    file.seek(offset)
    return file.read(length)
