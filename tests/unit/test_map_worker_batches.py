"""The runner's rules for a Map that takes several records a call."""

import asyncio
from collections.abc import Sequence

import pytest

from stream.bus import Message
from stream.codec import encode
from stream.errors import RequestTimedOut
from stream.records import Seed
from stream.retry import Gate
from stream.stage import Map, Outcome
from tests.map_stages import same_batch
from tests.stage_runs import (
    INPUT,
    check_conserved,
    dead,
    emitted,
    memory_bus,
    running,
    seeds,
    spec,
)

pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


async def test_of_a_batch_that_fails_the_one_to_blame_stands_alone_and_the_others_are_emitted() -> None:
    sizes: list[int] = []

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        sizes.append(len(records))
        if any(record.name == "5" for record in records):
            raise ValueError("5 is not to my liking")
        return [Outcome((record,)) for record in records]

    stage = spec(Map(call, batch=8))
    bus = await memory_bus(stage, seeds(8))
    async with running(bus, stage) as run:
        await run.finished(8)
    assert sizes == [8, 4, 4, 2, 1, 1, 2]
    assert [letter.offset for letter in await dead(bus)] == [5]
    assert sorted(await emitted(bus)) == [0, 1, 2, 3, 4, 6, 7]
    await check_conserved(bus, stage)


async def test_a_batch_is_halved_at_its_first_transient_and_a_lone_record_is_given_its_attempts() -> None:
    calls: list[list[str]] = []

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        calls.append([record.name for record in records])
        if any(record.name == "0" for record in records):
            raise RequestTimedOut("slow")
        return [Outcome((record,)) for record in records]

    stage = spec(Map(call, batch=4))
    bus = await memory_bus(stage, seeds(4))
    async with running(bus, stage) as run:
        await run.finished(4)
    assert calls == [["0", "1", "2", "3"], ["0", "1"], ["0"], ["0"], ["0"], ["1"], ["2", "3"]]
    assert [letter.offset for letter in await dead(bus)] == [0]


@pytest.mark.parametrize("surplus", [-1, 1])
async def test_the_wrong_number_of_outcomes_is_a_defect_and_never_taken_for_an_outcome(surplus: int) -> None:
    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        return [Outcome((records[0],))] * (len(records) + surplus)

    stage = spec(Map(call, batch=3))
    bus = await memory_bus(stage, seeds(3))
    async with running(bus, stage) as run:
        await run.finished(3)
    assert await emitted(bus) == []
    letters = await dead(bus)
    assert [letter.offset for letter in letters] == [0, 1, 2]
    assert f"stage typed gave {1 + surplus} outcomes for 1 records" in letters[0].error
    await check_conserved(bus, stage)


async def test_an_empty_outcome_is_dead() -> None:
    async def call(record: Seed) -> Outcome[Seed]:
        return Outcome()

    stage = spec(Map.single(call))
    bus = await memory_bus(stage, seeds(1))
    async with running(bus, stage) as run:
        await run.finished(1)
    [letter] = await dead(bus)
    assert letter.error.startswith("Permanent: an outcome is never empty")


async def test_what_is_no_outcome_at_all_is_dead() -> None:
    async def call(records: Sequence[Seed]) -> list[None]:
        return [None] * len(records)

    stage = spec(Map(call, batch=2))  # type: ignore[arg-type]
    bus = await memory_bus(stage, seeds(3))
    async with running(bus, stage) as run:
        await run.finished(3)
    assert len(await dead(bus)) == 3


async def test_an_incomplete_batch_waits_for_more_records_but_not_for_ever() -> None:
    sizes: list[int] = []

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        sizes.append(len(records))
        return [Outcome((record,)) for record in records]

    stage = spec(Map(call, batch=10, linger_s=0.05))
    bus = await memory_bus(stage)
    async with running(bus, stage) as run, bus.appender("source") as appender:
        for record in seeds(10):
            await appender.append([Message(INPUT.name, record.key, encode(record))])
        await run.finished(10)
        await appender.append([Message(INPUT.name, s.key, encode(s)) for s in seeds(3, first=10)])
        await run.finished(13)
    assert sizes == [10, 3]


async def test_an_incomplete_batch_waits_from_its_first_record_on_however_many_trickle_in() -> None:
    started_s: list[float] = []
    clock = asyncio.get_running_loop()

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        started_s.append(clock.time())
        return [Outcome((record,)) for record in records]

    stage = spec(Map(call, batch=1_000_000, linger_s=0.05))
    bus = await memory_bus(stage)
    async with running(bus, stage) as run, bus.appender("source") as appender:
        first_s = clock.time()
        number = 0
        while not started_s:  # a record every few milliseconds: more often than it lingers
            [record] = seeds(1, first=number)
            await appender.append([Message(INPUT.name, record.key, encode(record))])
            number += 1
            await asyncio.sleep(0.002)
            assert clock.time() - first_s < 5
        await run.finished(number)


async def test_without_linger_an_incomplete_batch_goes_at_once() -> None:
    stage = spec(Map(same_batch, batch=1_000))
    bus = await memory_bus(stage, seeds(3))
    async with running(bus, stage) as run:
        await run.finished(3)
    assert sorted(await emitted(bus)) == [0, 1, 2]
