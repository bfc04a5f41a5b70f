"""What was asked, and how often: in memory, and as lines of a file that outlives every process that asks."""

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import orjson


class Call(NamedTuple):
    """A request as the server knows it: the same in every attempt."""

    stage: str
    prompt_sha256: str
    seed: int | None


class Calls:
    """Counts of calls. Each is one line of `file`, `{"stage", "prompt_sha256", "seed"}`, written as it arrives."""

    def __init__(self, file: Path | None) -> None:
        self.counts: Counter[Call] = Counter()
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if file else None

    def arrive(self, stage: str, prompt: str, seed: int | None) -> int:
        """Count a call and return how many of its kind there were before."""
        digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
        call = Call(stage, digest, seed)
        before = self.counts[call]
        self.counts[call] += 1
        if self._descriptor is not None:
            os.write(self._descriptor, orjson.dumps(call._asdict()) + b"\n")
        return before

    def listed(self) -> list[dict[str, object]]:
        """Return the counts as rows."""
        return [{**call._asdict(), "calls": count} for call, count in self.counts.items()]

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
