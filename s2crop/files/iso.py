"""Files that are made of boxes (ISO base media: HEIC, AVIF, MP4, CR3)."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

_MAX_BOXES = 1000  # side by side


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of a span: kind, where the content begins, where it ends; up to the first that does not fit in it."""
    for _ in range(_MAX_BOXES):
        if start < 0 or start + 8 > end:
            return
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind, header = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1 and len(head) == 16:
            length, header = int.from_bytes(head[8:], "big"), 16
        elif length == 0:
            length = end - start
        if length < header or start + length > end:
            return
        yield kind, start + header, start + length
        start += length


def find(file: BinaryIO, path: Sequence[bytes]) -> tuple[int, int] | None:
    """Where the content of a box lies in a file, by its name and those of the boxes around it; the first of that name.

    The file is left anywhere.
    """
    start, end = 0, file.seek(0, 2)
    for name in path:
        inside = next(((first, last) for kind, first, last in boxes(file, start, end) if kind == name), None)
        if inside is None:
            return None
        start, end = inside[0] + (4 if name == b"meta" else 0), inside[1]  # behind version and flags
    return start, end
