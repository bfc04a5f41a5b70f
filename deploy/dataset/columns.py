"""The columns of an exported topic, as a table: name, type, what it holds, where it comes from.

`examples` has columns made for training: a row is one conversation with its whole lineage, flat where people filter.
As messages it has the conversation in one column, in the form that trainers and chat templates take. `executions` as
preferences has a passing against a failing response, for each instruction that has both. Any other topic has the fields
of its record, as they are.
"""

import dataclasses
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import msgspec

from deploy.streams.record_parts import steps_of
from stream.errors import WrongConfig
from stream.records import Example, Executions, Record, Step
from stream.topics import Topic
from trainer.preferences import Pair, pair

Form = Literal["columns", "messages", "preferences"]

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """One column: `value` takes a record to a value of the Python type `type`, made of dicts and lists."""

    name: str
    type: object
    doc: str
    value: Callable[[R], object]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    content: str


def conversation(example: Example) -> list[dict[str, str]]:
    """Return an example as the messages of a chat."""
    return [
        {"role": "user", "content": example.instruction.text},
        {"role": "assistant", "content": example.response.text},
    ]


Texts = tuple[str, ...]
Steps = tuple[Step, ...]

# fmt: off
EXAMPLE: tuple[Column[Example], ...] = (
    Column("id", str, "instruction id: the same whenever the same recipe runs on the same source",
           lambda e: e.key),
    Column("instruction", str, "the task in words: the user's turn",
           lambda e: e.instruction.text),
    Column("response", str, "the accepted answer without its tests: the assistant's turn",
           lambda e: e.response.text),
    Column("code", str, "the code of the answer",
           lambda e: e.response.code),
    Column("tests", str, "the tests that the code passed",
           lambda e: e.response.tests),
    Column("language", str, "programming language of the answer",
           lambda e: e.instruction.language),
    Column("category", str, "what was asked for: function, class or program",
           lambda e: e.instruction.category),
    Column("difficulty", str, "easy, medium or hard, as it was asked for",
           lambda e: e.instruction.difficulty),
    Column("concepts", Texts, "the programming concepts named in the seed",
           lambda e: e.instruction.concepts.concepts),
    Column("verdict", str, "what running the code with its tests showed",
           lambda e: e.execution.verdict),
    Column("sample", int, "index of the answer among those sampled for the instruction",
           lambda e: e.response.index),
    Column("prompt_tokens", int, "tokens of the prompt that the answer was sampled from",
           lambda e: e.response.prompt_tokens),
    Column("completion_tokens", int, "tokens of the whole reply, tests included",
           lambda e: e.response.completion_tokens),
    Column("model", str, "the model that answered",
           lambda e: e.response.step.model),
    Column("seed_id", str, "id of the seed",
           lambda e: e.instruction.concepts.seed.seed_id),
    Column("seed_name", str, "name of the seed's function",
           lambda e: e.instruction.concepts.seed.name),
    Column("seed_code", str, "the seed: code from the source, inferred imports in front",
           lambda e: e.instruction.concepts.seed.code),
    Column("seed_line", int, "first line of the seed in its file, counted from 1",
           lambda e: e.instruction.concepts.seed.line),
    Column("source", str, "the source as the user named it",
           lambda e: e.instruction.concepts.seed.file.source),
    Column("path", str, "path of the seed's file in its source",
           lambda e: e.instruction.concepts.seed.file.path),
    Column("repository", str, "URL of the repository; null outside one",
           lambda e: e.instruction.concepts.seed.file.repository),
    Column("revision", str, "commit of the repository; null outside one",
           lambda e: e.instruction.concepts.seed.file.revision),
    Column("licence", str, "SPDX expression of the seed's file, or unknown",
           lambda e: e.instruction.concepts.seed.file.licence),
    Column("steps", Steps, "every step from file to example, in order: its stage, the version of the stage's code, the "
           "hash of its prompt, the model, the sampling seed, what it found",
           lambda e: msgspec.to_builtins(steps_of(e))),
)

_MESSAGES: Column[Example] = Column(
    "messages", tuple[Message, ...], "the conversation: the task as the user's turn, the answer as the assistant's",
    conversation,
)
# fmt: on
PREFERENCES: tuple[Column[Executions], ...] = (
    Column("id", str, "instruction id", lambda e: e.key),
    Column("prompt", str, "the task in words", lambda e: _pair(e).prompt),
    Column("chosen", str, "the first answer that passed its tests", lambda e: _pair(e).chosen),
    Column("rejected", str, "the first that failed its own, and reads otherwise", lambda e: _pair(e).rejected),
    Column("licence", str, "SPDX expression of the seed's file, or unknown", lambda e: _pair(e).licence),
)
AS_MESSAGES = (EXAMPLE[0], _MESSAGES, *(c for c in EXAMPLE[1:] if c.name not in ("instruction", "response")))


def columns_of(topic: Topic, form: Form = "columns") -> tuple[Column[Any], ...]:
    """Return the columns that a topic is exported with.

    Raises:  WrongConfig when its records are no conversations and shall be written as such.
    """
    if form == "preferences":
        if topic.record is not Executions:
            raise WrongConfig(f"--format preferences: topic {topic.name} holds no verdicts, executions does")
        return PREFERENCES
    if topic.record is Example:
        return EXAMPLE if form == "columns" else AS_MESSAGES
    if form == "messages":
        raise WrongConfig(f"--format messages: topic {topic.name} holds no conversations, examples does")
    hints = typing.get_type_hints(topic.record)
    return tuple(_field(f.name, hints[f.name]) for f in dataclasses.fields(topic.record))


def has_row(record: Record, form: Form) -> bool:
    """Tell whether a record becomes a row: as preferences only an instruction of which one response passed and another
    failed."""
    return form != "preferences" or (isinstance(record, Executions) and pair(record) is not None)


def _pair(executions: Executions) -> Pair:
    found = pair(executions)
    assert found is not None  # `has_row`
    return found


def _field(name: str, kind: object) -> Column[Any]:
    return Column(name, kind, "", lambda record: msgspec.to_builtins(getattr(record, name)))
