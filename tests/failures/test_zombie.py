"""A worker that is stopped for longer than its session comes back with finished work, and finds it done by another."""

import asyncio
import signal
from pathlib import Path

from deploy.local_kafka import LocalKafka
from tests.failures.steered import calls, crew
from tests.failures.steered_stage import check_all, feed, founded
from tests.failures.steered_worker import Plan
from tests.stage_runs import seeds


async def test_a_zombie_is_fenced_and_goes_on_as_a_good_member(
    kafka: LocalKafka, namespace: str, tmp_path: Path
) -> None:
    url = f"kafka://{kafka.bootstrap}"
    first, second = seeds(40), seeds(40, first=40)
    async with founded(url, namespace) as bus, crew(tmp_path) as workers:
        await feed(bus, first)
        zombie = await workers.start("zombie", Plan(url, namespace, commits=False, session_s=6.0))
        await zombie.told("committing", 2)  # a step of each partition, finished and not written
        await zombie.until(lambda: len(zombie.names("answered")) == 40)
        zombie.signal(signal.SIGSTOP)

        heir = await workers.start("heir", Plan(url, namespace, session_s=6.0))
        await workers.done(bus)
        assert len(heir.names("called")) == 40  # all of it was uncommitted

        zombie.order("commits open")
        zombie.signal(signal.SIGCONT)
        lost = await zombie.told("lost", 2)
        assert {event["partition"] for event in lost} == {0, 1}
        assert all("another owner has taken over" in event["error"] for event in lost)
        assert zombie.all("committed") == []

        await zombie.told("leased", 3)  # two before
        await heir.told("gone")
        await feed(bus, second, 40)
        await workers.done(bus)
        assert zombie.all("committed") and heir.all("committed")
        print(f"the zombie lost {len(lost)} steps, and committed {len(zombie.all('committed'))} afterwards")
        await asyncio.gather(zombie.stop(), heir.stop())

        await check_all(bus, [*first, *second])
        made = calls([zombie, heir])
        assert all(made[record.name] == (2 if record in first else 1) for record in [*first, *second])
