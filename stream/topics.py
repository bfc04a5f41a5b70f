"""The topics, as a table: the whole stream on one screen. A topic on the bus is named `{namespace}.{topic}`."""

import functools
import re
from dataclasses import dataclass, replace
from typing import Literal

from stream.errors import WrongConfig
from stream.records import (
    Audited,
    Concepts,
    DeadLetter,
    Example,
    Executions,
    Instruction,
    Model,
    RecipeText,
    Record,
    Rejected,
    Responses,
    Score,
    Seed,
    SourceFile,
    StateChange,
)

Retention = Literal["pruned", "compacted", "forever"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `partitions` is None for «n»: 1 on the embedded bus and 6 on Kafka unless configured."""

    name: str
    record: type[Record]
    key: str  # what the key is, for people
    partitions: int | None
    retention: Retention


# fmt: off
TOPICS: dict[str, Topic] = {t.name: t for t in (
    #     name            record        key               partitions  retention
    Topic("files",        SourceFile,   "file id",        None,       "pruned"),
    Topic("functions",    Seed,         "seed id",        None,       "pruned"),
    Topic("typed",        Seed,         "seed id",        1,          "pruned"),     # the order of near-duplicates
    Topic("unique",       Seed,         "seed id",        None,       "pruned"),
    Topic("seeds",        Seed,         "seed id",        None,       "pruned"),
    Topic("concepts",     Concepts,     "concepts id",    None,       "pruned"),
    Topic("instructions", Instruction,  "instruction id", None,       "pruned"),
    Topic("responses",    Responses,    "instruction id", None,       "pruned"),
    Topic("executions",   Executions,   "instruction id", 1,          "pruned"),     # the order of selection
    Topic("examples",     Example,      "instruction id", None,       "compacted"),
    Topic("models",       Model,        "model id",       1,          "compacted"),
    Topic("scores",       Score,        "score id",       1,          "compacted"),
    Topic("rejects",      Rejected,     "record id",      None,       "pruned"),
    Topic("dead",         DeadLetter,   "record id",      None,       "pruned"),
    Topic("recipe",       RecipeText,   "\"recipe\"",     1,          "compacted"),
    Topic("audit",        Audited,      "its inputs",     1,          "compacted"),
)}
# fmt: on

MOST_PARTITIONS = 10_000
"""Of a topic: past it a broker gives up, or its owner."""

REJECTS, DEAD, RECIPE, AUDIT = TOPICS["rejects"], TOPICS["dead"], TOPICS["recipe"], TOPICS["audit"]

JOB_TOPICS = frozenset({"models", "scores"})
"""Written by jobs, which make one record of many: it has no single cause, and there is nothing to conserve."""


def state_topic(stage: str) -> Topic:
    """The state log of a Fold, or of the sources that fill a topic.

    >>> state_topic("unique").name
    'unique.state'
    """
    return Topic(f"{stage}.state", StateChange, "-", 1, "forever")


def foreign(topic: Topic, namespace: str) -> Topic:
    """A topic of another namespace, as a stage of ours that reads it names it. It is only read.

    >>> foreign(TOPICS["seeds"], "main").name
    'main/seeds'
    """
    return replace(topic, name=f"{namespace}/{topic.name}")


def is_ours(name: str) -> bool:
    """Whether a topic of this name is one of ours: on a shared cluster others may stand under a namespace's prefix.

    >>> [is_ours(name) for name in ("seeds", "unique.state", "orders")]
    [True, True, False]
    """
    return name.removesuffix(".state") in TOPICS


@functools.lru_cache(maxsize=1024)  # asked for each message
def full_name(namespace: str, name: str) -> str:
    """Return a topic's name on the bus, for `namespace`, which may name one of another namespace.

    >>> full_name("v2", "concepts"), full_name("v2", "main/seeds")
    ('v2.concepts', 'main.seeds')
    """
    home, _, topic = name.rpartition("/")
    return f"{home or namespace}.{topic}"


def checked_namespace(name: str) -> str:
    """Return a namespace that stands for itself alone: its topics are told from another's by the first dot, and its
    name is also a file's and, on Kafka, a topic's.

    Raises:  WrongConfig.
    """
    if not re.fullmatch("[A-Za-z0-9_-]{1,100}", name):
        raise WrongConfig(f'namespace {name!r}: expected 1 to 100 letters, digits, "-" and "_"')
    return name
