"""Who gets a permit, and that none is ever lost."""

import asyncio
import random

from consumers.llm.permits import Permits, Urgency
from consumers.llm.window import Window
from tests.patience import PATIENCE_S


def permits(count: int) -> Permits:
    return Permits(Window(count, count, count))


async def test_the_stage_nearest_the_end_goes_first_then_the_oldest_record_then_its_first_sample() -> None:
    pool = permits(1)
    first = await pool.acquire(Urgency(0, 0, 0), "s")
    order: list[Urgency] = []

    async def ask(urgency: Urgency) -> None:
        ticket = await pool.acquire(urgency, "s")
        order.append(urgency)
        pool.succeeded(ticket)

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
        ticket = await pool.acquire(Urgency(0, n, 0), "s")
        most = max(most, pool.in_flight)
        try:
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
        finally:
            pool.gone(ticket)

    tasks = [asyncio.create_task(use(n)) for n in range(300)]
    while not all(task.done() for task in tasks):
        rng.choice(tasks).cancel()
        await asyncio.sleep(0)
    assert most == 3
    assert (pool.in_flight, pool.waiting) == (0, 0)
    assert await asyncio.wait_for(pool.acquire(Urgency(0, 0, 0), "s"), PATIENCE_S)


async def test_a_waiter_cancelled_in_the_turn_in_which_it_is_granted_passes_the_permit_on() -> None:
    pool = permits(1)
    held = await pool.acquire(Urgency(0, 0, 0), "s")
    loser = asyncio.create_task(pool.acquire(Urgency(0, 1, 0), "s"))
    winner = asyncio.create_task(pool.acquire(Urgency(0, 2, 0), "s"))
    await asyncio.sleep(0)
    pool.succeeded(held)  # grants to the loser, who has not run since
    loser.cancel()
    await asyncio.wait_for(winner, PATIENCE_S)
    assert loser.cancelled()
    assert pool.in_flight == 1


async def test_refusals_leave_fewer_permits() -> None:
    pool = Permits(Window(10, 1, 10))
    tickets = [await pool.acquire(Urgency(0, n, 0), "s") for n in range(10)]
    pool.succeeded(tickets[0])
    pool.refused(tickets[1])
    for ticket in tickets[2:]:
        pool.gone(ticket)
    waiting = [asyncio.create_task(pool.acquire(Urgency(0, n, 0), "s")) for n in range(10)]
    await asyncio.sleep(0)
    assert (pool.in_flight, pool.waiting) == (7, 3)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
