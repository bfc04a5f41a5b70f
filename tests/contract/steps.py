"""What the contract's tests do with a bus, in the words of `stream.bus` alone."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from stream.bus import Bus, Cause, Lease, Message, Stored
from stream.progress import Progress, Window

PATIENCE_S = 20.0
STAGE, INPUT, OUTPUT, REJECTS = "functions", "files", "functions", "rejects"


READERS = {STAGE: INPUT, "counter": INPUT}
"""Who reads what in these tests."""


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


@contextlib.asynccontextmanager
async def leased(bus: Bus, stage: str = STAGE, topic: str = INPUT) -> AsyncIterator[list[Lease]]:
    """All partitions of a topic, in order: nobody else is in the group."""
    await bus.topics()  # those made by another bus are known from here on
    partitions = len(await bus.starts(topic))
    async with contextlib.aclosing(bus.leases(stage, topic)) as group, asyncio.timeout(PATIENCE_S):
        leases = [await anext(group) for _ in range(partitions)]
        yield sorted(leases, key=lambda lease: lease.partition)


async def fetched(lease: Lease, count: int, limit: int = 7) -> list[Stored]:
    """Fetch `count` records."""
    records: list[Stored] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(records) < count:
            batch = await lease.fetch(min(limit, count - len(records)))
            assert len(batch) <= limit  # none when only the position has moved
            records += batch
    return records


async def drained(lease: Lease, window: Window, end: int) -> None:
    """Fetch until nothing below `end` is left to deliver: the last offsets may hold no record."""
    async with asyncio.timeout(PATIENCE_S):
        while lease.position < end:
            records = await lease.fetch(100)
            window.deliver(stored.offset for stored in records)
            window.finish(stored.offset for stored in records)
    window.advance(lease.position)


async def nothing_more(lease: Lease) -> None:
    """Check that a fetch waits. It cannot be waited for: what is there is handed out at once, within a few turns."""
    task = asyncio.create_task(lease.fetch(1))
    done, _ = await asyncio.wait({task}, timeout=0.05)
    assert not done or not task.result()
    task.cancel()
    await asyncio.wait({task})


async def offsets(bus: Bus, topic: str, partition: int) -> list[int]:
    """The offsets of the records of a partition: between and after them may be some that hold none."""
    return [stored.offset for stored in await all_of(bus, topic) if stored.partition == partition]


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


async def until(condition: Callable[[], bool], turns: int = 100_000) -> None:
    """Let others run until `condition` holds."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


def by_key(records: Iterable[Stored | Message]) -> list[tuple[str, bytes]]:
    return sorted((record.key, record.value) for record in records)
