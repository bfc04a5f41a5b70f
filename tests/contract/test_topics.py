"""Topics: made once, told apart by namespace, and kept as they were made."""

import pytest
from msgspec.structs import replace

from stream.bus import Bus
from stream.errors import WrongConfig
from stream.progress import Progress
from stream.records import StateChange
from stream.topics import RECIPE, TOPICS, Topic, state_topic
from tests.contract.buses import Harness
from tests.contract.steps import INPUT, OUTPUT, READERS, STAGE, all_of, append, by_key, inputs, leased


async def test_topics_are_made_once_and_keep_what_is_in_them(harness: Harness, bus: Bus) -> None:
    await append(bus, inputs(20))
    await bus.create([TOPICS["files"], TOPICS["typed"], TOPICS["typed"]])
    await bus.create([])
    assert len(await all_of(bus, INPUT)) == 20
    assert await bus.topics() == dict.fromkeys(("files", "functions", "rejects", "dead"), harness.partitions) | {
        "typed": 1
    }


async def test_the_progress_of_readers_begins_with_their_topic_and_is_never_begun_again(bus: Bus) -> None:
    for stage, topic in READERS.items():
        assert set((await bus.progress(stage, topic)).values()) == {Progress()}
    await append(bus, inputs(20))
    async with leased(bus) as [lease, *_]:
        await lease.commit([], Progress(1))
    await bus.create([TOPICS["files"], TOPICS["functions"]], READERS)
    assert (await bus.progress(STAGE, INPUT))[0] == Progress(1)


async def test_topics_have_the_partitions_of_the_table(harness: Harness, bus: Bus) -> None:
    await bus.create([TOPICS["typed"], RECIPE, state_topic("unique")])
    topics = await bus.topics()
    assert {name: topics[name] for name in ("typed", "recipe", "unique.state", "files")} == {
        "typed": 1, "recipe": 1, "unique.state": 1, "files": harness.partitions,
    }  # fmt: skip


async def test_a_topic_with_another_number_of_partitions_is_refused(bus: Bus) -> None:
    name = state_topic("unique").name
    await bus.create([Topic(name, StateChange, "-", 2, "forever")])
    with pytest.raises(WrongConfig, match=f"{name} has 2 partitions, 5 expected"):
        await bus.create([Topic(name, StateChange, "-", 5, "forever")])
    assert (await bus.topics())[name] == 2


async def test_topics_made_by_another_bus_are_found(harness: Harness, bus: Bus) -> None:
    other = await harness.open()
    await other.create([TOPICS["seeds"]])
    assert "seeds" in await bus.topics()
    await append(bus, [replace(message, topic="seeds") for message in inputs(3)])
    assert len(await all_of(other, "seeds")) == 3


async def test_a_topic_that_is_not_there_is_a_wrong_config_that_names_it(bus: Bus) -> None:
    for attempt in (bus.ends("nowhere"), bus.progress("s", "nowhere"), all_of(bus, "nowhere")):
        with pytest.raises(WrongConfig, match=r"no topic \S*main\.nowhere"):
            await attempt
    with pytest.raises(WrongConfig, match=r"no topic \S*main\.nowhere"):
        async for _ in bus.leases("s", "nowhere"):
            pass


async def test_namespaces_share_nothing(harness: Harness, bus: Bus) -> None:
    await append(bus, inputs(10))
    other = await harness.open("main2")
    assert await other.topics() == {}
    await other.create([TOPICS["files"], TOPICS["functions"]], {STAGE: INPUT})
    assert await all_of(other, INPUT) == []
    async with leased(bus) as [one, *_], leased(other) as [two, *_]:  # the same stage, twice
        await append(other, inputs(30, first=100), "a")
        await one.commit([replace(message, topic=OUTPUT) for message in inputs(1)], Progress(1))
        assert two.progress == Progress()
    assert (await other.progress(STAGE, INPUT))[0] == Progress()
    assert await all_of(other, OUTPUT) == []
    assert by_key(await all_of(bus, INPUT)) == sorted((m.key, m.value) for m in inputs(10))
    assert by_key(await all_of(other, INPUT)) == sorted((m.key, m.value) for m in inputs(30, first=100))


async def test_a_namespace_is_the_beginning_of_a_name_up_to_the_dot(harness: Harness, bus: Bus) -> None:
    other = await harness.open("main2")
    await other.create([TOPICS["seeds"]])
    assert "seeds" not in await bus.topics()
    assert set(await other.topics()) == {"seeds"}


@pytest.mark.parametrize("namespace", ["", "a.b", "../up", "a/b", "a b", "é", "n" * 101])
async def test_a_namespace_that_could_be_taken_for_another_is_refused(harness: Harness, namespace: str) -> None:
    with pytest.raises(WrongConfig, match="namespace"):
        await harness.open(namespace)
