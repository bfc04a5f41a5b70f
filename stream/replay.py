"""Replay in place: inputs that ended only in rejects or dead letters are appended again, as new positions.

Offsets are never rewound. Each position is replayed once: its second life has a position of its own.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from stream.audit import REPLAY
from stream.bus import Bus, Cause, Message, Stored
from stream.codec import decode
from stream.errors import WrongConfig
from stream.outcomes import Position, StageSpec
from stream.records import Rejected
from stream.topics import DEAD, REJECTS, full_name


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
    Raises:  InUse while another replay of the stage is under way; WrongConfig when its input is another namespace's.
    """
    if "/" in spec.input.name:
        theirs = full_name(bus.namespace, spec.input.name)
        raise WrongConfig(
            f"stage {spec.name} of {bus.namespace} reads {theirs}, which is not its own to append to: run the "
            f"stage anew with `seedstream replay {spec.name} --into NAMESPACE`"
        )
    async with bus.appender(f"{REPLAY}.{spec.name}") as appender:  # before looking: two at once would find the same
        turned_down, chosen = await _turned_down(bus, spec, selection)
        messages = await _inputs(bus, spec, turned_down, chosen, selection.ids)
        if messages:
            await appender.append(messages)
    return len(messages)


async def _turned_down(bus: Bus, spec: StageSpec, selection: Selection) -> tuple[set[Position], set[Position]]:
    """Return the inputs whose every outcome is a reject or a dead letter, and those selected by one of them."""
    missing: dict[Position, int] = {}  # outcomes; of all n, those not found here were emitted, or pruned
    chosen: set[Position] = set()
    for topic in (DEAD.name, REJECTS.name):
        async for batch in bus.read(topic):
            for stored in batch:
                if stored.cause is None or stored.cause.stage != spec.name:
                    continue
                position = stored.cause.position
                missing[position] = missing.get(position, stored.cause.n) - 1
                if stored.key in selection.ids or _selected(topic, stored, selection):
                    chosen.add(position)
    return {position for position, count in missing.items() if count == 0}, chosen


def _selected(topic: str, stored: Stored, selection: Selection) -> bool:
    if topic == DEAD.name:
        return selection.dead
    return selection.reason is not None and decode(stored.value, Rejected).reason == selection.reason


async def _inputs(
    bus: Bus, spec: StageSpec, qualified: Collection[Position], chosen: Collection[Position], ids: Collection[str]
) -> list[Message]:
    """Return the inputs to append again: of the qualified, those chosen or named in `ids`, not replayed before."""
    replayed: set[Position] = set()
    messages: dict[Position, Message] = {}
    async for batch in bus.read(spec.input.name):
        for stored in batch:
            if stored.cause and stored.cause.stage == REPLAY:
                replayed.add(stored.cause.position)
            position = spec.position(stored)
            if position in qualified and (position in chosen or stored.key in ids):
                messages[position] = Message(spec.input.name, stored.key, stored.value, Cause(REPLAY, *position, 0, 1))
    return [message for position, message in messages.items() if position not in replayed]
