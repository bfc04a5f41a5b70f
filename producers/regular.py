"""Opening what should be a regular file, and may be anything: never waits for a FIFO or device, and leaks nothing."""

import io
import os
import stat

_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def open_regular(path: str, *, follow_links: bool) -> io.BufferedReader | None:
    """Return the opened file, or None where it is no regular file.

    Raises:  OSError, also (ELOOP) for a link where they are not followed.
    """
    flags = _FLAGS if follow_links else _FLAGS | os.O_NOFOLLOW
    try:
        raw = io.FileIO(path, opener=lambda name, mode: os.open(name, mode | flags))
    except IsADirectoryError:
        return None
    if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        raw.close()
        return None
    return io.BufferedReader(raw)
