"""One process at a time: a locked file, waited for."""

import contextlib
import fcntl
import os
import time
from collections.abc import Generator
from pathlib import Path

from stream.errors import DependencyDown, WrongConfig

POLL_S = 0.05


@contextlib.contextmanager
def held(path: Path, what: str, patience_s: float) -> Generator[None]:
    """Hold an exclusive lock, which the kernel releases when its process ends, however it ends.

    Raises:  DependencyDown when another process still holds it after `patience_s`; WrongConfig when the file cannot be
             made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as err:
        raise WrongConfig(f"{path}: cannot be locked: {err.strerror}") from err
    try:
        deadline_s = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as err:
                if time.monotonic() > deadline_s:
                    raise DependencyDown(
                        f"{what}: another process has been at it for {patience_s:g} s; it holds {path}"
                    ) from err
            time.sleep(POLL_S)
        yield
    finally:
        os.close(fd)
