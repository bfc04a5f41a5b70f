"""Records whose requests are not all answered: since when each asks, and what it was answered so far. An attempt that
failed is so taken up where it ended, and in its old place of the queue."""

import itertools
from collections import OrderedDict
from dataclasses import dataclass, field

from consumers.llm.request import Completion, Result

KEPT_CHARS = 64 << 20
"""Reply text of records that nobody asks for at present. Beyond it the record that was given up first is forgotten:
should it be asked for again, it is paid again."""

CHARS_PER_RECORD = 500
"""What a record without any reply counts."""


@dataclass(slots=True)
class Unfinished:
    """One record."""

    ordinal: int  # in the order of first asking
    results: dict[str, Result] = field(default_factory=dict[str, Result])  # by request id
    calls: int = 0  # that ask for it at present

    @property
    def chars(self) -> int:
        return CHARS_PER_RECORD + sum(len(r.text) for r in self.results.values() if isinstance(r, Completion))


class UnfinishedRecords:
    """The unfinished records of one endpoint, by stage and record id."""

    def __init__(self, kept_chars: int = KEPT_CHARS) -> None:
        self._kept_chars = kept_chars
        self._asked: dict[tuple[str, str], Unfinished] = {}
        self._idle: OrderedDict[tuple[str, str], Unfinished] = OrderedDict()
        self._idle_chars = 0
        self._ordinals = itertools.count()

    def __len__(self) -> int:
        return len(self._asked) + len(self._idle)

    def enter(self, stage: str, record_id: str) -> Unfinished:
        """Return the record for one call, which ends with `leave`."""
        key = stage, record_id
        record = self._asked.get(key)
        if record is None:
            record = self._idle.pop(key, None)
            if record is None:
                record = Unfinished(next(self._ordinals))
            else:
                self._idle_chars -= record.chars
            self._asked[key] = record
        record.calls += 1
        return record

    def leave(self, stage: str, record_id: str, whole: bool) -> None:
        """End a call: forget the record when it was answered whole, else keep what there is."""
        key = stage, record_id
        record = self._asked[key]
        record.calls -= 1
        if record.calls:
            return
        del self._asked[key]
        if whole:
            return
        self._idle[key] = record
        self._idle_chars += record.chars
        while self._idle_chars > self._kept_chars:
            _, forgotten = self._idle.popitem(last=False)
            self._idle_chars -= forgotten.chars
