"""The pool of worker processes: a failing task fails alone, and no process is left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from consumers.pool import Pool
from stream.errors import WorkerDied
from tests.patience import PATIENCE_S


def double(number: int) -> int:
    return 2 * number


def pid() -> int:
    return os.getpid()


def end(how: signal.Signals) -> None:
    os.kill(os.getpid(), how)


def refuse() -> None:
    raise ValueError("not this one")


def spin(marker: str) -> None:
    Path(marker).write_text(str(os.getpid()))
    while True:
        pass


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before, or between opening and reading
        return False


async def until(condition: Callable[[], bool], deadline_s: float = PATIENCE_S) -> None:
    end_at = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_at, "the condition did not come true in time"
        await asyncio.sleep(0.01)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with Pool(2) as it:
        yield it


async def test_results_come_back_to_their_own_callers(pool: Pool) -> None:
    assert await asyncio.gather(*(pool.call(double, n) for n in range(50))) == [2 * n for n in range(50)]


async def test_the_work_is_done_in_other_processes(pool: Pool) -> None:
    assert await pool.call(pid) != os.getpid()


async def test_what_the_function_raises_is_raised_and_the_worker_lives_on(pool: Pool) -> None:
    with pytest.raises(ValueError, match="not this one"):
        await pool.call(refuse)
    assert await pool.call(double, 4) == 8


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGKILL])
async def test_a_worker_that_dies_fails_its_own_task_alone(pool: Pool, how: signal.Signals) -> None:
    dying, *others = await asyncio.gather(
        pool.call(end, how), *(pool.call(double, n) for n in range(10)), return_exceptions=True
    )
    assert isinstance(dying, WorkerDied)
    # Where it dies before the pool has heard that it took the task, nobody knows how.
    assert how.name in str(dying) or "could not be kept alive" in str(dying)
    assert others == [2 * n for n in range(10)]


async def test_a_task_over_the_deadline_fails_and_its_worker_is_ended(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with Pool(1, deadline_s=1.5) as pool:
        with pytest.raises(WorkerDied, match=r"spin took longer than 1\.5 s"):
            await pool.call(spin, str(marker))
        await until(lambda: not alive(int(marker.read_text())))
        assert await pool.call(double, 3) == 6


async def test_a_cancelled_call_ends_its_worker_and_the_next_call_succeeds(pool: Pool, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    call = asyncio.ensure_future(pool.call(spin, str(marker)))
    await until(lambda: marker.exists() and marker.read_text() != "")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: not alive(int(marker.read_text())))
    assert await asyncio.gather(*(pool.call(double, n) for n in range(4))) == [0, 2, 4, 6]


async def test_a_worker_killed_while_idle_is_replaced() -> None:
    async with Pool(1) as pool:
        worker = await pool.call(pid)
        os.kill(worker, signal.SIGKILL)
        await until(lambda: not alive(worker))
        # The pool may hear of it only from the call it fails; the call after that has a new worker.
        try:
            assert await pool.call(double, 5) == 10
        except WorkerDied:
            assert await pool.call(double, 5) == 10


async def test_closing_leaves_no_worker() -> None:
    pool = Pool(2)
    workers = set(await asyncio.gather(*(pool.call(pid) for _ in range(20))))
    await pool.close()
    assert not any(alive(worker) for worker in workers)


def test_no_worker_survives_a_kill_of_its_parent(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, sys\n"
        "from consumers.pool import Pool\n"
        "from parent_tasks import spin\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(Pool(1).call(spin, sys.argv[1]))\n"
    )
    (tmp_path / "parent_tasks.py").write_text(
        "import os, pathlib\n"
        "def spin(marker):\n"
        "    pathlib.Path(marker).write_text(str(os.getpid()))\n"
        "    while True:\n"
        "        pass\n"
    )
    parent = subprocess.Popen([sys.executable, script, marker])
    try:
        asyncio.run(until(lambda: marker.exists() and marker.read_text() != ""))
    finally:
        parent.kill()
        parent.wait()
    asyncio.run(until(lambda: not alive(int(marker.read_text()))))


def test_a_pool_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one worker"):
        Pool(0)
