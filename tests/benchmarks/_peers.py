"""The copy of `kafka_rate` by other stream libraries, each at its strongest guarantee, in a virtual environment of
their own: made once, in the folder of temporary files."""

import asyncio
import json
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.topics import TOPICS
from tests.benchmarks._copies import COMMIT_S, Copied
from tests.benchmarks._kafka import Inputs, filled, new_namespace

PACKAGES = ("faststream[kafka]==0.7.8", "aiokafka[zstd]==0.14.0", "quixstreams==3.28.1", "orjson")
HERE = Path(__file__).parent
LIMIT_S = 600

Values = Callable[[str, str], Awaitable[Counter[bytes]]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A library as it is set for the copy."""

    name: str
    program: str
    setting: str
    exactly_once: str  # what it promises, in words
    share: int  # it copies one of so many records: a slow one would take the whole day


PEERS = (
    Peer(
        "quix_streams", "_peer_quix.py", f'processing_guarantee="exactly-once", commit_interval={COMMIT_S}',
        "yes: one Kafka transaction for outputs and offsets; functions are synchronous, one record at a time", 1,
    ),
    Peer(
        "faststream", "_peer_faststream.py", "AckPolicy.NACK_ON_ERROR, acks=all, enable_idempotence",
        "no: at least once, an offset is committed after its output was written", 20,
    ),
)  # fmt: skip


def python() -> Path:
    """Return the interpreter that has them."""
    home = Path(tempfile.gettempdir()) / "seedstream-peers"
    found = home / "bin" / "python"
    stamp = home / "installed"
    if not stamp.exists() or stamp.read_text() != " ".join(PACKAGES):
        venv.create(home, clear=True, with_pip=True)
        subprocess.run([found, "-m", "pip", "install", "--quiet", *PACKAGES], check=True, stdout=sys.stderr)
        stamp.write_text(" ".join(PACKAGES))
    return found


async def target(inputs: Inputs, peer: Peer) -> str:
    namespace = new_namespace(peer.name)
    async with inputs.bus(namespace) as bus:
        await bus.create([TOPICS["unique"]])
    return f"{namespace}.unique"


async def start(peer: Peer, inputs: Inputs, output: str, records: int) -> asyncio.subprocess.Process:
    arguments = [inputs.address, inputs.topic, output, str(records), str(COMMIT_S)]
    program = [await asyncio.to_thread(python), HERE / peer.program]
    return await asyncio.create_subprocess_exec(*program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def ended(process: asyncio.subprocess.Process) -> dict[str, Any]:
    out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == 0, err.decode()[-2000:]
    return json.loads(out.splitlines()[-1])


async def copied(peer: Peer, inputs: Inputs, records: int) -> tuple[Copied, str]:
    """Copy, and return what it took and the library's version."""
    output = await target(inputs, peer)
    said = await ended(await start(peer, inputs, output, records))
    return Copied(output, said["records"], said["wall_s"], said["cpu_s"]), said["version"]


TRIES = 8
"""Processes after the killed one: together they wait longer than any group does for a dead member."""


async def killed(peer: Peer, inputs: Inputs, values: Values) -> dict[str, int]:
    """Kill a copy in the middle of it, let another process end it, and return what of it is lost and what doubled.

    It dies at a moment between commits: the first that is seen with some outputs there and others not.
    """
    output = await target(inputs, peer)
    process = await start(peer, inputs, output, 0)
    assert process.stdout
    await process.stdout.readline()
    async with inputs.bus(output.partition(".")[0]) as bus:
        while sum((await bus.ends("unique")).values()) < inputs.records // 4:
            assert process.returncode is None, "it was through before it could be killed"
            await asyncio.sleep(0.005)
    process.kill()
    await process.wait()
    before = (await values(inputs.address, output)).total()
    expected, found = await values(inputs.address, inputs.topic), await values(inputs.address, output)
    for _ in range(TRIES):  # one that gets nothing for 10 s ends, and the dead one may hold its partitions for longer
        await ended(await start(peer, inputs, output, 0))
        found = await values(inputs.address, output)
        if found.total() >= expected.total():
            break
    return {
        "inputs": inputs.records,
        "committed_when_killed": before,
        "lost": (expected - found).total(),
        "doubled": (found - expected).total(),
    }


async def all_measured(
    inputs: Inputs, rounds: int, summary: Callable[[Sequence[Copied]], dict[str, object]], values: Values
) -> dict[str, object]:
    """Return, of each library, its rate and what a kill does to its copy."""
    report: dict[str, object] = {}
    for peer in PEERS:
        made: list[Copied] = []
        version = ""
        for _ in range(rounds):
            one, version = await copied(peer, inputs, inputs.records // peer.share)
            made.append(one)
        small = await filled(inputs.address, max(2_000, inputs.records // peer.share), inputs.partitions)
        report[peer.name] = {
            **summary(made), "version": version, "setting": peer.setting, "exactly_once": peer.exactly_once,
            "killed": await killed(peer, small, values),
        }  # fmt: skip
    return report
