"""An owner in doubt asks for its next epoch: it gives way to who has begun since, whom it does not fence (KIP-360), and
goes on where nobody has."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from deploy.local_kafka import LocalKafka
from stream.bus import Appender, Lease, Message
from stream.errors import BrokerDown, LeaseLost
from stream.kafka import admin, owner
from stream.kafka.epochs import FAILURES, Held
from stream.kafka.owner import Mark, Owner
from stream.progress import Progress
from tests.brokers import MakeKafka
from tests.contract.steps import INPUT, OUTPUT, STAGE, all_of, append, fetched, inputs, outcomes
from tests.failures.crossing import keys, opened
from tests.failures.proxy import END_TXN, INIT_PRODUCER_ID, Fate, Proxy, proxied
from tests.failures.rival import rival
from tests.failures.steered_stage import until

DOUBTS = (Fate.UNANSWERED, Fate.SWALLOWED, Fate.FAILED)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is not answered be given up soon."""
    monkeypatch.setattr(owner, "WRITE_S", 3.0)
    monkeypatch.setattr(admin, "PENDING_S", 5.0)


async def doubted(proxy: Proxy, fate: Fate, appender: Appender, messages: Sequence[Message]) -> None:
    """Append with the end of the transaction meeting a fate."""
    await proxy.strike(END_TXN, fate)
    with pytest.raises(BrokerDown) as caught:
        await appender.append(messages)
    await proxy.strike(END_TXN, None)
    if fate is Fate.FAILED:
        assert "the broker failed" in str(caught.value)


async def test_an_appender_in_doubt_gives_way_to_one_that_took_its_name_and_has_not_written_yet(
    own_kafka: MakeKafka,
) -> None:
    async def one(proxy: Proxy, fate: Fate) -> None:
        async with opened(proxy.url) as bus, bus.appender("source") as loser:
            await doubted(proxy, fate, loser, inputs(1))
            async with bus.appender("source") as heir:
                for _ in range(2):
                    with pytest.raises(LeaseLost):
                        await loser.append(inputs(1))
                await heir.append(inputs(1, first=1))  # it was not fenced by who wanted to know
            done = ["k0", "k1"] if fate is Fate.UNANSWERED else ["k1"]
            assert keys(await all_of(bus, INPUT)) == done, fate

    async with proxied(own_kafka, len(DOUBTS)) as (_, proxies), asyncio.TaskGroup() as group:
        for proxy, fate in zip(proxies, DOUBTS, strict=True):
            group.create_task(one(proxy, fate))


async def test_a_lease_in_doubt_gives_way_to_the_next_owner_of_its_partition_who_has_not_written_yet(
    own_kafka: MakeKafka,
) -> None:
    async def one(proxy: Proxy, fate: Fate) -> None:
        async with opened(proxy.url) as bus:
            await append(bus, inputs(2))
            leases: Any = bus.leases(STAGE, INPUT)
            async with contextlib.aclosing(leases) as group:
                lease: Lease = await anext(group)
                [first, second] = await fetched(lease, 2)
                await proxy.strike(END_TXN, fate)
                with pytest.raises(BrokerDown):
                    await lease.commit(outcomes(first), Progress(1))
                await proxy.strike(END_TXN, None)

                place = bus._place  # pyright: ignore[reportPrivateUsage] - to be the next owner without a group
                heir = place.owner(STAGE, INPUT, "0")
                await heir.begin()
                with pytest.raises(LeaseLost):
                    await lease.commit(outcomes(first), Progress(1))
                done = (await bus.progress(STAGE, INPUT))[0].watermark
                assert done == (1 if fate is Fate.UNANSWERED else 0), fate
                messages = [replace(m, topic=OUTPUT) for record in (first, second)[done:] for m in outcomes(record)]
                mark = Mark(place.group(STAGE), place.full(INPUT), 0, 2, Progress(2).bitmap())
                await heir.write(messages, await place.names(messages), mark)  # it was not fenced
                await heir.close()
            found = Counter((s.cause.offset, s.cause.i) for s in await all_of(bus, OUTPUT) if s.cause)
            assert set(found.values()) == {1}, (fate, found)
            assert (await bus.progress(STAGE, INPUT))[0].watermark == 2

    async with proxied(own_kafka, len(DOUBTS)) as (_, proxies), asyncio.TaskGroup() as group:
        for proxy, fate in zip(proxies, DOUBTS, strict=True):
            group.create_task(one(proxy, fate))


async def test_who_begins_or_resumes_asks_again_while_the_coordinator_fails(own_kafka: MakeKafka) -> None:
    async def meanwhile(proxy: Proxy, work: Any, failures: int) -> None:
        """Let work be done whose first wishes for an epoch fail."""
        before = proxy.struck[INIT_PRODUCER_ID, Fate.FAILED]
        await proxy.strike(INIT_PRODUCER_ID, Fate.FAILED)
        working = asyncio.create_task(work)
        await until(lambda: proxy.struck[INIT_PRODUCER_ID, Fate.FAILED] >= before + failures, lambda: working)
        await proxy.strike(INIT_PRODUCER_ID, None)
        await working

    async with proxied(own_kafka) as (_, [proxy]), opened(proxy.url) as bus:
        async with contextlib.AsyncExitStack() as stack:
            found: list[Appender] = []

            async def enter() -> None:
                found.append(await stack.enter_async_context(bus.appender("source")))

            await meanwhile(proxy, enter(), 3)
            [appender] = found
            for k, failures in enumerate((FAILURES - 1, FAILURES + 2)):  # the latter until it asks unconditionally
                await doubted(proxy, Fate.SWALLOWED, appender, inputs(1, first=k))
                await meanwhile(proxy, appender.append(inputs(1, first=k)), failures)
        assert keys(await all_of(bus, INPUT)) == ["k0", "k1"]


@pytest.mark.parametrize("version", [1, 2])
async def test_an_owner_whose_transaction_the_coordinator_has_ended_resumes_where_nobody_else_has_begun(
    own_kafka: MakeKafka, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    monkeypatch.setattr(owner, "TRANSACTION_MS", 5_000)  # more than any step here takes
    looks = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "200"}
    broker: dict[str, Any] = {"properties": looks, "features": {"transaction.version": version}}
    async with proxied(own_kafka, **broker) as (kafka, [proxy]), opened(proxy.url) as bus:
        async with bus.appender("source") as appender:
            await appender.append(inputs(1))
            await doubted(proxy, Fate.SWALLOWED, appender, inputs(1, first=1))
            log = kafka.node(1).log
            await until(lambda: "due to timeout" in log.read_text(encoding="utf-8"), lambda: f"no timeout in {log}")
            await appender.append(inputs(1, first=1))
            # And one that another has fenced in the same state is not mistaken for it.
            await doubted(proxy, Fate.SWALLOWED, appender, inputs(1, first=2))
            async with bus.appender("source") as heir:
                with pytest.raises(LeaseLost):
                    await appender.append(inputs(1, first=2))
                await heir.append(inputs(1, first=3))
        assert keys(await all_of(bus, INPUT)) == ["k0", "k1", "k3"]


@pytest.mark.soak
@pytest.mark.parametrize("epoch", [32_764, 32_765, 32_766])
async def test_an_owner_resumes_when_the_epochs_of_its_producer_id_are_used_up(
    kafka: LocalKafka, namespace: str, epoch: int
) -> None:
    """32,766 is the last one. Whoever has one of the last resumes with an open transaction, and goes on under another
    producer id."""
    async with opened(f"kafka://{kafka.bootstrap}", namespace) as bus, rival(kafka.bootstrap) as taker:
        while (await taker.held(f"{namespace}.appender.source")).epoch < epoch - 1:
            pass
        async with bus.appender("source") as appender:
            writer: Any = appender
            first: Held = writer._owner._held
            assert first.epoch == epoch
            for k in range(3):
                await open_transaction(writer._owner, bus._place.full(INPUT))  # pyright: ignore[reportPrivateUsage]
                await appender.append(inputs(1, first=k))
            assert writer._owner._held.producer_id > first.producer_id
        assert keys(await all_of(bus, INPUT)) == ["k0", "k1", "k2"]


async def open_transaction(writer: Owner, topic: str) -> None:
    """Leave an owner in doubt, with a transaction of its producer's open."""
    producer: Any = writer._producer  # pyright: ignore[reportPrivateUsage]
    await producer.begin_transaction()
    await (await producer.send(topic, b"", key=b"open", partition=0))
    writer.discard()
