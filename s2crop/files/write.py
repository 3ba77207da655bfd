"""Write each output whole or not at all."""

import errno
import os
import uuid
from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from s2crop.errors import OutputError

_NO_SYNC = errno.EINVAL, errno.ENOTSUP, errno.ENOSYS  # file systems that know no such thing


def write_atomic(
    path: Path,
    data: bytes,
    *,
    overwrite: bool,
    protected: Container[Path] = (),
    folder: Path | None = None,
) -> bool:
    """Write a file whole or not at all, whatever happens meanwhile; its parent folders are made.

    Args:
        overwrite: replace a file that exists.
        protected: resolved paths that are never written: the inputs.
        folder: where the path must lie once its links are followed.
    Returns:
        False if the file exists and was left as it is.
    Raises:
        OutputError: the path is protected, taken by a folder, outside `folder` or cannot be written.
    """
    parent = _real(path.parent)
    place = parent / path.name
    if (_real(place) if os.path.islink(place) else place) in protected:
        raise OutputError(f"{path} is an input; inputs are never overwritten")
    if folder is not None and not (parent.is_relative_to(folder) or parent.is_relative_to(_real(folder))):
        raise OutputError(f"{path} leads outside of {folder} by a link")
    if os.path.isdir(path):
        raise OutputError(f"cannot write {path}: a folder is in the way")
    if not overwrite and os.path.lexists(path):
        return False
    try:
        _make_folders(path.parent)
        written = None if overwrite else _write_unnamed(path, data)
        return _write_named(path, data, overwrite) if written is None else written
    except OSError as error:
        raise OutputError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error


def _make_folders(path: Path) -> None:
    """Like `Path.mkdir` with parents, to any depth."""
    missing = []
    while not os.path.isdir(path) and path != path.parent:
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        with suppress(FileExistsError):  # made meanwhile, or no folder, which what comes next says
            os.mkdir(folder)


def _write_unnamed(path: Path, data: bytes) -> bool | None:
    """Write a file that has no name until it is whole, so that a run that is killed leaves nothing behind.

    Returns:
        False if another file has the name; None where the system knows no such files.
    """
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:  # the file system has none; what else is wrong shows when a named file is written
        return None
    with open(descriptor, "wb") as file:
        _write_through(file, data)
        try:
            # With a folder's descriptor given, which an absolute path makes no use of, Python lets links be followed.
            os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor)
        except FileExistsError:
            return False
        except OSError:  # no /proc, or no links
            return None
    return True


def _write_named(path: Path, data: bytes, overwrite: bool) -> bool:
    """Write a file under a name of its own, then give it the one it is to have."""
    temporary = path.parent / f".s2crop-{uuid.uuid4().hex}.tmp"
    try:
        if not _write_unnamed(temporary, data):
            with open(temporary, "xb") as file:
                _write_through(file, data)
        if not overwrite:
            return _link(temporary, path)
        os.replace(temporary, path)
        return True
    finally:
        if os.path.lexists(temporary):
            temporary.unlink()


def _write_through(file: BinaryIO, data: bytes) -> None:
    """Write to the disk itself, so that a power cut leaves no file with a name that is not whole."""
    file.write(data)
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # unlike Path.resolve it takes loops of links


def _link(temporary: Path, path: Path) -> bool:
    """Give a finished file its name, unless another has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: take the name first, then put the file there
        try:
            open(path, "xb").close()
        except FileExistsError:
            return False
        try:
            os.replace(temporary, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return True


def write_stream(stream: BinaryIO, data: bytes) -> bool:
    """Write to standard output; always True, as what is written there was not there before.

    Raises:
        BrokenPipeError: nobody reads it any more. OutputError: it cannot be written otherwise.
    """
    try:
        stream.write(data)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {(error.strerror or str(error)).lower()}") from error
    return True
