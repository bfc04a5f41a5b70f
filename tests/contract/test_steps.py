"""Promises 1, 2 and 6: a step is whole or not there, and whatever happens each input has one outcome."""

import asyncio
import contextlib
import random

import pytest

from stream.bus import Bus, Message
from stream.errors import Fatal
from stream.progress import Progress, Window
from tests.contract.buses import Address, Harness
from tests.contract.processes import child
from tests.contract.steps import (
    INPUT,
    OUTPUT,
    REJECTS,
    STAGE,
    all_of,
    append,
    by_key,
    check_once,
    drained,
    fetched,
    inputs,
    leased,
    nothing_more,
    outcomes,
    process,
)


async def test_outputs_and_progress_of_a_step_become_visible_together(bus: Bus) -> None:
    await append(bus, inputs(9))
    async with leased(bus) as leases:
        for lease in leases:
            window = Window(lease.progress)
            for stored in await drained(bus, lease):
                window.deliver([stored.offset])
                progress = await process(lease, window, [stored], n=3)
                assert (await bus.progress(STAGE, INPUT))[lease.partition] == progress
                await check_once(bus, everything=False)
    await check_once(bus, everything=True)


async def test_a_reader_in_another_process_never_sees_half_a_step(bus: Bus, address: Address) -> None:
    async with child(address, "steps", 7) as other:
        assert await other.says() == "working"
        finished = 0
        while finished < 300:
            inputs_before = {(stored.partition, stored.offset) for stored in await all_of(bus, INPUT)}
            before = await bus.progress(STAGE, INPUT)
            outcomes = [stored for topic in (OUTPUT, REJECTS) for stored in await all_of(bus, topic)]
            after = await bus.progress(STAGE, INPUT)
            whole: dict[tuple[int, int], set[int]] = {}
            for stored in outcomes:
                assert stored.cause is not None
                assert stored.cause.offset in after[stored.cause.partition]  # no output before its progress
                whole.setdefault((stored.cause.partition, stored.cause.offset), set()).add(stored.cause.i)
            n = {(o.cause.partition, o.cause.offset): o.cause.n for o in outcomes if o.cause}
            for partition, offset in inputs_before:
                if offset in before[partition]:  # no progress before its outputs
                    assert whole[partition, offset] == set(range(n[partition, offset]))
            finished = sum(progress.watermark for progress in before.values())


async def test_a_step_that_cannot_be_written_leaves_no_trace(bus: Bus) -> None:
    await append(bus, inputs(20))
    async with leased(bus) as [lease, *_]:
        [stored] = await fetched(lease, 1)
        with pytest.raises(Fatal, match="no_such_topic"):
            await lease.commit([*outcomes(stored), Message("no_such_topic", "k", b"")], Progress(1))
        assert await all_of(bus, OUTPUT) == []
        assert (await bus.progress(STAGE, INPUT))[0] == Progress()
        await lease.commit(outcomes(stored), Progress(1))
        await check_once(bus, everything=False)


async def test_an_append_is_whole_or_not_there(bus: Bus) -> None:
    async with bus.appender("source") as appender:
        with pytest.raises(Fatal, match="no_such_topic"):
            await appender.append([*inputs(3), Message("no_such_topic", "k", b"")])
        assert await all_of(bus, INPUT) == []
        await appender.append(inputs(3))
    assert by_key(await all_of(bus, INPUT)) == sorted((m.key, m.value) for m in inputs(3))


@pytest.mark.parametrize("seed", range(3))
async def test_after_a_crash_exactly_what_was_not_finished_is_fetched_again(
    harness: Harness, bus: Bus, seed: int
) -> None:
    dice = random.Random(seed)
    await append(bus, inputs(300))
    for _ in range(3):
        committed: dict[int, Progress] = {}
        todo: dict[int, list[int]] = {}
        async with contextlib.AsyncExitStack() as group:
            leases = await group.enter_async_context(leased(bus))
            for lease in leases:
                partition = lease.partition
                assert lease.progress == (await bus.progress(STAGE, INPUT))[partition]
                offsets = [s.offset for s in await all_of(bus, INPUT) if s.partition == partition]
                left = [offset for offset in offsets if offset not in lease.progress]
                window = Window(lease.progress)
                records = await drained(bus, lease)
                assert [stored.offset for stored in records] == left
                await nothing_more(lease)
                window.deliver(left)
                done = dice.sample(records, k=len(records) // 2)  # out of order
                committed[partition] = lease.progress
                for first in range(0, len(done), 10):
                    committed[partition] = await process(lease, window, done[first : first + 10])
                window.finish(stored.offset for stored in records)  # finished, but never committed
                todo[partition] = sorted({*left} - {stored.offset for stored in done})
            harness.crash(bus)
            bus = await harness.open()
            assert await bus.progress(STAGE, INPUT) == committed
            for partition, offsets in todo.items():
                assert all(offset not in committed[partition] for offset in offsets)
        await check_once(bus, everything=False)
    async with leased(bus) as leases:
        for lease in leases:
            window = Window(lease.progress)
            records = await drained(bus, lease)
            window.deliver(stored.offset for stored in records)
            window.advance(lease.position)
            assert await process(lease, window, records) == Progress((await bus.ends(INPUT))[lease.partition])
    await check_once(bus, everything=True)


async def test_a_killed_process_has_finished_what_it_committed_and_nothing_else(bus: Bus, address: Address) -> None:
    await append(bus, inputs(60))
    async with child(address, "take", 10) as other:
        assert await other.says() == "taken"
        await other.kill()
    await check_once(bus, everything=False)
    async with leased(bus) as [lease, *_]:
        assert lease.progress == Progress(10)
        assert (await fetched(lease, 1))[0].offset == 10


@pytest.mark.parametrize("turns", range(6))
async def test_a_commit_that_was_cancelled_is_in_the_next_lease_or_never_happened(bus: Bus, turns: int) -> None:
    await append(bus, inputs(60))
    for _ in range(5):
        async with leased(bus) as [lease, *_]:
            window = Window(lease.progress)
            records = await fetched(lease, 2)
            window.deliver(stored.offset for stored in records)
            commit = asyncio.create_task(process(lease, window, records))
            for _ in range(turns):
                await asyncio.sleep(0)
            commit.cancel()
            await asyncio.wait({commit})
        async with leased(bus) as [lease, *_]:
            found = {s.cause.offset for s in await all_of(bus, OUTPUT) if s.cause and s.cause.partition == 0}
            assert found == set(range(lease.progress.watermark))
    await check_once(bus, everything=False)


async def test_what_was_committed_is_there_after_closing_and_opening_again(harness: Harness, bus: Bus) -> None:
    await append(bus, inputs(30))
    async with leased(bus) as [lease, *_]:
        window = Window(lease.progress)
        records = await fetched(lease, 3)
        window.deliver(stored.offset for stored in records)
        progress = await process(lease, window, records[1:])
    before = [await all_of(bus, topic) for topic in (INPUT, OUTPUT, REJECTS)]
    await bus.close()
    await bus.close()  # idempotent
    bus = await harness.open()
    assert [await all_of(bus, topic) for topic in (INPUT, OUTPUT, REJECTS)] == before
    async with leased(bus) as [lease, *_]:
        assert lease.progress == progress
        assert [stored.offset for stored in await fetched(lease, 2)] == [0, 3]
