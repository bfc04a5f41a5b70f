"""What became of one input, as messages. Pure: both kinds of worker and the sources write through here."""

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from stream.bus import Cause, Message, Stored
from stream.codec import decode, encode
from stream.errors import TooLarge, WrongConfig
from stream.records import DeadLetter, Kept, Rejected, StateChange
from stream.stage import Fold, Map, Outcome
from stream.topics import DEAD, REJECTS, Topic, state_topic

HEAD_BYTES = 64 * 1024  # of a dead letter's input
ERROR_CHARS = 4_000  # of a dead letter's error
LEAST_ERROR_CHARS = 100  # of it, where the bus takes no more
ENOUGH_BYTES = 1_000_000  # for every dead letter


REPLAY = "replay"
"""Stage of the cause of a re-appended input; its position is where the input stood first."""

Position = tuple[str, int, int]  # topic (or source), partition, offset
Refusal = Callable[[Message], str | None]  # `Lease.refusal`


@dataclass(frozen=True, slots=True)
class StageSpec:
    """A stage put in its place: what it reads, what it writes, what it does."""

    name: str
    input: Topic
    output: Topic
    shape: Map[Any, Any] | Fold[Any, Any, Any]

    def position(self, stored: Stored) -> Position:
        """Where an input of the stage stands."""
        return self.input.name, stored.partition, stored.offset

    def topics(self) -> list[Topic]:
        """Every topic the stage reads or writes."""
        state = [state_topic(self.name)] if isinstance(self.shape, Fold) else []
        return [self.input, self.output, REJECTS, DEAD, *state]


def encodable(text: str) -> str:
    r"""Return the text as it can stand in JSON: a lone surrogate is shown as an escape.

    >>> encodable("a\ud800")
    'a\\ud800'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def outcome_messages(stage: str, output: str, position: Position, key: str, outcome: Outcome[Any]) -> list[Message]:
    """Return the messages of one outcome; `position` is its input's, `key` its id.

    Raises:  BadRecord when an emitted record cannot be encoded.
    """
    n = len(outcome.emitted) + len(outcome.rejected)
    topic, partition, offset = position
    messages = [
        Message(output, record.key, encode(record), Cause(stage, topic, partition, offset, i, n))
        for i, record in enumerate(outcome.emitted)
    ]
    for i, reject in enumerate(outcome.rejected, start=len(messages)):
        record = Rejected(encodable(reject.record_id or key), stage, reject.reason, encodable(reject.evidence))
        cause = Cause(stage, topic, partition, offset, i, n)
        messages.append(Message(REJECTS.name, record.key, encode(record), cause))
    return messages


def dead_letter(stage: str, position: Position, key: str, value: bytes, error: BaseException) -> list[Message]:
    """Return the one message that stands for an input we failed; `value` is what there is to show of it."""
    trace = "".join(traceback.format_exception(error)).strip()
    topic, partition, offset = position
    record = DeadLetter(
        record_id=key,
        stage=stage,
        error=encodable(f"{type(error).__name__}: {error}\n{trace[-ERROR_CHARS:]}"),
        topic=topic,
        partition=partition,
        offset=offset,
        head=value[:HEAD_BYTES].decode("utf-8", "backslashreplace"),
    )
    return [Message(DEAD.name, record.key, encode(record), Cause(stage, *position, 0, 1))]


def refused(messages: Iterable[Message], refusal: Refusal) -> TooLarge | None:
    """Return what the bus has against the first of the messages that it would not take; None when it takes all."""
    reason = next(filter(None, map(refusal, messages)), None)
    return None if reason is None else TooLarge(reason)


def acceptable(
    stage: str, position: Position, key: str, value: bytes, messages: list[Message], refusal: Refusal
) -> list[Message]:
    """Return the messages of one input as the bus takes them: as they are; or, where it would not take one of them, a
    dead letter that says so; or a dead letter that was cut.

    Raises:  as `cut`.
    """
    error = refused(messages, refusal)
    if error is None:
        return messages
    is_letter = [message.topic for message in messages] == [DEAD.name]
    return [
        cut(letter, refusal) for letter in (messages if is_letter else dead_letter(stage, position, key, value, error))
    ]


def cut(letter: Message, refusal: Refusal) -> Message:
    """Return a dead letter cut down to what the bus takes, its head first.

    Raises:  WrongConfig when not even the shortest one is taken.
    """
    while (reason := refusal(letter)) is not None:
        record = decode(letter.value, DeadLetter)
        if record.head:
            record = replace(record, head=record.head[: len(record.head) // 2])
        elif len(record.error) > LEAST_ERROR_CHARS:
            record = replace(record, error=record.error[: len(record.error) // 2])
        else:
            raise WrongConfig(f"{reason}: too little for a dead letter; let it take at least {ENOUGH_BYTES:,}")
        letter = msgspec.structs.replace(letter, value=encode(record))
    return letter


def state_message(stage: str, topic: str, partition: int, entries: Sequence[Kept]) -> Message:
    """Return the message that adds entries to the state log of a Fold or a source."""
    change = StateChange(tuple(entries))
    cause = Cause(stage, topic, partition, entries[0].offset, 0, 1)
    return Message(state_topic(stage).name, change.key, encode(change), cause)


def topics(messages: Iterable[Message]) -> Counter[str]:
    """Return how many messages go to each topic."""
    return Counter(message.topic for message in messages)
