"""Failure 7 of ten: an open transaction pins the last stable offset of a Fold's state log while its state restores."""

import asyncio
import signal
import time
from pathlib import Path

from aiokafka import AIOKafkaProducer

from deploy.local_kafka import LocalKafka
from stream.codec import decode
from stream.fold_memory import Memory
from stream.records import Rejected, Seed, SourceFile
from stream.stage import Fold
from stream.topics import REJECTS, TOPICS, state_topic
from tests.brokers import MakeKafka
from tests.failures.crew import PATIENCE_S, Crew, Feed, check_once, crew, until
from tests.failures.crew_member import NAME

STATE = state_topic(NAME).name
FOREIGN_S = 8  # what the foreign transaction may take, or more where a worker takes a while to begin


async def pinned(hands: Crew) -> int:
    """Return how many offsets of the state log an open transaction holds back from readers of committed records."""
    admin, name = hands.bus._place.admin, hands.bus._place.full(STATE)
    return (await admin.ends(name, [0]))[0] - (await admin.stable_ends(name, [0]))[0]


async def check_decisions(hands: Crew) -> None:
    """Check that what was decided is what one that saw the whole log at once decides."""
    shape = hands.spec.shape
    assert isinstance(shape, Fold)
    inputs = [decode(s.value, SourceFile) async for batch in hands.bus.read(TOPICS["files"].name) for s in batch]
    decided = Memory(shape).decide(inputs)
    emitted = [decode(s.value, Seed).name async for batch in hands.bus.read(TOPICS["functions"].name) for s in batch]
    rejected = [decode(s.value, Rejected).evidence async for batch in hands.bus.read(REJECTS.name) for s in batch]
    assert emitted == [seed.name for decision in decided for seed in decision.outcome.emitted]
    assert rejected == [reject.evidence for decision in decided for reject in decision.outcome.rejected]


async def test_a_fold_whose_predecessor_died_between_produce_and_commit_restores_all_and_decides_right(
    tmp_path: Path, kafka: LocalKafka, namespace: str
) -> None:
    async with crew(tmp_path, kafka.bootstrap, namespace, fold=True) as hands:
        await hands.feed(Feed(count=100))
        first = await hands.start(dies_at=3)
        assert await first.ended() == -signal.SIGKILL
        held = await pinned(hands)
        print(f"it died in commit 3: {held} offset of the state log is held back by its open transaction")
        assert first.events("dies")
        assert held
        second = await hands.start()
        await hands.finished()
        async with asyncio.timeout(PATIENCE_S):
            while await pinned(hands) > 0:  # the mark of the last transaction may come a moment later
                await asyncio.sleep(0.05)
        began = second.events("decides")[0]
        print(f"the next one began at input {began['first']}, knowing of {began['history']} that were kept")
        await hands.dismissed()
        await check_decisions(hands)
        await check_once(hands, 100)


async def test_a_fold_waits_for_the_end_of_a_foreign_transaction_in_its_state_log_and_decides_right(
    tmp_path: Path, own_kafka: MakeKafka, namespace: str
) -> None:
    soon = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500"}
    kafka = await asyncio.to_thread(own_kafka, properties=soon)
    async with crew(tmp_path, kafka.bootstrap, namespace, fold=True) as hands:
        await hands.feed(Feed(count=60))
        start_s = time.time()
        first = await hands.start()
        await hands.finished()
        foreign_s = max(FOREIGN_S, int(4 * (first.events("assigned")[0]["at_s"] - start_s)))
        await hands.dismissed()
        await hands.feed(Feed(count=40, first=60))
        foreign = AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap, transactional_id="foreign", transaction_timeout_ms=foreign_s * 1_000
        )
        await foreign.start()
        begun_s = time.time()
        await foreign.begin_transaction()
        await foreign.send_and_wait(hands.bus._place.full(STATE), b"no change of state", partition=0)
        assert await pinned(hands) > 0
        second = await hands.start()
        await until("it has the partition", lambda: bool(second.events("assigned")))
        await hands.finished()
        assigned_s, began = second.events("assigned")[0]["at_s"], second.events("decides")[0]
        print(
            f"it had the partition {assigned_s - begun_s:.1f} s after the transaction had begun, and decided first "
            f"after {began['at_s'] - begun_s:.1f} s, knowing of {began['history']} that were kept"
        )
        assert assigned_s < begun_s + foreign_s < began["at_s"]  # the broker aborts it no sooner
        await hands.dismissed()
        await check_decisions(hands)
        await check_once(hands, 100)
        await foreign.stop()
