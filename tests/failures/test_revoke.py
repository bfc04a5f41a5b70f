"""A second worker joins while the first one has a transaction open."""

import asyncio
from pathlib import Path

from tests.brokers import MakeKafka
from tests.failures.proxy import END_TXN, Fate, proxied
from tests.failures.steered import calls, crew
from tests.failures.steered_stage import check_all, feed, founded, held_back, until
from tests.failures.steered_worker import Plan
from tests.stage_runs import seeds


async def test_a_member_that_joins_in_the_middle_of_a_transaction_waits_for_it_and_no_running_call_is_made_again(
    own_kafka: MakeKafka, namespace: str, tmp_path: Path
) -> None:
    records = seeds(60)
    async with proxied(own_kafka) as (kafka, [proxy]), crew(tmp_path) as workers:
        url = f"kafka://{kafka.bootstrap}"
        async with founded(url, namespace) as bus:
            await feed(bus, records)
            first = await workers.start("first", Plan(proxy.url, namespace, calls=30, commits=False))
            await first.told("committing", 2)
            await first.until(lambda: len(first.names("called")) == 60 and len(first.names("answered")) == 30)
            running = set(first.names("called")) - set(first.names("answered"))
            await proxy.strike(END_TXN, Fate.HELD)
            first.order("commits open")
            await until(lambda: proxy.struck[END_TXN, Fate.HELD] == 2, lambda: first.log)

            second = await workers.start("second", Plan(url, namespace))
            await first.told("wanted", 2)  # it is asked to give back what it is writing
            assert await held_back(bus) >= 30
            assert first.all("committed") == [] and second.all("leased") == []
            print(f"{await held_back(bus)} offsets are in open transactions, {len(running)} calls are running")
            await proxy.strike(END_TXN, None)
            await first.told("committed", 2)
            [kept] = (await first.told("leased", 3))[2:]
            [gone] = await first.told("gone")
            await second.told("leased", partition=gone["partition"])
            assert kept["partition"] != gone["partition"]

            first.order("calls all")
            await workers.done(bus)
            await asyncio.gather(first.stop(), second.stop())
            await check_all(bus, records)
            by_first, by_second = calls([first]), calls([second])
            assert set(by_first.values()) == {1}
            # What ran in the partition that went away had to be called by its new owner, and nothing else.
            assert 0 < len(by_second) < len(running) and by_second.keys() < running
            assert set(by_second.values()) == {1}
            print(f"{len(running) - len(by_second)} of {len(running)} running calls were kept")
