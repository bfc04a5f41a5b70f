"""When too many records of a stage end as dead letters: a cause common to all of them, which no record is to blame for.

Pure: told of each record as it finishes, it says whether this is a flood, and of which error.
"""

import re
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

ERROR_CHARS = 300
"""Of an error's first line that are kept."""

_VARIABLE = re.compile(r"(?<![\w.+-])(?<!answers )(?<!HTTP )(?<!status )(?<!code )[\w.+-]*\d[\w.+-]*")
"""Words with a digit: ids, counts, addresses. The status of an HTTP answer is none: it tells errors apart."""


def first_line(error: BaseException) -> str:
    r"""Return the class of an error and the first line of its message.

    >>> first_line(ValueError("no tests\nin sample 3"))
    'ValueError: no tests'
    """
    line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {line}"[:ERROR_CHARS] if line else type(error).__name__


def kind_of(line: str) -> str:
    """Return an error's first line with ids and numbers left out, equal for errors that differ only in these.

    >>> kind_of("Permanent: http://10.0.0.1:80/v1 answers 418: request 7f3a at offset 12")
    'Permanent: http://#:#/# answers 418: request # at offset #'
    """
    return _VARIABLE.sub("#", line)


@dataclass(frozen=True, slots=True)
class Flood:
    """What was found."""

    dead: int  # dead letters
    of: int  # the records that finished last, these among them
    error: str  # first line of the most frequent error, as one of the records had it
    count: int  # of the dead letters, those with this error

    def __str__(self) -> str:
        """Say it in one line.

        >>> str(Flood(20, 20, "Permanent: no", 19))
        '20 dead letters in a row; most frequent error (19 of 20): Permanent: no'
        """
        many = f"{self.dead:,} dead letters in a row"
        if self.dead < self.of:
            many = f"{self.dead:,} of the last {self.of:,} records became dead letters"
        return f"{many}; most frequent error ({self.count:,} of {self.dead:,}): {self.error}"


class FloodDetector:
    """Finds a flood: `in_a_row` dead letters without another outcome in between, or a `share` of the last `window`
    records. 0 switches a rule off. Rejects are results like any other.

    >>> detector = FloodDetector(in_a_row=2, share=0.75, window=4)
    >>> [detector.finished(error) for error in ("a", None, "b")]
    [None, None, None]
    >>> detector.finished("b")
    Flood(dead=2, of=2, error='b', count=2)
    """

    def __init__(self, in_a_row: int, share: float, window: int) -> None:
        self._in_a_row = in_a_row
        self._most = share * window
        self._last: deque[str | None] = deque(maxlen=window)  # what each of the last records died of, if it did
        self._dead = 0  # of them
        self._row: list[str] = []  # errors since the last record that did not die

    def finished(self, error: str | None) -> Flood | None:
        """Take note of a record that has finished: `error` is the first line of what it died of, None for any other
        outcome. Return the flood that this record completes."""
        if len(self._last) == self._last.maxlen and self._last[0] is not None:
            self._dead -= 1
        self._last.append(error)
        if error is None:
            self._row.clear()
            return None
        self._dead += 1
        if self._in_a_row:
            self._row.append(error)
            if len(self._row) >= self._in_a_row:
                return _flood(self._row, len(self._row))
        if self._most and self._dead >= self._most:
            return _flood([line for line in self._last if line is not None], len(self._last))
        return None

    def restart(self) -> None:
        """Forget all records so far."""
        self._last.clear()
        self._row.clear()
        self._dead = 0


def _flood(errors: Sequence[str], of: int) -> Flood:
    [(most, count)] = Counter(kind_of(line) for line in errors).most_common(1)
    shown = next(line for line in reversed(errors) if kind_of(line) == most)
    return Flood(len(errors), of, shown, count)
