"""What comes on standard input: a picture is kept in memory, a clip goes into a file."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from s2crop.errors import InputError
from s2crop.files import marks
from s2crop.files.formats import Kind
from s2crop.files.sniff import HEAD_BYTES, sniff
from s2crop.files.sources import Source, kind_of

PIXEL_BYTES = 8  # of RGBA at 16 bits, uncompressed: more than a picture takes
BESIDE_BYTES = 64 << 20  # for profile, previews and metadata
MAX_CLIP_BYTES = 16 << 30  # some hours
_AT_ONCE = 1 << 20


def receive(stream: BinaryIO, source: Source, covers: bool, max_pixels: int, folder: Callable[[], Path]) -> Source:
    """Read standard input to its end.

    Args:
        source: what stands for it.
        covers: animations are clips, and so is what is not known.
        max_pixels: limits a picture's bytes too.
        folder: makes one that nobody else may look into, for a clip.
    Raises:
        InputError: there is too much of it, or it cannot be read or kept.
    """
    try:
        head = stream.read(HEAD_BYTES)
        source = replace(source, inside=sniff(head))
        kind = kind_of(source.inside, source.relative, covers and bool(head), covers)
        if kind is not Kind.PICTURE:
            return replace(_put_into(folder() / "stdin", head, stream, source), kind=kind)
        limit = PIXEL_BYTES * max_pixels + BESIDE_BYTES
        data = head + stream.read(max(0, limit + 1 - len(head)))
    except OSError as error:
        raise InputError((error.strerror or str(error)).lower()) from error
    if len(data) > limit:
        raise InputError(f"more than {limit} bytes on standard input: {{option}} takes larger pictures", "max_pixels")
    return replace(source, contents=data)


def _put_into(path: Path, head: bytes, stream: BinaryIO, source: Source) -> Source:
    size, sha = 0, hashlib.sha256()
    with open(path, "xb") as file:
        for part in _parts(head, stream):
            size += len(part)
            if size > MAX_CLIP_BYTES:
                raise InputError(f"more than {MAX_CLIP_BYTES} bytes on standard input: give the video as a file")
            sha.update(part)
            file.write(part)
    return replace(source, path=path, origin=marks.origin_of_stream(size, sha.hexdigest()))


def _parts(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    yield head
    while part := stream.read(_AT_ONCE):
        yield part
