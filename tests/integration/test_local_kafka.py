"""The local Kafka: it serves, keeps what it was given, and survives what tests do to it."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.helpers import create_ssl_context

from deploy.cli import run
from deploy.local_kafka import LocalKafka
from deploy.local_kafka.node import last_words
from stream.errors import DependencyDown
from tests.broker_security import ACLS, CA, Operation, Resource, allow, sasl, sasl_tls, tls
from tests.brokers import ROOT, MakeKafka, kept, needs_kafka
from tests.patience import LONG_S, PATIENCE_S


async def create(kafka: LocalKafka, topic: str, *, replicas: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(topic, 1, replicas)])
        assert [error[1] for error in answer.topic_errors] == [0], answer
    finally:
        await admin.close()


@contextlib.asynccontextmanager
async def producing(bootstrap: str, **options: object) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def send(bootstrap: str, topic: str, value: bytes, **options: object) -> None:
    async with asyncio.timeout(PATIENCE_S), producing(bootstrap, **options) as producer:
        await producer.send_and_wait(topic, value)


async def values(bootstrap: str, topic: str, number: int, **options: object) -> list[bytes]:
    """Return the first `number` values of a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, **options)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        async with asyncio.timeout(PATIENCE_S):
            return [(await consumer.getone()).value for _ in range(number)]
    finally:
        await consumer.stop()


async def test_the_shared_broker_serves(kafka: LocalKafka, namespace: str):
    await create(kafka, f"{namespace}.files")
    await send(kafka.bootstrap, f"{namespace}.files", b"one")
    assert await values(kafka.bootstrap, f"{namespace}.files", 1) == [b"one"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """For a Kafka that a command starts; it ends with the test."""
    needs_kafka()
    with kept(tmp_path / "brokers"):
        yield tmp_path / "brokers" / "own"


async def started(folder: Path) -> tuple[str, str]:
    """Start it in a process that ends, and return what that said on stdout and stderr."""
    program = Path(sys.executable).with_name("seedstream")
    process = await asyncio.create_subprocess_exec(
        program, "kafka", "start", "--dir", str(folder), stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err
    return out.decode(), err.decode()


async def test_a_command_starts_it_once_and_another_stops_it_and_the_records_stay(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    (out, first), (same, second) = await asyncio.gather(started(folder), started(folder))
    assert out == same and out.startswith("kafka://127.0.0.1:") and out.count("\n") == 1
    assert sorted("runs already" in said for said in (first, second)) == [False, True]
    bootstrap = out.strip().removeprefix("kafka://")
    own = LocalKafka(folder)
    assert own.bootstrap == bootstrap and own.running
    await create(own, "files")
    await send(bootstrap, "files", b"one")

    for more, said in ([], "runs already"), (["--port", "9"], "at port"), (["--nodes", "3"], "has 1 node"):
        code = run(["kafka", "start", "--dir", str(folder), *more])
        got = capsys.readouterr()
        assert (code, got.out) == ((2, "") if more else (0, out))
        assert said in got.err
    for said in "stopped", "nothing runs":
        assert run(["kafka", "stop", "--dir", str(folder)]) == 0
        assert capsys.readouterr().err == f"{said} in {folder}\n"
        assert not own.running

    assert run(["kafka", "start", "--dir", str(folder)]) == 0
    assert capsys.readouterr().out == out, "the same address as before"
    assert await values(bootstrap, "files", 1) == [b"one"]


async def test_what_was_acknowledged_survives_a_kill_and_a_paused_node_can_be_stopped(own_kafka: MakeKafka):
    own = own_kafka()
    node = own.node(1)
    await create(own, "files")
    await send(own.bootstrap, "files", b"one")
    node.kill()
    assert node.pid is None and not own.running
    node.start()
    assert await values(own.bootstrap, "files", 1) == [b"one"]
    node.pause()
    assert own.running
    began_s = time.monotonic()
    node.stop(LONG_S)
    assert not own.running and time.monotonic() - began_s < LONG_S, "in order, not by force"


def test_a_node_that_dies_at_its_start_is_told_with_its_last_words(own_kafka: MakeKafka):
    own = own_kafka()
    own.stop()
    (own.node(1).folder / "data" / "meta.properties").write_text("version=1\ncluster.id=other\nnode.id=2\n")
    with pytest.raises(DependencyDown, match=r"node 1 died at its start \(.*\), see .*/kafka.log") as raised:
        own.start()
    assert last_words(own.node(1).log.read_text()) in str(raised.value)
    assert not own.running


def test_a_setting_that_kafka_does_not_know_how_to_read_is_told(own_kafka: MakeKafka):
    with pytest.raises(DependencyDown, match=r"Kafka cannot format .*log\.retention\.ms"):
        own_kafka(properties={"log.retention.ms": "soon"})


USER = """
import sys, time
from pathlib import Path
from deploy.local_kafka import LocalKafka
from tests.brokers import kept
folder = Path(sys.argv[1])
with kept(folder):
    LocalKafka(folder / "own").start()
    print("serves", flush=True)
    time.sleep(3600)
"""


async def test_a_broker_of_tests_that_were_killed_ends_by_itself(tmp_path: Path):
    needs_kafka()
    folder = tmp_path / "brokers"
    users = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", USER, str(folder), stdout=PIPE, cwd=ROOT)
        for _ in range(2)
    ]
    try:
        for user in users:
            assert user.stdout and await user.stdout.readline() == b"serves\n"
        own = LocalKafka(folder / "own")
        await killed(users[0])
        assert own.running, "the other still uses it"
        await killed(users[1])
        await until(lambda: not own.running)
        await until(lambda: not (own.node(1).folder / "data").exists())
        assert own.node(1).log.exists()
    finally:
        for user in users:
            await killed(user)


async def killed(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    await process.wait()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.05)


async def leader(kafka: LocalKafka, topic: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
        return described["partitions"][0]["leader"]
    finally:
        await admin.close()


async def test_three_nodes_go_on_without_the_leader_and_take_it_in_again(own_kafka: MakeKafka):
    own = own_kafka(3)
    await create(own, "files", replicas=3)
    async with producing(own.bootstrap) as producer, asyncio.timeout(PATIENCE_S):
        await producer.send_and_wait("files", b"one")
        first = await leader(own, "files")
        own.node(first).kill()
        await producer.send_and_wait("files", b"two")
        assert await leader(own, "files") != first
        assert [node.number for node in own.nodes if node.pid is None] == [first]
        own.node(first).start()
        await producer.send_and_wait("files", b"three")
    assert await values(own.bootstrap, "files", 3) == [b"one", b"two", b"three"]


async def test_clients_name_themselves_and_may_do_only_what_is_allowed(own_kafka: MakeKafka, tmp_path: Path):
    own = own_kafka(
        properties=ACLS,
        listeners=[sasl({"ann": "ann-secret"}), tls(tmp_path), sasl_tls(tmp_path, {"ann": "ann-secret"})],
        scram={"bob": "bob-secret"},
    )
    trust = create_ssl_context(cafile=str(tmp_path / CA))
    await create(own, "main.files")
    for user in ("ann", "bob"):
        for operation in (Operation.READ, Operation.WRITE, Operation.DESCRIBE):
            await allow(own, user, Resource.TOPIC, "main.", operation)
    plain = {"sasl_mechanism": "PLAIN", "sasl_plain_username": "ann", "sasl_plain_password": "ann-secret"}
    scram = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "bob", "sasl_plain_password": "bob-secret"}
    ways = [
        ("SASL", {"security_protocol": "SASL_PLAINTEXT", **plain}),
        ("SASL", {"security_protocol": "SASL_PLAINTEXT", **scram}),
        ("SASLTLS", {"security_protocol": "SASL_SSL", "ssl_context": trust, **scram}),
    ]
    for number, (listener, options) in enumerate(ways, start=1):
        await send(own.addresses(listener), "main.files", b"one", **options)
        assert len(await values(own.addresses(listener), "main.files", number, **options)) == number
