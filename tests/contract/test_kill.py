"""kill -9 at any moment: what is on the bus is whole, and progress and outcomes agree."""

import asyncio
import random
from contextlib import closing
from pathlib import Path

from stream.embedded import Embedded
from stream.embedded.file import FILE_NAME, connect
from stream.topics import DEAD, REJECTS, TOPICS
from tests.contract.buses import Address
from tests.contract.processes import child
from tests.contract.steps import INPUT, STAGE, check_once

KILLS = 20
SEED = 20_261_121


async def test_killed_at_twenty_random_moments_every_step_is_whole_and_no_input_is_done_twice(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    address = Address("embedded", 3, str(tmp_path))
    async with Embedded.open(tmp_path, partitions=3) as bus:
        await bus.create([TOPICS["files"], TOPICS["functions"], REJECTS, DEAD])
    finished = 0
    moments_s: list[float] = []
    kill = 0
    while kill < KILLS or finished <= 10 * KILLS:  # on a busy machine, as many more as it takes
        kill += 1
        async with child(address, "steps", SEED + kill) as other:
            assert await other.says() == "working"
            moments_s.append(dice.uniform(0, 0.15 * (1 + kill // KILLS)))
            await asyncio.sleep(moments_s[-1])  # the moment is what is tested, nothing is waited for
            await other.kill()
        print(f"seed {SEED}: kill {kill} after {moments_s[-1]:.3f} s")
        async with Embedded.open(tmp_path, partitions=3) as bus:
            await check_once(bus, everything=False)
            progress = await bus.progress(STAGE, INPUT)
            now = sum(at.watermark + len(at.done) for at in progress.values())
            assert now >= finished
            finished = now
    with closing(connect(tmp_path / FILE_NAME)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
