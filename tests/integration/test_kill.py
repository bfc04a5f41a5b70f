"""SIGKILL at twenty moments of one stream: what is committed is what an undisturbed run commits."""

import asyncio
import json
import logging
import random
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.local_kafka import LocalKafka
from deploy.planning.stages import KINDS
from deploy.scripted_llm.faults import Fault
from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.server import ScriptedLLM, Service
from deploy.streams.outline import outline
from deploy.streams.where import find
from stream.audit import audit
from stream.bus import Bus, Stored
from stream.codec import decode, encode
from stream.fold_memory import Memory
from stream.outcomes import StageSpec
from stream.records import Rejected, derived_id, sampling_seed
from stream.stage import Fold
from tests.corpus import write_corpus
from tests.integration.streams import CONFIG, folds
from tests.patience import LONG_S

log = logging.getLogger(__name__)

SEED = 20261121
SEEDSTREAM = str(Path(sys.executable).with_name("seedstream"))
SAMPLES = 10
STAGES = ("files", *dict.fromkeys(kind.topic for kind in KINDS))
LLM_STAGES = {"seeds": 1, "concepts": 1, "instructions": 1, "responses": SAMPLES}
FILES_A_ROUND = 3
KAFKA = """
[kafka]
partitions = 2
session_s = 2
"""


@dataclass(frozen=True)
class Run:
    """What a `seedstream` process is started with."""

    sources: Path
    directory: Path
    url: str
    config: Path
    bus: str | None = None  # kafka://host:port; None: an embedded one in the directory
    namespace: str = "main"

    @property
    def where(self) -> list[str]:
        bus = ["--bus", self.bus] if self.bus else []
        return [*bus, "--dir", str(self.directory), "--namespace", self.namespace, "--config", str(self.config)]

    @property
    def arguments(self) -> list[str]:
        return [
            "up", "--source", str(self.sources), *self.where, "--llm", self.url, "--model", "scripted", "--until-idle",
        ]  # fmt: skip

    def open(self) -> AbstractAsyncContextManager[Bus]:
        return find(self.directory, self.bus, self.namespace, self.config).open()


async def start(run: Run, plan: dict[str, Any] | None = None) -> asyncio.subprocess.Process:
    program = [SEEDSTREAM] if plan is None else [sys.executable, "-m", "tests.integration.victim", json.dumps(plan)]
    return await asyncio.create_subprocess_exec(
        *program, *run.arguments,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def to_the_end(run: Run) -> None:
    process = await start(run)
    _, err = await asyncio.wait_for(process.communicate(), LONG_S)
    assert process.returncode == 0, err.decode()


def few_plans(rng: random.Random) -> list[dict[str, Any]]:
    """Two deaths inside stages, two between begin and commit, one from outside."""
    inside = [{"stage": name, "after": 1, "delay_s": rng.uniform(0, 0.04)} for name in ("responses", "unique")]
    return [*inside, *({"commit": rng.randint(2, 25)} for _ in range(2)), {"outside_s": rng.uniform(4.0, 8.0)}]


def plans(rng: random.Random, kills: int) -> list[dict[str, Any]]:
    """Of each twenty: one death inside every stage, five between begin and commit, five from outside at any time."""
    mixed: list[dict[str, Any]] = []
    for _ in range(kills // 20):
        mixed += [{"stage": name, "after": 1, "delay_s": rng.uniform(0, 0.04)} for name in STAGES]
        mixed += [{"commit": rng.randint(2, 25)} for _ in range(5)]
        mixed += [{"outside_s": rng.uniform(1.0, 4.0)} for _ in range(20 - 5 - len(STAGES))]
    rng.shuffle(mixed)
    return mixed


async def killed(run: Run, plan: dict[str, Any], log_file: Path) -> str:
    """Run until the plan strikes, and return what it struck."""
    outside_s = plan.get("outside_s")
    process = await start(run, {**plan, "log": str(log_file)})
    if outside_s is not None:
        try:
            await asyncio.wait_for(process.wait(), outside_s)
        except TimeoutError:
            process.kill()
    _, err = await asyncio.wait_for(process.communicate(), LONG_S)
    if process.returncode == 0:
        assert outside_s is not None, f"the plan {plan} never struck: {err.decode()[-2000:]}"
        return "ended by itself before the kill"
    assert process.returncode == -9, err.decode()
    if outside_s is not None:
        return f"from outside after {outside_s:.2f} s"
    struck = json.loads(log_file.read_text(encoding="utf-8").splitlines()[-1])
    assert struck["in_flight"] or "append" in struck["killed"] or plan.get("stage") == "files", struck
    return f"{struck['killed']}, in flight {struck['in_flight']}"


# --- what is on a bus


@dataclass
class Content:
    """Everything on a bus, in memory."""

    topics: dict[str, list[Stored]]

    def outcomes(self, stage: str) -> dict[str, list[bytes]]:
        """What became of each input of a stage, by the key of the outcome."""
        found: dict[str, list[bytes]] = {}
        for topic, records in self.topics.items():
            if topic.endswith(".state"):
                continue
            for stored in records:
                if stored.cause is not None and stored.cause.stage == stage:
                    found.setdefault(stored.key, []).append(stored.value)
        return found

    def finished_seeds(self, seed: int) -> set[int]:
        """The sampling seeds of every request whose record is finished: they must never be asked for again."""
        seeds: set[int] = set()
        for stage, samples in LLM_STAGES.items():
            causes = [s.cause for r in self.topics.values() for s in r if s.cause and s.cause.stage == stage]
            done = {(cause.partition, cause.offset) for cause in causes}
            (reads,) = {cause.topic for cause in causes} or {""}
            for stored in self.topics.get(reads, []):
                if (stored.partition, stored.offset) in done:
                    seeds |= {sampling_seed(derived_id(stored.key, stage, i), seed) for i in range(samples)}
        return seeds


async def content(run: Run) -> Content:
    async with run.open() as bus:
        return Content({topic: [s async for batch in bus.read(topic) for s in batch] for topic in await bus.topics()})


def asked(calls: Path) -> list[int]:
    """The sampling seeds of all calls so far, in order of arrival."""
    return [json.loads(line)["seed"] for line in calls.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ScriptedLLM]:
    service = Service(slots=64, mean_s=0.05, sigma=0.5)
    shares = Shares(hanging=0.0)
    async with ScriptedLLM(service=service, shares=shares, calls_file=tmp_path / "calls") as running:
        yield running


@pytest.mark.timeout(1800)
async def test_a_stream_killed_at_twenty_moments_ends_as_one_that_was_not_disturbed(
    tmp_path: Path, server: ScriptedLLM
) -> None:
    await kill_and_compare(tmp_path, server, plans(random.Random(SEED), 20))


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_a_stream_killed_at_a_hundred_other_moments_does_too(tmp_path: Path, server: ScriptedLLM) -> None:
    seed = random.SystemRandom().randrange(2**32)
    log.warning("the seed of these kills is %d", seed)
    await kill_and_compare(tmp_path, server, plans(random.Random(seed), 100))


@pytest.mark.timeout(900)
async def test_a_stream_on_kafka_killed_at_five_moments_does_too(
    tmp_path: Path, server: ScriptedLLM, kafka: LocalKafka
) -> None:
    await kill_and_compare(tmp_path, server, few_plans(random.Random(SEED)), f"kafka://{kafka.bootstrap}")


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_a_stream_on_kafka_killed_at_twenty_other_moments_does_too(
    tmp_path: Path, server: ScriptedLLM, kafka: LocalKafka
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    log.warning("the seed of these kills is %d", seed)
    await kill_and_compare(tmp_path, server, plans(random.Random(seed), 20), f"kafka://{kafka.bootstrap}")


async def kill_and_compare(
    tmp_path: Path, server: ScriptedLLM, planned: Sequence[dict[str, Any]], bus: str | None = None
) -> None:
    config = tmp_path / "seedstream.toml"
    config.write_text(CONFIG + KAFKA, encoding="utf-8")
    sources, calls = tmp_path / "sources", tmp_path / "calls"
    disturbed, undisturbed = (
        Run(sources, tmp_path / name, server.url, config, bus, f"{name}-{secrets.token_hex(4)}")
        for name in ("disturbed", "undisturbed")
    )
    struck: list[str] = []
    for number, plan in enumerate(planned):
        write_corpus(sources, FILES_A_ROUND * (number + 1))  # a source that keeps growing: work for every stage
        before = len(asked(calls))
        finished = (await content(disturbed)).finished_seeds(3407) if number else set()
        struck.append(await killed(disturbed, plan, tmp_path / "deaths"))
        log.info("kill %d, plan %s: %s", number + 1, plan, struck[-1])
        again = finished & set(asked(calls)[before:])
        assert not again, f"after kill {number}, {len(again)} calls of finished records were made again"
    for stage in (plan["stage"] for plan in planned if "stage" in plan):
        assert any(line.startswith(f"in {stage},") for line in struck), f"nothing was killed in {stage}: {struck}"
    in_commits = sum("commit" in plan for plan in planned)
    assert sum("between begin and commit" in line for line in struck) == in_commits
    await to_the_end(disturbed)

    most, times = Counter(asked(calls)).most_common(1)[0]
    assert times <= 1 + len(struck), f"request {most} was made {times} times in {len(struck)} kills"
    await to_the_end(undisturbed)
    await compare(disturbed, undisturbed)


async def compare(disturbed: Run, undisturbed: Run) -> None:
    for run in (disturbed, undisturbed):
        async with run.open() as bus:
            assert await audit(bus, await outline(bus)) == []
    one, other = await content(disturbed), await content(undisturbed)
    for stage in ("files", "functions", "typed"):  # before the first Fold: the same, id by id
        assert one.outcomes(stage) == other.outcomes(stage), stage
    for spec in folds():
        check_fold(one, spec)
    assert len(one.topics["examples"]) > 20
    assert sorted(s.value for s in one.topics["examples"]) == sorted(s.value for s in other.topics["examples"])
    exports = [await exported(run) for run in (disturbed, undisturbed)]
    assert exports[0] == exports[1]


def check_fold(found: Content, spec: StageSpec) -> None:
    """What a Fold committed is what its pure decider says of its own input log."""
    assert isinstance(spec.shape, Fold)
    stage, inputs = spec.name, found.topics[spec.input.name]
    decisions = Memory(spec.shape).decide([decode(stored.value, spec.input.record) for stored in inputs])
    for stored, decision in zip(inputs, decisions, strict=True):
        committed = [
            (s.key, s.value)
            for topic, records in found.topics.items()
            if not topic.endswith(".state")
            for s in records
            if s.cause is not None and s.cause.stage == stage and s.cause.offset == stored.offset
        ]
        expected = [(record.key, encode(record)) for record in decision.outcome.emitted] + [
            (stored.key, encode(Rejected(stored.key, stage, reject.reason, reject.evidence)))
            for reject in decision.outcome.rejected
        ]
        assert committed == expected, f"{stage} at {stored.offset}"


async def exported(run: Run) -> dict[str, bytes]:
    """The files of the dataset, by name."""
    folder = run.directory.parent / f"export-{run.directory.name}"
    process = await asyncio.create_subprocess_exec(SEEDSTREAM, "export", str(folder), *run.where)
    assert await process.wait() == 0
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in {".parquet", ".jsonl"}}


async def test_of_ten_samples_with_a_slow_one_a_kill_costs_each_unfinished_request_one_attempt_at_most(
    tmp_path: Path,
) -> None:
    config = tmp_path / "seedstream.toml"
    config.write_text(CONFIG, encoding="utf-8")
    write_corpus(tmp_path / "sources", 2)
    calls = tmp_path / "calls"
    slow = Fault(stage="responses", slow_s=3.0, share=0.1)
    async with ScriptedLLM([slow], shares=Shares(hanging=0.0), calls_file=calls) as server:
        run = Run(tmp_path / "sources", tmp_path / "dir", server.url, config)
        plan = {"stage": "responses", "after": 1, "delay_s": 1.0}
        struck = await killed(run, plan, tmp_path / "deaths")
        first = Counter(asked(calls))
        finished = (await content(run)).finished_seeds(3407)
        assert max(first.values()) == 1
        assert "in responses" in struck
        await to_the_end(run)
    total = Counter(asked(calls))
    assert max(total.values()) <= 2
    assert all(total[seed] == first[seed] for seed in finished)
    assert total.keys() > first.keys() or any(total[seed] > first[seed] for seed in first)
