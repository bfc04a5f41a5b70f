"""What is counted of the rows while they are written, for the card."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from deploy.streams.record_parts import file_of, seed_of, steps_of
from stream.records import Record

COUNTED = ("language", "category", "difficulty", "stage", "reason")
"""Columns whose values are counted, where the topic has them."""


class Source(NamedTuple):
    """Where files come from."""

    name: str  # as the user gave it
    repository: str
    revision: str


class Made(NamedTuple):
    """A step of a lineage without what differs from row to row."""

    stage: str
    version: int
    prompt_sha256: str
    model: str


@dataclass(slots=True)
class Tally:
    """Counts of rows."""

    rows: Counter[str] = field(default_factory=Counter[str])  # by split
    values: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])  # by column
    licences: Counter[str] = field(default_factory=Counter[str])
    sources: Counter[Source] = field(default_factory=Counter[Source])
    made: Counter[Made] = field(default_factory=Counter[Made])  # in the order of the stream
    seeds: set[str] = field(default_factory=set[str])  # ids

    def add(self, split: str, record: Record, row: Mapping[str, Any]) -> None:
        """Count one row."""
        self.rows[split] += 1
        for name in COUNTED:
            if name in row:
                self.values.setdefault(name, Counter())[str(row[name])] += 1
        file, seed = file_of(record), seed_of(record)
        if file is not None:
            self.licences[file.licence] += 1
            self.sources[Source(file.source, file.repository or "", file.revision or "")] += 1
        if seed is not None:
            self.seeds.add(seed.seed_id)
        # Once a row: all samples of an instruction are made alike.
        steps = (Made(s.stage, s.version, s.prompt_sha256 or "", s.model or "") for s in steps_of(record))
        self.made.update(list(dict.fromkeys(steps)))
