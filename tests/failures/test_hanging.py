"""A transaction that has ended, though a partition of it was never told, is completed there by whoever works."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from stream.bus import Lease
from stream.errors import BrokerDown
from stream.kafka import hanging
from stream.kafka.bus import Kafka
from stream.kafka.hanging import OFFSETS, HangingTransactions
from stream.kafka.place import Place
from stream.progress import Progress
from tests.brokers import MakeKafka
from tests.contract.steps import INPUT, OUTPUT, REJECTS, STAGE, all_of, append, fetched, inputs, leased, outcomes
from tests.failures.crossing import keys, opened
from tests.patience import PATIENCE_S

PARTITION = 0
UNVERIFIED = {"transaction.partition.verification.enable": "false"}
"""Partitions take records of a transaction that their coordinator knows nothing of: it then does not tell them of its
end either, as with KAFKA-20734."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hanging, "CHECK_S", 0.3)


@contextlib.asynccontextmanager
async def untold(
    own_kafka: MakeKafka, topics: Collection[str], *, offsets: bool
) -> AsyncGenerator[tuple[Kafka, Lease]]:
    """Lease the input, of one record, to an owner whose transactions end without the partitions of `topics` being told,
    and where `offsets` is set, without its group's."""
    own = await asyncio.to_thread(own_kafka, properties=UNVERIFIED)
    async with opened(f"kafka://{own.bootstrap}") as bus:
        await append(bus, inputs(1))
        async with leased(bus) as [lease]:
            _leave_out(bus, lease, topics, offsets=offsets)
            yield bus, lease


def place_of(bus: Any) -> Place:
    return bus._place


def producer_of(lease: Any) -> Any:
    return lease._owner._producer


def _leave_out(bus: Kafka, lease: Lease, topics: Collection[str], *, offsets: bool) -> None:
    """Let the owner think that the coordinator has heard of these partitions."""
    place, manager = place_of(bus), producer_of(lease)._sender._txn_manager
    begin = manager.begin_transaction

    def begun() -> None:
        begin()
        manager._txn_partitions.update(TopicPartition(place.full(topic), PARTITION) for topic in topics)
        if offsets:
            manager._txn_consumer_group = place.group(STAGE)

    manager.begin_transaction = begun


@contextlib.asynccontextmanager
async def next_owner(bus: Kafka) -> AsyncGenerator[None]:
    """The one who takes the partition over, without a group."""
    owner = place_of(bus).owner(STAGE, INPUT, str(PARTITION))
    await owner.begin()
    try:
        yield
    finally:
        await owner.close()


async def _fails() -> None:
    raise ConnectionError


async def held_back(bus: Kafka) -> set[str]:
    """The topics in which a transaction is open, without the namespace."""
    place = place_of(bus)
    prefix = place.full("")
    return {tp.topic.removeprefix(prefix) for tp in await place.admin.held_back([prefix, OFFSETS])}


async def until_told(bus: Kafka) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await held_back(bus):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("offsets", [False, True])
async def test_what_was_committed_is_read_by_all_and_its_progress_stands(
    own_kafka: MakeKafka, caplog: pytest.LogCaptureFixture, offsets: bool
) -> None:
    async with untold(own_kafka, [OUTPUT], offsets=offsets) as (bus, lease):
        [record] = await fetched(lease, 1)
        await lease.commit(outcomes(record), Progress(1))
        await until_told(bus)
        assert keys(await all_of(bus, OUTPUT)) == keys(await all_of(bus, REJECTS)) == [record.key]
        assert (await bus.progress(STAGE, INPUT))[PARTITION] == Progress(1)
        await lease.commit([], Progress(1))  # the owner has lost nothing by it
    place = place_of(bus)
    assert f"a transaction of {place.full(STAGE)}.{INPUT}.{PARTITION} was committed" in caplog.text
    assert f"in {place.full(OUTPUT)}[{PARTITION}] (KAFKA-20734): wrote the marker" in caplog.text
    assert (OFFSETS in caplog.text) == offsets


async def test_what_was_committed_stays_so_when_the_next_owner_has_begun(
    own_kafka: MakeKafka, caplog: pytest.LogCaptureFixture
) -> None:
    async with untold(own_kafka, [OUTPUT], offsets=True) as (bus, lease):
        [record] = await fetched(lease, 1)
        await lease.commit(outcomes(record), Progress(1))
        async with next_owner(bus):
            await until_told(bus)
            assert keys(await all_of(bus, OUTPUT)) == [record.key]
            assert (await bus.progress(STAGE, INPUT))[PARTITION] == Progress(1)
    assert "was committed" in caplog.text and "was aborted" not in caplog.text


async def test_what_was_aborted_is_read_by_nobody_and_holds_nobody_up(
    own_kafka: MakeKafka, caplog: pytest.LogCaptureFixture
) -> None:
    async with untold(own_kafka, [OUTPUT], offsets=True) as (bus, lease):
        [record] = await fetched(lease, 1)
        producer_of(lease).commit_transaction = _fails
        with pytest.raises(BrokerDown):
            await lease.commit(outcomes(record), Progress(1))
        async with next_owner(bus):
            await until_told(bus)
            assert not await all_of(bus, OUTPUT) and not await all_of(bus, REJECTS)
            assert (await bus.progress(STAGE, INPUT))[PARTITION] == Progress()
    assert "was aborted" in caplog.text and "was committed" not in caplog.text


async def test_a_transaction_that_is_under_way_is_left_alone(own_kafka: MakeKafka) -> None:
    async with untold(own_kafka, [], offsets=False) as (bus, lease):
        [record] = await fetched(lease, 1)
        place = place_of(bus)
        watch = HangingTransactions(place.admin, place.full(""))
        going_on, end = asyncio.Event(), asyncio.Event()
        producer = producer_of(lease)
        commit = producer.commit_transaction

        async def held() -> None:
            going_on.set()
            await end.wait()
            await commit()

        producer.commit_transaction = held
        step = asyncio.create_task(lease.commit(outcomes(record), Progress(1)))
        await going_on.wait()
        for _ in range(3):
            await watch.check()
            assert await held_back(bus) == {OUTPUT, REJECTS, OFFSETS}
        end.set()
        await step
        await until_told(bus)
        assert keys(await all_of(bus, OUTPUT)) == [record.key]
