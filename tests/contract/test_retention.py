"""Promise 7: what is deleted was asked for, and everything else stays where it was."""

import pytest

from stream.bus import Bus
from stream.progress import Progress
from tests.contract.buses import Harness
from tests.contract.steps import (
    INPUT,
    STAGE,
    all_of,
    append,
    drained,
    inputs,
    leased,
    nothing_more,
    offsets_of,
)


async def test_a_read_begins_where_it_is_told_in_each_partition(bus: Bus) -> None:
    for first in range(0, 60, 6):
        await append(bus, inputs(6, first))
    everything = await all_of(bus, INPUT)
    partitions = range((await bus.topics())[INPUT])
    for cut in (0, 1, 7, 13, 1_000):
        start = {partition: cut for partition in partitions if partition != 1}
        found = [stored async for batch in bus.read(INPUT, start) for stored in batch]
        assert found == [stored for stored in everything if stored.offset >= start.get(stored.partition, 0)]


async def test_nothing_is_deleted_unasked_and_a_topic_begins_at_its_first_offset(bus: Bus) -> None:
    partitions = range((await bus.topics())[INPUT])
    assert await bus.starts(INPUT) == dict.fromkeys(partitions, 0)
    await append(bus, inputs(60))
    assert await bus.starts(INPUT) == dict.fromkeys(partitions, 0)


@pytest.mark.parametrize("cut", [1, 5, 9])
async def test_nothing_at_or_above_what_was_asked_for_is_deleted_and_offsets_stay(bus: Bus, cut: int) -> None:
    for first in range(0, 60, 3):
        await append(bus, inputs(3, first))
    before, ends = await all_of(bus, INPUT), await bus.ends(INPUT)
    await bus.delete_before(INPUT, {0: cut})
    starts = await bus.starts(INPUT)
    assert {partition: start for partition, start in starts.items() if partition != 0} == dict.fromkeys(
        range(1, len(ends)), 0
    )
    assert 0 <= starts[0] <= cut
    assert await all_of(bus, INPUT) == [s for s in before if s.offset >= starts[s.partition]]
    assert await bus.ends(INPUT) == ends
    await bus.delete_before(INPUT, {0: 0})  # below: nothing to do
    assert await bus.starts(INPUT) == starts


async def test_a_partition_that_was_emptied_goes_on_where_it_ended(harness: Harness, bus: Bus) -> None:
    await append(bus, inputs(60))
    await all_of(bus, INPUT)  # behind it stands a broker's own mark, which may come a moment later
    ends = await bus.ends(INPUT)
    await bus.delete_before(INPUT, ends)
    assert await bus.starts(INPUT) == await bus.ends(INPUT) == ends
    assert await all_of(bus, INPUT) == []
    await bus.close()
    bus = await harness.open()
    await append(bus, inputs(60))
    records = await all_of(bus, INPUT)
    assert len(records) == 60
    assert all(stored.offset >= ends[stored.partition] for stored in records)
    assert await bus.starts(INPUT) == ends


@pytest.mark.parametrize("everything", [False, True])
async def test_a_stage_whose_progress_lies_below_what_was_deleted_goes_on_with_what_is_there(
    bus: Bus, everything: bool
) -> None:
    for first in range(0, 60, 3):
        await append(bus, inputs(3, first))
    async with leased(bus) as leases:
        for lease in leases:
            await lease.commit([], Progress(1))
    ends = await bus.ends(INPUT)
    await bus.delete_before(INPUT, ends if everything else {partition: end // 2 for partition, end in ends.items()})
    starts = await bus.starts(INPUT)
    async with leased(bus) as leases:
        for lease in leases:
            partition = lease.partition
            assert lease.progress == Progress(1)
            left = [offset for offset in await offsets_of(bus, partition) if offset >= 1]
            assert [stored.offset for stored in await drained(bus, lease)] == left
            assert all(offset >= starts[partition] for offset in left)
            await nothing_more(lease)
            await lease.commit([], Progress(lease.position))
    assert {p: at.watermark for p, at in (await bus.progress(STAGE, INPUT)).items()} == ends


async def test_what_is_deleted_while_a_lease_reads_is_passed_over(bus: Bus) -> None:
    for first in range(0, 60, 3):
        await append(bus, inputs(3, first))
    async with leased(bus) as [lease, *_]:
        found = list(await lease.fetch(1))
        await bus.delete_before(INPUT, {0: (await bus.ends(INPUT))[0]})
        found += await drained(bus, lease)
        assert len({stored.offset for stored in found}) == len(found)
        await append(bus, inputs(60))
        left = [offset for offset in await offsets_of(bus, 0) if offset >= lease.position]
        assert [stored.offset for stored in await drained(bus, lease)] == left
