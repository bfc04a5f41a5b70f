"""The sandbox as a process among others: what it leaves behind, and what it does when something goes wrong."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox import Limits, Sandbox, SandboxBroken, SandboxRefused, Tier, Verdict, host, selftest
from sandbox.wire import Ending, Killed, Kind
from tests.patience import PATIENCE_S

ENDLESS = "while True: pass\nassert True"
SLEEP = "import time\ntime.sleep(1e6)\nassert True"


@pytest_asyncio.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(slots=4, limits=Limits(cpu_s=30)) as box:
        yield box


def processes_under(root: int) -> set[int]:
    """The live processes that descend from one, by /proc; zombies are not alive."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="ascii", errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    found = {root}
    while grown := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= grown
    return found & parents.keys()


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if pid in processes_under(pid)}


def cpu_s(pid: int) -> float:
    """What a process has used, in steps of a hundredth of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def until(condition: Callable[[], bool], what: str, deadline_s: float = PATIENCE_S) -> None:
    try:
        async with asyncio.timeout(deadline_s):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"not within {deadline_s} s: {what}")


OTHERS: set[int] = set()
"""Processes that other tests have left to this one, such as a resource tracker."""


@pytest.fixture(autouse=True)
def _others() -> None:
    OTHERS.clear()
    OTHERS.update(processes_under(os.getpid()))


def running() -> set[int]:
    return processes_under(os.getpid()) - OTHERS


def descriptors() -> set[str]:
    return {fd.name for fd in Path("/proc/self/fd").iterdir() if fd.exists() or fd.is_symlink()}


async def test_a_cancelled_run_leaves_no_process_of_its_tree(box: Sandbox) -> None:
    run = asyncio.create_task(box.run(SLEEP))
    await until(lambda: len(running()) == 3, "launcher, supervisor and program run")
    tree = running()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not alive(tree), "all ended before the cancelled call returned"


async def test_a_run_cancelled_at_any_moment_leaves_nothing(box: Sandbox) -> None:
    before = descriptors()
    for turn in range(30):
        run = asyncio.create_task(box.run(SLEEP))
        for _ in range(turn):
            await asyncio.sleep(0.001)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert not running()
    assert descriptors() == before


async def test_a_run_cancelled_twice_leaves_no_process(box: Sandbox) -> None:
    run = asyncio.create_task(box.run(SLEEP))
    await until(lambda: len(running()) == 3, "the program runs")
    tree = running()
    run.cancel()
    await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await until(lambda: not alive(tree), "the tree is gone")


async def test_leaving_the_context_ends_what_runs_in_it() -> None:
    async with Sandbox(slots=2, limits=Limits(cpu_s=30)) as box:
        runs = [asyncio.create_task(box.run(program)) for program in (SLEEP, ENDLESS, SLEEP)]
        await until(lambda: len(running()) == 6, "two of three run, for there are two slots")
        tree = running()
    assert not alive(tree)
    for run in runs:
        with pytest.raises(SandboxBroken, match="left while a program ran"):
            await run
    with pytest.raises(SandboxBroken, match="async with"):
        await box.run("assert True")


async def test_when_the_parent_is_killed_no_program_goes_on() -> None:
    parent = (
        "import asyncio\nfrom sandbox import *\n"
        "async def main():\n"
        "    async with Sandbox(slots=2, limits=Limits(cpu_s=60)) as box:\n"
        f"        await asyncio.gather(box.run({ENDLESS!r}), box.run({SLEEP!r}))\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=Path(selftest.__file__).parents[1])
    await until(lambda: len(processes_under(process.pid)) == 7, "both programs run")
    tree = processes_under(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    await until(lambda: not alive(tree), "the kernel killed the tree")


async def test_when_the_launcher_is_killed_its_program_goes_too_and_the_run_is_tried_again(box: Sandbox) -> None:
    run = asyncio.create_task(box.run(SLEEP))
    for attempt in ("first", "second"):
        await until(lambda: len(running()) == 3, f"the {attempt} attempt runs")
        tree = running()
        [launcher] = [pid for pid in tree if len(processes_under(pid)) == 3]
        os.kill(launcher, signal.SIGKILL)
        await until(lambda tree=tree: not alive(tree), "the tree of the attempt is gone")
    with pytest.raises(SandboxBroken):
        await run


async def test_a_program_killed_from_outside_is_our_fault_and_tried_again(box: Sandbox) -> None:
    run = asyncio.create_task(box.run("import signal\nsignal.signal(18, print)\nsignal.pause()\nassert True"))
    await until(lambda: len(running()) == 3, "the program runs")
    tree = running()
    os.kill(min(tree, key=lambda pid: len(processes_under(pid))), signal.SIGKILL)
    await until(lambda: not alive(tree), "the tree of the first attempt is gone")
    while not run.done():  # the second attempt and its canary wait for this signal, which does nothing before
        for pid in running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(0.01)
    assert (await run).verdict is Verdict.PASS


async def test_two_hundred_runs_leave_no_descriptor_no_process_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before, mounts = descriptors(), Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    here = set(Path("/tmp").iterdir())
    programs = ["assert True", "assert False", "assert 1 / 0", "import os\nos._exit(0)\nassert 1", "open('left', 'w')"]
    async with Sandbox(slots=2) as box:
        results = await asyncio.gather(*(box.run(program) for program in programs * 40))
    assert {result.verdict for result in results[::5]} == {Verdict.PASS}
    assert descriptors() == before
    assert not running()
    assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == mounts
    assert not list(tmp_path.iterdir())
    left = {path.name for path in set(Path("/tmp").iterdir()) - here}
    assert not left & {"left", "program.py"}


async def test_as_many_programs_run_at_once_as_there_are_slots() -> None:
    async with Sandbox(slots=3, limits=Limits(cpu_s=30)) as box:
        runs = [asyncio.create_task(box.run(SLEEP)) for _ in range(5)]
        await until(lambda: len(running()) == 9, "three programs run")
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)


async def test_one_sandbox_serves_many_callers_with_each_his_own_result(box: Sandbox) -> None:
    results = await asyncio.gather(*(box.run(f"print({n})\nassert {n} % 2") for n in range(20)))
    assert [result.stdout for result in results] == [f"{n}\n" for n in range(20)]
    assert [result.verdict for result in results] == [(Verdict.ASSERTION, Verdict.PASS)[n % 2] for n in range(20)]


async def test_equal_programs_give_equal_results_in_all_but_time(box: Sandbox) -> None:
    program = (
        "import random, tempfile\n"
        "print(random.random(), hash('a'), {'x', 'y', 'z'}, tempfile.gettempdir())\n"
        "class A: pass\n"
        "assert A() is None, f'{A()} {random.random()}'"
    )
    results = await asyncio.gather(*(box.run(program) for _ in range(6)))
    assert len({(result.verdict, result.stdout, result.detail) for result in results}) == 1
    assert "object at 0x…" in results[0].detail


async def test_a_detail_names_frames_of_the_program_and_nothing_of_this_machine(box: Sandbox) -> None:
    result = await box.run("import json\n\ndef load(text):\n    return json.loads(text)\n\nassert load('{')")
    assert result.detail.splitlines()[0] == '  File "program.py", line 6, in <module>'
    assert result.detail.splitlines()[1] == '  File "program.py", line 4, in load'
    assert '  File "json/decoder.py", line' in result.detail
    assert result.detail.splitlines()[-1].startswith("JSONDecodeError: Expecting property name")
    assert str(Path(selftest.__file__).parent) not in result.detail


async def test_the_first_output_is_kept_and_a_detail_is_short(box: Sandbox) -> None:
    result = await box.run("print('a' + 'x' * 100_000)\nassert False, 'm' * 10_000")
    assert result.stdout == "a" + "x" * 65535
    assert len(result.detail) <= 2000
    assert result.detail.endswith("…")


async def test_output_that_is_not_utf_8_is_replaced(box: Sandbox) -> None:
    result = await box.run("import os\nos.write(1, b'\\xff\\x00a')\nassert True")
    assert (result.verdict, result.stdout) == (Verdict.PASS, "\ufffd\0a")


async def test_time_is_that_of_the_program(box: Sandbox) -> None:
    began_s = time.monotonic()
    result = await box.run("import time\nwhile time.process_time() < .2: pass\ntime.sleep(.2)\nassert True")
    assert 0.15 < result.cpu_s < 1
    assert 0.35 < result.wall_s < time.monotonic() - began_s


async def test_a_program_that_the_machine_keeps_waiting_gets_the_verdict_of_one_that_it_does_not() -> None:
    """A stopped process stands for one that waits for a processor: the sandbox sees the same of both."""
    program = "import time\nwhile time.process_time() < 1.5: pass\nassert False"
    async with Sandbox(limits=Limits(cpu_s=30, wall_s=1)) as box:
        run = asyncio.create_task(box.run(program))
        await until(lambda: len(running()) == 3, "the program runs")
        [pid] = [pid for pid in running() if len(processes_under(pid)) == 1]
        await until(lambda: cpu_s(pid) >= 0.2, "it has computed for a while")
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(2)  # the time is what is tested, nothing is waited for
        os.kill(pid, signal.SIGCONT)
        result = await run
    assert (result.verdict, result.wall_s > 2) == (Verdict.ASSERTION, True)


async def test_a_program_that_sleeps_more_than_it_computes_is_ended_by_the_wall_clock() -> None:
    program = "import time\nwhile True:\n    time.sleep(.2)\nassert True"
    async with Sandbox(limits=Limits(cpu_s=30, wall_s=1)) as box:
        result = await box.run(program)
    assert (result.verdict, result.detail) == (Verdict.TIMEOUT, "used up its wall time")
    assert result.wall_s >= 1


async def test_a_program_whose_supervisor_does_not_get_to_run_is_ended_by_the_kernel() -> None:
    async with Sandbox(limits=Limits(cpu_s=1.5)) as box:
        run = asyncio.create_task(box.run(ENDLESS))
        await until(lambda: len(running()) == 3, "the program runs")
        [supervisor] = [pid for pid in running() if len(processes_under(pid)) == 2]
        os.kill(supervisor, signal.SIGSTOP)
        await until(lambda: len(running()) == 2, "the program has ended")
        os.kill(supervisor, signal.SIGCONT)
        result = await run
    assert (result.verdict, result.detail) == (Verdict.TIMEOUT, "used up its CPU time")
    assert 1.5 <= result.cpu_s < 2.1


async def test_the_files_of_this_project_are_not_there(box: Sandbox) -> None:
    for path in (__file__, selftest.__file__, sys.executable):
        assert (await box.run(f"import os\nassert not os.path.exists({path!r})")).verdict is Verdict.PASS


def endings(nonce: bytes, *kinds: bytes) -> list[Ending]:
    return [Ending(Killed.NO, 0, 0.0, 0.0, Kind.BEGUN + nonce + kind, b"", b"") for kind in kinds]


class FakeLauncher:
    """A tier whose runs end as told; an exception is raised."""

    tier = Tier.NAMESPACES

    def __init__(self, *told: Sequence[bytes] | SandboxBroken) -> None:
        self._told = list(told)
        self.launched = 0

    async def launch(self, source: bytes, nonce: bytes) -> Sequence[Ending]:
        self.launched += 1
        told = self._told.pop(0)
        if isinstance(told, SandboxBroken):
            raise told
        return endings(nonce, *told)


PASS, PROVEN = (Kind.PASS, Kind.ASSERTION), ((Kind.PASS, Kind.ASSERTION), (Kind.ASSERTION,))


@pytest.fixture
def tier(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeLauncher], FakeLauncher]:
    def use(launcher: FakeLauncher) -> FakeLauncher:
        def strongest(limits: Limits) -> FakeLauncher:
            return launcher

        monkeypatch.setattr(host, "_strongest", strongest)
        return launcher

    return use


async def test_a_fault_of_the_sandbox_is_tried_once_more(tier: Callable[[FakeLauncher], FakeLauncher]) -> None:
    launcher = tier(FakeLauncher(*PROVEN, SandboxBroken("torn"), PASS))
    async with Sandbox() as box:
        assert (await box.run("assert True")).verdict is Verdict.PASS
    assert launcher.launched == 4


async def test_a_second_fault_is_raised_and_no_verdict(tier: Callable[[FakeLauncher], FakeLauncher]) -> None:
    tier(FakeLauncher(*PROVEN, SandboxBroken("torn"), SandboxBroken("torn again"), PASS))
    async with Sandbox() as box:
        with pytest.raises(SandboxBroken, match="torn again"):
            await box.run("assert True")
        assert (await box.run("assert True")).verdict is Verdict.PASS, "the next program is run as ever"


async def test_a_tier_whose_self_test_does_not_hold_is_refused(tier: Callable[[FakeLauncher], FakeLauncher]) -> None:
    for told in ([(Kind.ASSERTION,)], [PASS, PASS], [(Kind.PASS, Kind.PASS)]):
        tier(FakeLauncher(*told))
        with pytest.raises(SandboxRefused, match="does not hold"):
            async with Sandbox():
                pytest.fail("opened")


async def test_a_tier_that_cannot_start_is_refused_in_one_line(tier: Callable[[FakeLauncher], FakeLauncher]) -> None:
    tier(FakeLauncher(SandboxBroken("PermissionError: [Errno 1] unshare(mount, as root): Operation not permitted")))
    with pytest.raises(SandboxRefused, match="CAP_SYS_ADMIN") as refused:
        async with Sandbox():
            pytest.fail("opened")
    assert "\n" not in str(refused.value)


async def test_without_a_slot_there_is_no_sandbox() -> None:
    with pytest.raises(ValueError, match="slots is 0"):
        Sandbox(slots=0)
