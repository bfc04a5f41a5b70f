"""Files that appear whole or not at all, and folders that change places in one step."""

import ctypes
import errno
import os
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from stream.errors import Fatal

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # Linux 3.15, glibc 2.28
_NOT_HERE = (errno.ENOSYS, errno.EINVAL)  # an old kernel; a file system that cannot
_libc = ctypes.CDLL(None, use_errno=True)


class CannotWrite(Fatal):
    """The disk would not take it. What stood there before stands as it was."""


@contextmanager
def writing(what: Path) -> Generator[None]:
    """Raise the disk's errors as CannotWrite, in one line that names `what` was being written."""
    try:
        yield
    except OSError as err:
        raise CannotWrite(f"{what} cannot be written: {err.strerror or err}") from err
    except sqlite3.OperationalError as err:
        raise CannotWrite(f"{what} cannot be written: {err}") from err


def sync(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            sync(inner)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, content: bytes) -> None:
    """Put a file in its place, durable and whole."""
    half = path.with_name(f".{path.name}.half")
    half.write_bytes(content)
    sync(half)
    half.replace(path)
    sync(path.parent)


def exchange(new: Path, place: Path) -> None:
    """Put folder `new` at `place`, durable; what stood there goes to where `new` was. Both are on one file system.

    In one step where the file system can do that. Else there is a moment without either, which a reader may meet but
    no crash loses anything in.
    """
    sync(new)
    if not place.exists():
        new.rename(place)
    elif _libc.renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(place), _RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        if code not in _NOT_HERE:
            raise OSError(code, os.strerror(code), str(place))
        aside = new.with_name(f"{new.name}.old")
        place.rename(aside)
        new.rename(place)
        aside.rename(new)
    sync(place.parent)
    sync(new.parent) if new.parent != place.parent else None


def remove(path: Path) -> None:
    """Remove a folder with all that is in it, if it is there."""
    shutil.rmtree(path, ignore_errors=True)
