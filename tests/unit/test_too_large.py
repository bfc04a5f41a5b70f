"""A record that the bus would never take is dead-lettered with its size, whether that was known before or found out."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from stream.codec import decode, encode
from stream.errors import Fatal, TooLarge, WrongConfig
from stream.records import Seed, StateChange
from stream.retry import Gate
from stream.stage import Decision, Fold, Map, Outcome, Reason, Reject
from stream.topics import DEAD
from tests.map_stages import failing_on, same
from tests.stage_runs import (
    OUTPUT,
    all_of,
    check_conserved,
    dead,
    emitted,
    memory_bus,
    rejects,
    running,
    seeds,
    spec,
)

SMALL = max(len(encode(record)) for record in seeds(10))  # bytes that each of them fits into


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


def grown(record: Seed, chars: int = 5_000) -> Seed:
    return replace(record, code="x" * chars)


async def grow_three(record: Seed) -> Outcome[Seed]:
    """A stage that makes a large record of number 3, and a reject beside it."""
    if record.name == "3":
        return Outcome((record, grown(record)), (Reject(Reason.ALREADY_KEPT, "part"),))
    return Outcome((record,))


known = pytest.mark.parametrize("known", [True, False], ids=["known", "found out"])


@known
async def test_an_input_of_which_one_outcome_is_too_large_is_dead_as_a_whole_and_the_others_flow(known: bool) -> None:
    stage = spec(Map.single(grow_three))
    bus = await memory_bus(stage, seeds(10))
    bus.limit(OUTPUT.name, SMALL, known=known)
    async with running(bus, stage) as run:
        await run.finished(10)
    [letter] = await dead(bus)
    size = len(encode(grown(seeds(4)[3])))
    assert letter.error.startswith(f"TooLarge: a record of {size:,} bytes: topic typed takes {SMALL:,}\n")
    assert (letter.offset, letter.head) == (3, encode(seeds(4)[3]).decode())
    assert sorted(await emitted(bus)) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert await rejects(bus) == []
    assert (run.stats.dead, run.stats.emitted, run.stats.rejected) == (1, 9, {})
    await check_conserved(bus, stage)


@known
async def test_evidence_that_is_too_large_makes_a_dead_letter_too(known: bool) -> None:
    async def call(record: Seed) -> Outcome[Seed]:
        return Outcome(rejected=(Reject(Reason.ALREADY_KEPT, "x" * 5_000 if record.name == "1" else ""),))

    stage = spec(Map.single(call))
    bus = await memory_bus(stage, seeds(3))
    bus.limit("rejects", 1_000, known=known)
    async with running(bus, stage) as run:
        await run.finished(3)
    [letter] = await dead(bus)
    assert "topic rejects takes 1,000" in letter.error
    assert len(await rejects(bus)) == 2
    await check_conserved(bus, stage)


@known
async def test_a_dead_letter_that_is_too_large_loses_of_its_head_and_then_of_its_error(known: bool) -> None:
    stage = spec(Map.single(failing_on("1", ValueError("no good"))))
    bus = await memory_bus(stage, [seeds(1)[0], grown(seeds(2)[1], 100_000)])
    for limit, head in ((10_000, True), (800, False)):
        bus.limit(DEAD.name, limit, known=known)
        async with running(bus, stage) as run:
            await run.finished(2)
        [*_, stored] = await all_of(bus, DEAD.name)
        letter = (await dead(bus))[-1]
        assert len(stored.value) <= limit
        assert letter.error.startswith("ValueError: no good")
        assert bool(letter.head) == head
        bus = await memory_bus(stage, [seeds(1)[0], grown(seeds(2)[1], 100_000)])


async def test_a_bus_that_takes_no_dead_letter_at_all_stops_the_stage_and_says_why() -> None:
    stage = spec(Map.single(failing_on("1", ValueError("no good"))))
    bus = await memory_bus(stage, seeds(2))
    bus.limit(DEAD.name, 100)
    async with running(bus, stage) as run:
        with pytest.raises(WrongConfig, match=r"bytes: topic dead takes 100: too little for a dead letter"):
            await run.task
    assert await dead(bus) == []


@pytest.mark.parametrize("shape", ["map", "fold"])
async def test_a_step_that_the_bus_refuses_without_a_message_to_blame_stops_the_stage(shape: str) -> None:
    stage = spec(Map.single(same) if shape == "map" else keeping())
    bus = await memory_bus(stage, seeds(2))

    def refuse() -> None:
        raise TooLarge("a step of 2 records")

    bus.commit_fault = refuse
    async with running(bus, stage) as run:
        with pytest.raises(Fatal, match="stage typed: the bus refuses a step, and no message in it: a step of 2 rec"):
            await run.task
    assert await emitted(bus) == []


# --- a Fold


def keeping(
    emit: Callable[[Seed], Seed] = lambda record: record, change: Callable[[Seed], str] = lambda _: "", batch: int = 256
) -> Fold[Seed, Seed, list[str]]:
    """Keeps every seed; what it emits says which it knew of."""

    def decide(state: list[str], records: Sequence[Seed]) -> list[Decision[Seed]]:
        decisions: list[Decision[Seed]] = []
        for record in records:
            decisions.append(Decision(Outcome((emit(replace(record, code=" ".join(state))),)), change(record)))
            state.append(record.name)
        return decisions

    def restore(state: list[str], changes: Sequence[str]) -> None:
        state.extend(change.strip() for change in changes)

    return Fold(list[str], decide, restore, batch)


@known
@pytest.mark.parametrize("batch", [1, 3, 256])
@pytest.mark.parametrize("what", ["output", "state"])
async def test_a_fold_does_not_remember_a_record_that_the_bus_would_not_take(
    known: bool, batch: int, what: str
) -> None:
    def emit(record: Seed) -> Seed:
        return replace(record, code=record.code + " " * 5_000) if record.name == "4" and what == "output" else record

    def change(record: Seed) -> str:
        return record.name + (" " * 5_000 if record.name == "4" and what == "state" else "")

    stage = spec(keeping(emit, change, batch))
    bus = await memory_bus(stage, seeds(10))
    bus.limit(OUTPUT.name if what == "output" else "typed.state", 2_000, known=known)
    async with running(bus, stage) as run:
        await run.finished(10)
    [letter] = await dead(bus)
    assert letter.offset == 4
    assert letter.error.startswith("TooLarge: a record of ")
    out = [decode(stored.value, Seed) for stored in await all_of(bus, OUTPUT.name)]
    assert [record.name for record in out] == [str(k) for k in range(10) if k != 4]
    assert out[-1].code == "0 1 2 3 5 6 7 8"
    kept = [entry for s in await all_of(bus, "typed.state") for entry in decode(s.value, StateChange).entries]
    assert [entry.offset for entry in kept] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    await check_conserved(bus, stage)


@known
async def test_a_change_of_state_that_is_too_large_for_a_batch_is_cut_into_as_many_as_it_takes(known: bool) -> None:
    stage = spec(keeping(change=lambda record: record.name + " " * 500))
    bus = await memory_bus(stage, seeds(10))
    bus.limit("typed.state", 2_000, known=known)
    async with running(bus, stage) as run:
        await run.finished(10)
    assert run.stats.commits == (1 if known else 10)
    assert await emitted(bus) == list(range(10))
    entries = [decode(s.value, StateChange).entries for s in await all_of(bus, "typed.state")]
    assert [entry.offset for change in entries for entry in change] == list(range(10))
    assert len(entries) > 2
    await check_conserved(bus, stage)
