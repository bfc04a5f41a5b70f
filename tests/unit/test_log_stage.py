"""A line that is logged while a stage works carries the stage, wherever in its code, and no other line does."""

import ast
import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from consumers.llm.client import LLMClient
from consumers.llm.endpoint import Endpoint
from consumers.llm.request import Prompt, Request, Sampling
from deploy.scripted_llm.server import ScriptedLLM
from stream import logs
from stream.bus import Gone, Lease, Message, Stored
from stream.errors import BrokerDown, DiskFull, EndpointDown, LeaseLost
from stream.ingest import ingest
from stream.kafka import group as group_file
from stream.kafka.cluster import Cluster
from stream.kafka.group import Group
from stream.kafka.place import Place
from stream.kafka.security import KafkaConfig
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.progress import Progress
from stream.records import FileId, Seed
from stream.retry import Gate
from stream.runner import run_stage
from stream.stage import Decision, Fold, Map, Outcome
from stream.topics import DEAD, REJECTS, TOPICS, state_topic
from tests.stage_runs import FAST, Run, memory_bus, running, seeds, send, source_file, spec, until
from tests.stream_fakes import Disk, MemoryBus, MemoryLease

ROOT = Path(__file__).parents[2]
log = logging.getLogger("tests.of.a.stage")


class Heard(logging.Handler):
    """What was logged: messages by the stage that they carry."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str | None, str]] = []
        self.addFilter(logs.name_stage)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((getattr(record, "stage", None), record.getMessage()))

    def of(self, message: str) -> set[str | None]:
        """The stages of the lines with a text."""
        return {stage for stage, text in self.lines if message in text}


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler, root = Heard(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


async def talk(name: str) -> None:
    """Log in each way in which a stage's code may come to run."""
    log.info("%s in a call", name)
    await asyncio.to_thread(log.info, "%s in a thread", name)
    await asyncio.create_task(asyncio.to_thread(log.info, "%s in a thread of a task", name))
    called = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_later(0, log.info, "%s in a timer", name)
    loop.call_later(0.001, called.set)
    await called.wait()
    task = asyncio.create_task(asyncio.sleep(0))
    task.add_done_callback(lambda _: log.info("%s in a callback", name))
    await task


WAYS = ("in a call", "in a thread", "in a thread of a task", "in a timer", "in a callback")


async def test_two_stages_at_once_each_log_as_themselves_and_the_run_as_none(heard: Heard) -> None:
    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        for record in records:
            await talk(f"seed {record.name}")
        return [Outcome((record,)) for record in records]

    first = StageSpec("typed", TOPICS["functions"], TOPICS["typed"], Map(call))
    second = StageSpec("unique", TOPICS["typed"], TOPICS["unique"], Map(call))
    bus = await memory_bus(first, seeds(3))
    await bus.create(second.topics())
    async with running(bus, first), running(bus, second) as last:
        log.info("the run's own")
        await last.finished(3)
    log.info("the run's own, at the end")
    for way in WAYS:
        lines = [stage for stage, text in heard.lines if text.endswith(way)]
        assert sorted(filter(None, lines)) == ["typed"] * 3 + ["unique"] * 3, way
    assert heard.of("the run's own") == {None}


async def test_a_fold_logs_as_its_stage_while_it_decides_and_while_it_is_restored(heard: Heard, tmp_path: Path) -> None:
    def restore(state: list[str], changes: Sequence[str]) -> None:
        log.info("restores")

    def decide(state: list[str], records: Sequence[Seed]) -> list[Decision[Seed]]:
        log.info("decides")
        return [Decision(Outcome((record,)), "kept") for record in records]

    stage = spec(Fold(list[str], decide, restore))
    bus = await memory_bus(stage, seeds(2))
    (tmp_path / "file").touch()
    for count in (2, 3):
        stats, stop = StageStats(stage.name), asyncio.Event()
        task = asyncio.create_task(run_stage(bus, stage, FAST, stats, stop, tmp_path / "file"))
        run = Run(stats, stop, task)
        await run.finished(2 if count == 2 else 1)
        await run.end()
        await send(bus, seeds(1, first=count))
    assert heard.of("decides") == heard.of("restores") == {"typed"}
    assert heard.of("no copy of typed.state is kept") == {"typed"}, "in a thread, by `stream.state_copy`"


class Talking(MemoryBus):
    """Logs in each of its calls, as a bus does that has something to say."""

    async def leases(self, stage: str, topic: str) -> AsyncIterator[Lease | Gone]:
        log.info("bus leases")
        async for event in super().leases(stage, topic):
            if isinstance(event, MemoryLease):
                self._say(event)
            yield event

    def _say(self, lease: MemoryLease) -> None:
        fetch, commit, release = lease.fetch, lease.commit, lease.release

        async def said_fetch(limit: int) -> Sequence[Stored]:
            log.info("bus fetches")
            return await fetch(limit)

        async def said_commit(messages: Sequence[Message], progress: Progress) -> None:
            log.info("bus commits")
            await commit(messages, progress)

        def said_release() -> None:
            log.info("bus takes a lease back")
            release()

        lease.fetch, lease.commit, lease.release = said_fetch, said_commit, said_release  # type: ignore[method-assign]


async def test_what_a_bus_logs_for_a_stage_carries_it(heard: Heard) -> None:
    async def same(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        return [Outcome((record,)) for record in records]

    stage = spec(Map(same))
    bus = Talking(Disk())
    await bus.create(stage.topics())
    await send(bus, seeds(2), stage.input.name)
    async with running(bus, stage) as run:
        await run.finished(2)
    for said in ("bus leases", "bus fetches", "bus commits", "bus takes a lease back"):
        assert heard.of(said) == {"typed"}, said


async def test_a_gate_logs_as_the_stage_that_waits_at_it(heard: Heard) -> None:
    away = [EndpointDown("http://x is away"), EndpointDown("http://x is away")]

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        if away:
            raise away.pop()
        return [Outcome((record,)) for record in records]

    stage = spec(Map(call))
    bus = await memory_bus(stage, seeds(1))
    async with running(bus, stage) as run:
        await run.finished(1)
    assert heard.of("typed ") == {"typed"}
    assert len([text for _, text in heard.lines if text.startswith("typed ")]) == 2, "that it waits, and that it did"


async def test_a_source_logs_as_the_topic_that_it_feeds(heard: Heard) -> None:
    class Item:
        file_id = FileId("f")
        outcome = Outcome((source_file("a.py"),))

    class Source:
        name = "folder"

        def found(self, known: Collection[FileId]) -> Iterator[Item]:
            log.info("finds")  # in a thread
            yield Item()

    full = [DiskFull("no room"), DiskFull("no room")]
    bus = MemoryBus(Disk())
    await bus.create([TOPICS["files"], state_topic("files"), REJECTS, DEAD])

    def fault() -> None:
        if full:
            raise full.pop()

    bus.commit_fault = fault
    await ingest(bus, TOPICS["files"], [Source()], StageStats("files"), asyncio.Event())
    assert heard.of("finds") == heard.of("files ") == {"files"}


SAMPLING = Sampling(temperature=0.0, max_tokens=10)


async def test_a_request_of_the_shared_client_logs_as_the_stage_that_asked_it(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedLLM() as server, LLMClient(Endpoint(server.url, "scripted", concurrency=1)) as client:
        asked = client._servers.complete

        async def talking(body: bytes) -> Any:
            log.info("asks %s", "a" if b"of a?" in body else "b")
            return await asked(body)

        monkeypatch.setattr(client._servers, "complete", talking)

        async def ask(name: str) -> None:
            with logs.of_stage(name):
                request = Request(name, Prompt("Answer.", (), f"What of {name}?"), SAMPLING, seed=1)
                await client.for_stage(name, 0).complete(f"record {name}", [request])

        # One permit: each but the first is sent in the turn in which another stage's request has ended.
        await asyncio.gather(*(asyncio.create_task(ask(name)) for name in ("a", "b", "a", "b")))
    assert heard.of("asks a") == {"a"} and heard.of("asks b") == {"b"}


# --- on Kafka


class Handed:
    """A lease that is handed out, and lost at once when it is the first."""

    def __init__(self, lost: bool) -> None:
        self.partition = 0
        self.progress = Progress()
        self.position = 0
        self.wanted = asyncio.Event()
        self.released = asyncio.Event()
        self.lost = lost
        self.waits = False

    async def fetch(self, limit: int) -> Sequence[Stored]:
        if self.lost:
            self.wanted.set()
        await self.wanted.wait()
        raise LeaseLost("partition 0 is wanted")

    def refusal(self, message: Message) -> str | None:
        return None

    def take_back(self) -> None:
        self.wanted.set()

    def release(self) -> None:
        self.released.set()

    async def close(self) -> None:
        """Nothing is open."""


class Played(Group):
    """A membership that meets each mishap once: no broker, no progress to read, a lease lost, a stuck fetch."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, "typed", "functions")
        self.away = [BrokerDown("no broker")]
        self.unread = [BrokerDown("no progress")]
        self.taken = 0
        self.stuck = [[0]]

    async def _join(self) -> None:
        if self.away:
            raise self.away.pop()
        self._consumer = Played.Client()  # type: ignore[assignment]
        # As aiokafka does: from a task of its own, which was started by `start`.
        self._later(asyncio.create_task(self._coordinate()))

    async def _coordinate(self) -> None:
        self.on_partitions_assigned({TopicPartition(self._name, 0)})

    async def _take(self, partition: int) -> Any:
        if self.unread:
            raise self.unread.pop()
        self.taken += 1
        return Handed(lost=self.taken == 1)

    def _raise_refusal(self, consumer: object) -> None:
        """The coordinator has said nothing."""

    async def _stuck(self, since_s: object) -> Collection[int]:
        return self.stuck.pop() if self.stuck and self.taken > 1 else ()

    class Client:
        async def stop(self) -> None:
            """Nothing runs."""


class PlayedBus:
    """A bus whose leases come from a played membership."""

    def __init__(self, group: Group) -> None:
        self._group = group

    async def leases(self, stage: str, topic: str) -> AsyncIterator[Lease | Gone]:
        try:
            async for change in self._group.changes():
                yield change
        finally:
            await self._group.close()


async def test_a_kafka_group_logs_each_mishap_as_its_stage(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    async def same(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        return [Outcome((record,)) for record in records]

    class Admin:
        async def partitions(self, names: object) -> dict[str, int]:
            return {"main.functions": 1}

    monkeypatch.setattr(group_file, "WATCH_S", 0.01)
    monkeypatch.setattr(group_file, "RETAKE", 0.0)
    monkeypatch.setattr(Place, "count", _one_partition)
    cluster: Any = Cluster.of("kafka://localhost:9092", KafkaConfig())
    group = Played(Place(cluster, Admin(), "main", 10.0))  # type: ignore[arg-type]
    stop = asyncio.Event()
    bus: Any = PlayedBus(group)
    task = asyncio.create_task(run_stage(bus, spec(Map(same)), FAST, StageStats("typed"), stop))
    said = (
        "waits for its group",
        "has partitions [0]",
        "waits to take partition 0",
        "lost partition 0",
        "nothing comes",
    )
    with contextlib.suppress(TimeoutError):
        await until(lambda: task.done() or all(heard.of(each) for each in said))
    stop.set()
    await task
    assert {each: heard.of(each) for each in said} == {each: {"typed"} for each in said}


async def _one_partition(self: Place, topic: str) -> int:
    return 1


# --- every other line

FOLDERS = ("stream", "consumers", "producers", "sandbox")
LOGS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
LEAVES = {
    "Thread", "Timer", "ThreadPoolExecutor", "run_in_executor", "call_soon_threadsafe", "run_coroutine_threadsafe",
    "Context", "copy_context", "add_signal_handler", "signal",
}  # fmt: skip
"""What makes code run outside of the context of the stage that called it."""


def called(tree: ast.Module) -> Iterator[tuple[str | None, str, ast.Call]]:
    """Yield each call as (object, function)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Attribute(value=ast.Name(id=owner), attr=name):
                    yield owner, name, node
                case ast.Attribute(attr=name) | ast.Name(id=name):
                    yield None, name, node


def sources() -> Iterator[tuple[str, ast.Module]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def test_no_file_that_logs_for_a_stage_runs_code_outside_of_its_context() -> None:
    logging_files: set[str] = set()
    leaving: set[str] = set()
    for path, tree in sources():
        for owner, name, node in called(tree):
            if owner in ("log", "logger") and name in LOGS:
                logging_files.add(path)
            if name in LEAVES or any(
                word.arg == "context" for word in node.keywords if name.startswith(("create", "call"))
            ):
                leaving.add(path)
    assert {"stream/retry.py", "stream/kafka/group.py", "stream/state_copy.py"} <= logging_files, (
        "the search finds them"
    )
    assert {"stream/embedded/reader.py", "stream/embedded/writer.py"} <= leaving, "and these"
    assert not logging_files & leaving


def test_no_line_names_its_stage_by_itself() -> None:
    """The field is set in one place: a second one would be forgotten somewhere."""
    for path, tree in sources():
        for owner, name, node in called(tree):
            if owner in ("log", "logger") and name in LOGS:
                assert not [word.arg for word in node.keywords if word.arg == "extra"], f"{path}:{node.lineno}"
