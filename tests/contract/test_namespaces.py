"""A namespace that reads another one's topic: under a name of its own, for a group of its own, and never writes it."""

import asyncio
from collections import Counter

import pytest
from msgspec.structs import replace

from stream.bus import Bus, Cause
from stream.errors import WrongConfig
from stream.progress import Progress
from stream.topics import RECIPE, TOPICS, Topic, foreign, full_name
from tests.contract.buses import Harness
from tests.contract.steps import INPUT, OUTPUT, all_of, append, by_key, fetched, inputs, leased, outcomes
from tests.patience import PATIENCE_S


def files_of(bus: Bus) -> str:
    """The name of a namespace's `files`, for another one."""
    return foreign(TOPICS["files"], bus.namespace).name


async def child_of(harness: Harness, bus: Bus) -> Bus:
    """A namespace whose stage `functions` reads the files of `bus`."""
    child = await harness.open("v2")
    await child.create([RECIPE, TOPICS["functions"]], {"functions": files_of(bus)})
    return child


async def test_what_another_namespace_holds_is_read_under_its_name(harness: Harness, bus: Bus) -> None:
    theirs = files_of(bus)
    await append(bus, inputs(10))
    child = await child_of(harness, bus)
    assert by_key(await all_of(child, theirs)) == by_key(await all_of(bus, INPUT))
    assert await child.ends(theirs) == await bus.ends(INPUT)
    assert await child.starts(theirs) == await bus.starts(INPUT)
    assert set(await child.topics()) == {"recipe", "functions"}


async def test_a_group_of_ours_on_their_topic_has_progress_of_its_own(harness: Harness, bus: Bus) -> None:
    theirs = files_of(bus)
    await append(bus, inputs(30))
    child = await child_of(harness, bus)
    async with leased(bus) as [home, *_], leased(child, topic=theirs) as [ours, *_]:
        [first] = await fetched(ours, 1)
        cause = Cause("functions", theirs, first.partition, first.offset, 0, 1)
        await ours.commit([replace(outcomes(first)[0], cause=cause)], Progress(first.offset + 1))
        assert home.progress == Progress()
    assert (await bus.progress("functions", INPUT))[0] == Progress()
    assert (await child.progress("functions", theirs))[first.partition].watermark == first.offset + 1
    assert [stored.cause for stored in await all_of(child, OUTPUT)] == [cause]
    assert await all_of(bus, OUTPUT) == []


async def test_what_is_appended_there_reaches_a_stage_that_waits_here(harness: Harness, bus: Bus) -> None:
    theirs = files_of(bus)
    child = await child_of(harness, bus)
    async with leased(child, topic=theirs) as leases:
        waiting = [asyncio.create_task(lease.fetch(100)) for lease in leases]
        await append(bus, inputs(30))
        async with asyncio.timeout(PATIENCE_S):
            found = [stored for part in await asyncio.gather(*waiting) for stored in part]
    assert by_key(found) == by_key(await all_of(bus, INPUT))


async def test_progress_begins_where_the_first_record_stands(harness: Harness, bus: Bus) -> None:
    theirs = files_of(bus)
    await append(bus, inputs(40))
    ends = await bus.ends(INPUT)
    await bus.delete_before(INPUT, ends)
    child = await child_of(harness, bus)
    starts = await bus.starts(INPUT)
    assert starts == ends
    assert await child.progress("functions", theirs) == {p: Progress(start) for p, start in starts.items()}
    await append(bus, inputs(20, first=40), "again")
    async with leased(child, topic=theirs) as leases:
        there = Counter(stored.partition for stored in await all_of(bus, INPUT))
        found = [stored for lease in leases for stored in await fetched(lease, there[lease.partition])]
    assert by_key(found) == by_key(inputs(20, first=40))


async def test_progress_that_has_begun_stays_where_it_is(harness: Harness, bus: Bus) -> None:
    theirs = files_of(bus)
    await append(bus, inputs(30))
    child = await child_of(harness, bus)
    ends = await bus.ends(INPUT)
    async with leased(child, topic=theirs) as leases:
        for lease in leases:
            await lease.commit([], Progress(ends[lease.partition] - 1))
    await bus.delete_before(INPUT, ends)
    await child.create([TOPICS["functions"]], {"functions": theirs})
    found = await child.progress("functions", theirs)
    assert {p: at.watermark for p, at in found.items()} == {p: end - 1 for p, end in ends.items()}


async def test_a_topic_that_the_other_namespace_does_not_have_is_named(harness: Harness, bus: Bus) -> None:
    child = await child_of(harness, bus)
    with pytest.raises(WrongConfig, match=r"no topic \S*main\.seeds"):
        await all_of(child, f"{bus.namespace}/seeds")


async def test_namespaces_are_those_with_a_recipe(harness: Harness, bus: Bus) -> None:
    found = set(await bus.namespaces())
    assert (await child_of(harness, bus)).namespace in set(await bus.namespaces()) - found


async def test_a_difference_is_named_and_nothing_is_changed(harness: Harness, bus: Bus) -> None:
    wanted = [TOPICS["files"], TOPICS["functions"]]
    assert list(await bus.differences(wanted, {"functions": "files"})) == []
    odd = Topic("files", TOPICS["files"].record, "file id", 7, "pruned")
    before = await bus.topics()
    found = await bus.differences([odd, TOPICS["seeds"]])
    assert len(found) == 2
    assert [line for line in found if "main.seeds" in line and "missing" in line]
    assert [line for line in found if f"main.files has {harness.partitions} partitions, 7 expected" in line]
    assert await bus.topics() == before


async def test_offsets_of_a_dense_bus_count_records(harness: Harness, bus: Bus) -> None:
    await append(bus, inputs(25))
    if bus.dense:
        starts, ends = await bus.starts(INPUT), await bus.ends(INPUT)
        assert sum(ends.values()) - sum(starts.values()) == 25


def test_a_name_says_whose_topic_it_is() -> None:
    theirs = foreign(TOPICS["files"], "main").name
    assert full_name("v2", theirs) == full_name("main", "files") == "main.files"
