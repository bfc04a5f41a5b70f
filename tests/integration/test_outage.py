"""The model's server goes away for longer than any record is retried: the stream waits, says so, and finishes."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from deploy.scripted_llm.faults import Fault, Faults
from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.server import ScriptedLLM, Service
from tests.corpus import write_corpus
from tests.integration.processes import seedstream
from tests.integration.streams import CONFIG

# Every retry of a record is spent in 0.2 s; each outage is far longer.
IMPATIENT = """
[runner]
attempts = 2
retry_base_s = 0.1
retry_cap_s = 0.1
"""

# Here an attempt may take two seconds, more than a busy machine makes of 0.05; all of them are spent in 6.2 s.
TIMEOUT_S, HANG_S = 2.0, 10.0
LESS_IMPATIENT = IMPATIENT.replace("attempts = 2", "attempts = 3")

OUTAGES = {
    "refused": Fault(down_s=3.0),
    "unavailable": Fault(status=503),
    "overloaded": Fault(status=429, retry_after_s=0.2),
}


@pytest.mark.parametrize("outage", OUTAGES)
async def test_while_the_model_is_away_the_stream_waits_and_nothing_is_dead(tmp_path: Path, outage: str) -> None:
    config = tmp_path / "seedstream.toml"
    config.write_text(IMPATIENT + CONFIG, encoding="utf-8")
    write_corpus(tmp_path / "sources", 6)
    where = ["--dir", str(tmp_path / "dir")]
    async with ScriptedLLM(service=Service(mean_s=0.05), shares=Shares(hanging=0.0)) as server:

        async def go_away() -> None:
            while server.calls.counts.total() < 20:
                await asyncio.sleep(0.01)
            server.faults = Faults([OUTAGES[outage]])
            await asyncio.sleep(3)
            server.faults = Faults()

        away = asyncio.create_task(go_away())
        code, _, err = await seedstream(
            "up", "--source", str(tmp_path / "sources"), *where, "--llm", server.url, "--model", "scripted",
            "--config", str(config), "--until-idle",
        )  # fmt: skip
        await away
    assert code == 0, err
    assert "waits:" in err and server.url.removeprefix("http://").split("/")[0] in err
    assert "goes on after" in err
    await check(where)


async def test_a_model_whose_server_hangs_is_waited_for_too(tmp_path: Path) -> None:
    config = tmp_path / "seedstream.toml"
    calls = tmp_path / "calls"
    write_corpus(tmp_path / "sources", 6)
    where = ["--dir", str(tmp_path / "dir")]
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.scripted_llm", "--port", "0", "--service-s", "0.05", "--hanging", "0",
        "--calls", str(calls), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        url = (await server.stdout.readline()).decode().strip()
        endpoint = f'[llm.main]\nurl = "{url}"\nmodel = "scripted"\ntimeout_s = {TIMEOUT_S}\n'
        config.write_text(LESS_IMPATIENT + CONFIG + endpoint, encoding="utf-8")

        async def hang() -> None:
            while not calls.exists() or calls.read_bytes().count(b"\n") < 20:
                await asyncio.sleep(0.01)
            server.send_signal(signal.SIGSTOP)
            await asyncio.sleep(HANG_S)
            server.send_signal(signal.SIGCONT)

        hanging = asyncio.create_task(hang())
        code, _, err = await seedstream(
            "up", "--source", str(tmp_path / "sources"), *where, "--config", str(config), "--until-idle"
        )
        await hanging
    finally:
        server.kill()
        await server.wait()
    assert code == 0, err
    assert "answers nothing any more" in err
    await check(where)


async def check(where: list[str]) -> None:
    """Everything has finished, and nothing is dead."""
    code, letters, _ = await seedstream("dead", *where)
    assert code == 0, letters
    code, out, err = await seedstream("status", *where, "--json")
    assert code == 0, err
    stages = {stage["stage"]: stage for stage in json.loads(out)}
    assert all(stage["dead"] == 0 for stage in stages.values())
    assert stages["seeds"]["done"] == 12 and stages["examples"]["out"] > 0
    assert all(stage["lag"] == 0 for stage in stages.values())
    assert (await seedstream("audit", *where))[0] == 0
