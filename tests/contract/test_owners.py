"""Promise 2: one owner at a time, and one that is no owner any more cannot write."""

import asyncio
import contextlib

import pytest
from msgspec.structs import replace

from stream.bus import Bus
from stream.errors import Fatal, InUse, LeaseLost, Unavailable
from stream.progress import Progress
from tests.contract.buses import Address, Harness
from tests.contract.processes import child
from tests.contract.steps import (
    INPUT,
    NEXT_STAGE,
    OTHER_STAGE,
    OUTPUT,
    STAGE,
    all_of,
    append,
    fetched,
    inputs,
    leased,
    outcomes,
)
from tests.patience import PATIENCE_S


async def test_a_second_member_of_a_group_of_one_is_refused_and_the_first_goes_on(exclusive: Harness, bus: Bus) -> None:
    await append(bus, inputs(60))
    other = await exclusive.open()
    async with leased(bus) as [lease, *_]:
        [stored] = await fetched(lease, 1)
        with pytest.raises(InUse):
            async with leased(other):
                pass
        await lease.commit(outcomes(stored), Progress(1))
    assert len(await all_of(bus, OUTPUT)) == 1


async def test_of_two_owners_of_an_appender_one_can_append(harness: Harness, bus: Bus) -> None:
    other = await harness.open()
    async with bus.appender("source") as first:
        if not harness.shared:
            with pytest.raises(InUse):
                async with other.appender("source"):
                    pass
            await first.append(inputs(1))
        else:
            async with other.appender("source") as second:
                with pytest.raises(LeaseLost):
                    try:
                        await first.append(inputs(1))
                    except Unavailable:  # it may learn first that it cannot, and then why
                        await first.append(inputs(1))
                await second.append(inputs(1))
    assert len(await all_of(bus, INPUT)) == 1


async def test_who_has_left_the_group_can_no_longer_commit(bus: Bus) -> None:
    await append(bus, inputs(60))
    async with leased(bus) as [lease, *_]:
        [stored] = await fetched(lease, 1)
    for _ in range(2):
        with pytest.raises(LeaseLost):
            await lease.commit(outcomes(stored), Progress(1))
        async with leased(bus) as [second, *_]:
            assert second.progress == Progress()
            with pytest.raises(LeaseLost):
                await lease.commit(outcomes(stored), Progress(1))
    async with bus.appender("source") as appender:
        pass
    with pytest.raises(LeaseLost):
        await appender.append(inputs(1))
    assert await all_of(bus, OUTPUT) == []
    assert len(await all_of(bus, INPUT)) == 60


async def test_nothing_is_written_through_a_closed_bus_and_nobody_waits_for_it(harness: Harness, bus: Bus) -> None:
    async with contextlib.AsyncExitStack() as owners:
        appender = await owners.enter_async_context(bus.appender("source"))
        [lease, *_] = await owners.enter_async_context(leased(bus))
        await bus.close()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(Fatal):
                await appender.append(inputs(1))
            with pytest.raises(Fatal):
                await lease.commit([], Progress(1))
    assert await all_of(await harness.open(), INPUT) == []


async def test_a_released_lease_commits_and_fetches_no_more(bus: Bus) -> None:
    await append(bus, inputs(60))
    async with leased(bus) as [lease, *_]:
        assert not lease.wanted.is_set()
        [stored] = await fetched(lease, 1)
        await lease.commit(outcomes(stored), Progress(1))
        lease.release()
        lease.release()
        with pytest.raises(LeaseLost):
            await lease.fetch(1)
        with pytest.raises(LeaseLost):
            await lease.commit([], Progress(2))
    assert (await bus.progress(STAGE, INPUT))[lease.partition] == Progress(1)


@pytest.mark.usefixtures("exclusive")
async def test_another_process_is_refused_and_told_whose_it_is(bus: Bus, address: Address) -> None:
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
        leased(bus, STAGE) as [one, *_],
        leased(bus, OTHER_STAGE) as [two, *_],
        bus.appender("source") as source,
        bus.appender("other"),
    ):
        await asyncio.gather(one.commit([], Progress(1)), two.commit([], Progress(2)), source.append(inputs(1)))
    assert (await bus.progress(STAGE, INPUT))[0] == Progress(1)
    assert (await bus.progress(OTHER_STAGE, INPUT))[0] == Progress(2)


async def test_progress_is_a_stages_own(bus: Bus) -> None:
    await append(bus, inputs(60))
    await append(bus, [replace(message, topic=OUTPUT) for message in inputs(60)])
    async with leased(bus, STAGE) as [lease, *_]:
        await lease.commit([], Progress(1))
    for stage, topic in ((OTHER_STAGE, INPUT), (NEXT_STAGE, OUTPUT)):
        async with leased(bus, stage, topic) as [lease, *_]:
            assert lease.progress == Progress()
            assert (await fetched(lease, 1))[0].offset == 0
