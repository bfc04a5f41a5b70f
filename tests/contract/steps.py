"""What the contract's tests do with a bus, in the words of `stream.bus` alone."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from stream.bus import Bus, Cause, Gone, Lease, Message, Stored
from stream.progress import Progress, Window
from tests.patience import PATIENCE_S

STAGE, INPUT, OUTPUT, REJECTS = "functions", "files", "functions", "rejects"
OTHER_STAGE, NEXT_STAGE = "counter", "typed"  # one more on the input, and one on the output
READERS = {STAGE: INPUT, OTHER_STAGE: INPUT, NEXT_STAGE: OUTPUT}


def inputs(count: int, first: int = 0) -> list[Message]:
    return [Message(INPUT, f"k{k}", b"value %d" % k) for k in range(first, first + count)]


def outcomes(stored: Stored, n: int = 2) -> list[Message]:
    """What a stage makes of an input here: n - 1 outputs and a reject."""
    return [
        Message(
            REJECTS if i == n - 1 else OUTPUT,
            stored.key,
            stored.value,
            Cause(STAGE, INPUT, stored.partition, stored.offset, i, n),
        )
        for i in range(n)
    ]


async def append(bus: Bus, messages: Sequence[Message], name: str = "source") -> None:
    async with bus.appender(name) as appender:
        await appender.append(messages)


async def all_of(bus: Bus, topic: str) -> list[Stored]:
    return [stored async for batch in bus.read(topic) for stored in batch]


async def offsets_of(bus: Bus, partition: int, topic: str = INPUT) -> list[int]:
    """The offsets that hold a record: they rise, and may have gaps."""
    return [stored.offset for stored in await all_of(bus, topic) if stored.partition == partition]


@contextlib.asynccontextmanager
async def leased(bus: Bus, stage: str = STAGE, topic: str = INPUT) -> AsyncIterator[list[Lease]]:
    """All partitions of a topic, in order: nobody else is in the group."""
    await bus.topics()  # also those that another bus has made since
    partitions = len(await bus.ends(topic))
    leases: dict[int, Lease] = {}
    async with contextlib.aclosing(bus.leases(stage, topic)) as group:
        async with asyncio.timeout(PATIENCE_S):
            while len(leases) < partitions:
                event = await anext(group)
                if not isinstance(event, Gone):
                    leases[event.partition] = event
        yield [leases[partition] for partition in range(partitions)]


async def fetched(lease: Lease, count: int, limit: int = 7) -> list[Stored]:
    """Fetch `count` records."""
    records: list[Stored] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(records) < count:
            batch = await lease.fetch(min(limit, count - len(records)))
            assert len(batch) <= limit
            records += batch  # none when only the position has moved
    return records


async def drained(bus: Bus, lease: Lease, topic: str = INPUT) -> list[Stored]:
    """Fetch all that is left, until the position is at the end."""
    end = (await bus.ends(topic))[lease.partition]
    records: list[Stored] = []
    async with asyncio.timeout(PATIENCE_S):
        while lease.position < end:
            before = lease.position
            batch = await lease.fetch(7)
            assert len(batch) <= 7
            assert [stored.offset for stored in batch] == sorted(stored.offset for stored in batch)
            assert lease.position > (batch[-1].offset if batch else before)
            records += batch
    return records


async def nothing_more(lease: Lease) -> None:
    """Check that a fetch waits. It cannot be waited for: what is there is handed out at once, within a few turns."""
    while True:
        task = asyncio.create_task(lease.fetch(1))
        done, _ = await asyncio.wait({task}, timeout=0.05)
        if not done:
            break
        assert list(task.result()) == []  # only the position has moved
    task.cancel()
    await asyncio.wait({task})


async def process(lease: Lease, window: Window, stored: Sequence[Stored], n: int = 2) -> Progress:
    """Commit the outcomes of inputs that were delivered to `window`; return the progress committed with them."""
    window.finish(record.offset for record in stored)
    progress = window.progress()
    await lease.commit([message for record in stored for message in outcomes(record, n)], progress)
    return progress


async def check_once(bus: Bus, *, everything: bool) -> None:
    """Check that outcomes and progress say the same: a finished input has all of its outcomes, once; another, none.
    With `everything`, all inputs must be finished."""
    progress = await bus.progress(STAGE, INPUT)
    found: Counter[tuple[int, int]] = Counter()
    n: dict[tuple[int, int], int] = {}
    for topic in (OUTPUT, REJECTS):
        for stored in await all_of(bus, topic):
            assert stored.cause is not None
            position = (stored.cause.partition, stored.cause.offset)
            found[position] += 1
            n[position] = stored.cause.n
    positions = {(stored.partition, stored.offset) for stored in await all_of(bus, INPUT)}
    assert found == {position: n[position] for position in found}
    assert set(found) == {(partition, offset) for partition, offset in positions if offset in progress[partition]}
    if everything:
        assert set(found) == positions


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until `condition` holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.0005)


def by_key(records: Iterable[Stored]) -> list[tuple[str, bytes]]:
    return sorted((record.key, record.value) for record in records)
