"""Beyond the ten: a group paused for longer than the brokers keep offsets. Its progress is gone; beginning again would
do everything a second time."""

import asyncio
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.structs import TopicPartition

from deploy.local_kafka import LocalKafka
from deploy.scripted_llm.server import ScriptedLLM
from stream.bus import Message
from stream.codec import encode
from stream.errors import ProgressLost
from stream.kafka.bus import Kafka
from stream.kafka.security import KafkaConfig
from stream.progress import Progress
from stream.records import Audited
from stream.topics import AUDIT, REJECTS, TOPICS
from tests.brokers import MakeKafka
from tests.contract.steps import INPUT, STAGE, append, fetched, inputs, leased, outcomes
from tests.failures.crew import PATIENCE_S, Crew, Feed, Member, crew, until
from tests.failures.crew_member import NAME
from tests.integration.processes import seedstream

INPUTS = 100


async def forget(kafka: LocalKafka, group: str) -> None:
    """Delete what the brokers know of a group, as they do themselves after offsets.retention.minutes without a
    member."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        node = await admin.find_coordinator(group)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = await admin._send_request_to_node(node, DeleteGroupsRequest([group]))
                [(_, code)] = answer.results
                if not code:
                    return
                await asyncio.sleep(0.1)  # its members are still leaving
    finally:
        await admin.close()


async def progress_is_gone(hands: Crew) -> bool:
    place = hands.bus._place
    found = await place.admin.committed(place.group(NAME), place.full(TOPICS["files"].name), [0])
    return found[0] is None


async def begin_anew(kafka: LocalKafka, group: str, topic: str, partition: int) -> None:
    """Commit an offset of 0 for one partition, as somebody might who knows no better."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition)])
        await consumer.commit({TopicPartition(topic, partition): 0})
    finally:
        await consumer.stop()


async def refused(hands: Crew, member: Member) -> None:
    """Check that a worker ends by itself, says why and what to do on one line, and has done nothing."""
    calls, outputs = hands.calls(), await hands.bus.ends(TOPICS["functions"].name)
    assert await member.ended() == ProgressLost.exit_code
    [line] = [line for line in member.log().splitlines() if line.startswith("fatal: ")]
    print(line)
    assert f"group {hands.bus.namespace}.{NAME} has no committed progress" in line
    assert f"seedstream replay {NAME} --into NAMESPACE" in line
    assert member.stands()["read"] == 0
    assert hands.calls() == calls
    assert await hands.bus.ends(TOPICS["functions"].name) == outputs


async def worked(hands: Crew) -> None:
    """Let a worker finish the input and leave."""
    await hands.feed(Feed(count=INPUTS))
    await hands.start()
    await hands.finished()
    await hands.dismissed()
    assert sorted(hands.calls()) == list(range(INPUTS))


async def test_a_stage_whose_group_was_forgotten_refuses_to_begin_again(
    tmp_path: Path, kafka: LocalKafka, namespace: str
) -> None:
    async with crew(tmp_path, kafka.bootstrap, namespace) as hands:
        await worked(hands)
        await forget(kafka, f"{namespace}.{NAME}")
        assert await progress_is_gone(hands)
        await refused(hands, await hands.start())
        with pytest.raises(ProgressLost):  # nor does making the topics once more begin it again
            await hands.create()
        assert await progress_is_gone(hands)


async def test_a_partition_that_lost_its_progress_is_told_from_one_that_was_added(
    tmp_path: Path, kafka: LocalKafka, namespace: str
) -> None:
    group, topic = f"{namespace}.{NAME}", f"{namespace}.{TOPICS['files'].name}"
    async with crew(tmp_path, kafka.bootstrap, namespace, partitions=2) as hands:
        await worked(hands)
        end = (await hands.bus.progress(NAME, TOPICS["files"].name))[0]
        await forget(kafka, group)
        await begin_anew(kafka, group, topic, 0)
        progress = await hands.bus.progress(NAME, TOPICS["files"].name)
        assert progress[0] != end
        with pytest.raises(ProgressLost, match=r"\[1\]"):
            await hands.create()
        member = await hands.start()
        assert await member.ended() == ProgressLost.exit_code
        assert f"no committed progress on {topic}[1]" in member.log()


async def test_a_stage_whose_outcomes_were_pruned_refuses_to_begin_again_too(kafka: LocalKafka, namespace: str) -> None:
    """Its inputs stand: another namespace reads them. That they were done, the ledger alone tells then."""
    files, functions, group = TOPICS["files"], TOPICS["functions"], f"{namespace}.{STAGE}"
    url, config = f"kafka://{kafka.bootstrap}", KafkaConfig(partitions=1, session_s=6)
    async with Kafka.open(url, namespace, config=config) as bus:

        async def create() -> None:
            await bus.create([AUDIT, files, functions, REJECTS], {STAGE: INPUT})

        await create()
        await append(bus, inputs(5))
        async with leased(bus) as [lease]:
            records = await fetched(lease, 5)
            done = Progress(records[-1].offset + 1)
            await lease.commit([outcome for record in records for outcome in outcomes(record)], done)
        others = [Audited(STAGE, "seeds", 0, done.watermark, 5), Audited("typed", INPUT, 0, done.watermark, 5)]
        await append(bus, [Message(AUDIT.name, entry.key, encode(entry)) for entry in others], AUDIT.name)
        for topic in functions, REJECTS:
            await bus.delete_before(topic.name, await bus.ends(topic.name))
        await forget(kafka, group)
        await create()  # neither outcomes nor ledger know anything of it
        await forget(kafka, group)
        entry = Audited(STAGE, INPUT, 0, done.watermark, 5)
        await append(bus, [Message(AUDIT.name, entry.key, encode(entry))], AUDIT.name)
        with pytest.raises(ProgressLost, match=rf"{group} has no committed progress on {namespace}\.{INPUT}\[0\]"):
            await create()


@pytest.mark.soak
async def test_a_command_whose_group_was_forgotten_ends_with_one_line_that_names_the_cure(
    tmp_path: Path, kafka: LocalKafka, namespace: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        text = f'def f{number}(x):\n    """Return x and {number}, one after the other."""\n    return x, {number}\n'
        (source / f"m{number}.py").write_text(text, encoding="utf-8")
    (source / "LICENSE").write_text("MIT License", encoding="utf-8")
    async with ScriptedLLM() as server:  # a stream begins with its models named
        place = ["--bus", f"kafka://{kafka.bootstrap}", "--namespace", namespace]
        place += ["--llm", server.url, "--model", "scripted"]
        run = ["run", NAME, "--until-idle", *place]
        for command in (["ingest", str(source), *place], run):
            code, _, err = await seedstream(*command)
            assert code == 0, err
        await forget(kafka, f"{namespace}.{NAME}")
        code, _, err = await seedstream(*run)
    [line] = [line for line in err.splitlines() if " INFO " not in line]
    print(line)
    assert code == ProgressLost.exit_code
    assert line.startswith("seedstream: ")
    assert f"group {namespace}.{NAME} has no committed progress" in line


@pytest.mark.soak
async def test_the_broker_forgets_a_group_without_members_and_keeps_one_that_has_any(
    tmp_path: Path, own_kafka: MakeKafka, namespace: str
) -> None:
    short = {"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": "1000"}
    kafka = await asyncio.to_thread(own_kafka, properties=short)
    async with crew(tmp_path, kafka.bootstrap, namespace) as hands:
        await hands.feed(Feed(count=INPUTS))
        idle = await hands.start()
        await hands.finished()
        end_s = time.monotonic() + 75
        await until("longer than offsets are kept", lambda: time.monotonic() > end_s)
        assert not await progress_is_gone(hands), "though it has a member"
        assert idle.runs
        await hands.dismissed()
        left_s = time.monotonic()
        async with asyncio.timeout(180):
            while not await progress_is_gone(hands):
                await asyncio.sleep(0.5)
        print(f"the progress is gone {time.monotonic() - left_s:.0f} s after the last worker has left")
        await refused(hands, await hands.start())
