"""Sole ownership between processes on one machine: a locked file that names its owner."""

import contextlib
import fcntl
import os
from pathlib import Path

from stream.errors import InUse, WrongConfig


class Lock:
    """An exclusive lock that the kernel releases when its process ends, however it ends.

    Raises (on construction):  InUse naming the owner's pid; WrongConfig when the file cannot be made.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.what = what
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as err:
            raise WrongConfig(f"{path}: cannot be locked: {err.strerror}") from err
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            pid = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise InUse(f"{what} is in use by process {pid}") from err
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same, and its owner has no name
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let go. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
