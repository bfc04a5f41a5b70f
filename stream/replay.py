"""Replay in place: inputs that ended only in rejects or dead letters are appended again, as new positions.

Offsets are never rewound. Each position is replayed once: its second life has a position of its own.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from stream.audit import REPLAY, Position
from stream.bus import Bus, Cause, Message
from stream.codec import decode
from stream.errors import WrongConfig
from stream.outcomes import StageSpec
from stream.records import Rejected
from stream.topics import DEAD, REJECTS


@dataclass(frozen=True, slots=True)
class Selection:
    """Which inputs to replay: the dead, those rejected for `reason`, those with one of `ids`. At least one is set."""

    dead: bool = False
    reason: str | None = None
    ids: Collection[str] = field(default=())

    def __post_init__(self) -> None:
        if not (self.dead or self.reason or self.ids):
            raise WrongConfig("say what to replay: --dead, --reason R, or ids")


async def replay(bus: Bus, spec: StageSpec, selection: Selection) -> int:
    """Append again the selected inputs of a stage, in one transaction; return how many.

    An input qualifies when every outcome of it was a reject or a dead letter, and it was not replayed before.
    """
    emitted: set[Position] = set()
    chosen: set[Position] = set()
    async for batch in bus.read(spec.output.name):
        emitted.update(stored.cause[1:4] for stored in batch if stored.cause and stored.cause.stage == spec.name)
    async for batch in bus.read(DEAD.name):
        for stored in batch:
            if stored.cause and stored.cause.stage == spec.name and (selection.dead or stored.key in selection.ids):
                chosen.add(stored.cause[1:4])
    async for batch in bus.read(REJECTS.name):
        for stored in batch:
            if stored.cause and stored.cause.stage == spec.name:
                reason = decode(stored.value, Rejected).reason if selection.reason else None
                if (selection.reason and reason == selection.reason) or stored.key in selection.ids:
                    chosen.add(stored.cause[1:4])
    messages = await _inputs(bus, spec, chosen - emitted, selection.ids)
    if messages:
        async with bus.appender(f"{REPLAY}.{spec.name}") as appender:
            await appender.append(messages)
    return len(messages)


async def _inputs(bus: Bus, spec: StageSpec, positions: Collection[Position], ids: Collection[str]) -> list[Message]:
    """Return the inputs at `positions`, as messages to append; without those replayed before."""
    replayed: set[Position] = set()
    messages: dict[Position, Message] = {}
    topic = spec.input.name
    async for batch in bus.read(topic):
        for stored in batch:
            if stored.cause and stored.cause.stage == REPLAY:
                replayed.add(stored.cause[1:4])
            position = (topic, stored.partition, stored.offset)
            if position in positions:
                messages[position] = Message(topic, stored.key, stored.value, Cause(REPLAY, *position, 0, 1))
    return [message for position, message in messages.items() if position not in replayed]
