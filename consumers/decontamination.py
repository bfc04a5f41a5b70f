"""Strings of benchmarks that must not be in the data: exact, lower-cased substrings, as the reference looks for them.

They stand in files named in the config:

- `.jsonl`: one object a line, whose field `text` is the string; other fields are ignored.
- `.txt`: one string a line; empty lines are ignored. For strings of one line, so that a list can be kept by hand.

White space around a string is taken off, newlines are "\\n".
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from ahocorasick_rs import BytesAhoCorasick

from stream.errors import WrongConfig


@dataclass(frozen=True, slots=True)
class Known:
    """A string that must not be in the data, and where it was read."""

    text: str
    file: str
    line: int  # from 1

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.text}"


class Decontamination:
    """Finds known strings in a text. Immutable.

    Memory:  about 3 KB a string.
    """

    def __init__(self, known: Iterable[Known]) -> None:
        self._known = {_folded(entry.text): entry for entry in known}
        self._patterns = list(self._known)
        self._automaton = BytesAhoCorasick(self._patterns) if self._patterns else None

    def __len__(self) -> int:
        return len(self._patterns)

    def __str__(self) -> str:
        files = sorted({entry.file for entry in self._known.values()})
        if not files:
            return "no decontamination: no file of benchmark strings is configured"
        return f"decontamination against {len(self)} strings from {', '.join(files)}"

    def find(self, text: str) -> Known | None:
        """Return the first known string in `text`, lower-cased, or None. O(len(text))."""
        if self._automaton is None:
            return None
        found = self._automaton.find_matches_as_indexes(_folded(text))
        return self._known[self._patterns[found[0][0]]] if found else None


def load(paths: Sequence[Path]) -> Decontamination:
    """Read the files of known strings.

    Raises:  WrongConfig, naming file and line, when one cannot be read or is not of the form above.
    """
    return Decontamination(entry for path in paths for entry in _read(path))


def _read(path: Path) -> Iterator[Known]:
    readers = {".jsonl": _json_text, ".txt": _plain_text}
    reader = readers.get(path.suffix)
    if reader is None:
        raise WrongConfig(f"decontamination file {path}: expected a .jsonl or .txt file")
    try:
        # Not utf-8-sig, whose errors count their bytes from behind the mark.
        lines = path.read_text(encoding="utf-8").removeprefix("\ufeff").split("\n")
    except OSError as err:
        raise WrongConfig(f"decontamination file {path}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise WrongConfig(f"decontamination file {path}: not UTF-8 at byte {err.start}") from err
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield Known(reader(line), str(path), number)
        except ValueError as err:
            raise WrongConfig(f"decontamination file {path}, line {number}: {err}") from err


def _plain_text(line: str) -> str:
    return line.strip()


def _json_text(line: str) -> str:
    try:
        entry: Any = orjson.loads(line)
    except orjson.JSONDecodeError as err:
        raise ValueError(f"not JSON ({err})") from err
    match entry:
        case {"text": str(text)} if text.strip():
            return text.replace("\r\n", "\n").replace("\r", "\n").strip()
        case _:
            raise ValueError("expected an object whose field `text` is a string that is not empty")


def _folded(text: str) -> bytes:
    # Of bytes: no offset is turned into one of characters. A lone surrogate matches nothing but itself.
    return text.lower().encode("utf-8", "surrogatepass")
