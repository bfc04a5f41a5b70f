"""The stages there are, as a table: the one place that knows which module makes a topic, from which records, with
which parameters and clients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from consumers import concepts, examples, executions, functions, responses, seeds, typed, unique
from consumers.decontamination import Decontamination
from consumers.instructions import from_concepts
from consumers.llm.request import LLM
from consumers.pool import Pool
from consumers.prompt import FewShot
from consumers.typed import TypeChecker
from sandbox import Sandbox
from stream.records import Concepts, Executions, Instruction, Record, Responses, Seed, SourceFile
from stream.stage import Fold, Map

P = TypeVar("P")
C = TypeVar("C")
Shape = Map[Any, Any] | Fold[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Clients:
    """What the stages to be run are built from. What none of them needs is not there."""

    seed: int  # the recipe's, of every sampling
    llm: Mapping[str, LLM]  # by stage
    prompts: Mapping[str, FewShot]  # by stage
    decontamination: Decontamination
    pool: Pool | None = None
    checker: TypeChecker | None = None
    box: Sandbox | None = None


@dataclass(frozen=True, slots=True)
class Kind(Generic[P]):
    """One way to make a topic."""

    topic: str  # that it writes, and the name of its stage
    variant: str | None  # where papers differ in how the topic is made
    reads: type[Record]
    version: int
    params: type[P]  # a stage's table in a recipe is read into it
    reasons: type[StrEnum]
    build: Callable[[P, Clients], Shape]
    fold: bool = False  # keeps a state
    asks: bool = False  # a model, with a prompt from files
    pool: bool = False  # needs processes, for work that keeps a core busy
    decontaminates: bool = False  # holds records against the strings of benchmarks
    checker: bool = False  # needs the type checker
    box: bool = False  # needs the sandbox
    tuning: frozenset[str] = frozenset()  # parameters that change how fast a record is made, not what it holds


def there(client: C | None) -> C:
    """Return a client that its kind says it needs."""
    assert client is not None
    return client


# fmt: off
KINDS: tuple[Kind[Any], ...] = (
    Kind("functions", None, SourceFile, functions.VERSION, functions.Params, functions.Reason,
         lambda p, c: functions.stage(p, there(c.pool), c.decontamination), pool=True,
         decontaminates=True),
    Kind("typed", None, Seed, typed.VERSION, typed.Params, typed.Reason,
         lambda p, c: typed.stage(p, there(c.checker), there(c.pool)), pool=True, checker=True,
         tuning=frozenset({"batch", "linger_s"})),
    Kind("unique", None, Seed, unique.VERSION, unique.Params, unique.Reason,
         lambda p, c: unique.stage(p, c.seed), fold=True),
    Kind("seeds", None, Seed, seeds.VERSION, seeds.Params, seeds.Reason,
         lambda p, c: seeds.stage(p, c.llm["seeds"], c.prompts["seeds"], c.seed), asks=True),
    Kind("concepts", None, Seed, concepts.VERSION, concepts.Params, concepts.Reason,
         lambda p, c: concepts.stage(p, c.llm["concepts"], c.prompts["concepts"], c.seed), asks=True),
    Kind("instructions", "from_concepts", Concepts, from_concepts.VERSION, from_concepts.Params, from_concepts.Reason,
         lambda p, c: from_concepts.stage(p, c.llm["instructions"], c.prompts["instructions"], c.seed), asks=True),
    Kind("responses", None, Instruction, responses.VERSION, responses.Params, responses.Reason,
         lambda p, c: responses.stage(p, c.llm["responses"], c.prompts["responses"], c.seed), asks=True),
    Kind("executions", None, Responses, executions.VERSION, executions.Params, executions.Reason,
         lambda p, c: executions.stage(p, there(c.box)), box=True,
         tuning=frozenset({"concurrency"})),
    Kind("examples", None, Executions, examples.VERSION, examples.Params, examples.Reason,
         lambda p, c: examples.stage(p, c.seed), fold=True),
)
# fmt: on
