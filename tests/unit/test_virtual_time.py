"""The event loop of virtual time: an hour takes no time, and misses nothing."""

import asyncio
import threading
import time

import pytest

pytestmark = pytest.mark.virtual_time


async def test_an_hour_takes_no_time_and_timers_fire_in_their_order() -> None:
    began_s, fired = time.monotonic(), list[float]()

    async def wait(wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        fired.append(asyncio.get_running_loop().time())

    await asyncio.gather(*(wait(wait_s) for wait_s in (3_600.0, 0.001, 60.0)))
    assert fired == pytest.approx([0.001, 60.0, 3_600.0], abs=0.001)
    assert time.monotonic() - began_s < 3_600


async def test_what_a_timer_sets_off_has_ended_before_the_next_one_fires() -> None:
    seen: list[str] = []

    async def chain() -> None:
        for _ in range(500):
            await asyncio.sleep(0)
        seen.append("chain")

    loop = asyncio.get_running_loop()
    loop.call_later(0.010, lambda: seen.append("later"))
    loop.call_later(0.009, lambda: seen.append("sooner") or tasks.append(loop.create_task(chain())))
    tasks: list[asyncio.Task[None]] = []
    await asyncio.sleep(1)
    assert seen == ["sooner", "chain", "later"]


async def test_while_a_thread_works_the_clock_stands_still() -> None:
    go_on = threading.Event()
    threading.Timer(0.05, go_on.set).start()
    async with asyncio.timeout(0.001):
        assert await asyncio.to_thread(go_on.wait)


async def test_a_task_that_only_gives_way_to_others_does_not_stop_the_clock() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            while True:
                await asyncio.sleep(0)


@pytest.mark.virtual_time(False)
async def test_a_test_may_ask_for_real_time_among_others_that_do_not() -> None:
    began_s = time.monotonic()
    await asyncio.sleep(0.01)
    assert time.monotonic() - began_s >= 0.01
