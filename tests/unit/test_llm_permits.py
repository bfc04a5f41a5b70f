"""Who gets a permit, and that none is ever lost."""

import asyncio
import random
import time
from collections.abc import Mapping

from consumers.llm.hosts import Host, Hosts
from consumers.llm.permits import Permit, Permits, Urgency
from tests import virtual_time


def permits(count: int) -> Permits:
    return Permits(Hosts(["a"], count, count, count), unasked)


def unasked(host: Host) -> asyncio.Future[bool]:
    raise AssertionError(f"{host.url} was asked whether it is back")


async def acquired(pool: Permits, urgency: Urgency, tried: Mapping[str, float] | None = None) -> Permit:
    async with asyncio.timeout(5):  # `wait_for` would begin a turn of the loop later
        permit = await pool.acquire(urgency, "s", tried or {})
    assert permit
    return permit


async def test_the_stage_nearest_the_end_goes_first_then_the_oldest_record_then_its_first_sample() -> None:
    pool = permits(1)
    first = await acquired(pool, Urgency(0, 0, 0))
    order: list[Urgency] = []

    async def ask(urgency: Urgency) -> None:
        permit = await acquired(pool, urgency)
        order.append(urgency)
        pool.succeeded(permit)

    wanted = [Urgency(-depth, record, sample) for depth in (2, 1, 0) for record in (0, 1) for sample in (0, 1)]
    shuffled = random.Random(7).sample(wanted, len(wanted))
    tasks = [asyncio.create_task(ask(urgency)) for urgency in shuffled]
    await asyncio.sleep(0)
    assert pool.waiting == len(wanted)
    pool.succeeded(first)
    await asyncio.gather(*tasks)
    assert order == wanted


async def test_no_permit_is_lost_when_waiters_are_cancelled_at_any_moment() -> None:
    pool = permits(3)
    rng = random.Random(3)
    most = 0

    async def use(n: int) -> None:
        nonlocal most
        permit = await acquired(pool, Urgency(0, n, 0))
        most = max(most, pool.in_flight)
        try:
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
        finally:
            pool.gone(permit)

    tasks = [asyncio.create_task(use(n)) for n in range(300)]
    while not all(task.done() for task in tasks):
        rng.choice(tasks).cancel()
        await asyncio.sleep(0)
    assert most == 3
    assert (pool.in_flight, pool.waiting) == (0, 0)
    assert await acquired(pool, Urgency(0, 0, 0))


async def test_a_waiter_cancelled_in_the_turn_in_which_it_is_granted_passes_the_permit_on() -> None:
    pool = permits(1)
    held = await acquired(pool, Urgency(0, 0, 0))
    loser = asyncio.create_task(pool.acquire(Urgency(0, 1, 0), "s"))
    winner = asyncio.create_task(pool.acquire(Urgency(0, 2, 0), "s"))
    await asyncio.sleep(0)
    pool.succeeded(held)  # grants to the loser, who has not run since
    loser.cancel()
    await asyncio.wait_for(winner, PATIENCE_S)
    assert loser.cancelled()
    assert pool.in_flight == 1


async def test_refusals_leave_fewer_permits() -> None:
    pool = Permits(Hosts(["a"], 10, 1, 10), unasked)
    taken = [await acquired(pool, Urgency(0, n, 0)) for n in range(10)]
    pool.succeeded(taken[0])
    pool.refused(taken[1])
    for permit in taken[2:]:
        pool.gone(permit)
    waiting = [asyncio.create_task(pool.acquire(Urgency(0, n, 0), "s")) for n in range(10)]
    await asyncio.sleep(0)
    assert (pool.in_flight, pool.waiting) == (7, 3)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


# --- several servers


async def test_each_permit_is_for_a_server_with_room() -> None:
    hosts = Hosts(["a", "b"], 10, 10, 10)
    pool = Permits(hosts, unasked)
    taken = [await acquired(pool, Urgency(0, n, 0)) for n in range(10)]
    assert sorted(permit.host.url for permit in taken) == ["a"] * 5 + ["b"] * 5
    waiting = asyncio.create_task(acquired(pool, Urgency(0, 10, 0)))
    await asyncio.sleep(0)
    back = next(permit for permit in taken if permit.host.url == "b")
    pool.succeeded(back)
    assert (await waiting).host is back.host


async def test_a_request_that_a_server_failed_gets_the_next_permit_of_another_before_all_that_wait() -> None:
    hosts = Hosts(["a", "b"], 2, 2, 2)
    pool = Permits(hosts, unasked)
    on_a, on_b = [await acquired(pool, Urgency(0, n, 0)) for n in range(2)]
    order: list[str] = []

    async def ask(name: str, urgency: Urgency, tried: Mapping[str, float] | None = None) -> None:
        permit = await acquired(pool, urgency, tried)
        assert permit.host is on_b.host
        order.append(name)
        pool.succeeded(permit)

    hosts.failed(on_a.host, time.monotonic(), 60.0)
    others = [asyncio.create_task(ask("other", Urgency(-9, n, 0))) for n in range(3)]
    await asyncio.sleep(0)
    pool.refused(on_a)
    again = asyncio.create_task(ask("again", Urgency(0, 0, 0), {on_a.host.url: time.monotonic()}))
    await asyncio.sleep(0)
    assert order == []
    pool.succeeded(on_b)
    await asyncio.gather(again, *others)
    assert order == ["again", "other", "other", "other"]


async def test_a_request_that_waits_for_one_server_keeps_nobody_from_another() -> None:
    hosts = Hosts(["a", "b"], 2, 2, 2)
    pool = Permits(hosts, unasked)
    held = {permit.host.url: permit for permit in [await acquired(pool, Urgency(0, n, 0)) for n in range(2)]}
    refused_by_a = asyncio.create_task(acquired(pool, Urgency(0, 0, 0), {"a": 1.0}))
    other = asyncio.create_task(acquired(pool, Urgency(0, 3, 0)))
    await asyncio.sleep(0)
    pool.succeeded(held["a"])
    assert (await other).host.url == "a"
    assert not refused_by_a.done()
    pool.succeeded(held["b"])
    assert (await refused_by_a).host.url == "b"


async def test_when_no_server_is_left_a_request_hears_it_at_once_and_waits_for_no_permit() -> None:
    hosts = Hosts(["a", "b"], 2, 2, 2)
    pool = Permits(hosts, unasked)
    taken = [await acquired(pool, Urgency(0, n, 0)) for n in range(2)]
    assert await pool.acquire(Urgency(0, 0, 0), "s", {"a": 1.0, "b": 1.0}) is None
    waiting = asyncio.create_task(pool.acquire(Urgency(0, 0, 0), "s"))
    await asyncio.sleep(0)
    for permit in taken:
        hosts.failed(permit.host, asyncio.get_running_loop().time(), 1e9)
        pool.refused(permit)
    assert await asyncio.wait_for(waiting, 5) is None
    assert (pool.in_flight, pool.waiting) == (0, 0)


def test_a_server_whose_rest_ends_gets_a_request_though_nothing_else_happens() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        hosts = Hosts(["a", "b"], 2, 2, 2)
        pool = Permits(hosts, unasked, loop.time)
        held = [await acquired(pool, Urgency(0, n, 0)) for n in range(2)]
        hosts.failed(held[0].host, loop.time(), 3.0)
        pool.refused(held[0])
        permit = await acquired(pool, Urgency(0, 2, 0))
        assert permit.host is held[0].host
        return loop.time()

    assert 3.0 <= virtual_time.run(main()) <= 3.1


def test_a_silent_server_is_asked_while_requests_wait_and_serves_them_once_it_answers() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        hosts = Hosts(["a", "b"], 2, 2, 2)

        def ask(host: Host) -> asyncio.Future[bool]:
            answer = loop.create_future()
            answer.set_result(loop.time() >= 2.0)
            (hosts.answered if answer.result() else hosts.silent)(host, loop.time())
            return answer

        pool = Permits(hosts, ask, loop.time)
        held = [await acquired(pool, Urgency(0, n, 0)) for n in range(2)]
        hosts.silent(held[0].host, loop.time())
        pool.gone(held[0])
        permit = await acquired(pool, Urgency(0, 2, 0))
        assert permit.host is held[0].host
        pool.close()
        return loop.time()

    assert 2.0 <= virtual_time.run(main()) <= 2.3
