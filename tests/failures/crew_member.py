"""A worker process: `python -m tests.failures.crew_member TASK`, TASK being a `Task` in JSON.

It runs stage `functions` until SIGTERM, and writes one JSON object a line to stdout: what happened, and every
`REPORT_S` how it stands. Each call of the stage adds a line to the file `calls`. What is fatal goes to stderr, and its
exit code is the process's, as it is for `seedstream run`.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition

from stream.bus import Message
from stream.errors import Fatal, Transient
from stream.kafka.bus import Kafka
from stream.kafka.group import Group
from stream.kafka.owner import Mark, Owner
from stream.kafka.security import KafkaConfig
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.records import Seed, SourceFile, seed_id
from stream.runner import run_stage
from stream.settings import Settings
from stream.stage import Decision, Fold, Map, Outcome, Reason, Reject
from stream.topics import TOPICS
from tests.failures.commit_moments import die_in
from tests.records import seed

REPORT_S = 0.1
NAME = "functions"


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is to do."""

    brokers: str
    namespace: str
    calls: str = ""
    fold: bool = False
    partitions: int = 1
    call_s: float = 0.0  # what a call takes
    concurrency: int = 64
    hangs: Sequence[int] = ()  # the numbers of records whose calls never end
    fails: Sequence[int] = ()  # and of those whose calls all fail, though another might not
    dies_at: int = 0  # the commit, counted from 1, before which it dies: all is produced, and the transaction open
    moment: str = ""  # of a transaction at which it dies (`commit_moments.MOMENTS`)
    moment_count: int = 1  # when the moment comes for this time
    bell: int = 0  # the port that is sent a datagram at the moment
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    session_s: float = 2.0

    def json(self) -> str:
        return json.dumps(asdict(self))

    def open(self) -> contextlib.AbstractAsyncContextManager[Kafka]:
        config = KafkaConfig(partitions=self.partitions, session_s=self.session_s)
        return Kafka.open(f"kafka://{self.brokers}", self.namespace, config=config)

    def spec(self) -> StageSpec:
        """The stage: it cuts one seed from each file, or turns down every tenth."""
        shape = self._fold() if self.fold else Map.single(self._cut, concurrency=self.concurrency)
        return StageSpec(NAME, TOPICS["files"], TOPICS["functions"], shape)

    async def _cut(self, record: SourceFile) -> Outcome[Seed]:
        self._called(record)
        number = number_of(record)
        if number in self.fails:
            raise Transient(f"record {number} fails always")
        if number in self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(self.call_s)
        return cut(record)

    def _called(self, record: SourceFile) -> None:
        if self.calls:
            with Path(self.calls).open("a", encoding="utf-8") as calls:
                calls.write(f"{number_of(record)}\n")

    def _fold(self) -> Fold[SourceFile, Seed, list[int]]:
        def decide(state: list[int], records: Sequence[SourceFile]) -> Sequence[Decision[Seed]]:
            if self.calls:
                say(event="decides", first=number_of(records[0]), history=len(state))
            decisions: list[Decision[Seed]] = []
            for record in records:
                self._called(record)
                # It differs for another history: what was kept, and how many they are.
                number = number_of(record)
                if state and (number + len(state)) % 3 == 0:
                    reject = Reject(Reason.ALREADY_KEPT, f"after {len(state)}, the last {state[-1]}")
                    decisions.append(Decision(Outcome(rejected=(reject,))))
                else:
                    state.append(number)
                    decisions.append(Decision(Outcome((made(record),)), str(number)))
            return decisions

        return Fold(list[int], decide, lambda state, changes: state.extend(int(change) for change in changes), batch=20)


def number_of(record: SourceFile) -> int:
    """Return the number that a file of `crew.Feed` holds."""
    return int(record.text)


def cut(record: SourceFile) -> Outcome[Seed]:
    if number_of(record) % 10 == 7:
        return Outcome(rejected=(Reject(Reason.ALREADY_KEPT, "turned down"),))
    return Outcome((made(record),))


def made(record: SourceFile) -> Seed:
    return replace(seed(), seed_id=seed_id(record.file.file_id, 0), name=str(number_of(record)))


def say(**what: object) -> None:
    print(json.dumps({"at_s": time.time(), **what}), flush=True)


def memory_bytes() -> int:
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tell_of_writes() -> None:
    """Say when a transaction begins and how it ends; and each generation of the group."""
    write, assigned = Owner.write, Group.on_partitions_assigned

    async def told_write(self: Owner, messages: Sequence[Message], topics: Mapping[str, str], mark: Mark) -> None:
        say(event="writes", partition=mark.partition, messages=len(messages))
        try:
            await write(self, messages, topics, mark)
        except BaseException as err:
            say(event="wrote", partition=mark.partition, error=f"{type(err).__name__}: {err}")
            raise
        say(event="wrote", partition=mark.partition, bytes=len(mark.metadata), offset=mark.offset)

    def told_assigned(self: Group, partitions: Set[TopicPartition]) -> None:
        consumer: Any = self._consumer
        coordinator = consumer._coordinator
        say(event="assigned", partitions=sorted(tp.partition for tp in partitions), generation=coordinator.generation,
            member=coordinator.member_id)  # fmt: skip
        assigned(self, partitions)

    Owner.write = told_write  # type: ignore[method-assign]
    Group.on_partitions_assigned = told_assigned  # type: ignore[method-assign]


def die_at(commit: int) -> None:
    """Die by SIGKILL when so many transactions are about to be committed."""
    commit_transaction = AIOKafkaProducer.commit_transaction
    left = commit

    async def fatal_commit(self: AIOKafkaProducer) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            say(event="dies")
            os.kill(os.getpid(), signal.SIGKILL)
        await commit_transaction(self)

    AIOKafkaProducer.commit_transaction = fatal_commit  # type: ignore[method-assign]


async def report(stats: StageStats) -> None:
    while True:
        say(event="stands", read=stats.read, in_flight=stats.in_flight, dead=stats.dead, waiting=stats.waiting,
            memory=memory_bytes())  # fmt: skip
        await asyncio.sleep(REPORT_S)


async def main(task: Task) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    stats = StageStats(NAME)
    async with task.open() as bus:
        reporting = asyncio.create_task(report(stats))
        await run_stage(bus, task.spec(), Settings(**task.settings), stats, stop)
        reporting.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    wanted = Task(**json.loads(sys.argv[1]))
    tell_of_writes()
    if wanted.dies_at:
        die_at(wanted.dies_at)
    if wanted.moment:
        die_in(wanted.moment, wanted.moment_count, wanted.bell)
    try:
        asyncio.run(main(wanted))
    except Fatal as err:
        print(f"fatal: {err}", file=sys.stderr)
        sys.exit(err.exit_code)
