"""A server that refuses every request of a stage: the run stops or pauses with one line, and after the cure it ends
whole. Real processes, on both buses."""

import asyncio
import json
import re
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.scripted_llm.faults import Fault, Faults
from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.server import ScriptedLLM
from tests.corpus import write_corpus
from tests.integration.processes import SEEDSTREAM, seedstream
from tests.integration.streams import CONFIG

PATIENCE_S = 240.0
REFUSING = Faults([Fault(status=418, stage="responses", message="no tea for seed 12345")])
MOST = 4
"""Dead letters in a row that are a flood here."""

FLOOD = f"""
processes = 1
[runner]
flood_in_a_row = {MOST}
[stages.typed]
linger_s = 0.2
[stages.responses]
samples = 2
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with code and a config."""
    (tmp_path / "seedstream.toml").write_text(FLOOD + CONFIG, encoding="utf-8")
    write_corpus(tmp_path / "code", 8)
    return tmp_path


@pytest.fixture(params=["embedded", "kafka"])
def where(request: pytest.FixtureRequest, work: Path) -> list[str]:
    if request.param == "embedded":
        return ["--dir", str(work / "run")]
    kafka, namespace = request.getfixturevalue("kafka"), request.getfixturevalue("namespace")
    return ["--bus", f"kafka://{kafka.bootstrap}", "--namespace", namespace]


@asynccontextmanager
async def scripted() -> AsyncIterator[ScriptedLLM]:
    async with ScriptedLLM(shares=Shares(hanging=0.0)) as server:
        server.faults = REFUSING
        yield server


def up(work: Path, where: Sequence[str], server: ScriptedLLM, *more: str) -> list[str]:
    return [
        "up", "--source", str(work / "code"), *where, "--config", str(work / "seedstream.toml"), "--llm", server.url,
        "--model", "scripted", *more,
    ]  # fmt: skip


async def counts(where: Sequence[str]) -> dict[str, dict[str, Any]]:
    code, out, err = await seedstream("status", *where, "--json")
    assert code == 0, err
    return {stage["stage"]: stage for stage in json.loads(out)}


async def check_whole(where: Sequence[str], dead: int) -> None:
    """Every input of the stream has its outcomes once; so many died, and none of them is open."""
    stages = await counts(where)
    assert all(stage["lag"] == 0 for stage in stages.values()), stages
    assert stages["responses"]["dead"] == dead and stages["examples"]["out"] > 0
    assert stages["responses"]["done"] == stages["instructions"]["out"] == stages["instructions"]["done"] + dead
    assert (await seedstream("dead", *where))[0] == 0
    assert (await seedstream("audit", *where))[0] == 0


def complaints(err: str) -> list[str]:
    """The lines of a run that are no news."""
    return [line for line in err.splitlines() if not re.match(r"\d\d:\d\d:\d\d INFO ", line)]


async def test_until_idle_it_stops_with_one_line_and_1_and_cured_and_replayed_it_ends_whole(
    work: Path, where: list[str]
) -> None:
    flags = " ".join(where)
    async with scripted() as server:
        until_idle = up(work, where, server, "--until-idle")
        for times in (1, 2):  # started again without a cure, it stops again after as many
            code, out, err = await seedstream(*until_idle)
            assert (code, out) == (1, ""), err
            [line] = complaints(err)
            assert line.startswith(f"seedstream: stage responses stopped: {MOST} dead letters in a row; most frequent ")
            assert f"({MOST} of {MOST}): Permanent: {server.url}/v1 answers 418: no tea for seed 12345" in line
            assert f"`seedstream dead --stage responses {flags}`" in line
            assert f"`seedstream replay responses --dead {flags}`" in line
            stage = (await counts(where))["responses"]
            assert (stage["dead"], stage["out"]) == (MOST * times, 0) and stage["lag"] > 0
        server.faults = Faults()
        code, _, err = await seedstream(*until_idle)  # all others are done; the dead are still open
        assert code == 1
        assert complaints(err)[-3:] == [
            f"{2 * MOST} inputs are dead and were not replayed: responses {2 * MOST}. Remove the cause, replay them, "
            "and run this again:",
            f"  the errors:                seedstream dead {flags}",
            f"  replay responses:          seedstream replay responses --dead {flags}",
        ]
        assert (await seedstream("replay", "responses", "--dead", *where))[0] == 0
        code, _, err = await seedstream(*until_idle)
        assert code == 0, err
    await check_whole(where, 2 * MOST)


@asynccontextmanager
async def started(log: Path, arguments: Sequence[str]) -> AsyncIterator[Process]:
    """A run in the background, whose log goes to a file."""
    with log.open("wb") as err:
        process = await asyncio.create_subprocess_exec(SEEDSTREAM, *arguments, stdout=PIPE, stderr=err)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(holds: Callable[[], Awaitable[bool]], process: Process, log: Path) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():
            assert process.returncode is None, log.read_text()
            await asyncio.sleep(0.1)


async def test_without_an_end_the_stage_pauses_until_the_dead_are_replayed_by_another_process(
    work: Path, where: list[str]
) -> None:
    log = work / "log"

    async def paused(times: int) -> bool:
        return log.read_text().count("stage responses paused: ") == times

    async def done() -> bool:
        return all(stage["lag"] == 0 for stage in (await counts(where)).values())

    async with scripted() as server, started(log, up(work, where, server)) as process:
        await until(lambda: paused(1), process, log)
        assert (await seedstream("replay", "responses", "--dead", *where))[0] == 0
        await until(lambda: paused(2), process, log)
        assert log.read_text().count("stage responses resumed after ") == 1
        server.faults = Faults()
        assert (await seedstream("replay", "responses", "--dead", *where))[0] == 0
        await until(done, process, log)
        assert await paused(2)
        await check_whole(where, 2 * MOST)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 130


async def test_told_to_stop_while_a_stage_is_paused_it_ends_as_ever_and_the_next_run_does_the_rest(
    work: Path,
) -> None:
    log, where = work / "log", ["--dir", str(work / "run")]

    async def paused() -> bool:
        return "stage responses paused: " in log.read_text()

    async with scripted() as server:
        async with started(log, up(work, where, server)) as process:
            await until(paused, process, log)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 130
        assert "Traceback" not in log.read_text()
        server.faults = Faults()
        assert (await seedstream("replay", "responses", "--dead", *where))[0] == 0
        code, _, err = await seedstream(*up(work, where, server, "--until-idle"))
        assert code == 0, err
    await check_whole(where, MOST)


async def test_a_single_dead_letter_ends_a_run_until_idle_with_1_also_one_of_an_earlier_run(work: Path) -> None:
    where = ["--dir", str(work / "run")]
    async with scripted() as server:
        server.faults = Faults([Fault(status=418, stage="responses", count=1)])
        for _ in range(2):
            code, out, err = await seedstream(*up(work, where, server, "--until-idle", "--json"))
            assert code == 1, err
            assert "1 input is dead and was not replayed: responses 1. Remove the cause" in err
            assert json.loads(out)["dead"] == {"responses": 1}
        # A worker of other stages has nothing to do with it.
        flags = up(work, where, server)[3:]
        for stage, expected in (("seeds", 0), ("responses", 1)):
            assert (await seedstream("run", stage, *flags, "--until-idle"))[0] == expected
        assert (await seedstream("replay", "responses", "--dead", *where))[0] == 0
        code, out, err = await seedstream(*up(work, where, server, "--until-idle", "--json"))
        assert (code, json.loads(out)["dead"]) == (0, {}), err


async def test_a_run_without_an_example_says_which_stage_lost_them_and_why(work: Path) -> None:
    where = ["--dir", str(work / "run")]
    async with ScriptedLLM(shares=Shares(hanging=0.0, failing=1.0)) as server:
        code, out, err = await seedstream(*up(work, where, server, "--until-idle"))
    assert code == 0, err
    assert "examples" in out
    [line] = [line for line in complaints(err) if line.startswith("the dataset has 0 examples: ")]
    assert re.match(
        r"the dataset has 0 examples: examples was given \d+ inputs and emitted nothing \(no_passing_response \d+\); "
        r"lost before it: ",
        line,
    ), line
