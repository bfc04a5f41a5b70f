"""The live view says what each stage does and why it waits; a run ends in good order, whatever ends it."""

import asyncio
import io
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from consumers.llm.usage import Usage
from deploy.running import live
from deploy.running import work as running
from deploy.running.live import Rate, View
from stream.bus import Cause, Message
from stream.codec import encode
from stream.embedded import Embedded
from stream.errors import Fatal, WrongConfig
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.records import Seed
from stream.settings import Settings
from stream.stage import Map, Outcome
from stream.topics import DEAD, REJECTS, TOPICS
from tests import records
from tests.patience import PATIENCE_S

USED = Usage(requests=3, prompt_tokens=12_000, completion_tokens=3_000, cost=1.5)


def view(used: Usage = USED) -> View:
    stats = [
        StageStats("files", read=1_200, emitted=1_190),
        StageStats("seeds", read=40, emitted=30, dead=2, in_flight=7, lag=1_150, waits={0: "http://x refused"}),
        StageStats("concepts", waits={0: "http://x refused"}),
    ]
    stats[1].rejected["not_good"] = 8
    return View(stats, lambda: used)


def printed(shown: View) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(shown.table(0.0))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_has_every_count_of_a_stage_tokens_cost_and_why_it_waits_once():
    rows = [line.split() for line in printed(view()).splitlines()]
    assert ["seeds", "40", "30", "8", "2", "0.0", "7", "1,150"] in rows
    assert ["files", "1,200", "1,190", "0", "0", "0.0", "0"] in rows
    text = printed(view())
    assert "12,000 tokens in, 3,000 out, cost 1.50, 0 out/s" in text
    assert text.count("http://x refused") == 1 and "seeds, concepts waiting: http://x refused" in text


def test_without_a_terminal_it_is_one_line():
    shown = view()
    shown.line(0.0)
    shown.note = "stopping"
    line = shown.line(10.0)
    assert "\n" not in line
    for part in ("files 1,200", "lag 1,150", "seeds, concepts waiting: http://x refused", "stopping"):
        assert part in line


def test_nothing_is_said_of_tokens_before_a_model_was_asked():
    assert "tokens" not in printed(view(Usage())) and "tokens" not in view(Usage()).line(0.0)


def test_a_rate_is_over_the_last_seconds_alone():
    rate = Rate()
    for t in range(100):
        rate.note(t, 1_000 * min(t, 50))
    assert rate.note(100, 50_000) == 0.0


async def test_on_a_terminal_it_is_shown_until_cancelled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "REFRESH_S", 0.001)
    out = io.StringIO()
    shown = asyncio.create_task(view().show(Console(file=out, force_terminal=True, width=120)))
    async with asyncio.timeout(PATIENCE_S):
        while out.getvalue().count("seeds") < 6:
            await asyncio.sleep(0)
    shown.cancel()
    await asyncio.gather(shown, return_exceptions=True)
    assert out.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in out.getvalue()[-200:], "the cursor is back"


async def test_elsewhere_it_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(live, "PLAIN_EVERY_S", 0.001)
    with caplog.at_level(logging.INFO):
        shown = asyncio.create_task(view().show(Console(file=io.StringIO())))
        async with asyncio.timeout(PATIENCE_S):
            while not caplog.messages:
                await asyncio.sleep(0)
        shown.cancel()
        await asyncio.gather(shown, return_exceptions=True)
    assert caplog.messages[0].startswith("files 1,200")


async def keep(seeds: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
    return [Outcome((seed,)) for seed in seeds]


async def fail(seeds: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
    raise WrongConfig("the key is wrong")


SPECS = (
    StageSpec("unique", TOPICS["typed"], TOPICS["unique"], Map(keep)),
    StageSpec("seeds", TOPICS["unique"], TOPICS["seeds"], Map(keep)),
)


async def run(folder: Path, specs: Sequence[StageSpec], *, until_idle: bool, sigint: bool = False) -> tuple[bool, int]:
    """Run stages over one seed; return whether they were interrupted, and how many came out at the end."""
    stats = running.new_stats(specs)
    shown = View(list(stats.values()), Usage)
    async with Embedded.open(folder) as bus:
        await bus.create([TOPICS["typed"], TOPICS["unique"], TOPICS["seeds"], REJECTS, DEAD])
        async with bus.appender("test") as appender:
            seed = records.seed()
            await appender.append([Message("typed", seed.key, encode(seed), Cause("typed", "functions", 0, 0, 0, 1))])
        work = running.Work(specs, [], None, until_idle)
        task = asyncio.create_task(
            running.run(bus, work, Settings(drain_s=1.0), stats, shown, Console(file=io.StringIO()))
        )
        if sigint:
            async with asyncio.timeout(PATIENCE_S):
                while not (await bus.ends("seeds"))[0]:
                    await asyncio.sleep(0.01)
            signal.raise_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE_S):
            return await task, sum((await bus.ends("seeds")).values())


async def test_a_run_until_idle_ends_by_itself_when_nothing_is_left(tmp_path: Path):
    assert await run(tmp_path, SPECS, until_idle=True) == (False, 1)


async def test_a_run_for_ever_ends_by_a_signal_and_says_so(tmp_path: Path):
    assert await run(tmp_path, SPECS, until_idle=False, sigint=True) == (True, 1)


async def test_the_failure_of_one_stage_ends_all_and_is_what_is_raised(tmp_path: Path):
    broken = StageSpec("seeds", TOPICS["unique"], TOPICS["seeds"], Map(fail))
    with pytest.raises(Fatal, match="the key is wrong"):
        await run(tmp_path, (SPECS[0], broken), until_idle=False)
