"""Files of labels, which come from strangers as pictures do."""

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from s2crop.errors import InputError


def read_json(path: Path) -> Any:
    """What a JSON file holds, gzipped or not.

    Raises:
        FileNotFoundError: it is not there.
        InputError: it is not JSON.
    """
    raw = path.read_bytes()
    try:
        return json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (ValueError, EOFError, OSError, RecursionError, zlib.error) as error:
        raise InputError(f"{path}: not JSON ({error})") from None


@contextmanager
def laid_out_as(what: str, path: Path) -> Iterator[None]:
    """While a file's contents are taken apart: raises InputError where they are laid out otherwise."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not a file of {what} ({type(error).__name__}: {error})") from None
