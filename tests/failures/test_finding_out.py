"""How a step of unknown fate is found out, also when asking is answered as badly as the step itself."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from stream.bus import Bus, Lease, Message
from stream.errors import BrokerDown, LeaseLost
from stream.kafka import admin, owner
from stream.kafka.bus import Kafka
from stream.kafka.security import KafkaConfig
from stream.progress import Window
from stream.topics import DEAD, REJECTS, TOPICS
from tests.brokers import MakeKafka
from tests.contract.steps import INPUT, OUTPUT, READERS, STAGE, all_of, append, fetched, inputs, outcomes
from tests.failures.proxy import END_TXN, OFFSET_FETCH, Fate, Proxy, proxied
from tests.patience import PATIENCE_S

Step = Callable[[], Awaitable[None]]


@contextlib.asynccontextmanager
async def opened(proxy: Proxy) -> AsyncGenerator[Bus]:
    config = KafkaConfig(partitions=1, session_s=6.0)
    async with Kafka.open(proxy.url, f"t{secrets.token_hex(4)}", config=config) as bus:
        await bus.create([TOPICS["files"], TOPICS["functions"], REJECTS, DEAD], READERS)
        yield bus


async def tried_until_done(proxy: Proxy, fate: Fate, step: Step, *, ask_in_vain: bool) -> None:
    """Try a step whose end is not answered, then again until it is done, as a runner does: `ask_in_vain` lets the
    second try, which has to find out, fail too."""
    await proxy.strike(END_TXN, fate)
    with pytest.raises(BrokerDown):
        await step()
    await proxy.strike(END_TXN, None)
    assert proxy.struck[END_TXN, fate]
    if ask_in_vain:
        await proxy.strike(OFFSET_FETCH, Fate.UNANSWERED)
        with pytest.raises(BrokerDown):
            await step()
        await proxy.strike(OFFSET_FETCH, None)
        assert proxy.struck[OFFSET_FETCH, Fate.UNANSWERED]
    await step()


CASES = [
    (fate, ask_in_vain) for fate in (Fate.UNANSWERED, Fate.SWALLOWED, Fate.FAILED) for ask_in_vain in (False, True)
]


async def test_an_appender_finds_out_what_became_of_its_step_by_the_mark_that_it_left(
    own_kafka: MakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one(proxy: Proxy, fate: Fate, ask_in_vain: bool) -> None:
        async with opened(proxy) as bus, bus.appender("source") as appender:
            await appender.append(inputs(3))
            second: list[Message] = inputs(3, first=3)
            await tried_until_done(proxy, fate, lambda: appender.append(second), ask_in_vain=ask_in_vain)
            await appender.append(inputs(3, first=6))
            found = [stored.key for stored in await all_of(bus, INPUT)]
            assert found == [message.key for message in inputs(9)], (fate, ask_in_vain)

    await each_case(own_kafka, monkeypatch, one)


async def test_an_appender_in_doubt_gives_way_to_who_has_taken_its_name_and_written(
    own_kafka: MakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one(proxy: Proxy, fate: Fate, ask_in_vain: bool) -> None:
        assert not ask_in_vain
        async with opened(proxy) as bus, bus.appender("source") as zombie:
            await zombie.append(inputs(3))
            await proxy.strike(END_TXN, fate)
            with pytest.raises(BrokerDown):
                await zombie.append(inputs(3, first=3))
            await proxy.strike(END_TXN, None)
            async with bus.appender("source") as heir:
                known = [stored.key for stored in await all_of(bus, INPUT)]
                assert len(known) == (6 if fate is Fate.UNANSWERED else 3)
                rest = [message for message in inputs(9) if message.key not in known]
                await heir.append([replace(rest[0], topic=OUTPUT), *rest])
                await written(bus, 9)  # the heir's mark may be seen only a moment after the answer to its commit
                with pytest.raises(LeaseLost):
                    await zombie.append(inputs(3, first=3))
                await heir.append(inputs(1, first=9))  # it is in no doubt, and not disturbed
            assert [stored.key for stored in await all_of(bus, INPUT)] == [message.key for message in inputs(10)]

    await each_case(own_kafka, monkeypatch, one, [case for case in CASES if not case[1]])


async def written(bus: Bus, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(await all_of(bus, INPUT)) < count:  # as far as it is stable, which waits on the broker
            pass


async def test_a_lease_finds_out_what_became_of_its_step_by_the_progress_that_was_committed(
    own_kafka: MakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one(proxy: Proxy, fate: Fate, ask_in_vain: bool) -> None:
        async with opened(proxy) as bus:
            await append(bus, inputs(9))
            leases: Any = bus.leases(STAGE, INPUT)
            async with contextlib.aclosing(leases) as group:
                lease: Lease = await anext(group)
                window = Window(lease.progress)
                for _ in range(3):
                    records = await fetched(lease, 3)
                    window.deliver(stored.offset for stored in records)
                    window.finish(stored.offset for stored in records)
                    progress = window.progress()
                    messages = [message for stored in records for message in outcomes(stored, 1)]
                    messages = [replace(message, topic=OUTPUT) for message in messages]
                    step = lambda: lease.commit(messages, progress)  # noqa: B023, E731
                    if progress.watermark == 6:
                        await tried_until_done(proxy, fate, step, ask_in_vain=ask_in_vain)
                    else:
                        await step()
            found = [stored.key for stored in await all_of(bus, OUTPUT)]
            assert found == [message.key for message in inputs(9)], (fate, ask_in_vain)
            assert (await bus.progress(STAGE, INPUT))[0].watermark == 9

    await each_case(own_kafka, monkeypatch, one)


async def each_case(
    own_kafka: MakeKafka,
    monkeypatch: pytest.MonkeyPatch,
    one: Callable[[Proxy, Fate, bool], Coroutine[None, None, None]],
    cases: Sequence[tuple[Fate, bool]] = CASES,
) -> None:
    """All cases at a time: they mostly wait."""
    monkeypatch.setattr(owner, "WRITE_S", 6.0)
    monkeypatch.setattr(admin, "PENDING_S", 8.0)
    async with proxied(own_kafka, len(cases)) as (_, proxies), asyncio.TaskGroup() as group:
        for proxy, (fate, ask_in_vain) in zip(proxies, cases, strict=True):
            group.create_task(one(proxy, fate, ask_in_vain))
