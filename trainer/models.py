"""Topic `models`: the checkpoints of a namespace, and thereby how far its trainer is.

The trainer's progress is the vector of end offsets in the newest record that was trained on `examples`. Who trains owns
the name `models` on the bus from the snapshot to the record, so that two cannot train at once; and a record names its
predecessor, so that one which began on an older state of the topic is refused, however long ago it began.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from stream.bus import Appender, Bus, Message
from stream.codec import decode, encode
from stream.errors import Fatal
from stream.records import Model
from stream.topics import TOPICS

MODELS = TOPICS["models"]
EXAMPLES = TOPICS["examples"]


class Superseded(Fatal):
    """Another checkpoint was published since this training began."""


@dataclass(frozen=True, slots=True)
class History:
    """What topic `models` holds, as far as a trainer asks."""

    newest: Model | None = None
    on_examples: Model | None = None  # the newest one that was trained on topic `examples`
    count: int = 0  # of all

    def ends(self) -> Mapping[int, int]:
        """Return the end offsets of `examples` that the newest checkpoint has seen, by partition; none before one."""
        return dict(enumerate(self.on_examples.manifest.ends)) if self.on_examples else {}


@dataclass(frozen=True, slots=True)
class News:
    """Examples that no checkpoint has seen."""

    count: int
    oldest_at_s: float | None  # when the first of them was appended, seconds since the epoch


async def history(bus: Bus) -> History:
    """Read topic `models`; an empty history where the namespace has none yet."""
    found = History()
    if MODELS.name in await bus.topics():
        async for batch in bus.read(MODELS.name):
            for stored in batch:
                model = decode(stored.value, Model)
                on_examples = model if model.manifest.source == EXAMPLES.name else found.on_examples
                found = History(model, on_examples, found.count + 1)
    return found


async def news(bus: Bus, seen: Mapping[int, int]) -> News:
    """Count the examples past the end offsets `seen`. Reads the topic whole, without decoding it."""
    count, oldest_at_s = 0, None
    async for batch in bus.read(EXAMPLES.name):
        for stored in batch:
            if stored.offset >= seen.get(stored.partition, 0):
                count += 1
                oldest_at_s = stored.at_s if oldest_at_s is None else min(oldest_at_s, stored.at_s)
    return News(count, oldest_at_s)


class Press:
    """The right to publish checkpoints of a namespace. Made by `owned`."""

    def __init__(self, bus: Bus, appender: Appender) -> None:
        self._bus = bus
        self._appender = appender

    async def check_for(self, model: Model) -> None:
        """See that `model` may be published, or was.

        Raises:  Superseded.
        """
        if (await history(self._bus)).newest != model:
            await self.check(model.predecessor)

    async def check(self, predecessor: str | None) -> None:
        """See that `predecessor` is still the newest checkpoint.

        Raises:  Superseded.
        """
        newest = (await history(self._bus)).newest
        if (newest.model_id if newest else None) != predecessor:
            now = f"model {newest.model_id[:12]} was published" if newest else "the models of this namespace are gone"
            raise Superseded(
                f"namespace {self._bus.namespace}: {now} since this training began; begin again with --restart"
            )

    async def publish(self, model: Model) -> None:
        """Append a record, unless it is the newest one already (a crash came between the record and its end).

        Raises:  Superseded; what `Appender.append` raises, also when another owner took over.
        """
        if (await history(self._bus)).newest != model:
            await self.check(model.predecessor)
            await self._appender.append([Message(MODELS.name, model.key, encode(model))])


@asynccontextmanager
async def owned(bus: Bus) -> AsyncGenerator[Press]:
    """Own the right to publish while inside.

    Raises:  InUse when another process trains for this namespace.
    """
    await bus.create([MODELS])
    async with bus.appender(MODELS.name) as appender:
        yield Press(bus, appender)
