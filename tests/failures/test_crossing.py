"""Owners of one transactional id that begin within milliseconds of each other: who loses hears so by its class, or
looks again, and no id is left that answers nobody."""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections import Counter
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from deploy.local_kafka import LocalKafka
from deploy.planning.effective import begin, stored_recipe
from stream.bus import Appender, Bus, Message
from stream.errors import LeaseLost, Unavailable
from stream.kafka import beginning
from stream.kafka.bus import Kafka
from stream.kafka.owner import TRANSACTION_MS, Owner
from stream.kafka.security import KafkaConfig
from stream.progress import Progress
from stream.retry import backoff_s
from stream.topics import RECIPE
from tests.contract.steps import INPUT, READERS, STAGE, all_of, inputs, leased
from tests.failures.commit_kills import illegal_states
from tests.failures.crossing import MADE, keys, opened
from tests.failures.rival import rival
from tests.failures.test_rebalance_storm import add_partitions


async def fight(kafka: LocalKafka, namespace: str, caplog: pytest.LogCaptureFixture, steps: int) -> None:
    """Let three fight for one name until each has written so many steps."""
    told: Counter[str] = Counter()
    began_s = time.monotonic()
    url = f"kafka://{kafka.bootstrap}"

    async def contend(bus: Bus, who: int) -> None:
        """Append one message after the other, as processes that are started over and over: each owns the name anew,
        and looks what is there first."""
        dice = random.Random(who)
        for k in range(steps):
            message, losses = Message(INPUT, f"{who}-{k}", b""), 0
            while True:
                async with bus.appender("source") as appender:
                    if message.key in keys(await all_of(bus, INPUT)):
                        break
                    try:
                        await appended(appender, message, dice)
                        break
                    except LeaseLost:
                        losses += 1
                        told["LeaseLost"] += 1
                await asyncio.sleep(backoff_s(losses, 0.01, 0.5, dice.random()))

    async def appended(appender: Appender, message: Message, dice: random.Random) -> None:
        for failures in range(1, 20):
            try:
                await appender.append([message])
            except Unavailable as err:
                told[f"Unavailable: {err}"] += 1
                await asyncio.sleep(backoff_s(failures, 0.002, 0.5, dice.random()))
            else:
                return
        raise AssertionError(f"never: {told}")

    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(1_200):
        buses = [await stack.enter_async_context(opened(url, namespace)) for _ in range(3)]
        with caplog.at_level(logging.DEBUG, "asyncio"):
            await asyncio.gather(*(contend(bus, who) for who, bus in enumerate(buses)))
        found = Counter(keys(await all_of(buses[0], INPUT)))
        assert found == Counter(f"{who}-{k}" for who in range(3) for k in range(steps))
        assert told["LeaseLost"], "they never crossed"
        assert not [said for said in told if "IllegalOperation" in said or "AssertionError" in said], "no user's words"
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
        print(f"{3 * steps} steps of three appenders in {time.monotonic() - began_s:.0f} s: {dict(told)}")


async def test_appenders_of_one_name_that_fence_each_other_within_milliseconds_lose_nothing_and_double_nothing(
    kafka: LocalKafka, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    await fight(kafka, namespace, caplog, steps=12)


@pytest.mark.soak
async def test_appenders_that_fight_for_a_name_over_three_hundred_steps_do_not_either(
    kafka: LocalKafka, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    await fight(kafka, namespace, caplog, steps=100)


async def test_an_owner_fenced_as_its_transaction_begins_hears_of_it_and_not_of_its_clients_state(
    kafka: LocalKafka, namespace: str
) -> None:
    async with opened(f"kafka://{kafka.bootstrap}", namespace) as bus, rival(kafka.bootstrap) as taker:
        async with bus.appender("source") as appender:
            writer: Any = appender
            producer = writer._owner._producer
            begin_transaction = producer.begin_transaction

            async def fenced_begin() -> None:
                """Let the client know that it is fenced before it is asked to send anything."""
                await begin_transaction()
                await taker.take(f"{namespace}.appender.source")
                topic = bus._place.full(INPUT)  # pyright: ignore[reportPrivateUsage]
                with pytest.raises(KafkaError):
                    at = {TopicPartition(topic, 0): OffsetAndMetadata(0, "")}
                    await producer.send_offsets_to_transaction(at, f"{namespace}.appender.source")
                await asyncio.wait({producer._sender.sender_task})

            producer.begin_transaction = fenced_begin
            with pytest.raises(LeaseLost, match="another owner has taken over"):
                await appender.append(inputs(1))
        assert await all_of(bus, INPUT) == []


async def cross(kafka: LocalKafka, namespace: str, rounds: int) -> None:
    """Let a rival begin under the id of a transaction that is about to end, and see that the id serves the next round.
    The rival aims: sooner after a step that was written before it came, later after one that was lost to it."""
    url, dice = f"kafka://{kafka.bootstrap}", random.Random(360)
    became: Counter[str] = Counter()
    begun_s: list[float] = []
    loop = asyncio.get_running_loop()
    async with opened(url, namespace) as bus, rival(kafka.bootstrap) as taker:
        name = f"{namespace}.appender.source"
        await taker.ready(name)
        aim_s = await undisturbed_s(bus)

        async def take(strike_s: float) -> None:
            while loop.time() < strike_s:
                await asyncio.sleep(0)
            await taker.take(name)

        for k in range(rounds):
            began_s = loop.time()
            async with bus.appender("source") as loser:
                begun_s.append(loop.time() - began_s)
                taking = asyncio.create_task(take(loop.time() + aim_s * dice.uniform(0.9, 1.1)))
                try:
                    await loser.append(inputs(1, first=k))
                    became["written"] += 1
                    aim_s *= 0.9
                except LeaseLost:
                    became["lost"] += 1
                    aim_s *= 1.1
                except Unavailable:
                    became["in doubt"] += 1
                await taking
                with pytest.raises(LeaseLost):
                    for _ in range(3):
                        with contextlib.suppress(Unavailable):  # it may hear first that it cannot, and then why
                            await loser.append(inputs(1, first=-1 - k))
        found = Counter(keys(await all_of(bus, INPUT)))
        failures = [one for node in kafka.nodes for one in illegal_states(node.log) if one.transactional_id == name]
        print(
            f"{rounds} rounds: {dict(became)}; the rival heard {dict(taker.answers)}; {len(failures)} "
            f"IllegalStateExceptions; begun in {max(begun_s):.2f} s at most"
        )
        assert set(found.values()) <= {1}
        assert became["written"] + 3 <= len(found) <= rounds + 3
        assert not any(key.startswith("k-") for key in found), "an owner that was fenced has written"
        assert became["lost"] + became["in doubt"], "they never crossed"
        assert len(failures) <= became["in doubt"]
        assert max(begun_s) < TRANSACTION_MS / 1000


async def undisturbed_s(bus: Bus) -> float:
    """Return how long a step takes, in seconds."""
    took_s: list[float] = []
    async with bus.appender("source") as appender:
        for k in range(3):
            began_s = time.perf_counter()
            await appender.append(inputs(1, first=1_000_000 + k))
            took_s.append(time.perf_counter() - began_s)
    return min(took_s)


async def test_a_transaction_that_ends_while_a_rival_begins_leaves_no_id_stuck(
    kafka: LocalKafka, namespace: str
) -> None:
    await cross(kafka, namespace, rounds=60)


@pytest.mark.soak
async def test_a_thousand_transactions_that_end_while_a_rival_begins_leave_no_id_stuck(
    kafka: LocalKafka, namespace: str
) -> None:
    await cross(kafka, namespace, rounds=1_000)


# --- who starts together


async def test_many_that_create_the_same_topics_at_once_all_find_them_begun(kafka: LocalKafka) -> None:
    url, most = f"kafka://{kafka.bootstrap}", 4
    for _ in range(3):
        namespace = f"t{secrets.token_hex(6)}"
        async with contextlib.AsyncExitStack() as stack:
            config = KafkaConfig(partitions=2, session_s=6.0)
            buses = [await stack.enter_async_context(Kafka.open(url, namespace, config=config)) for _ in range(most)]
            await asyncio.gather(*(bus.create(MADE, READERS) for bus in buses))
            assert await buses[0].differences(MADE, READERS) == []
            for stage, topic in READERS.items():
                assert set((await buses[0].progress(stage, topic)).values()) == {Progress()}


async def test_a_member_that_loses_an_added_partition_before_its_first_progress_takes_it_again(
    kafka: LocalKafka, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[int] = []
    async with opened(f"kafka://{kafka.bootstrap}", namespace) as bus, rival(kafka.bootstrap) as taker:
        begin_first = beginning.begin

        async def fenced_begin(place: Any, owner: Owner, stage: str, topic: str, partition: int) -> None:
            if not lost:
                lost.append(partition)
                await taker.take(f"{namespace}.{STAGE}.{INPUT}.{partition}")
            await begin_first(place, owner, stage, topic, partition)

        monkeypatch.setattr(beginning, "begin", fenced_begin)
        await add_partitions(kafka, f"{namespace}.{INPUT}", 2)
        async with leased(bus) as leases:
            assert [lease.partition for lease in leases] == [0, 1]
            assert leases[1].progress == Progress()
        assert lost == [1]


async def test_many_that_begin_the_same_stream_at_once_store_its_recipe_once(kafka: LocalKafka) -> None:
    url, most = f"kafka://{kafka.bootstrap}", 4
    recipe: dict[str, Any] = {"name": "one", "stages": {}}
    for _ in range(3):
        namespace = f"t{secrets.token_hex(6)}"
        async with contextlib.AsyncExitStack() as stack:
            buses = [await stack.enter_async_context(opened(url, namespace)) for _ in range(most)]
            await buses[0].create([RECIPE])
            await asyncio.gather(*(begin(bus, recipe) for bus in buses))
            assert len(await all_of(buses[0], RECIPE.name)) == 1
            stored = await stored_recipe(buses[0])
            assert stored is not None and stored.name == "one"
