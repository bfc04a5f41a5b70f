"""Workers killed inside a transaction, at every moment of it, while a rival takes the transactional id over and the
group is rebalanced: how long the stage takes to commit again, and what the coordinator says in its log."""

import asyncio
import json
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy.local_kafka import LocalKafka
from tests.failures.commit_moments import MOMENTS
from tests.failures.crew import Crew, Feed, Member, check_once, crew, until
from tests.failures.crew_member import NAME
from tests.failures.rival import Rival, rival

PARTITIONS = 2
CROSSING_S = 0.003
"""The rival begins within this time after the bell: a request takes about as long to its coordinator's lock."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One worker that died, and what came of it."""

    moment: str
    transactional_id: str
    at_s: float  # when it died, seconds since the epoch
    taken_s: float  # until the rival was the owner
    answers: Counter[str]  # to the rival, until it was
    failed: Sequence[str]  # errors of the heir's transactions in the partition, until one was committed
    resumed_s: float  # until the heir had committed in the partition


@dataclass(frozen=True, slots=True)
class Illegal:
    """An IllegalStateException in a node's log: of which transactional id, where that is said, and when."""

    transactional_id: str
    said: str
    at_s: float


class Bell(asyncio.DatagramProtocol):
    """Rung by a worker that is about to die; wakes the lane that waits for it at once."""

    def __init__(self) -> None:
        self.rung: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.rung.put_nowait(json.loads(data))


@asynccontextmanager
async def bell() -> AsyncGenerator[tuple[Bell, int]]:
    transport, listening = await asyncio.get_running_loop().create_datagram_endpoint(Bell, local_addr=("127.0.0.1", 0))
    try:
        yield listening, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


class Lane:
    """A stage with one worker that lives, its heir, and one after the other that is killed."""

    def __init__(self, hands: Crew, heir: Member, taker: Rival, dice: random.Random) -> None:
        self._hands = hands
        self._heir = heir
        self._taker = taker
        self._dice = dice

    async def kill(self, moment: str) -> Kill:
        """Let a worker join, get a partition and die at a moment; return when the heir has committed in it."""
        async with bell() as (listening, port):
            victim = await self._hands.start(moment=moment, moment_count=self._dice.randint(1, 5), bell=port)
            namespace = self._hands.task.namespace
            for partition in range(PARTITIONS):
                await self._taker.ready(f"{namespace}.{NAME}.files.{partition}")
            async with asyncio.timeout(120):
                told = await listening.rung.get()
        # A wait of this length that yields the processor comes back a millisecond too late.
        strike_s = time.perf_counter() + self._dice.uniform(0, CROSSING_S)
        while time.perf_counter() < strike_s:
            pass
        transactional_id, at_s = told["id"], told["at_s"]
        answers = await self._taker.take(transactional_id)
        taken_s = time.time() - at_s
        await victim.ended()
        member = victim.events("assigned")[-1]["member"]
        await self._taker.send_away(f"{namespace}.{NAME}", member)
        partition = int(transactional_id.rpartition(".")[2])
        await until(
            f"the stage commits again after {moment}",
            lambda: bool(self._written(partition, at_s)),
        )
        resumed_s = self._written(partition, at_s)[0] - at_s
        return Kill(moment, transactional_id, at_s, taken_s, answers, self._failed(partition, at_s), resumed_s)

    def _written(self, partition: int, after_s: float) -> list[float]:
        """When the heir has committed in a partition after a time."""
        return [line["at_s"] for line in self._wrote(partition, after_s) if "error" not in line]

    def _failed(self, partition: int, after_s: float) -> list[str]:
        until_s = self._written(partition, after_s)[0]
        lines = self._wrote(partition, after_s)
        return [line["error"] for line in lines if "error" in line and line["at_s"] < until_s]

    def _wrote(self, partition: int, after_s: float) -> list[dict[str, Any]]:
        return [
            line for line in self._heir.events("wrote") if line["partition"] == partition and line["at_s"] > after_s
        ]


async def lane(
    folder: Path, kafka: LocalKafka, namespace: str, moments: Sequence[str], dice: random.Random
) -> list[Kill]:
    """Kill a worker at each of the moments; then see that every input had its outcomes once."""
    folder.mkdir()
    task = {"call_s": 0.005, "concurrency": 8, "settings": {"commit_interval_s": 0.02}, "session_s": 2.0}
    async with crew(folder, kafka.bootstrap, namespace, partitions=PARTITIONS, **task) as hands:
        async with rival(kafka.bootstrap) as taker:
            source = Feed(pause_s=0.01)
            feeding = asyncio.create_task(hands.feed(source))
            heir = await hands.start()
            await until("the heir works", lambda: heir.stands()["read"] > 0)
            one = Lane(hands, heir, taker, dice)
            kills = [await one.kill(moment) for moment in moments]
        source.enough.set()
        await feeding
        await hands.finished()
        await hands.dismissed()
        await check_once(hands, source.sent)
        return kills


async def killed(
    folder: Path, kafka: LocalKafka, namespace: str, kills: int, lanes: int, seed: int
) -> tuple[list[Kill], list[Illegal]]:
    """Kill so many workers, each moment as often as the others, in several stages at a time."""
    dice = random.Random(seed)
    moments = [MOMENTS[k % len(MOMENTS)] for k in range(kills)]
    dice.shuffle(moments)
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(
                lane(folder / f"lane-{k}", kafka, f"{namespace}-{k}", moments[k::lanes], random.Random(seed + k))
            )
            for k in range(lanes)
        ]
    done = [kill for task in running for kill in task.result()]
    return done, [found for node in kafka.nodes for found in illegal_states(node.log)]


_LOGGED = re.compile(r"^(\d{4}-\d\d-\d\dT[\d:.]+) ")
_ID = re.compile(r"transactionalId='([^']*)'")


def illegal_states(log: Path) -> list[Illegal]:
    """Return the IllegalStateExceptions in a node's log. The line before each says what was asked for, and when."""
    found: list[Illegal] = []
    last = ""
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("java.lang.IllegalStateException"):
                stamp, named = _LOGGED.match(last), _ID.search(last)
                at_s = datetime.fromisoformat(stamp[1]).timestamp() if stamp else 0.0
                found.append(Illegal(named[1] if named else "", line.partition(": ")[2].strip(), at_s))
            if _LOGGED.match(line):
                last = line
    return found


def crossed(kills: Sequence[Kill], found: Collection[Illegal]) -> list[Kill]:
    """Return the kills in which the coordinator met an IllegalStateException."""
    return [
        kill
        for kill in kills
        if any(one.transactional_id == kill.transactional_id and abs(one.at_s - kill.at_s) < 1.0 for one in found)
    ]


def figures(kills: Sequence[Kill], found: Collection[Illegal], nodes: int, seed: int) -> dict[str, Any]:
    """What was measured, as a benchmark's line says it."""

    def seconds(of: Sequence[float]) -> dict[str, float]:
        ordered = sorted(of)
        return {
            "median": round(statistics.median(ordered), 2), "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 2),
            "max": round(ordered[-1], 2),
        }  # fmt: skip

    hit = crossed(kills, found)
    return {
        "kills": len(kills), "nodes": nodes, "moments": dict(sorted(Counter(kill.moment for kill in kills).items())),
        "resumed_s": seconds([kill.resumed_s for kill in kills]),
        "resumed_s_by_moment": {
            moment: round(max(kill.resumed_s for kill in kills if kill.moment == moment), 2)
            for moment in MOMENTS if any(kill.moment == moment for kill in kills)
        },
        "rival_s": seconds([kill.taken_s for kill in kills]),
        "rival_answers": dict(sum((kill.answers for kill in kills), Counter[str]())),
        "illegal_states": dict(Counter(one.said for one in found)),
        "kills_with_illegal_state": len(hit), "their_resumed_s": [round(kill.resumed_s, 2) for kill in hit],
        "heir_failed": dict(Counter(error for kill in kills for error in kill.failed)), "seed": seed,
    }  # fmt: skip
