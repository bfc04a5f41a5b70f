"""Worker processes on a broker, how they are hurt, and what must hold afterwards."""

import asyncio
import contextlib
import json
import signal
import sys
import threading
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stream.audit import audit
from stream.bus import Bus
from stream.idle import lag
from stream.ingest import ingest
from stream.kafka.bus import Kafka
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.records import FileId, SourceFile
from stream.stage import Outcome
from stream.topics import TOPICS, state_topic
from tests.audited import Item
from tests.failures.crew_member import NAME, Task
from tests.patience import PATIENCE_S
from tests.stage_runs import check_conserved, source_file


async def until(what: str, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until `condition` holds."""
    end_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end_s, f"not within {patience_s:.0f} s: {what}"
        await asyncio.sleep(0.05)


class Member:
    """A worker process."""

    def __init__(self, process: Process, out: Path, err: Path) -> None:
        self._process = process
        self._out = out
        self._err = err
        self._lines: list[dict[str, Any]] = []
        self._taken = 0  # bytes of `out` that `_lines` holds
        self.pid = process.pid

    def lines(self) -> list[dict[str, Any]]:
        """Return all that it has said."""
        with self._out.open("rb") as out:
            out.seek(self._taken)
            whole, end, _ = out.read().rpartition(b"\n")
        self._taken += len(whole) + len(end)
        self._lines += [json.loads(line) for line in whole.splitlines()]
        return self._lines

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == kind]

    def stands(self) -> dict[str, Any]:
        """Return how it stood when it last said so."""
        found = next((line for line in reversed(self.lines()) if line["event"] == "stands"), None)
        return found or {"read": 0, "in_flight": 0, "dead": 0, "waiting": None, "memory": 0}

    def writing(self) -> bool:
        """Whether a transaction is under way: begun, and not ended one way or the other."""
        told = Counter(line["event"] for line in self.lines())
        return told["writes"] > told["wrote"]

    def hurt_writes(self, at_s: float) -> set[int]:
        """Return the partitions in which a transaction, under way at a time or begun within half a second of it,
        failed or took longer than that."""
        hurt: set[int] = set()
        begun_s: dict[int, float] = {}
        for line in self.lines():
            if line["event"] == "writes":
                begun_s[line["partition"]] = line["at_s"]
            elif line["event"] == "wrote":
                begin_s = begun_s.pop(line["partition"])
                slow = "error" in line or line["at_s"] > begin_s + 0.5
                if slow and begin_s < at_s + 0.5 and line["at_s"] > at_s:
                    hurt.add(line["partition"])
        return hurt | {partition for partition, begin_s in begun_s.items() if begin_s < at_s + 0.5}

    def log(self) -> str:
        return self._err.read_text(encoding="utf-8")

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    @property
    def runs(self) -> bool:
        return self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def ended(self, patience_s: float = PATIENCE_S) -> int:
        """Wait for its end; return its exit code."""
        async with asyncio.timeout(patience_s):
            return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL: it has no say in it."""
        self.signal(signal.SIGKILL)
        await self.ended()


@dataclass(slots=True)
class Feed:
    """A source of files of one number each: `count` of them, or until `enough` is set, a little at a time."""

    name: str = "src"
    count: int | None = None
    enough: threading.Event = field(default_factory=threading.Event)
    pause_s: float = 0.0  # after each
    first: int = 0
    padding: int = 0  # bytes of each file beside its number
    sent: int = 0

    def found(self, known: Collection[FileId]) -> Iterator[Item]:
        number = self.first
        while self.count is None or number < self.first + self.count:
            if self.enough.wait(self.pause_s) if self.pause_s else self.enough.is_set():
                return
            record = source_file(f"{number}.py", self.name, text=f"{number}{' ' * self.padding}")
            outcome: Outcome[SourceFile] = Outcome((record,))
            yield Item(record.file.file_id, outcome)
            number += 1
            self.sent = number - self.first


class Crew:
    """The workers of one stage, and the bus that the test itself has opened."""

    def __init__(self, task: Task, bus: Kafka, folder: Path) -> None:
        self.task = task
        self.bus = bus
        self.spec: StageSpec = replace(task, calls="").spec()
        self.members: list[Member] = []
        self._folder = folder

    async def create(self) -> None:
        """Make the topics, as `seedstream topics create` does."""
        topics = [*self.spec.topics(), state_topic(TOPICS["files"].name)]
        await self.bus.create(topics, {NAME: TOPICS["files"].name})

    async def feed(self, feed: Feed) -> None:
        await ingest(self.bus, TOPICS["files"], [feed], StageStats("files"), asyncio.Event())

    async def start(self, **changes: Any) -> Member:
        """Start one more worker."""
        name = f"worker-{len(self.members)}"
        out, err = self._folder / f"{name}.out", self._folder / f"{name}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.failures.crew_member", replace(self.task, **changes).json(),
                stdout=stdout, stderr=stderr, cwd=Path(__file__).parents[2],
            )  # fmt: skip
        member = Member(process, out, err)
        self.members.append(member)
        return member

    @property
    def read(self) -> int:
        """Inputs that were finished, as far as the workers have said."""
        return sum(member.stands()["read"] for member in self.members)

    @property
    def working(self) -> list[Member]:
        """The members that run."""
        return [member for member in self.members if member.runs]

    def generations(self) -> set[int]:
        """Return the generations of the group: each is a rebalance."""
        return {line["generation"] for member in self.members for line in member.events("assigned")}

    def calls(self) -> Counter[int]:
        """Return how often the stage was called, by the number of the record."""
        return Counter(int(line) for line in Path(self.task.calls).read_text(encoding="utf-8").split())

    async def finished(self, patience_s: float = PATIENCE_S) -> float:
        """Wait until nothing is left of the input; return how long it took, in seconds."""
        start_s = time.monotonic()
        while await lag(self.bus, self.spec) or not await reached_ends(self.bus, self.spec):
            for member in self.members:
                assert member.runs or member.exit_code in (0, -signal.SIGKILL), (member.exit_code, member.log())
            assert time.monotonic() < start_s + patience_s, f"{await lag(self.bus, self.spec)} left: {self.said()}"
            await asyncio.sleep(0.1)
        return time.monotonic() - start_s

    def said(self) -> str:
        """What the workers that run have said last, for a message."""
        return "\n".join(member.log()[-2_000:] for member in self.members if member.runs)

    async def dismissed(self) -> None:
        """End every worker in good order. None has bothered its user with a traceback."""
        for member in self.members:
            if member.runs:
                # One that has not begun ends by the signal: nothing handles it yet.
                await until("it has begun", lambda member=member: bool(member.lines()) or not member.runs)
                member.signal(signal.SIGTERM)
                assert await member.ended() == 0, member.log()
            assert "Traceback" not in member.log(), member.log()

    async def close(self) -> None:
        for member in self.members:
            if member.runs:
                member.signal(signal.SIGCONT)
                await member.kill()


async def reached_ends(bus: Bus, spec: StageSpec) -> bool:
    """Whether the watermarks stand at the ends."""
    progress = await bus.progress(spec.name, spec.input.name)
    return {p: at.watermark for p, at in progress.items()} == await bus.ends(spec.input.name)


@contextlib.asynccontextmanager
async def crew(folder: Path, brokers: str, namespace: str, **task: Any) -> AsyncGenerator[Crew]:
    """A crew without members yet, whose topics are made. Its members end when the test does."""
    calls = folder / "calls"
    what = Task(brokers, namespace, str(calls), **task)
    async with what.open() as bus:
        hands = Crew(what, bus, folder)
        try:
            await hands.create()
            yield hands
        finally:
            await hands.close()


async def check_once(hands: Crew, inputs: int) -> None:
    """Check that each input has one outcome in committed output, and that the audit finds no hole."""
    ends = await hands.bus.ends(TOPICS["files"].name)
    texts = 0
    async for batch in hands.bus.read(TOPICS["files"].name):
        texts += len(batch)
    assert texts == inputs, f"{texts} inputs in {ends}"
    await check_conserved(hands.bus, hands.spec)
    assert await audit(hands.bus, [hands.spec]) == []
