"""Standard output that says how it failed: a reader who has gone ends a command quietly, a full disk in one line."""

import contextlib
import io
import os
from collections.abc import Generator, Sequence
from typing import TextIO

from stream.errors import DependencyDown, Fatal

EXIT_READER_GONE = 141
"""As a shell reports a process that SIGPIPE ended: `seedstream doctor | head` is no finding of the doctor."""


class ReaderGone(Fatal):
    """Nobody reads what we write. Not an OSError: libraries on the way would take that for theirs."""

    exit_code = EXIT_READER_GONE


def failure(error: OSError) -> Fatal:
    """Return what it means that the output could not be written."""
    if isinstance(error, BrokenPipeError):
        return ReaderGone("nobody reads the output any more")
    return DependencyDown(f"the output cannot be written: {error.strerror}")


class Output(io.TextIOWrapper):
    """Text to a file descriptor. What the terminal's encoding lacks is written by its number.

    Raises (on writing):  ReaderGone; DependencyDown when it cannot be written, a full disk.
    """

    @classmethod
    def over(cls, stream: TextIO) -> "Output":
        """Return an output in the place of `sys.stdout`."""
        stream.flush()
        return cls(stream.buffer, stream.encoding, "backslashreplace", line_buffering=stream.isatty())

    def write(self, s: str, /) -> int:
        with self._failing():
            return super().write(s)

    def writelines(self, lines: Sequence[str], /) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._failing():
            super().flush()

    @contextlib.contextmanager
    def _failing(self) -> Generator[None]:
        try:
            yield
        except OSError as err:
            self._drop()
            raise failure(err) from err

    def _drop(self) -> None:
        """Let what is buffered go nowhere: it would fail again, and the interpreter would complain at its end."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
