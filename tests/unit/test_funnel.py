"""The funnel counts records, whatever the bus does with offsets, and whatever was pruned."""

from collections import Counter

import pytest

from deploy.streams.funnel import Count, Funnel, Leg, funnel
from stream.bus import Stored
from stream.prune import Part, prune
from tests.audited import SPECS, feed, prepare, run_all
from tests.stage_runs import all_of
from tests.stream_fakes import Disk, MemoryBus

LEGS = [Leg("files", None), *(Leg(spec.name, spec.input.name) for spec in SPECS)]


@pytest.fixture(params=[False, True], ids=["dense", "with-gaps"])
async def bus(request: pytest.FixtureRequest) -> MemoryBus:
    bus = MemoryBus(Disk(shared=request.param), partitions=2)
    await prepare(bus)
    return bus


async def by_hand(bus: MemoryBus) -> list[Count]:
    """Counted from everything that stands in an unpruned stream, all of it finished."""
    topics = {topic: await all_of(bus, topic) for topic in await bus.topics()}

    def of(stage: str, topic: str) -> list[Stored]:
        return [stored for stored in topics[topic] if stored.cause and stored.cause.stage == stage]

    counts: list[Count] = []
    for leg in LEGS:
        reasons = Counter({"already_kept": len(of(leg.stage, "rejects"))})
        out = len(topics[leg.stage])
        done = len(topics[leg.reads]) if leg.reads else out + reasons.total()
        counts.append(Count(leg.stage, done, 0, out, reasons, len(of(leg.stage, "dead"))))
    return counts


async def test_each_stage_is_counted_as_its_topics_say(bus: MemoryBus) -> None:
    await feed(bus)
    await run_all(bus)
    assert await funnel(bus, LEGS) == await by_hand(bus)


async def test_what_no_stage_has_taken_yet_is_lag(bus: MemoryBus) -> None:
    await feed(bus)
    files, functions, *_ = await funnel(bus, LEGS)
    assert (functions.done, functions.lag) == (0, files.out)
    assert files.out == len(await all_of(bus, "files")) > 0


async def test_counting_again_reads_only_what_has_come_since(bus: MemoryBus) -> None:
    whole = Funnel(bus, LEGS)
    read: list[int] = []
    original = bus.read

    def watched(topic: str, start: dict[int, int] | None = None):
        async def batches():
            async for batch in original(topic, start):
                read.append(len(batch))
                yield batch

        return batches()

    bus.read = watched  # pyright: ignore[reportAttributeAccessIssue]
    await feed(bus)
    await run_all(bus)
    first = await whole.count()
    read.clear()
    assert await whole.count() == first
    assert read == []
    await feed(bus, 100, 8)
    await run_all(bus)
    read.clear()
    again = await whole.count()
    assert again == await by_hand(bus) != first


async def test_what_was_pruned_stays_in_the_count(bus: MemoryBus) -> None:
    await feed(bus)
    await run_all(bus)
    before = await by_hand(bus)
    whole = Funnel(bus, LEGS)
    assert await whole.count() == before
    found = await prune(Part(bus, SPECS), (), float("inf"))
    assert not found.holes and sum(found.records.values()) > 0
    assert await funnel(bus, LEGS) == before
    assert await whole.count() == before
    await feed(bus, 100, 8)
    assert (await funnel(bus, LEGS))[1].lag > 0
    await run_all(bus)
    after = await funnel(bus, LEGS)
    assert await whole.count() == after
    assert [count.lag for count in after] == [0] * len(LEGS)
    assert all(now.done > then.done for now, then in zip(after, before, strict=True))
