"""`Sandbox`: the door. Programs in, verdicts out."""

import asyncio
import os
import sys
from types import TracebackType

from sandbox import selftest
from sandbox.launch import Launcher, NamespaceLauncher
from sandbox.limits import Limits
from sandbox.verdict import Result, SandboxBroken, SandboxRefused, Tier, Verdict, judge

_NONCE_BYTES = 16


class Sandbox:
    """Runs programs nobody trusts, at most `slots` at a time.

        async with Sandbox(slots=4, limits=Limits()) as box:
            result = await box.run("assert 1 + 1 == 2")

    A program runs at module level as `__main__`, with the standard library alone, and passes by reaching its end with
    an assertion reached on the way. A program that passes is run once more as its canary (`sandbox.canary`), in
    the namespaces that are there already: a pass costs the program's own CPU time twice and 4 ms more, of some 25.

    Promises:
    - Equal programs get equal verdicts, as far as they do not ask for the time.
    - When `run` is cancelled or the context is left, no process, pipe or mount of the runs remains; when this process
      is killed, the kernel kills them.

    Raises:  SandboxRefused on entering, where this machine lets no sandbox start or it does not hold.
    """

    def __init__(self, slots: int = 1, limits: Limits | None = None) -> None:
        """Raises:  ValueError when there is no slot."""
        if slots < 1:
            raise ValueError(f"slots is {slots}: expected at least 1")
        self._limits = limits or Limits()
        self._slots = asyncio.Semaphore(slots)
        self._launcher: Launcher | None = None
        self._runs: set[asyncio.Task[Result]] = set()

    @property
    def tier(self) -> Tier:
        """What programs are confined by. Known inside the context only."""
        return self._open().tier

    async def __aenter__(self) -> "Sandbox":
        launcher = _strongest(self._limits)
        await _prove(launcher)
        self._launcher = launcher
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._launcher = None
        for task in self._runs:
            task.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)

    async def run(self, program: str | bytes) -> Result:
        """Run one program to its verdict. Text is encoded as UTF-8; what cannot be is a syntax error, as in a file.

        Raises:  SandboxBroken when the sandbox itself failed twice, or was left meanwhile.
        """
        launcher = self._open()
        source = program.encode("utf-8", "surrogatepass") if isinstance(program, str) else program
        task = asyncio.create_task(self._in_a_slot(launcher, source))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self._launcher is None and caller is not None and not caller.cancelling():
                raise SandboxBroken("the sandbox was left while a program ran in it") from None
            raise

    async def _in_a_slot(self, launcher: Launcher, source: bytes) -> Result:
        async with self._slots:
            try:
                return await _attempt(launcher, source)
            except SandboxBroken:
                return await _attempt(launcher, source)

    def _open(self) -> Launcher:
        if self._launcher is None:
            raise SandboxBroken("the sandbox is not open: use it in `async with`")
        return self._launcher


async def _attempt(launcher: Launcher, source: bytes) -> Result:
    nonce = os.urandom(_NONCE_BYTES)
    run, *canary = await launcher.launch(source, nonce)
    verdict, detail = judge(run, canary[0] if canary else None, nonce)
    stdout, stderr = (raw.decode("utf-8", "replace") for raw in (run.stdout, run.stderr))
    return Result(verdict, run.cpu_s, run.wall_s, stdout, stderr, detail, launcher.tier)


def _strongest(limits: Limits) -> Launcher:
    """The strongest tier there is a launcher for. A weaker one belongs behind this line."""
    if sys.platform != "linux":
        raise SandboxRefused(f"no sandbox on {sys.platform}: Linux is needed")
    try:
        return NamespaceLauncher(limits)
    except ValueError as error:
        raise SandboxRefused(f"no sandbox on this machine: {error}") from error


async def _prove(launcher: Launcher) -> None:
    for program, expected in ((selftest.PROBE, Verdict.PASS), (selftest.FAILING, Verdict.ASSERTION)):
        try:
            result = await _attempt(launcher, program)
        except SandboxBroken as error:
            raise SandboxRefused(f"no sandbox starts here: {selftest.why_refused(str(error))}") from error
        if result.verdict is not expected:
            raise SandboxRefused(f"the sandbox does not hold: {result.verdict}, not {expected}: {result.detail}")
