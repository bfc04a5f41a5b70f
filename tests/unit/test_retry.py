"""Backoff, and the gate that holds intake while something is away."""

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import EndpointDown, Permanent, Unavailable
from stream.metrics import StageStats
from stream.retry import Gate, Gates, backoff_s
from tests.stage_runs import until

pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


class Server:
    """Away until told otherwise."""

    def __init__(self) -> None:
        self.away: Unavailable | None = EndpointDown("http://llm is away")
        self.asked = 0

    async def ask(self) -> str:
        self.asked += 1
        if self.away is not None:
            raise self.away
        return "here"


@given(st.integers(1, 10_000), st.floats(0.001, 1), st.floats(1, 60), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_between_a_half_and_all_of_what_doubles_up_to_the_cap(
    failures: int, base_s: float, cap_s: float, jitter: float
) -> None:
    whole_s = min(cap_s, base_s * 2 ** min(failures - 1, 30))
    assert whole_s / 2 <= backoff_s(failures, base_s, cap_s, jitter) <= whole_s


async def test_a_gate_is_closed_while_a_dependency_is_away_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    server, stats = Server(), StageStats("concepts")
    gate = Gate(stats)
    with caplog.at_level(logging.WARNING):
        await gate.opened()
        asking = asyncio.create_task(gate.call(server.ask))
        await until(lambda: server.asked > 20)  # for ever, not to a limit
        assert stats.waiting == "http://llm is away"
        intake = asyncio.create_task(gate.opened())
        await asyncio.sleep(100 * Gate.CAP_S)
        assert not intake.done()
        server.away = None
        assert await asking == "here"
        await intake
    assert stats.waiting is None
    assert [record.message.split(" after")[0] for record in caplog.records] == [
        "concepts waits: http://llm is away",
        "concepts goes on",
    ]


async def test_a_bad_answer_is_an_answer() -> None:
    server, stats = Server(), StageStats("s")
    gate = Gate(stats)

    async def refuse() -> str:
        if stats.waiting is None:
            return await server.ask()
        raise Permanent("no")

    with pytest.raises(Permanent, match="no"):
        await gate.call(refuse)
    assert stats.waiting is None
    await gate.opened()


async def test_a_server_that_names_a_time_is_given_it(monkeypatch: pytest.MonkeyPatch) -> None:
    naps_s: list[float] = []

    async def nap(wait_s: float) -> None:
        naps_s.append(wait_s)
        server.away = None

    server = Server()
    server.away = EndpointDown("busy", retry_after_s=7.0)
    monkeypatch.setattr("stream.retry.asyncio.sleep", nap)
    assert await Gate(StageStats("s")).call(server.ask) == "here"
    assert naps_s == [7.0]


async def test_many_that_fail_at_once_do_not_add_up_to_a_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    naps_s: list[float] = []
    sleep = asyncio.sleep

    async def nap(wait_s: float) -> None:
        naps_s.append(wait_s)
        if len(naps_s) == 200:
            server.away = None
        await sleep(0)

    server = Server()
    gate = Gate(StageStats("s"))
    monkeypatch.setattr(Gate, "CAP_S", 1_000_000.0)
    monkeypatch.setattr("stream.retry.asyncio.sleep", nap)
    await asyncio.gather(*(gate.call(server.ask) for _ in range(100)))
    assert max(naps_s) <= 2 * 2 * Gate.BASE_S


async def test_when_the_last_one_who_asks_is_cancelled_the_gate_opens_for_others_to_find_out() -> None:
    server, stats = Server(), StageStats("s")
    gate = Gate(stats)
    asking = [asyncio.create_task(gate.call(server.ask)) for _ in range(3)]
    await until(lambda: stats.waiting is not None)
    for task in asking:
        intake = asyncio.create_task(gate.opened())
        await asyncio.sleep(100 * Gate.CAP_S)
        assert not intake.done()
        intake.cancel()
        task.cancel()
        await asyncio.wait({task})
    await gate.opened()
    assert stats.waiting is None


async def test_of_two_things_that_are_away_the_one_that_is_still_away_is_told() -> None:
    model, disk, stats = Server(), Server(), StageStats("s")
    model.away, disk.away = Unavailable("the model is away"), Unavailable("the disk is full")
    gates = Gates(stats)
    commit = asyncio.create_task(gates.commits.call(disk.ask))
    await until(lambda: stats.waiting == "the disk is full")
    call = asyncio.create_task(gates.calls.call(model.ask))
    await until(lambda: stats.waiting == "the model is away")
    model.away = None
    await call
    assert stats.waiting == "the disk is full"
    disk.away = None
    await commit
    assert stats.waiting is None


async def test_one_gates_answer_does_not_hide_that_another_is_closed() -> None:
    model, disk, stats = Server(), Server(), StageStats("s")
    disk.away = Unavailable("the disk is full")
    gates = Gates(stats)
    commit = asyncio.create_task(gates.commits.call(disk.ask))
    await until(lambda: stats.waiting == "the disk is full")
    model.away = None
    for _ in range(3):
        assert await gates.calls.call(model.ask) == "here"
        assert stats.waiting == "the disk is full"
    intake = asyncio.create_task(gates.opened())
    await asyncio.sleep(100 * Gate.CAP_S)
    assert not intake.done()
    disk.away = None
    await asyncio.gather(commit, intake)
    assert stats.waiting is None
