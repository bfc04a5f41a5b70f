"""The folder of an export. The user's own files are never replaced, those of an earlier export are: its card tells.

What an export makes is made in a folder inside of it, and put in its place whole.
"""

import os
import re
import sqlite3
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.dataset.card import FUNNEL, IS_CARD
from stream.errors import Fatal, WrongConfig

CARD = "README.md"
TRAIN, TEST = "train", "test"


class ExportFailed(Fatal):
    """The disk would not take the export; the files of an earlier one are as they were."""


def names_of(topic: str) -> list[str]:
    """Return the names of all files that an export of the topic replaces or takes away, whatever its options.

    >>> names_of("seeds")[:3]
    ['README.md', 'seeds.parquet', 'seeds.jsonl']
    """
    stems = (topic, f"{topic}-{TRAIN}", f"{topic}-{TEST}")
    return [CARD, *(f"{stem}.{suffix}" for stem in stems for suffix in ("parquet", "jsonl")), FUNNEL]


@contextmanager
def scratch(directory: Path, names: Sequence[str]) -> Generator[Path]:
    """Give a folder to work in, inside of `directory`. That is made where it is not there, and is gone again when
    nothing has come to stand in it.

    Raises:  WrongConfig when it cannot be made, or holds one of `names` and is no earlier export; ExportFailed.
    """
    with _gone_if_empty(directory):
        try:
            _refuse_others(directory, names)
            directory.mkdir(parents=True, exist_ok=True)
            inside = tempfile.TemporaryDirectory(prefix=".export-", dir=directory)
        except OSError as err:
            raise WrongConfig(f"{err.filename or directory} cannot be written: {err.strerror}") from err
        with inside as name:
            try:
                yield Path(name)
            except OSError as err:
                raise ExportFailed(f"{directory}: {err.strerror or err}") from err
            except sqlite3.OperationalError as err:
                raise ExportFailed(f"{directory}: {err}") from err


@contextmanager
def _gone_if_empty(directory: Path) -> Generator[None]:
    missing = [path for path in (directory, *directory.parents) if not os.access(path, os.F_OK)]
    try:
        yield
    finally:
        for path in missing:
            with suppress(OSError):  # it holds something, or was not made
                path.rmdir()


def _refuse_others(directory: Path, names: Sequence[str]) -> None:
    if _is_export(directory):
        return
    for name in names:
        if os.path.lexists(directory / name):
            raise WrongConfig(
                f"{directory / name} is there, and its folder is no export of seedstream's: name an empty or a new one"
            )


def _is_export(directory: Path) -> bool:
    card = directory / CARD
    return card.is_file() and re.search(IS_CARD, card.read_text(encoding="utf-8", errors="replace")) is not None


def publish(made: Sequence[Path], directory: Path) -> tuple[Path, ...]:
    """Put finished files in their place, so that no reader and no crash ever sees half of one; return where they are.

    The card, last in `made`, comes last: it names no file that is not there. Where there is none yet it comes first,
    since a folder without it is not known for an export, and one that was killed could not be made again.
    """
    for path in made if (directory / CARD).exists() else reversed(made):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(directory / path.name)
    return tuple(directory / path.name for path in made)


def clear(directory: Path, names: Sequence[str], made: Sequence[Path]) -> None:
    """Take away what an export with other options left: files that the new card does not speak of."""
    for name in set(names) - {path.name for path in made}:
        (directory / name).unlink(missing_ok=True)
