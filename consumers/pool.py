"""A small pool of worker processes for CPU-bound work, so that the event loop stays free.

Each worker is a pool of its own (`pebble.ProcessPool` with one process): workers share no lock and no pipe, so one
that dies in the middle of a message takes nothing but its own task with it.
"""

import asyncio
import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from pebble import ProcessExpired, ProcessPool

from stream.errors import WorkerDied

P = ParamSpec("P")
R = TypeVar("R")

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Pool:
    """Runs functions in worker processes. Promises:

    - A task whose worker dies, or that runs longer than `deadline_s`, fails alone, with WorkerDied.
    - A cancelled call ends its worker; closing ends all of them; none survives a SIGKILL of this process.
    - At most `workers` calls run at once; the others wait in the order they came.

    Workers are spawned by their first call (about 0.1 s) and kept. Function, arguments and result must be picklable;
    what the function raises is raised by `call`.
    """

    def __init__(self, workers: int, *, deadline_s: float = 60.0) -> None:
        if workers < 1:
            raise ValueError(f"a pool needs at least one worker, not {workers}")
        self.workers = workers
        self._deadline_s = deadline_s
        self._all = [_worker() for _ in range(workers)]
        self._idle: asyncio.Queue[int] = asyncio.Queue()
        for index in range(workers):
            self._idle.put_nowait(index)

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what `function` returns when a worker runs it.

        Raises:  WorkerDied; whatever the function raises.
        """
        name = getattr(function, "__qualname__", repr(function))
        index = await self._idle.get()
        try:
            if not self._all[index].active:  # its process ended while it was idle
                self._replace(index)
            future = self._all[index].schedule(function, args, kwargs, self._deadline_s)
            return await asyncio.wrap_future(future)
        except ProcessExpired as err:
            raise WorkerDied(f"the worker process running {name} ended with {_how(err.exitcode)}") from err
        except BrokenProcessPool as err:
            self._replace(index)
            raise WorkerDied(f"the worker process for {name} could not be kept alive: {err}") from err
        except TimeoutError as err:
            raise WorkerDied(f"{name} took longer than {self._deadline_s:g} s and was stopped") from err
        finally:
            self._idle.put_nowait(index)

    def _replace(self, index: int) -> None:
        self._all[index].stop()
        self._all[index] = _worker()

    async def close(self) -> None:
        """End every worker. Calls under way fail."""
        for worker in self._all:
            worker.stop()
        for worker in self._all:
            await asyncio.to_thread(worker.join)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _worker() -> ProcessPool:
    # Spawned, not forked: this process has threads. No fork server: it would outlive the pool.
    context = multiprocessing.get_context("spawn")
    return ProcessPool(max_workers=1, initializer=_die_with, initargs=(os.getpid(),), context=context)


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def _how(exitcode: int) -> str:
    """Say how a process ended.

    >>> _how(-11), _how(3)
    ('SIGSEGV', 'exit code 3')
    """
    return signal.Signals(-exitcode).name if exitcode < 0 else f"exit code {exitcode}"
