"""Promise 2 where a group has several members: partitions change hands, and each has one owner."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

import pytest

from stream.bus import Bus, Gone, Lease
from stream.errors import LeaseLost, Unavailable
from stream.progress import Progress, Window
from tests.contract.buses import Harness
from tests.contract.steps import (
    INPUT,
    NEXT_STAGE,
    STAGE,
    append,
    check_once,
    drained,
    inputs,
    outcomes,
    process,
)
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.usefixtures("shared")


class Member:
    """One in the group of the stage: the leases that it holds, and what it was told is gone."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.held: dict[int, Lease] = {}
        self.gone: list[int] = []
        self._told = asyncio.Event()
        self._task = asyncio.create_task(self._listen(bus.leases(STAGE, INPUT)))

    async def _listen(self, events: AsyncIterator[Lease | Gone]) -> None:
        async with contextlib.aclosing(events):  # pyright: ignore[reportArgumentType] - it is a generator
            async for event in events:
                old = self.held.pop(event.partition, None)
                assert old is None or old.wanted.is_set()  # released by us, or lost
                if isinstance(event, Gone):
                    self.gone.append(event.partition)
                else:
                    self.held[event.partition] = event
                self._told.set()

    async def owns(self, *counts: int) -> None:
        """Wait until it holds so many leases; those that are wanted are released as they should be."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.held) not in counts or any(lease.wanted.is_set() for lease in self.held.values()):
                self._check()
                self.give_back()
                self._told.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):  # a lease that is wanted says so by itself
                        await self._told.wait()

    def give_back(self) -> None:
        """Release what is wanted."""
        for partition, lease in [*self.held.items()]:
            if lease.wanted.is_set():
                del self.held[partition]
                lease.release()

    def _check(self) -> None:
        if self._task.done():
            self._task.result()

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


@contextlib.asynccontextmanager
async def joined(bus: Bus) -> AsyncGenerator[Member]:
    member = Member(bus)
    try:
        yield member
    finally:
        await member.leave()


async def shared_out(partitions: int, *members: Member) -> None:
    """Wait until every partition has one owner among the members, as evenly as can be."""
    low, high = partitions // len(members), -(-partitions // len(members))
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await asyncio.gather(*(member.owns(low, high) for member in members))
            if sorted(partition for member in members for partition in member.held) == list(range(partitions)):
                return


async def told_of(bus: Bus, *members: Member) -> None:
    """Wait until the bus says who has what."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await bus.workers([NEXT_STAGE, STAGE])
            assert found.get(NEXT_STAGE, []) == []
            if sorted(map(sorted, found[STAGE])) == sorted(sorted(member.held) for member in members):
                return
            await asyncio.sleep(0.01)


async def test_partitions_are_shared_out_when_a_member_joins_and_come_back_when_it_leaves(
    shared: Harness, bus: Bus
) -> None:
    partitions = shared.partitions
    async with joined(bus) as first:
        await shared_out(partitions, first)
        async with joined(await shared.open()) as second:
            await shared_out(partitions, first, second)
            async with asyncio.timeout(PATIENCE_S):
                while {*first.gone} != {*second.held}:
                    await asyncio.sleep(0.01)
            await told_of(bus, first, second)
        await shared_out(partitions, first)
        await told_of(bus, first)


async def test_a_lease_that_is_wanted_fetches_no_more_and_commits_until_it_is_released(
    shared: Harness, bus: Bus
) -> None:
    await append(bus, inputs(60))
    async with joined(bus) as first:
        await shared_out(shared.partitions, first)
        lease = first.held[0]
        window = Window(lease.progress)
        records = await drained(bus, lease)
        window.deliver(stored.offset for stored in records)
        waiting = asyncio.create_task(lease.fetch(1))
        async with joined(await shared.open()) as second:
            async with asyncio.timeout(PATIENCE_S):
                await lease.wanted.wait()
            with pytest.raises(LeaseLost):
                await waiting
            with pytest.raises(LeaseLost):
                await lease.fetch(1)
            progress = await process(lease, window, records[1:3])
            await shared_out(shared.partitions, first, second)
            [again] = [member.held[0] for member in (first, second) if 0 in member.held]
            assert again is not lease
            assert again.progress == progress
            left = [records[0], *records[3:]]
            assert [stored.offset for stored in await drained(bus, again)] == [stored.offset for stored in left]
            with pytest.raises(LeaseLost):
                await lease.commit(outcomes(records[0]), Progress(3))
    await check_once(bus, everything=False)


async def tried_again(step: Callable[[], Awaitable[object]]) -> None:
    """Take a step as the runner does: until it is answered. A broker that is taking a name from one owner for another
    (Kafka 4.3) may fail to answer the first one."""
    while True:
        try:
            await step()
            return
        except Unavailable:
            await asyncio.sleep(0.01)


async def test_through_any_number_of_changes_each_input_has_one_outcome(shared: Harness, bus: Bus) -> None:
    """Members come and go; each works on what it holds, and is interrupted anywhere."""
    await append(bus, inputs(200))

    async def work(lease: Lease) -> None:
        window = Window(lease.progress)
        with contextlib.suppress(LeaseLost):
            while True:
                records = await lease.fetch(3)
                window.deliver(stored.offset for stored in records)
                window.advance(lease.position)
                await tried_again(lambda: process(lease, window, records))  # noqa: B023 - called here
        lease.release()

    async def member(bus: Bus, group: asyncio.TaskGroup) -> None:
        async for event in bus.leases(STAGE, INPUT):
            if not isinstance(event, Gone):
                group.create_task(work(event))

    async def finished() -> int:
        progress = await bus.progress(STAGE, INPUT)
        return sum(at.watermark for at in progress.values())

    buses = [bus, *[await shared.open() for _ in range(3)]]
    async with asyncio.timeout(3 * PATIENCE_S), asyncio.TaskGroup() as group:
        members = [group.create_task(member(bus, group)) for bus in buses[:2]]
        for bus_of_new in buses[2:]:
            before = await finished()
            while await finished() == before < sum((await bus.ends(INPUT)).values()):
                await asyncio.sleep(0)
            members.append(group.create_task(member(bus_of_new, group)))
            members.pop(0).cancel()
        ends = sum((await bus.ends(INPUT)).values())
        while await finished() < ends:
            await asyncio.sleep(0.001)
        for task in members:
            task.cancel()
    await check_once(bus, everything=True)
