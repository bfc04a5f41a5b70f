"""Failure 8 of ten: a record at the watermark whose calls hang or fail, and more behind it than progress can span."""

import signal
from pathlib import Path

import pytest

from deploy.local_kafka import LocalKafka
from stream.codec import decode
from stream.progress import MAX_SPAN
from stream.records import DeadLetter
from stream.topics import DEAD, TOPICS
from tests.failures.crew import Feed, check_once, crew, until
from tests.failures.crew_member import NAME

INPUTS = 25_000
METADATA_BYTES = 4_096  # offset.metadata.max.bytes: what a broker takes by default
HUNG, FAILING = 0, 1
ATTEMPTS = 2
MB = 1 << 20


async def test_a_hung_record_holds_the_fetch_back_at_the_span_and_is_dead_lettered_in_the_end(
    tmp_path: Path, kafka: LocalKafka, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.ingest.CHUNK", 1_000)
    settings = {"attempts": ATTEMPTS, "retry_base_s": 0.1, "call_deadline_s": 600}
    async with crew(
        tmp_path, kafka.bootstrap, namespace, hangs=[HUNG], fails=[FAILING], settings=settings, session_s=6.0
    ) as hands:
        await hands.feed(Feed(count=INPUTS, padding=2_000))
        offsets = [s.offset async for batch in hands.bus.read(TOPICS["files"].name) for s in batch]
        within = sum(offset <= offsets[HUNG] + MAX_SPAN for offset in offsets)
        first = await hands.start()
        await until("all that the span has room for is done", lambda: first.stands()["read"] == within - 1)
        stands = [line for line in first.events("stands") if line["read"] > 5_000]
        grown = (max(line["memory"] for line in stands) - stands[0]["memory"]) / MB
        bitmap = max(line["bytes"] for line in first.events("wrote"))
        progress = (await hands.bus.progress(NAME, TOPICS["files"].name))[0]
        print(
            f"record {HUNG} hangs: {within - 1} of the {INPUTS - 1} behind it are done, {stands[-1]['in_flight']} in "
            f"flight; the bitmap has {bitmap} characters; memory grew by {grown:.1f} MB over the last "
            f"{within - stands[0]['read']} records, to {stands[-1]['memory'] / MB:.0f} MB"
        )
        assert progress.watermark == offsets[HUNG]
        assert max(progress.done) <= progress.watermark + MAX_SPAN
        assert stands[-1]["in_flight"] == 1
        assert 3_000 < bitmap <= METADATA_BYTES
        assert grown < 16
        assert hands.calls()[HUNG] == 1
        assert hands.calls()[FAILING] == ATTEMPTS

        await first.kill()
        second = await hands.start(settings=settings | {"call_deadline_s": 3})
        await hands.finished()
        letters = [decode(s.value, DeadLetter) async for batch in hands.bus.read(DEAD.name) for s in batch]
        stands = second.events("stands")
        top = max(line["memory"] for line in stands) / MB
        print(f"the next one: {letters[-1].error.splitlines()[0]}; memory at most {top:.0f} MB")
        assert first.exit_code == -signal.SIGKILL
        assert sorted(letter.offset for letter in letters) == [offsets[HUNG], offsets[FAILING]]
        await hands.dismissed()
        calls = hands.calls()
        assert calls.pop(HUNG) == 1 + ATTEMPTS
        assert calls.pop(FAILING) == ATTEMPTS
        assert set(calls.values()) == {1}
        await check_once(hands, INPUTS)
