"""A group that will not have a member, and a topic that is given more partitions: who is there already notices."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.new_partitions import NewPartitions
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.protocol.group import LeaveGroupRequest

from deploy.local_kafka import LocalKafka
from stream.bus import Gone, Lease
from stream.errors import BrokerDown, LeaseLost, WrongConfig
from stream.kafka import group as group_file
from stream.kafka.admin import Admin
from stream.kafka.bus import Kafka
from stream.kafka.cluster import Cluster
from stream.kafka.group import Group
from stream.kafka.lease import KafkaLease
from stream.kafka.place import Place
from stream.kafka.security import KafkaConfig
from stream.progress import Progress
from stream.topics import DEAD, REJECTS, TOPICS
from tests.contract.steps import INPUT, READERS, STAGE, all_of, append, inputs, leased
from tests.patience import PATIENCE_S

ANSWER_S = 10  # within which a user is told


@contextlib.asynccontextmanager
async def opened(
    kafka: LocalKafka, namespace: str, *, session_s: float = 6, partitions: int = 1
) -> AsyncIterator[Kafka]:
    config = KafkaConfig(partitions=partitions, session_s=session_s)
    async with Kafka.open(f"kafka://{kafka.bootstrap}", namespace, config=config) as bus:
        await bus.create([TOPICS["files"], TOPICS["functions"], REJECTS, DEAD], READERS)
        yield bus


@contextlib.asynccontextmanager
async def another_program(kafka: LocalKafka, group: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer in a group that shares partitions out in another way. It joins when it subscribes."""
    consumer = AIOKafkaConsumer(
        group_id=group, bootstrap_servers=kafka.bootstrap, partition_assignment_strategy=(RangePartitionAssignor,),
        enable_auto_commit=False, auto_offset_reset="earliest",
    )  # fmt: skip
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def joined(consumer: AIOKafkaConsumer) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not consumer.assignment():
            await asyncio.sleep(0.01)


async def refusal(bus: Kafka) -> str:
    """Return why the group does not take a member."""
    with pytest.raises(WrongConfig) as refused:
        async with asyncio.timeout(ANSWER_S):
            async for lease in bus.leases(STAGE, INPUT):
                raise AssertionError(lease)
    return str(refused.value)


async def test_a_session_that_the_brokers_do_not_take_is_told_with_their_bounds(kafka: LocalKafka, namespace: str):
    async with opened(kafka, namespace, session_s=2_000) as bus:
        said = await refusal(bus)
    print(said)
    assert said.startswith(f"joining group {namespace}.{STAGE} (session_s = 2000): ")
    for words in ("session_s in [kafka]", "group.min.session.timeout.ms", "group.max.session.timeout.ms"):
        assert words in said


async def test_a_group_that_another_program_is_in_is_told_by_its_name(kafka: LocalKafka, namespace: str):
    group = f"{namespace}.{STAGE}"
    async with opened(kafka, namespace) as bus, another_program(kafka, group) as program:
        program.subscribe([f"{namespace}.{INPUT}"])
        await joined(program)
        said = await refusal(bus)
    print(said)
    assert said.startswith(f"joining group {group} ") and "another program" in said


async def leave(kafka: LocalKafka, group: str) -> None:
    """Let the one member of a group leave, as an operator can, without a word to it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        [answer] = await admin.describe_consumer_groups([group])
        [(member, *_)] = answer.groups[0][5]
        await admin._send_request(LeaveGroupRequest(group, member), await admin.find_coordinator(group))
    finally:
        await admin.close()


async def test_a_member_that_is_not_let_in_again_is_told(
    kafka: LocalKafka, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(group_file, "WATCH_S", 0.1)
    group = f"{namespace}.{STAGE}"
    async with opened(kafka, namespace) as bus, another_program(kafka, group) as program:
        leases = bus.leases(STAGE, INPUT)

        async def change() -> Lease | Gone:
            async with asyncio.timeout(ANSWER_S):
                return await anext(leases)

        lease = await change()
        assert not isinstance(lease, Gone)
        await leave(kafka, group)
        program.subscribe([f"{namespace}.{INPUT}"])
        await joined(program)
        async with asyncio.timeout(PATIENCE_S):
            await lease.wanted.wait()
        lease.release()
        with pytest.raises(WrongConfig, match="another program"):
            await change()


class Silent:
    """A server where clients are hung up on, that counts them."""

    def __init__(self) -> None:
        self.calls = 0

    async def hang_up(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        writer.close()


class OnePartition(Admin):
    """Knows of a topic before anybody was asked."""

    def __init__(self) -> None:
        """It needs no cluster."""

    async def partitions(self, topic: str) -> int:
        return 1


async def test_who_waits_to_join_says_so_once(caplog: pytest.LogCaptureFixture):
    silent = Silent()
    caplog.set_level(logging.WARNING, "stream.kafka.group")
    async with await asyncio.start_server(silent.hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        cluster = Cluster.of(f"kafka://127.0.0.1:{port}", KafkaConfig())
        group = Group(Place(cluster, OnePartition(), "main", 2.0), STAGE, INPUT)
        waiting = asyncio.create_task(anext(group.changes()))
        async with asyncio.timeout(PATIENCE_S):
            while silent.calls < 3:
                await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait({waiting})
        await group.close()
    [record] = [record for record in caplog.records if record.name == "stream.kafka.group"]
    assert record.getMessage().startswith(f"{STAGE} waits for its group: kafka://127.0.0.1:{port}: ")


async def test_who_waits_for_records_hears_that_the_brokers_are_back_also_where_there_is_none(
    kafka: LocalKafka, namespace: str
):
    async with opened(kafka, namespace) as bus, leased(bus) as [lease]:
        looking = asyncio.create_task(lease.fetch(1))
        await asyncio.sleep(0)
        bus._place.down = "no broker answers"
        with pytest.raises(BrokerDown, match="no broker answers"):
            await asyncio.wait_for(looking, PATIENCE_S)
        bus._place.down = None
        assert await asyncio.wait_for(lease.fetch(1), PATIENCE_S) == ()
        await append(bus, inputs(1))
        assert len(await asyncio.wait_for(lease.fetch(1), PATIENCE_S)) == 1


async def test_a_fetch_that_the_client_holds_up_ends_when_its_lease_is_wanted(kafka: LocalKafka, namespace: str):
    async with opened(kafka, namespace) as bus, leased(bus) as [lease]:
        assert isinstance(lease, KafkaLease)

        async def held_up(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        lease._consumer.getmany = held_up  # as aiokafka's while partitions are shared out anew
        looking = asyncio.create_task(lease.fetch(1))
        while not lease.waits:
            await asyncio.sleep(0)
        lease.take_back()
        with pytest.raises(LeaseLost, match="is wanted by another"):
            await asyncio.wait_for(looking, PATIENCE_S)


async def add_partitions(kafka: LocalKafka, topic: str, count: int) -> None:
    """Return when a broker knows of them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(count)})
        async with asyncio.timeout(PATIENCE_S):
            while len((await admin.describe_topics([topic]))[0]["partitions"]) < count:
                await asyncio.sleep(0.01)
    finally:
        await admin.close()


async def test_who_has_looked_before_sees_partitions_that_are_added(kafka: LocalKafka, namespace: str):
    async with opened(kafka, namespace, partitions=2) as watcher, opened(kafka, namespace, partitions=2) as bus:
        await watcher.ends(INPUT)
        await add_partitions(kafka, f"{namespace}.{INPUT}", 5)
        assert set(await watcher.progress(STAGE, INPUT)) == {*range(5)}
        assert await bus.ends(INPUT) == dict.fromkeys(range(5), 0)
        await append(bus, inputs(40))
        assert min((await watcher.ends(INPUT)).values()) > 0
        assert set(await watcher.starts(INPUT)) == {*range(5)}
        assert {stored.partition for stored in await all_of(watcher, INPUT)} == {*range(5)}


async def test_a_broker_that_has_not_heard_of_new_partitions_takes_none_away(kafka: LocalKafka, namespace: str):
    async with opened(kafka, namespace) as bus:
        bus._place.partitions[f"{namespace}.{INPUT}"] = 2  # another broker has said so
        assert await bus._place.count(INPUT) == 2


async def test_a_step_asks_nothing_about_topics_that_are_known(kafka: LocalKafka, namespace: str):
    async with opened(kafka, namespace) as bus, bus.appender("source") as appender:
        await appender.append(inputs(3))
        await bus.progress(STAGE, INPUT)
        asked: list[str] = []
        admin = bus._place.admin

        async def partitions(topic: str) -> int:
            asked.append(topic)
            return 1

        admin.partitions = partitions  # type: ignore[method-assign]
        await appender.append(inputs(3, first=3))
        assert asked == []
        await bus.ends(INPUT)
        assert asked == [f"{namespace}.{INPUT}"]


async def test_a_partition_so_new_that_a_broker_does_not_know_it_is_taken(kafka: LocalKafka, namespace: str):
    """As what tells a worker of it is another broker than what is asked for the progress on it."""
    async with opened(kafka, namespace, partitions=2) as bus:
        await add_partitions(kafka, f"{namespace}.{INPUT}", 3)
        admin = bus._place.admin

        async def lagging(_: str) -> int:
            return 2

        admin.partitions = lagging  # type: ignore[method-assign]
        leases = bus.leases(STAGE, INPUT)
        found: set[int] = set()
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < 3:
                lease = await anext(leases)
                assert not isinstance(lease, Gone) and lease.progress == Progress()
                found.add(lease.partition)
        await leases.aclose()
