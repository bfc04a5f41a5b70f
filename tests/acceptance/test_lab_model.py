"""The whole stream with the model that is shipped, served by the real vLLM, which is killed in the middle."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.lab import MODEL
from deploy.lab.report import Report, report
from deploy.streams.outline import outline
from sandbox import Sandbox
from stream.audit import audit
from stream.embedded import Embedded
from stream.errors import BusMissing
from tests.acceptance.test_standard_library import slice_of_the_standard_library
from tests.integration.processes import SEEDSTREAM, seedstream

FEW, MANY = 80, 240
"""Files of the standard library: so many that each stage has enough to do for a kill in the middle; and so many that
the shares of what is valid are told from chance."""
LIMIT_S = 3_400.0
LOOK_S = 0.2
VLLM = "vllm.entrypoints.openai.api_server"


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over."""

    directory: Path
    code: int
    log: str
    victim: int  # vLLM's pid when it was killed
    left: list[int]  # processes of vLLM that outlived the run
    files: int


def descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text(encoding="ascii").split():
            yield int(child)
            yield from descendants(int(child))


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


async def kill_in_the_middle(up: int, directory: Path) -> tuple[int, set[int]]:
    """Kill vLLM's first process once some responses are there and others are not; return it, and all of vLLM's."""
    while True:
        assert Path(f"/proc/{up}").exists(), "the run ended before anything could be killed"
        if await responses(directory) >= 3:
            break
        await asyncio.sleep(LOOK_S)
    [guard] = [pid for pid in descendants(up) if "guard.py" in command_line(pid)]
    whole = set(descendants(guard))
    [victim] = [pid for pid in whole if VLLM in command_line(pid)]
    os.kill(victim, signal.SIGKILL)
    return victim, whole


async def responses(directory: Path) -> int:
    try:
        async with Embedded.open(directory, create=False) as bus:
            return sum((await bus.ends("responses")).values()) if "responses" in await bus.topics() else 0
    except BusMissing:
        return 0


@pytest.fixture(scope="module", params=[FEW, pytest.param(MANY, marks=pytest.mark.soak)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run recipe `lab` over a slice of the standard library, with one kill -9."""
    work = tmp_path_factory.mktemp("lab")
    source, directory = work / "library", work / "dir"
    slice_of_the_standard_library(source, request.param)
    return asyncio.run(_run(source, directory, work / "log", request.param))


async def _run(source: Path, directory: Path, log: Path, files: int) -> Run:
    arguments = ["up", "--recipe", "lab", "--source", str(source), "--dir", str(directory), "--until-idle"]
    with log.open("wb") as output:
        up = await asyncio.create_subprocess_exec(SEEDSTREAM, *arguments, stdout=output, stderr=output)
        try:
            async with asyncio.timeout(LIMIT_S):
                victim, whole = await kill_in_the_middle(up.pid, directory)
                code = await up.wait()
        finally:
            if up.returncode is None:
                up.kill()
    left = [pid for pid in whole if "vllm" in command_line(pid).lower()]
    return Run(directory, code, log.read_text(encoding="utf-8"), victim, left, files)


@pytest.mark.timeout(3600)
def test_a_run_whose_vllm_is_killed_waits_starts_it_again_and_finishes(run: Run) -> None:
    assert run.code == 0, run.log[-3000:]
    assert "was ended by SIGKILL" in run.log and "it is started again" in run.log
    assert "answers again" in run.log


@pytest.mark.timeout(3600)
def test_nothing_of_vllm_is_left(run: Run) -> None:
    assert not run.left
    assert "seedstream-lab@" in run.log


@pytest.mark.timeout(3600)
async def test_every_input_has_its_outcomes_once_and_none_is_dead(run: Run) -> None:
    async with Embedded.open(run.directory, create=False) as bus:
        assert await audit(bus, await outline(bus)) == []
        assert sum((await bus.ends("dead")).values()) == 0
    code, out, err = await seedstream("dead", "--dir", str(run.directory))
    assert code == 0, (out, err)


@pytest.mark.timeout(3600)
async def test_the_lab_model_keeps_its_gates(run: Run) -> None:
    async with Embedded.open(run.directory, create=False) as bus, Sandbox(2) as box:
        found: Report = await report(bus, box)
    print(found)
    assert found.instructions_valid.whole >= (50 if run.files == MANY else 15), found
    assert found.concepts_valid.value >= 0.85, found
    assert found.instructions_valid.value >= 0.80, found
    assert found.own_tests_pass.value >= 0.20, found
    assert found.kept.value >= 0.50, found
    assert found.kept_correct.value > found.drawn_correct.value, found


@pytest.mark.timeout(3600)
async def test_a_checkpoint_is_trained_on_what_came_out_and_vllm_serves_it(run: Run) -> None:
    checkpoint, where = run.directory / "checkpoint", ["--dir", str(run.directory)]
    code, out, err = await seedstream("train", "--base", str(MODEL), "--out", str(checkpoint), *where, "--json")
    assert code == 0, err
    model = json.loads(out)
    before, *_, after = model["held_out_losses"]
    assert after < before, model
    scoring = ["--api", "chat", "--limit", "20", "--max-tokens", "200", "--out", str(run.directory / "scores")]
    code, out, err = await seedstream("evaluate", str(checkpoint), *scoring, *where, "--json")
    assert code == 0, err
    [score] = json.loads(out)
    assert score["benchmark"] == "lab[:20]" and sum(score["passed"]) > 0, score
    async with Embedded.open(run.directory, create=False) as bus:
        assert await audit(bus, await outline(bus)) == []  # models and scores are no stage's
