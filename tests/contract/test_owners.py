"""Promise 2: one owner at a time, and one that is no owner any more cannot write."""

import asyncio
import contextlib

import pytest

from stream.bus import Bus, Gone, Lease
from stream.errors import Fatal, InUse, LeaseLost
from stream.progress import Progress
from stream.tasks import cancelled
from tests.contract.buses import Address, Harness
from tests.contract.processes import child
from tests.contract.steps import INPUT, OUTPUT, PATIENCE_S, STAGE, all_of, append, fetched, inputs, leased, outcomes


async def test_of_two_owners_of_a_stage_one_can_commit(harness: Harness, bus: Bus) -> None:
    await append(bus, inputs(60))
    other = await harness.open()
    async with leased(bus) as leases, contextlib.aclosing(other.leases(STAGE, INPUT)) as group:
        stored = {lease.partition: (await fetched(lease, 1))[0] for lease in leases}

        async def give_back(lease: Lease) -> None:
            await lease.wanted.wait()
            lease.release()

        givers = [asyncio.create_task(give_back(lease)) for lease in leases]
        try:
            async with asyncio.timeout(PATIENCE_S):
                second = await anext(group)
        except InUse:
            partition = 0
            await leases[0].commit(outcomes(stored[0]), Progress(1))
        else:
            assert not isinstance(second, Gone)
            partition = second.partition
            with pytest.raises(LeaseLost):
                await leases[partition].commit(outcomes(stored[partition]), Progress(1))
            await second.commit(outcomes(stored[partition]), Progress(1))
        await cancelled(*givers)
    found = [s.cause for s in await all_of(bus, OUTPUT) if s.cause]
    assert [(cause.partition, cause.offset) for cause in found] == [(partition, 0)]


async def test_of_two_owners_of_an_appender_one_can_append(harness: Harness, bus: Bus) -> None:
    other = await harness.open()
    async with bus.appender("source") as first:
        try:
            async with other.appender("source") as second:
                await second.append(inputs(1))
        except InUse:
            await first.append(inputs(1))
        else:
            with pytest.raises(Fatal):
                await first.append(inputs(1))
    assert len(await all_of(bus, INPUT)) == 1


async def test_who_has_left_the_group_can_no_longer_commit(bus: Bus) -> None:
    await append(bus, inputs(60))
    async with leased(bus) as [lease, *_]:
        [stored] = await lease.fetch(1)
    for _ in range(2):
        with pytest.raises(Fatal):
            await lease.commit(outcomes(stored), Progress(1))
        async with leased(bus) as [second, *_]:
            assert second.progress == Progress()
            with pytest.raises(Fatal):
                await lease.commit(outcomes(stored), Progress(1))
    async with bus.appender("source") as appender:
        pass
    with pytest.raises(Fatal):
        await appender.append(inputs(1))
    assert await all_of(bus, OUTPUT) == []
    assert len(await all_of(bus, INPUT)) == 60


async def test_nothing_is_written_through_a_closed_bus_and_nobody_waits_for_it(harness: Harness, bus: Bus) -> None:
    async with contextlib.AsyncExitStack() as owners:
        appender = await owners.enter_async_context(bus.appender("source"))
        [lease, *_] = await owners.enter_async_context(leased(bus))
        await bus.close()
        async with asyncio.timeout(10):
            with pytest.raises(Fatal):
                await appender.append(inputs(1))
            with pytest.raises(Fatal):
                await lease.commit([], Progress(1))
    assert await all_of(await harness.open(), INPUT) == []


async def test_another_process_is_refused_and_told_whose_it_is(bus: Bus, address: Address) -> None:
    if address.name == "kafka":
        pytest.skip("its groups have many members")
    async with child(address, "hold") as other:
        assert await other.says() == "held"
        with pytest.raises(InUse, match=rf"functions of namespace main is in use by process {other.pid}$"):
            async with leased(bus):
                pass


async def test_what_a_killed_process_owned_is_free(bus: Bus, address: Address) -> None:
    await append(bus, inputs(60))
    async with child(address, "hold") as other:
        assert await other.says() == "held"
        await other.kill()
        async with leased(bus) as [lease, *_]:
            assert [stored.offset for stored in await fetched(lease, 2)] == [0, 1]


async def test_owners_of_different_names_are_not_in_each_others_way(bus: Bus) -> None:
    await append(bus, inputs(60))
    async with (
        leased(bus, "functions") as [one, *_],
        leased(bus, "counter") as [two, *_],
        bus.appender("source") as source,
        bus.appender("other"),
    ):
        await asyncio.gather(one.commit([], Progress(1)), two.commit([], Progress(2)), source.append(inputs(1)))
    assert (await bus.progress("functions", INPUT))[0] == Progress(1)
    assert (await bus.progress("counter", INPUT))[0] == Progress(2)


async def test_progress_is_kept_by_stage_and_by_topic(bus: Bus) -> None:
    await append(bus, inputs(60))
    await append(bus, [message._replace(topic=OUTPUT) for message in inputs(60)])
    for topic in (INPUT, OUTPUT):
        await bus.create([], {"s": topic})
    async with leased(bus, "s", INPUT) as [lease, *_]:
        await lease.commit([], Progress(1))
    async with leased(bus, "s", OUTPUT) as [lease, *_]:
        assert lease.progress == Progress()
        assert (await fetched(lease, 1))[0].offset == 0
