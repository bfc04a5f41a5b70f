"""Everything at once: workers killed, stopped and started with work in flight, and the broker restarted."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.local_kafka import LocalKafka
from tests.brokers import MakeKafka
from tests.failures.crew import Crew, Feed, Member, check_once, crew, until
from tests.patience import LONG_S

PARTITIONS = 6
WORKERS = 4
SESSION_S = 2.0
CONCURRENCY = 32
MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Form:
    """How long, and how much."""

    inputs: int
    lasts_s: float  # at least
    every_s: float  # something is done to a worker
    rebalances: int  # at least
    call_s: float  # one call takes; so that there is work in flight to the end


@dataclass(slots=True)
class Trouble:
    """What was done, and the work in flight in whom it was done to."""

    did: Counter[str] = field(default_factory=Counter[str])
    in_flight: list[int] = field(default_factory=list[int])

    @property
    def whole(self) -> bool:
        """Whether each kind of trouble was made: on a busy machine that may take longer."""
        return all(self.did[what] for what in ("killed", "stopped", "ended", "started", "broker restarted"))


async def trouble(hands: Crew, form: Form, dice: random.Random, restart: Callable[[], None]) -> Trouble:
    """Hurt a worker that has work in flight every now and then; restart the broker half-way."""
    found = Trouble()
    begin_s = time.monotonic()
    restarted = False
    paused: Member | None = None
    while time.monotonic() < begin_s + form.lasts_s or len(hands.generations()) < form.rebalances or not found.whole:
        assert time.monotonic() < begin_s + form.lasts_s + LONG_S, f"not within {LONG_S:g} s more: {found}"
        next_s = time.monotonic() + form.every_s
        if paused is not None:
            paused.signal(signal.SIGCONT)
            paused = None
        if not restarted and time.monotonic() > begin_s + form.lasts_s / 2:
            # One that begins without a broker gives up, as it should.
            await until("all have begun", lambda: all(m.events("assigned") for m in hands.working))
            await asyncio.to_thread(restart)
            found.did["broker restarted"] += 1
            restarted = True
        elif len(hands.working) < WORKERS:
            await hands.start()
            found.did["started"] += 1
        elif busy := [member for member in hands.working if member.stands()["in_flight"]]:
            victim = dice.choice(busy)
            found.in_flight.append(victim.stands()["in_flight"])
            how = ("killed", "stopped", "ended")[sum(found.did[did] for did in ("killed", "stopped", "ended")) % 3]
            found.did[how] += 1
            if how == "killed":
                await victim.kill()
            elif how == "stopped":
                victim.signal(signal.SIGSTOP)
                paused = victim
            else:
                victim.signal(signal.SIGTERM)
        await until("the time of the next", lambda next_s=next_s: time.monotonic() > next_s)
    if paused is not None:
        paused.signal(signal.SIGCONT)
    return found


def grown(member: Member) -> float:
    """Return by how many MB a worker's memory grew from its first second of work to its largest."""
    stands = [line for line in member.events("stands") if line["read"]]
    if len(stands) < 20:
        return 0.0
    return (max(line["memory"] for line in stands) - stands[10]["memory"]) / MB


async def soak(tmp_path: Path, kafka: LocalKafka, namespace: str, form: Form) -> None:
    async with crew(
        tmp_path, kafka.bootstrap, namespace,
        partitions=PARTITIONS, call_s=form.call_s, concurrency=CONCURRENCY, session_s=SESSION_S,
    ) as hands:  # fmt: skip
        began_s = time.monotonic()
        feeding = asyncio.create_task(hands.feed(source := Feed(count=form.inputs, padding=500)))
        for _ in range(WORKERS):
            await hands.start()
        await until("each has work", lambda: all(member.stands()["read"] for member in hands.members))
        done = await trouble(hands, form, random.Random(12), kafka.node(1).restart)
        left = form.inputs - hands.read
        await feeding
        lag_s = await hands.finished(600)
        took_s = time.monotonic() - began_s
        await hands.dismissed()
        calls = hands.calls()
        grew = max(grown(member) for member in hands.members)
        most = max(line["memory"] for member in hands.members for line in member.events("stands")) / MB
        print(
            f"{source.sent} inputs in {took_s:.0f} s; {dict(done.did)}, with {sum(done.in_flight)} records in flight "
            f"({min(done.in_flight)} to {max(done.in_flight)} each time); {len(hands.generations())} rebalances; "
            f"{calls.total() - form.inputs} calls made again; no lag {lag_s:.1f} s after the last trouble, when about "
            f"{left} inputs were left; a worker's memory grew by {grew:.0f} MB at most, to {most:.0f} MB"
        )
        await check_once(hands, form.inputs)
        print("lost 0, duplicated 0")
        assert set(calls) == set(range(form.inputs))
        assert len(hands.generations()) >= form.rebalances
        assert done.did["broker restarted"] == 1 and done.whole
        assert grew < 40


async def test_nothing_is_lost_or_doubled_in_twenty_seconds_of_trouble(
    tmp_path: Path, own_kafka: MakeKafka, namespace: str
) -> None:
    kafka = await asyncio.to_thread(own_kafka)
    await soak(tmp_path, kafka, namespace, Form(6_000, lasts_s=20, every_s=3, rebalances=5, call_s=0.4))


@pytest.mark.soak
@pytest.mark.timeout(1_800)
async def test_nothing_is_lost_or_doubled_in_three_minutes_of_trouble(
    tmp_path: Path, own_kafka: MakeKafka, namespace: str
) -> None:
    kafka = await asyncio.to_thread(own_kafka)
    await soak(tmp_path, kafka, namespace, Form(50_000, lasts_s=180, every_s=5, rebalances=20, call_s=0.5))
