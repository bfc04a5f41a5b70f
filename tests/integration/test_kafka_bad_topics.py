"""Topics and progress that are not as a stream needs them are named, with what mends them, and nothing is changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata

from deploy.local_kafka import LocalKafka
from deploy.scripted_llm.server import ScriptedLLM
from stream.bus import Message
from stream.kafka.bus import Kafka
from stream.kafka.security import KafkaConfig
from stream.topics import TOPICS
from tests.corpus import write_corpus
from tests.integration.processes import seedstream

pytestmark = pytest.mark.timeout(900)


@asynccontextmanager
async def admin_of(kafka: LocalKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def test_what_is_wrong_with_topics_is_named_with_what_mends_it(kafka: LocalKafka, namespace: str):
    where = ["--bus", f"kafka://{kafka.bootstrap}", "--namespace", namespace]
    assert (await seedstream("topics", "create", *where))[0] == 0
    async with admin_of(kafka) as admin:
        broken = {
            "examples": {"cleanup.policy": "delete"},
            "files": {"retention.ms": "604800000"},
            "responses": {"max.message.bytes": "1000"},
            "seeds": {"cleanup.policy": "compact"},
        }
        for topic, configs in broken.items():
            resource = ConfigResource(ConfigResourceType.TOPIC, f"{namespace}.{topic}", configs=configs)
            await admin.alter_configs([resource])
        await admin.create_partitions({f"{namespace}.executions": NewPartitions(3)})
        await admin.delete_topics([f"{namespace}.concepts"])
    code, out, err = await seedstream("topics", "check", *where)
    print(out)
    lines = out.splitlines()
    assert code == 1 and err == f"{len(lines)} differences\n"

    def line(topic: str, *words: str) -> bool:
        return any(all(word in text for word in (f"topic {namespace}.{topic}", *words)) for text in lines)

    add = "kafka-configs.sh --alter --entity-type topics --entity-name"
    assert line("examples:", "cleanup.policy is delete, compact expected", f"{add} {namespace}.examples")
    assert line("files:", "retention.ms is 604800000, -1 expected", "--add-config retention.ms=-1")
    assert line("seeds:", "cleanup.policy is compact, delete expected")
    assert line("responses:", "max.message.bytes is 1000, 8388608 expected")
    assert line("executions ", "has 3 partitions, 1 expected", "run in a new namespace")
    assert line("concepts ", "is missing: seedstream topics create")
    assert (await seedstream("topics", "check", *where))[1] == out, "nothing was changed"

    code, out, err = await seedstream("topics", "create", *where)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert f"topic {namespace}.executions has 3 partitions, 1 expected" in err


async def test_topics_with_fewer_copies_than_they_must_have_are_named_and_those_of_the_brokers_with_them(
    kafka: LocalKafka, namespace: str
):
    url, topics = f"kafka://{kafka.bootstrap}", [TOPICS["files"], TOPICS["functions"]]
    async with Kafka.open(url, namespace) as bus:
        await bus.create(topics, {"functions": "files"})
        async with bus.appender("files") as appender:  # a transaction: now both of the brokers' own topics are there
            await appender.append([Message("files", "k", b"{}")])
        assert await bus.differences(topics, {"functions": "files"}) == []
    async with Kafka.open(url, namespace, config=KafkaConfig(replication=3)) as bus:
        found = await bus.differences(topics, {"functions": "files"})
    print("\n".join(found))
    names = [f"{namespace}.files", f"{namespace}.functions", "__consumer_offsets", "__transaction_state"]
    copies = [line for line in found if "has 1 copy, 3 expected" in line]
    assert [line.split()[1] for line in copies] == names
    assert all("kafka-reassign-partitions.sh" in line for line in copies)
    safety = [line for line in found if "min.insync.replicas is 1, 2 expected" in line]
    assert [line.split()[1] for line in safety] == [f"{name}:" for name in names[:2]]
    assert sorted(found) == sorted(copies + safety)


async def test_a_progress_that_something_else_has_written_ends_a_worker_with_one_line(
    kafka: LocalKafka, namespace: str, tmp_path
):
    where = ["--bus", f"kafka://{kafka.bootstrap}", "--namespace", namespace]
    write_corpus(tmp_path / "sources", 2)
    async with ScriptedLLM() as server:
        code, _, err = await seedstream(
            "ingest", str(tmp_path / "sources"), *where, "--llm", server.url, "--model", "scripted"
        )
    assert code == 0, err
    group = f"{namespace}.functions"
    foreign = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=group, enable_auto_commit=False)
    await foreign.start()
    tp = TopicPartition(f"{namespace}.files", 0)
    foreign.assign([tp])
    await foreign.commit({tp: OffsetAndMetadata(0, "somebody's note")})
    await foreign.stop()
    for command in ["run", "functions", "--until-idle"], ["audit"], ["status"]:
        code, out, err = await seedstream(*command, *where)
        print(command[0], code, err)
        last = [line for line in err.splitlines() if " INFO " not in line]
        assert (code, out, len(last)) == (2, "", 1)
        assert f"progress of group {group} on {tp.topic}[0] was committed by something else" in last[0]
        assert "seedstream replay functions --into NAMESPACE" in last[0]
    code, out, err = await seedstream("topics", "check", *where)
    assert (code, err) == (1, "1 differences\n") and "committed by something else" in out
