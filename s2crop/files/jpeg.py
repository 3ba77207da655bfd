"""JPEG files whose end is missing, and those that are made to take long."""

import io
import re
from collections.abc import Iterator
from typing import IO

from PIL import Image, ImageChops, ImageFile

from s2crop.errors import InputError

_END = b"\xff\xd9"
_SCAN = b"\xff\xda"
# What a decoder goes by: all else behind 0xFF is a filling, a byte of the pixels, or passed over.
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_NOT_A_FRAME = 0xC4, 0xC8, 0xCC  # of 0xC0 to 0xCF
_IN_ONE_PASS = 0xC0, 0xC1  # frames whose pixels may all be in the first scan
_HEAD_BYTES = 1 << 17  # where the first scan nearly always begins
# libjpeg's own progressions have 10 scans, mozjpeg's up to some 20. Each goes through all blocks of the picture, even
# where it has no bytes besides its header: 17 ms for each in 200 million pixels.
MOST_SCANS = 100
_MOST_PIXELS = 4_000_000_000  # gone through, all scans together; small pictures may have more scans
_FILLINGS = (b"", b"\x5a" * 4096, b"\xa5\x3c" * 2048)  # what would be decoded as pixels, if any were missing


def check_scans(file: IO[bytes]) -> None:
    """Whether a JPEG has a number of scans that no encoder makes, and that would take long; leaves the file anywhere.

    Costs next to nothing where all pixels are in one scan, and one reading of the file where they are not.

    Raises:
        InputError: it has.
    """
    file.seek(0)
    most, components = MOST_SCANS, 0
    head = file.read(_HEAD_BYTES)
    for marker, at in _segments(head):
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_A_FRAME and at + 8 <= len(head):
            height, width = int.from_bytes(head[at + 3 : at + 5], "big"), int.from_bytes(head[at + 5 : at + 7], "big")
            most = max(MOST_SCANS, _MOST_PIXELS // max(1, width * height))
            components = head[at + 7] if marker in _IN_ONE_PASS else 0
        elif marker == _SCAN[1]:
            if components and head[at + 2 : at + 3] == bytes([components]):
                return
            break
    # Those in metadata and behind the picture are counted too: a first look, as it is fast.
    if not _are_more(file, most):
        return
    file.seek(0)
    scans = 0
    for marker, _ in _segments(file.read()):
        scans += marker == _SCAN[1]
        if scans > most:
            raise InputError(f"JPEG with more than {most} scans is not supported")


def _are_more(file: IO[bytes], most: int) -> bool:
    """Whether more marks of scans than that, real or not, are in a file."""
    file.seek(0)
    count, last = 0, b""
    while count <= most and (part := file.read(1 << 20)):
        count += (last + part).count(_SCAN)
        last = part[-1:]
    return count > most


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """The markers of a JPEG up to its end, as libjpeg finds them, and where the length behind each stands."""
    at = 2
    while found := _MARKER.search(data, at):
        at = found.end()
        marker = data[at - 1]
        yield marker, at
        if marker == _END[1]:
            return
        at += max(2, int.from_bytes(data[at : at + 2], "big"))


def without_end(image: ImageFile.ImageFile) -> Image.Image | None:
    """The pixels of a JPEG of which nothing but the end marker is missing; None where pixels are.

    The decoder makes up what a file lacks and does not tell, so the file is decoded with several endings: where they
    all give the same picture, none of it is made up.

    Args:
        image: as it was when its decoding failed; what its decoder was told of its size holds.
    """
    assert image.fp is not None
    image.fp.seek(0)
    data = image.fp.read().rstrip(_END[:1])
    first = None
    for filling in _FILLINGS:
        with Image.open(io.BytesIO(data + filling + _END), formats=("JPEG",)) as again:
            if again.size != image.size:
                again.draft(None, image.size)
            again.load()
            if first is None:
                first = again.copy()
                first.info = dict(image.info)
            elif again.size != first.size or ImageChops.difference(again, first).getbbox() is not None:
                return None
    return first
