"""`seedstream`, with a plan of where to die: `python -m tests.integration.victim PLAN ARGUMENTS…`.

The plan is JSON: {"log": FILE, "stage": NAME, "after": K, "delay_s": D} dies D seconds into the K-th call of a stage
that is then in flight; {"log": FILE, "commit": K} dies between begin and commit of the K-th transaction of the bus.
Death is SIGKILL to the own process: no handler, no flush. Just before, one line of what was under way goes to the log.
"""

import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from deploy import cli
from deploy.running import work as running
from stream.bus import Message, Stored
from stream.embedded import bus as embedded_bus
from stream.embedded import writer
from stream.fold_memory import Memory
from stream.fold_worker import FoldTenure
from stream.kafka import appender as kafka_appender
from stream.kafka import owner as kafka_owner
from stream.map_calls import Calls
from stream.metrics import StageStats
from stream.outcomes import StageSpec


class Plan:
    """When to die, and the line that says so."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.log = Path(plan["log"])
        self.stage = plan.get("stage")
        self.commit = plan.get("commit")
        self.after = plan.get("after", 1)
        self.delay_s = plan.get("delay_s", 0.0)
        self.calls = 0
        self.stats: dict[str, StageStats] = {}
        self.ends: dict[AIOKafkaProducer, str] = {}  # transactions with messages, and whose they are

    def die(self, where: str) -> None:
        in_flight = {name: stats.in_flight for name, stats in self.stats.items() if stats.in_flight}
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"killed": where, "in_flight": in_flight}) + "\n")
        os.kill(os.getpid(), signal.SIGKILL)

    def entered(self, stage: str) -> None:
        """A call of `stage` has begun: if it is the one, die while it is under way."""
        if stage != self.stage:
            return
        self.calls += 1
        if self.calls == self.after:
            threading.Timer(self.delay_s, self.die, [f"in {stage}"]).start()

    def committing(self, stages: Sequence[str]) -> None:
        """A transaction of the bus is about to end: if it is the one, die before."""
        if self.commit is None:
            return
        self.calls += 1
        if self.calls == self.commit:
            self.die(f"between begin and commit of {', '.join(stages)}")


def arm(plan: Plan) -> None:
    """Put the plan's hooks around the places where it may strike."""
    new_stats, call, decided, insert = running.new_stats, Calls._call, FoldTenure._decided, writer.insert
    appenders = (embedded_bus.EmbeddedAppender, kafka_appender.KafkaAppender)
    appends = {kind: kind.append for kind in appenders}
    transaction, end = kafka_owner._transaction, AIOKafkaProducer.commit_transaction

    def watched_stats(specs: Sequence[StageSpec]) -> dict[str, StageStats]:
        plan.stats = new_stats(specs)
        return plan.stats

    async def watched_call(self: Calls, records: Sequence[Any]) -> Any:
        plan.entered(self._spec.name)
        return await call(self, records)

    def watched_decided(self: FoldTenure, memory: Memory, batch: Sequence[Stored], records: Sequence[Any]) -> Any:
        plan.entered(self._spec.name)
        result = decided(self, memory, batch, records)
        if plan.stage == self._spec.name and plan.calls == plan.after:
            plan.die(f"in {plan.stage}")  # decided, not committed
        return result

    async def watched_append(self: Any, messages: Sequence[Message]) -> None:
        plan.entered("files")
        await appends[type(self)](self, messages)

    def watched_insert(db: sqlite3.Connection, group: Sequence[writer.Write]) -> None:
        insert(db, group)
        plan.committing(sorted(write.progress[0] if write.progress else "append" for write in group))

    async def watched_transaction(producer: AIOKafkaProducer, batches: Mapping[Any, Any], mark: Any) -> None:
        if batches:  # else it only moves progress
            plan.ends[producer] = mark.group.partition(".")[2].replace("appender.", "append ")
        await transaction(producer, batches, mark)

    async def watched_end(self: AIOKafkaProducer) -> None:
        if stage := plan.ends.pop(self, None):
            plan.committing([stage])
        await end(self)

    running.new_stats = watched_stats
    Calls._call = watched_call  # type: ignore[method-assign]
    FoldTenure._decided = watched_decided  # type: ignore[method-assign]
    for kind in appenders:
        kind.append = watched_append  # type: ignore[method-assign]
    writer.insert = watched_insert
    kafka_owner._transaction = watched_transaction
    AIOKafkaProducer.commit_transaction = watched_end  # type: ignore[method-assign]


if __name__ == "__main__":
    arm(Plan(json.loads(sys.argv[1])))
    sys.argv = ["seedstream", *sys.argv[2:]]
    cli.main()
