"""The broker goes away in the middle of a stream: the stream waits, says so, goes on, and everything is done once."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deploy.local_kafka.node import Node
from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.server import ScriptedLLM, Service
from tests.brokers import MakeKafka
from tests.corpus import write_corpus
from tests.integration.processes import SEEDSTREAM, seedstream
from tests.integration.streams import CONFIG

pytestmark = pytest.mark.timeout(900)

PATIENCE_S = 300
FILES = 6


async def away_by_kill(node: Node, said: "Said") -> None:
    node.kill()
    await said.line("waits: ")
    await asyncio.to_thread(node.start)


async def away_by_pause(node: Node, said: "Said") -> None:
    node.pause()
    await said.line("waits: ")
    node.resume()


class Said:
    """What a process says on stderr, as it says it."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self.text = ""
        self._more = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self._stream:
            self.text += line.decode()
            async with self._more:
                self._more.notify_all()

    async def line(self, words: str) -> None:
        """Wait until it is said."""
        async with asyncio.timeout(PATIENCE_S), self._more:
            await self._more.wait_for(lambda: words in self.text)

    async def end(self) -> None:
        await self._reading


@pytest.mark.parametrize("away", [away_by_kill, away_by_pause])
async def test_while_the_broker_is_away_the_stream_waits_and_everything_is_done_once(
    own_kafka: MakeKafka, tmp_path: Path, away: Callable[[Node, "Said"], Awaitable[None]]
):
    own = await asyncio.to_thread(own_kafka)
    config = tmp_path / "seedstream.toml"
    config.write_text(CONFIG, encoding="utf-8")
    write_corpus(tmp_path / "sources", FILES)
    where = ["--bus", f"kafka://{own.bootstrap}", "--config", str(config)]
    async with ScriptedLLM(service=Service(mean_s=0.05), shares=Shares(hanging=0.0)) as server:
        process = await asyncio.create_subprocess_exec(
            SEEDSTREAM, "up", "--source", str(tmp_path / "sources"), *where, "--llm", server.url, "--model", "scripted",
            "--until-idle", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr
        said = Said(process.stderr)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while server.calls.counts.total() < 20:
                    assert process.returncode is None, said.text
                    await asyncio.sleep(0.01)
            asked = server.calls.counts.total()
            await away(own.node(1), said)
            await said.line("goes on after ")
            async with asyncio.timeout(PATIENCE_S):
                await process.wait()
            await said.end()
        finally:
            if process.returncode is None:
                process.kill()
        print(f"{asked} of {server.calls.counts.total()} calls before the broker went away\n{said.text}")
        assert process.returncode == 0, said.text
        assert asked < server.calls.counts.total(), "it was through before the broker went away"
        assert max(server.calls.counts.values()) == 1, "no call was made twice"
    assert "no broker answers" in said.text or "no answer in time" in said.text or "refused" in said.text
    code, out, err = await seedstream("status", *where, "--json")
    assert code == 0, err
    stages = {stage["stage"]: stage for stage in json.loads(out)}
    assert stages["seeds"]["done"] == 2 * FILES and stages["examples"]["out"] > 0
    assert all(stage["dead"] == 0 and stage["lag"] == 0 for stage in stages.values())
    code, out, err = await seedstream("audit", *where)
    assert (code, out) == (0, ""), "each input has its outcomes, once"
