"""The operations that lab tasks are made of: what they are called, how they are written, and how they go wrong. The
table itself is `operations.toml`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stream import config

TABLE = Path(__file__).with_name("operations.toml")

Kind = Literal["numbers", "number", "words", "text"]
"""What flows through a task: `list[int]`, `int`, `list[str]`, `str`."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a task. Phrases and expressions may hold `{k}`, the step's constant; expressions hold `{v}`, its
    input."""

    takes: Kind
    gives: Kind
    phrases: tuple[str, ...]  # in the imperative
    concepts: tuple[str, ...]
    right: tuple[str, ...]  # the first is the reference
    wrong: tuple[str, ...]  # what people write by mistake
    constants: tuple[int, ...] = ()
    misconceived: bool = False  # half of the corpus has it wrong


def _read() -> dict[str, Operation]:
    document = config.read(TABLE)
    return config.convert(document.data, dict[str, Operation], [document])


OPERATIONS = _read()
CONCEPTS = frozenset(concept for operation in OPERATIONS.values() for concept in operation.concepts)
