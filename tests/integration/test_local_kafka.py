"""The local Kafka: it serves, keeps what it was given, and survives what tests do to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.helpers import create_ssl_context

from deploy.local_kafka import LocalKafka
from tests.broker_security import ACLS, CA, Operation, Resource, allow, sasl, sasl_tls, tls
from tests.brokers import MakeKafka

PATIENCE_S = 60


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


async def test_what_was_written_is_there_after_a_stop_and_after_a_kill(own_kafka: MakeKafka):
    own = own_kafka()
    await create(own, "files")
    await send(own.bootstrap, "files", b"one")
    assert own.stop() and not own.running and own.start()
    await send(own.bootstrap, "files", b"two")
    own.node(1).kill()
    own.node(1).start()
    assert await values(own.bootstrap, "files", 2) == [b"one", b"two"]


async def test_three_nodes_go_on_without_one(own_kafka: MakeKafka):
    own = own_kafka(3)
    await create(own, "files", replicas=3)
    await send(own.bootstrap, "files", b"one")
    own.node(2).kill()
    await send(own.bootstrap, "files", b"two")
    assert await values(own.bootstrap, "files", 2) == [b"one", b"two"]


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
