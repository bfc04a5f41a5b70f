"""The model's server goes away for longer than any record is retried: the stream waits, says so, and finishes."""

import asyncio
import json
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
    code, out, err = await seedstream("status", *where, "--json")
    assert code == 0, err
    stages = {stage["stage"]: stage for stage in json.loads(out)}
    assert all(stage["dead"] == 0 for stage in stages.values())
    assert stages["seeds"]["done"] == 12 and stages["examples"]["out"] > 0
    assert all(stage["lag"] == 0 for stage in stages.values())
    assert (await seedstream("audit", *where))[0] == 0
