"""The answer to the end of a transaction never comes: whatever became of it, nothing is lost or written twice."""

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path

from tests.brokers import MakeKafka
from tests.failures.proxy import END_TXN, Fate, Proxy, proxied
from tests.failures.steered import Crew, Worker, calls, crew
from tests.failures.steered_stage import OUTPUT, check_all, feed, founded, held_back, until
from tests.failures.steered_worker import Plan
from tests.stage_runs import all_of, seeds

FATES = (Fate.UNANSWERED, Fate.SWALLOWED)


async def struck(workers: Crew, proxy: Proxy, plan: Plan, fate: Fate) -> Worker:
    """Start a worker behind the proxy, and return it once both its partitions wait for the end of a transaction."""
    worker = await workers.start(f"behind-{proxy.port}", replace(plan, bus=proxy.url, commits=False))
    await worker.told("committing", 2)
    await worker.until(lambda: len(worker.names("answered")) == 30)
    await proxy.strike(END_TXN, fate)
    worker.order("commits open")
    await until(lambda: proxy.struck[END_TXN, fate] >= 2, lambda: worker.log)
    assert worker.all("committed") == []
    return worker


async def test_a_worker_finds_out_what_became_of_a_commit_that_was_not_answered(
    own_kafka: MakeKafka, tmp_path: Path
) -> None:
    async def find_out(workers: Crew, url: str, proxy: Proxy, fate: Fate) -> None:
        namespace, records = f"t{secrets.token_hex(4)}", seeds(30)
        async with founded(url, namespace) as bus:
            await feed(bus, records)
            worker = await struck(workers, proxy, Plan(url, namespace), fate)
            if fate is Fate.UNANSWERED:
                assert len(await all_of(bus, OUTPUT.name)) == 30  # all is written, and the worker does not know
            else:
                assert await held_back(bus) >= 30  # two transactions are open, and nobody will end them
            unknown = await worker.told("unknown", 2)
            assert {event["partition"] for event in unknown} == {0, 1}
            await proxy.strike(END_TXN, None)
            await workers.done(bus)
            assert worker.all("lost") == []
            await worker.stop()
            await check_all(bus, records)
            assert set(calls([worker]).values()) == {1}  # what was found out needs no call

    async with proxied(own_kafka, 2) as (kafka, proxies), crew(tmp_path) as workers, asyncio.TaskGroup() as group:
        for proxy, fate in zip(proxies, FATES, strict=True):
            group.create_task(find_out(workers, f"kafka://{kafka.bootstrap}", proxy, fate))


async def test_who_takes_over_from_a_worker_killed_in_a_commit_goes_by_what_became_of_it(
    own_kafka: MakeKafka, tmp_path: Path
) -> None:
    async def take_over(workers: Crew, url: str, proxy: Proxy, fate: Fate) -> None:
        namespace, records = f"t{secrets.token_hex(4)}", seeds(30)
        async with founded(url, namespace) as bus:
            await feed(bus, records)
            plan = Plan(url, namespace, session_s=6.0)
            worker = await struck(workers, proxy, plan, fate)
            await worker.kill()
            heir = await workers.start(f"heir-{proxy.port}", plan)
            await heir.told("leased", 2)
            await workers.done(bus)
            await heir.stop()
            await check_all(bus, records)
            made = calls([heir])
            assert made == ({} if fate is Fate.UNANSWERED else {record.name: 1 for record in records})
            print(f"{fate.name}: killed in the commit of 30, {made.total()} calls made again")

    async with proxied(own_kafka, 2) as (kafka, proxies), crew(tmp_path) as workers, asyncio.TaskGroup() as group:
        for proxy, fate in zip(proxies, FATES, strict=True):
            group.create_task(take_over(workers, f"kafka://{kafka.bootstrap}", proxy, fate))
