"""Whether a sound file has a picture in it, without decoding: of libraries of music most files may have none."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from s2crop.files import iso

SUFFIXES = frozenset(".mp3 .m4a .m4b .flac .ogg .oga .opus".split())  # of sound files that can have one

_LOOK_BYTES = 1 << 18  # of the tags at the start of MP3 and Ogg: what stands before the picture is text
_MAX_BLOCKS = 1000
_FLAC_PICTURE = 6
_BOXES_TO_COVER = b"moov", b"udta", b"meta", b"ilst", b"covr"


def has_picture(path: Path) -> bool:
    """Whether a picture is attached to a sound file (ID3v2, FLAC, Ogg, MP4), by its contents; False if it is none.

    True where it cannot be looked into, so that it is opened, which says what is wrong.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return True  # opening a pipe would wait for a writer
        with open(path, "rb") as file:
            start = file.read(10).ljust(10, b"\0")
            if start.startswith(b"ID3"):
                size = start[6] << 21 | start[7] << 14 | start[8] << 7 | start[9]
                tag = file.read(min(size, _LOOK_BYTES))
                return b"APIC" in tag or start[3] == 2 and b"PIC" in tag
            if start.startswith(b"fLaC"):
                return _FLAC_PICTURE in _flac_blocks(file)
            if start.startswith(b"OggS"):
                return b"METADATA_BLOCK_PICTURE=" in file.read(_LOOK_BYTES).upper()
            return start[4:8] == b"ftyp" and iso.find(file, _BOXES_TO_COVER) is not None
    except OSError:
        return True


def _flac_blocks(file: BinaryIO) -> Iterator[int]:
    """The types of the blocks in front of the sound."""
    file.seek(4)
    for _ in range(_MAX_BLOCKS):
        head = file.read(4)
        if len(head) < 4:
            return
        yield head[0] & 0x7F
        if head[0] & 0x80:  # the last one
            return
        file.seek(int.from_bytes(head[1:], "big"), 1)
