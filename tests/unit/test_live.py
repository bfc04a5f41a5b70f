"""The live view says what each stage does and why it waits; a run ends in good order, whatever ends it."""

import asyncio
import io
import logging
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from consumers.llm.latencies import Latencies
from consumers.llm.usage import ServerState, Snapshot, Usage
from deploy.running import live
from deploy.running import work as running
from deploy.running.live import View
from deploy.running.rate import Rate
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
IDLE = Snapshot(0.0, {"seeds": Usage()}, 0, 0, 32, ())


def busy(*down: str, used: Usage = USED) -> Snapshot:
    """An endpoint of three servers at work."""
    urls = ("http://one:8000/v1", "http://two:8000/v1", "http://three:8000/v1")
    servers = tuple(ServerState(url, 4, 11, url in down) for url in urls)
    took = Latencies((0,) * 10 + (90,) + (0,) * 4 + (10,) + (0,) * 6)
    return Snapshot(0.0, {"seeds": used}, 12, 1_640, 32, down, servers, {"seeds": took})


def view(endpoints: Mapping[str, Snapshot] | None = None) -> View:
    stats = [
        StageStats("files", read=1_200, emitted=1_190),
        StageStats("seeds", read=40, emitted=30, dead=2, in_flight=7, lag=1_150, waits={0: "http://x refused"}),
        StageStats("concepts", waits={0: "http://x refused"}),
    ]
    stats[1].rejected["not_good"] = 8
    shown = {"main": busy()} if endpoints is None else endpoints
    return View(stats, lambda: shown)


def printed(shown: View, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(shown.table(0.0))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_has_every_count_of_a_stage_tokens_cost_and_why_it_waits_once():
    rows = [line.split() for line in printed(view()).splitlines()]
    assert ["seeds", "40", "30", "8", "2", "0.0", "7", "1,150"] in rows
    assert ["files", "1,200", "1,190", "0", "0", "0.0", "0"] in rows
    text = printed(view())
    assert "12,000 tokens in, 3,000 out, cost 1.50" in text
    assert text.count("http://x refused") == 1 and "seeds, concepts waiting: http://x refused" in text


def test_without_a_terminal_it_is_one_line():
    shown = view()
    shown.line(0.0)
    shown.note = "stopping"
    line = shown.line(10.0)
    assert "\n" not in line
    for part in ("files 1,200", "lag 1,150", "seeds, concepts waiting: http://x refused", "stopping"):
        assert part in line


def test_nothing_is_said_of_an_endpoint_before_it_was_asked():
    assert "main" not in printed(view({"main": IDLE})) and "main" not in view({"main": IDLE}).line(0.0)


def test_an_endpoint_shows_load_outcomes_tokens_cost_time_to_answer_and_which_servers_are_down():
    used = Usage(requests=1_200, failed=7, refused=5, timed_out=2, completion_tokens=1_000, cost=2.5)
    shown = view({"main": busy("http://two:8000/v1", used=used)})
    text = " ".join(printed(shown).split())
    assert (
        "main: 12/32 in flight, 1,640 waiting, 1,200 answered, 5 refused, 2 timed out, 0 tokens in, 1,000 out, "
        "cost 2.50, 0 out/s, median 5.1 s, p95 50 s, 1 of 3 servers down: http://two:8000/v1" in text
    )
    line = shown.line(1.0)
    assert "main: 12/32 in flight, 1,200 answered, 5 refused, 2 timed out, 0 tokens in, 1,000 out, cost 2.50" in line
    assert "median 5.1 s, 1 of 3 servers down: http://two:8000/v1" in line and "\n" not in line


@pytest.mark.parametrize("width", [40, 80, 120])
def test_an_endpoint_breaks_lines_only_between_its_parts_and_none_is_wider_than_the_screen(width: int):
    urls = tuple(f"http://gpu-{k}.example.org:8000/v1" for k in range(9))
    servers = tuple(ServerState(url, 0, 4, True) for url in urls)
    many = Usage(
        requests=12_345_678, refused=1_234, prompt_tokens=4_567_890_123, completion_tokens=523_456_789, cost=1e6
    )
    shown = view({"Qwen2.5-Coder-7B-Instruct": Snapshot(0.0, {"s": many}, 31, 64_000, 32, urls, servers)})
    lines = printed(shown, width).splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("Qwen2.5"))
    last = next(index for index, line in enumerate(lines) if "and 5 more" in line)
    block = lines[first : last + 1]
    assert all(len(line) <= width for line in block)
    assert all(line.startswith("  ") and not line.startswith("   ") for line in block[1:])
    assert all(line.endswith((",", "…")) for line in block[:-1])
    assert sum("gpu-" in line for line in block) >= 1


def test_the_time_to_answer_is_that_of_the_last_minute():
    fast, slow = Latencies().seen(0.3), Latencies().seen(0.3).seen(50)
    now = [fast]
    shown = View([], lambda: {"main": Snapshot(0.0, {"s": USED}, 1, 0, 8, (), (), {"s": now[0]})})
    assert "median 325 ms" in shown.line(0.0)
    now[0] = slow
    assert "median 50 s" in shown.line(50.0), "of what came since"
    assert "median 400 ms" in shown.line(200.0), "nothing came for a minute: of all"


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
    shown = View(list(stats.values()), dict)
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
