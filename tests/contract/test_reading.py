"""Promises 4 and 5: records come in the order of the log, as they were sent, and never more of them than asked for."""

import asyncio
import contextlib
import time
import tracemalloc

import pytest

from stream.bus import Bus, Cause, Message
from stream.progress import MAX_SPAN, Progress, Window
from tests.contract.buses import Address, Harness
from tests.contract.processes import child
from tests.contract.steps import (
    INPUT,
    OUTPUT,
    STAGE,
    all_of,
    append,
    by_key,
    drained,
    fetched,
    inputs,
    leased,
    nothing_more,
    offsets_of,
    outcomes,
    process,
)
from tests.patience import PATIENCE_S


async def test_records_of_one_key_come_in_the_order_in_which_they_were_sent(bus: Bus) -> None:
    sent = [Message(INPUT, f"k{n % 7}", b"%d" % n) for n in range(200)]
    for first in range(0, len(sent), 15):
        await append(bus, sent[first : first + 15])
    order = {f"k{k}": [b"%d" % n for n in range(200) if n % 7 == k] for k in range(7)}
    read = await all_of(bus, INPUT)
    async with leased(bus) as leases:
        taken = [stored for lease in leases for stored in await drained(bus, lease)]
    for records in (read, taken):
        assert {key: [s.value for s in records if s.key == key] for key in order} == order
        for partition in range((await bus.topics())[INPUT]):
            offsets = [stored.offset for stored in records if stored.partition == partition]
            assert offsets == sorted(set(offsets))
    assert read == taken


async def test_one_key_is_always_in_one_partition(harness: Harness, bus: Bus) -> None:
    await append(bus, inputs(50))
    await bus.close()
    bus = await harness.open()
    await append(bus, inputs(50))
    homes = {(stored.key, stored.partition) for stored in await all_of(bus, INPUT)}
    assert len(homes) == 50
    assert {partition for _, partition in homes} == set(range(harness.partitions))


async def test_steps_of_several_owners_at_once_are_all_there_in_their_own_order(bus: Bus) -> None:
    async def send(name: str) -> None:
        async with bus.appender(name) as appender:
            for n in range(20):
                await appender.append([Message(INPUT, name, b"%d" % n), Message(OUTPUT, name, b"%d" % n)])

    names = [f"source{k}" for k in range(10)]
    await asyncio.gather(*(send(name) for name in names))
    for topic in (INPUT, OUTPUT):
        records = await all_of(bus, topic)
        for name in names:
            assert [stored.value for stored in records if stored.key == name] == [b"%d" % n for n in range(20)]


async def test_ends_progress_and_read_agree(bus: Bus) -> None:
    partitions = range((await bus.topics())[INPUT])
    assert await bus.ends(INPUT) == dict.fromkeys(partitions, 0)
    assert await bus.progress(STAGE, INPUT) == dict.fromkeys(partitions, Progress())
    await append(bus, inputs(40))
    last = {stored.partition: stored.offset for stored in await all_of(bus, INPUT)}
    ends = await bus.ends(INPUT)
    assert all(ends[partition] > last[partition] for partition in partitions)
    async with leased(bus) as leases:
        for lease in leases:
            assert [stored.offset for stored in await drained(bus, lease)] == await offsets_of(bus, lease.partition)
            assert lease.position == ends[lease.partition]
            await nothing_more(lease)
            await lease.commit([], Progress(lease.position))
    progress = await bus.progress(STAGE, INPUT)
    assert {partition: at.watermark for partition, at in progress.items()} == ends


async def test_a_read_goes_to_the_end_at_its_beginning(bus: Bus) -> None:
    await append(bus, [Message(INPUT, f"k{k}", bytes(700_000)) for k in range(9)])
    found = []
    async with contextlib.aclosing(bus.read(INPUT)) as batches:
        async for batch in batches:
            if not found:
                await append(bus, inputs(30))
            found += batch
    assert len(found) == 9
    assert len(await all_of(bus, INPUT)) == 39


async def test_a_fetch_waits_for_records_and_is_given_those_of_this_process(bus: Bus) -> None:
    async with leased(bus) as leases:
        fetches = [asyncio.create_task(fetched(lease, 1)) for lease in leases]
        await asyncio.sleep(0)
        await append(bus, inputs(30))
        batches = [await fetch for fetch in fetches]
        batches += [await drained(bus, lease) for lease in leases]
    assert by_key(stored for batch in batches for stored in batch) == sorted((m.key, m.value) for m in inputs(30))


async def test_a_fetch_is_given_the_records_of_another_process(bus: Bus, address: Address) -> None:
    async with child(address, "send", 30) as other, leased(bus) as leases:
        assert await other.says() == "ready"
        fetches = [asyncio.create_task(fetched(lease, 1)) for lease in leases]
        await asyncio.sleep(0)
        other.tell()
        for fetch in fetches:
            [stored] = await fetch
            assert stored.offset == 0
        assert await other.says() == "sent"
    assert len(await all_of(bus, INPUT)) == 30


async def test_a_fetch_gives_at_most_what_was_asked_for(bus: Bus) -> None:
    await append(bus, inputs(200))
    async with leased(bus) as [lease, *_]:
        found = []
        for limit in (1, 2, 3, 10, 1):
            batch = await lease.fetch(limit)
            assert len(batch) <= limit
            found += batch
        found += await drained(bus, lease)
        assert [stored.offset for stored in found] == await offsets_of(bus, lease.partition)


async def test_memory_is_bounded_whatever_the_backlog(bus: Bus, address: Address) -> None:
    value = bytes(2_000)
    async with bus.appender("source") as appender:
        for first in range(0, 20_000, 2_000):  # 40 MB
            await appender.append([Message(INPUT, f"k{k}", value) for k in range(first, first + 2_000)])
    async with leased(bus) as [lease, *_]:
        tracemalloc.start()
        try:
            for _ in range(60):
                await lease.fetch(50)
            async for batch in bus.read(INPUT):
                assert sum(len(stored.value) for stored in batch) <= 2_000_000
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < 8_000_000


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancelled_fetch_loses_nothing_and_ends(bus: Bus, turns: int) -> None:
    """Cancelled after any number of turns of the event loop, before and after records arrive."""
    async with leased(bus) as [lease, *_], bus.appender("source") as appender:
        found = []
        for first in range(0, 40, 4):
            fetch = asyncio.create_task(lease.fetch(3))
            for _ in range(turns // 2):
                await asyncio.sleep(0)
            await appender.append(inputs(4, first))
            for _ in range(turns):
                await asyncio.sleep(0)
            if fetch.done():
                found += fetch.result()
                continue
            fetch.cancel()
            done, _ = await asyncio.wait({fetch}, timeout=PATIENCE_S)
            assert done
            assert fetch.cancelled()
        found += await drained(bus, lease)
        assert [stored.offset for stored in found] == await offsets_of(bus, lease.partition)
        await nothing_more(lease)


async def test_a_new_owner_is_given_what_the_last_one_fetched_and_did_not_finish(bus: Bus) -> None:
    await append(bus, inputs(60))
    async with leased(bus) as [lease, *_]:
        first, second, *_ = await fetched(lease, 5)
        await lease.commit(outcomes(second), Progress(0, frozenset({1})))
    async with leased(bus) as [lease, *_]:
        assert [stored.offset for stored in await fetched(lease, 3)] == [first.offset, 2, 3]


async def test_no_more_is_delivered_than_progress_can_tell_of_until_a_commit_makes_room(bus: Bus) -> None:
    """One record hangs: what is delivered behind it stays within the span of the bitmap, whatever the gaps."""
    async with bus.appender("source") as appender:
        for first in range(0, MAX_SPAN + 1_000, 1_000):
            await appender.append([Message(INPUT, "k", b"%d" % k) for k in range(first, first + 1_000)])
    [partition] = {stored.partition for stored in await all_of(bus, INPUT)}
    offsets = await offsets_of(bus, partition)
    within = [offset for offset in offsets if offset <= MAX_SPAN]
    async with leased(bus) as leases:
        lease = leases[partition]
        window = Window(lease.progress)
        records = await fetched(lease, len(within), limit=1_000)
        assert [stored.offset for stored in records] == within
        await nothing_more(lease)
        window.deliver(within)
        for first in range(1, len(records), 2_000):
            progress = await process(lease, window, records[first : first + 2_000])
        assert (progress.watermark, len(progress.done)) == (0, len(within) - 1)
        await nothing_more(lease)
        await process(lease, window, records[:1])
        assert [stored.offset for stored in await drained(bus, lease)] == offsets[len(within) :]


ODD_KEYS = ["", " ", "é→𝄞", "a\nb", "a\0b", "'; DROP TABLE batch; --", "k" * 10_000, "-"]


async def test_a_record_comes_back_byte_for_byte_with_its_key_and_its_cause(bus: Bus) -> None:
    cause = Cause("stâge\n", "tópic", 2, 2**40, 3, 2**31)
    sent = [Message(INPUT, key, bytes(range(256)) * k, cause if k % 2 else None) for k, key in enumerate(ODD_KEYS)]
    before_s = time.time()
    await append(bus, sent)
    found = {stored.key: stored for stored in await all_of(bus, INPUT)}
    assert [(m.key, m.value, m.cause) for m in sent] == [(key, found[key].value, found[key].cause) for key in ODD_KEYS]
    assert all(before_s - 1 <= stored.at_s <= time.time() + 1 for stored in found.values())


async def test_a_record_of_two_megabytes_goes_through(bus: Bus) -> None:
    big = bytes(range(256)) * 8_192
    await append(bus, [Message(INPUT, "k", value) for value in (b"before", big, b"after", big)])
    async with leased(bus) as leases:
        partition = next(s.partition for s in await all_of(bus, INPUT))
        records = await fetched(leases[partition], 4)
    assert [stored.value for stored in records] == [b"before", big, b"after", big]
