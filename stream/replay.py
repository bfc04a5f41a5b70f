"""Replay in place: inputs that ended only in rejects or dead letters are appended again, as new positions.

Offsets are never rewound. Each position is replayed once: its second life has a position of its own.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from stream.bus import Bus, Cause, Message, Stored
from stream.codec import decode
from stream.errors import WrongConfig
from stream.outcomes import REPLAY, Position, StageSpec
from stream.records import Rejected
from stream.topics import DEAD, REJECTS, full_name

SHOWN = 3  # ids that a refusal prints


@dataclass(frozen=True, slots=True)
class Selection:
    """Which inputs to replay: the dead, those rejected for `reason`, those with one of `ids`. At least one is set."""

    dead: bool = False
    reason: str | None = None
    ids: Collection[str] = field(default=())

    def __post_init__(self) -> None:
        if not (self.dead or self.reason or self.ids):
            raise WrongConfig("say what to replay: --dead, --reason R, or ids")


class Fate(StrEnum):
    """What has become of an input that ended in a dead letter."""

    OPEN = "open"  # nothing: it stands in its topic, and a replay takes it
    REPLAYED = "replayed"  # it stands there again, as a new position, and what became of that is told by itself
    INPUT_PRUNED = "input_pruned"  # it stands there no more: no replay can take it


async def replay(bus: Bus, spec: StageSpec, selection: Selection) -> int:
    """Append again the selected inputs of a stage, in one transaction; return how many.

    An input qualifies when every outcome of it was a reject or a dead letter, and it was not replayed before.
    Raises:  InUse while another replay of the stage is under way; WrongConfig when its input is another namespace's, or
             an id is of nothing that the stage was given or turned down: then nothing is appended.
    """
    if "/" in spec.input.name:
        theirs = full_name(bus.namespace, spec.input.name)
        raise WrongConfig(
            f"stage {spec.name} of {bus.namespace} reads {theirs}, which is not its own to append to: run the "
            f"stage anew with `seedstream replay {spec.name} --into NAMESPACE`"
        )
    async with bus.appender(f"{REPLAY}.{spec.name}") as appender:  # before looking: two at once would find the same
        found = await _turned_down(bus, spec, selection)
        messages = await _inputs(bus, spec, selection, found)
        _check_ids(spec, [record_id for record_id in selection.ids if record_id not in found.ids])
        if messages:
            await appender.append(messages)
    return len(messages)


async def fates(bus: Bus, spec: StageSpec, failed: Collection[Position]) -> dict[Position, Fate]:
    """Return what has become of inputs of a stage that ended in dead letters. Reads all that the stage was given."""
    found = dict.fromkeys(failed, Fate.INPUT_PRUNED)
    async for batch in bus.read(spec.input.name):
        for stored in batch:
            position, first = spec.position(stored), _first_life(spec, stored)
            if found.get(position) is Fate.INPUT_PRUNED:
                found[position] = Fate.OPEN
            if first is not None and first in found:
                found[first] = Fate.REPLAYED
    return found


@dataclass(slots=True)
class _Found:
    """What was seen of a selection."""

    whole: set[Position] = field(default_factory=set[Position])  # inputs whose every outcome is a reject or dead letter
    chosen: set[Position] = field(default_factory=set[Position])  # inputs selected by one of their outcomes
    ids: set[str] = field(default_factory=set[str])  # of those selected: the known ones


async def _turned_down(bus: Bus, spec: StageSpec, selection: Selection) -> _Found:
    """Find the inputs whose every outcome is a reject or a dead letter, and those selected by one of them."""
    found = _Found()
    missing: dict[Position, int] = {}  # outcomes; of all n, those not found here were emitted, or pruned
    for topic in (DEAD.name, REJECTS.name):
        async for batch in bus.read(topic):
            for stored in batch:
                if stored.cause is None or stored.cause.stage != spec.name:
                    continue
                position = stored.cause.position
                missing[position] = missing.get(position, stored.cause.n) - 1
                if stored.key in selection.ids:
                    found.ids.add(stored.key)
                    found.chosen.add(position)
                elif _selected(topic, stored, selection):
                    found.chosen.add(position)
    found.whole.update(position for position, count in missing.items() if count == 0)
    return found


def _selected(topic: str, stored: Stored, selection: Selection) -> bool:
    if topic == DEAD.name:
        return selection.dead
    return selection.reason is not None and decode(stored.value, Rejected).reason == selection.reason


async def _inputs(bus: Bus, spec: StageSpec, selection: Selection, found: _Found) -> list[Message]:
    """Return the inputs to append again: of the whole ones, those chosen or named by id, not replayed before."""
    replayed: set[Position] = set()
    messages: dict[Position, Message] = {}
    async for batch in bus.read(spec.input.name):
        for stored in batch:
            first = _first_life(spec, stored)
            if first is not None:
                replayed.add(first)
            position, named = spec.position(stored), stored.key in selection.ids
            if named:
                found.ids.add(stored.key)
            if position in found.whole and (named or position in found.chosen):
                messages[position] = Message(spec.input.name, stored.key, stored.value, Cause(REPLAY, *position, 0, 1))
    return [message for position, message in messages.items() if position not in replayed]


def _first_life(spec: StageSpec, stored: Stored) -> Position | None:
    """Return where an input of a stage stood first; None where it was not replayed."""
    cause = stored.cause
    if cause is None or cause.stage != REPLAY:
        return None
    return spec.input.name, cause.partition, cause.offset  # of a parent's topic the cause has the name it has there


def _check_ids(spec: StageSpec, unknown: Sequence[str]) -> None:
    if unknown:
        more = f" and {len(unknown) - SHOWN:,} more" if len(unknown) > SHOWN else ""
        raise WrongConfig(
            f"no input of {spec.name}, and nothing that it turned down, has the id "
            f"{', '.join(unknown[:SHOWN])}{more}: expected whole ids"
        )
