"""A consumer that fetches nothing any more though records are there (aio-libs/aiokafka#1154, #703): it is noticed, and
replaced."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local_kafka import LocalKafka
from stream.bus import Gone, Lease
from stream.kafka import group
from stream.kafka.bus import Kafka
from stream.kafka.security import KafkaConfig
from stream.progress import Progress
from stream.topics import DEAD, REJECTS, TOPICS
from tests.contract.steps import INPUT, READERS, STAGE, append, fetched, inputs, outcomes
from tests.patience import PATIENCE_S


async def test_a_client_that_is_stuck_is_replaced_and_nothing_is_done_twice(
    kafka: LocalKafka, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "WATCH_S", 0.1)
    monkeypatch.setattr(group, "STUCK_S", 1.0)
    stuck: list[AIOKafkaConsumer] = []
    getmany = AIOKafkaConsumer.getmany

    async def nothing_from_the_stuck(self: AIOKafkaConsumer, *partitions, timeout_ms: int = 0, **more):
        if self in stuck:
            await asyncio.sleep(timeout_ms / 1000)  # as a fetch that waits
            return {}
        return await getmany(self, *partitions, timeout_ms=timeout_ms, **more)

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", nothing_from_the_stuck)
    config = KafkaConfig(partitions=1, session_s=6)
    async with Kafka.open(f"kafka://{kafka.bootstrap}", namespace, config=config) as bus:
        await bus.create([TOPICS["files"], TOPICS["functions"], REJECTS, DEAD], READERS)
        await append(bus, inputs(3))
        leases = bus.leases(STAGE, INPUT)

        async def next_lease() -> Lease:
            async with asyncio.timeout(PATIENCE_S):
                lease = await anext(leases)
            assert not isinstance(lease, Gone)
            return lease

        first = await next_lease()
        [stored] = await fetched(first, 1)
        await first.commit(outcomes(stored), Progress(stored.offset + 1))
        stuck.append(first._consumer)  # type: ignore[attr-defined] - what is stuck is the client behind the lease
        await append(bus, inputs(4, first=3), "later")
        waiting = asyncio.create_task(first.fetch(1))
        async with asyncio.timeout(PATIENCE_S):
            await first.wanted.wait()
        waiting.cancel()
        await asyncio.wait({waiting})
        first.release()
        second = await next_lease()
        assert second._consumer not in stuck  # type: ignore[attr-defined]
        assert second.progress == Progress(stored.offset + 1)
        assert [record.key for record in await fetched(second, 6)] == [f"k{k}" for k in range(1, 7)]
        await leases.aclose()
