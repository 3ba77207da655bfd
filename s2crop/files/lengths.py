"""Names that are no longer than a file system takes."""

import hashlib
import os
from pathlib import Path

_NAME_BYTES = 255  # of a file name, where the file system does not tell


def name_limit(folder: Path) -> int:
    """How many bytes a name in a folder may have, which need not be there yet."""
    if hasattr(os, "pathconf"):
        for place in (folder, *folder.absolute().parents):
            try:
                limit = os.pathconf(place, "PC_NAME_MAX")
                return min(limit, _NAME_BYTES) if limit > 0 else _NAME_BYTES
            except (OSError, ValueError):
                continue
    return _NAME_BYTES


def cut(text: str, most: int) -> str:
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
