"""One server that we own: started, waited for, started again when it dies, and ended with us."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from consumers.llm.wire import Wire
from deploy.serving import guard
from stream.errors import DependencyDown, EndpointDown, RequestTimedOut, WrongConfig

log = logging.getLogger(__name__)

LOCALHOST = "127.0.0.1"
PROBE_S, PROBE_LIMIT_S = 0.5, 10.0
STABLE_S = 60.0
"""A server that served so long and then died is worth another start, however often."""
END_S = 60.0  # for the guard to end everything, however busy the machine is
MOST_FAILURES = 5  # starts in a row that failed, or did not last
RESTART_S = 2.0

_CAUSE = re.compile(r"((?:\w+\.)*\w*(?:Error|Exception)): (.+)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens and writes its log. Port 0 takes a free one."""

    log: Path
    host: str = LOCALHOST
    port: int = 0


class Server:
    """`async with Server(model, place, command, environment) as server`: it answers when the body begins.

    `command` makes the command that serves `model` at a host and a port. `watch` starts it again when it dies; without
    it a death stays one. Raises DependencyDown when it cannot be started, WrongConfig when the port is taken.
    """

    def __init__(
        self, model: str, place: Place, command: Callable[[str, int], Sequence[str]], environment: Mapping[str, str]
    ) -> None:
        self.model = model
        self._place = place
        self._command = command
        self._environment = environment
        self._port = place.port
        self._process: Process | None = None
        self._log_begins = 0  # of this start
        self._healthy_s = 0.0  # since when it answers

    @property
    def url(self) -> str:
        """Where it answers, without /v1."""
        host = LOCALHOST if self._place.host in ("", "0.0.0.0", "::") else self._place.host  # noqa: S104 - compared
        return f"http://{host}:{self._port}"

    async def __aenter__(self) -> "Server":
        self._port = _free_port(self._place.host, self._place.port)
        log.info("starting a server for %s; its log: %s", self.model, self._place.log)
        started_s = time.monotonic()
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        log.info("%s answers at %s after %.0f s", self.model, self.url, time.monotonic() - started_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def watch(self, stop: asyncio.Event) -> None:
        """Start the server again whenever it dies, until `stop`.

        Raises:  DependencyDown when that fails, or does not last, too often in a row.
        """
        failures = 0
        while await self._dies(stop):
            lasted_s = time.monotonic() - self._healthy_s
            failures = failures + 1 if lasted_s < STABLE_S else 1
            said = self._ending()
            while True:
                if failures >= MOST_FAILURES:
                    raise DependencyDown(f"{said}, {failures} times in a row: given up")
                log.warning("%s; it is started again, and the stream waits for it", said)
                try:
                    await self._end()
                    await self._start()
                    log.info("%s answers again", self.model)
                    break
                except DependencyDown as err:
                    failures, said = failures + 1, str(err)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), RESTART_S)
                    return

    async def _dies(self, stop: asyncio.Event) -> bool:
        """Wait for the server's end, or for `stop`; tell whether it was its end."""
        assert self._process is not None
        ended = asyncio.create_task(self._process.wait())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
            return not stopped.done()
        finally:
            ended.cancel()
            stopped.cancel()

    async def _start(self) -> None:
        command = self._command(self._place.host, self._port)
        launcher = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), *command]
        try:
            with self._place.log.open("ab") as output:
                self._log_begins = output.tell()
                self._process = await asyncio.create_subprocess_exec(
                    *launcher,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=self._environment,
                    start_new_session=True,  # Ctrl-C is for us; and its process group is what is left to end
                )
        except OSError as err:
            raise DependencyDown(f"no server can be started, its log {self._place.log}: {err.strerror}") from err
        await self._healthy(self._process)
        self._healthy_s = time.monotonic()

    async def _healthy(self, process: Process) -> None:
        """Wait until the server answers. There is no limit but its own end: a large model takes its time to load."""
        wire = Wire(self.url, {})
        ended = asyncio.create_task(process.wait())
        try:
            while True:
                with contextlib.suppress(EndpointDown, RequestTimedOut):
                    answer = await wire.send("GET", f"{self.url}/health", None, PROBE_LIMIT_S)
                    if answer.status == 200 and not ended.done():
                        return
                await asyncio.wait([ended], timeout=PROBE_S)
                if ended.done():
                    raise DependencyDown(f"{self._ending()} before it served")
        finally:
            ended.cancel()
            await wire.close()

    def _ending(self) -> str:
        """Say how the server ended, and why, where its log tells."""
        assert self._process is not None
        code = self._process.returncode or 0
        number = -code if code < 0 else code - 128
        try:
            how = f"was ended by {signal.Signals(number).name}"
        except ValueError:
            how = f"ended with exit code {code}"
        cause = root_cause(self._log_of_this_start())
        return f"the server of {self.model} {how}{f' ({cause})' if cause else ''}, see {self._place.log}"

    def _log_of_this_start(self) -> str:
        with self._place.log.open("rb") as file:
            file.seek(self._log_begins)
            return file.read().decode(errors="replace")

    async def _end(self) -> None:
        """End the server and all that belongs to it."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), guard.GRACE_S + END_S)
        if process.returncode is None or process.returncode < 0:  # the guard itself was killed: it ended nothing
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        self._process = None


def root_cause(text: str) -> str:
    r"""Return the first error in a server's log: those after it are about the first. Pure.

    >>> root_cause("INFO ok\n(EngineCore) ERROR ValueError: no memory\nRuntimeError: Engine core failed\n")
    'ValueError: no memory'
    >>> root_cause("INFO ok")
    ''
    """
    match = _CAUSE.search(text)
    return match[0][:300] if match else ""


def _free_port(host: str, port: int) -> int:
    """Return a port that can be listened on.

    Raises:  WrongConfig when the one asked for is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as err:
            raise WrongConfig(f"port {port} of {host} cannot be used ({err.strerror}): name another --port") from err
        return int(probe.getsockname()[1])
