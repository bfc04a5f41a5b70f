"""Start one process per program, in fresh namespaces. The host's side of `child.py`.

A later launcher can keep a warm interpreter behind the same `Launcher`: nothing here knows of verdicts.
"""

import asyncio
import os
import platform
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Protocol

from sandbox import rootfs, seccomp
from sandbox.limits import Limits
from sandbox.verdict import SandboxBroken, Tier
from sandbox.wire import CANARY_TIMES, Ending, Job, allowed_wall_s, unpack

_CHILD = str(Path(__file__).with_name("child.py"))

_ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "1",  # else glibc reserves 64 MiB of address space a thread, up to eight times the cores
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "TMPDIR": "/tmp",  # noqa: S108
    "TZ": "UTC",
}

_UID = 65534  # "nobody"; mapped in every container that maps more than one id
_START_UP_S = 30.0  # an interpreter's start and the namespaces, on a machine that is very busy
_GRACE_S = 5.0


class Launcher(Protocol):
    """Runs a program once, and once more as its canary when it seems to pass; decides nothing.

    Promise that when `launch` has returned, raised or been cancelled, nothing that it started is left.
    """

    tier: Tier

    async def launch(self, source: bytes, nonce: bytes) -> Sequence[Ending]:
        """Return the ending of the run, and of the canary when there was one.

        Raises:  SandboxBroken.
        """
        ...


class NamespaceLauncher:
    """One process per program in fresh user, mount, pid, network, ipc, uts and cgroup namespaces."""

    tier = Tier.NAMESPACES

    def __init__(self, limits: Limits) -> None:
        """Raises:  ValueError on a machine without a system-call table."""
        self._limits = limits
        self._seccomp = seccomp.build(platform.machine())
        self._folders = rootfs.library_folders()
        self._hidden = rootfs.hidden_folders(self._folders)

    async def launch(self, source: bytes, nonce: bytes) -> Sequence[Ending]:
        with ExitStack() as opened:
            try:
                theirs, ours = (
                    opened.enter_context(FileIO(fd, mode)) for fd, mode in zip(os.pipe(), "rw", strict=True)
                )
                exchange = opened.enter_context(_memory_file("sandbox-exchange", self._job(source, nonce).pack()))
                faults = opened.enter_context(_memory_file("sandbox-faults"))
                process = self._start(theirs, exchange, faults)
            except OSError as error:
                raise SandboxBroken(f"a run could not be started: {error}") from error
            try:
                await self._ended(process)
            finally:
                ours.close()
                await _end(process)
            return _report(process.returncode, _content(exchange), _content(faults))

    def _job(self, source: bytes, nonce: bytes) -> Job:
        limits = self._limits
        return Job(
            source=source,
            nonce=nonce,
            host_pid=os.getpid(),
            uid=_UID,
            folders=self._folders,
            hidden=self._hidden,
            seccomp=self._seccomp,
            rlimits=[
                (resource.RLIMIT_AS, limits.address_space_bytes),
                (resource.RLIMIT_STACK, limits.stack_bytes),
                (resource.RLIMIT_FSIZE, limits.max_file_bytes),
                (resource.RLIMIT_NOFILE, limits.descriptors),
                (resource.RLIMIT_NPROC, limits.threads + 2),  # counted in the user namespace: our two are in it
                (resource.RLIMIT_CORE, 0),
                (resource.RLIMIT_MEMLOCK, 0),
                (resource.RLIMIT_MSGQUEUE, 0),
                (resource.RLIMIT_SIGPENDING, 64),
            ],
            tmp_options=f"size={limits.tmp_bytes},nr_inodes={limits.tmp_inodes},mode=700",
            cpu_s=limits.cpu_s,
            wall_s=limits.wall_s,
            kept_output_bytes=limits.kept_output_bytes,
            max_output_bytes=limits.max_output_bytes,
        )

    def _start(self, lifeline: FileIO, exchange: FileIO, faults: FileIO) -> subprocess.Popen[bytes]:
        # -S and -s: no site packages; -P: nothing from the folder of the script. Not -I, which drops the hash seed.
        command = [sys.executable, "-S", "-s", "-P", _CHILD]
        return subprocess.Popen(  # noqa: S603 - our own file; no word of the program is on the command line
            command, stdin=lifeline, stdout=exchange, stderr=faults, env=_ENVIRONMENT, cwd="/", start_new_session=True
        )

    async def _ended(self, process: subprocess.Popen[bytes]) -> None:
        run_s = allowed_wall_s(self._limits.wall_s, self._limits.cpu_s)
        allowed_s = (1 + CANARY_TIMES) * run_s + _START_UP_S  # the run and its canary
        try:
            await asyncio.wait_for(_exit_of(process), allowed_s)
        except TimeoutError as error:
            raise SandboxBroken(f"the supervisor of a run did not end within {allowed_s:.0f} s") from error


async def _exit_of(process: subprocess.Popen[bytes]) -> None:
    """Wait until a child has ended, by its process descriptor: no thread, no signal handler."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    fd = os.pidfd_open(process.pid)
    try:
        loop.add_reader(fd, lambda: None if ended.done() else ended.set_result(None))
        await ended
    finally:
        loop.remove_reader(fd)
        os.close(fd)


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the tree to end now that its lifeline is cut: the supervisor leaves, the kernel kills the program, the
    launcher reaps both. What does not, is killed; the kernel then follows down the tree (PR_SET_PDEATHSIG)."""
    try:
        await asyncio.wait_for(_exit_of(process), _GRACE_S)
    except TimeoutError:
        pass
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _report(status: int, report: bytes, faults: bytes) -> Sequence[Ending]:
    if status != 0:
        lines = faults.decode("utf-8", "replace").strip().splitlines() or [f"exit code {status}"]
        raise SandboxBroken(f"a run could not be started or watched: {lines[-1]}")
    try:
        endings = unpack(report)
    except ValueError as error:
        raise SandboxBroken(str(error)) from error
    if not endings:
        raise SandboxBroken("the supervisor of a run reported nothing")
    return endings


def _memory_file(name: str, content: bytes = b"") -> FileIO:
    """A file that is gone with its last descriptor."""
    file = FileIO(os.memfd_create(name), "r+")
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
    return file


def _content(file: FileIO) -> bytes:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
