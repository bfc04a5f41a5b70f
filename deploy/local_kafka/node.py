"""One node of a local Kafka: a Java process with a folder of its own."""

import contextlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.local_kafka import process
from deploy.local_kafka.program import Program
from deploy.local_kafka.properties import text
from stream.errors import DependencyDown, Unavailable

START_S = 120.0
STOP_S = 20.0
"""How long a node may take to end in order before it is killed: what was acknowledged is kept either way."""
GONE_S = 20.0

_STARTED = "Kafka Server started"
_TAKEN = "Address already in use"
_ERROR = re.compile(r"^(?:Caused by: )?[\w.$]+(?:Exception|Error): .+")


class PortTaken(DependencyDown):
    """Another program was faster at a port."""


class Node:
    """One node. It may be one that another process started: what is known of it stands in its folder.

    `program` tells what it runs when it is started; `flags` are for Java.
    """

    def __init__(
        self, number: int, folder: Path, program: Callable[[], Program], *, flags: tuple[str, ...] = ()
    ) -> None:
        self.number = number
        self.folder = folder
        self.log = folder / "kafka.log"
        self._settings = folder / "server.properties"
        self._data = folder / "data"
        self._pid_file = folder / "pid"
        self._program = program
        self._flags = flags

    @property
    def formatted(self) -> bool:
        """Whether it has storage. The folder gets its name when it is complete."""
        return self._data.is_dir()

    @property
    def pid(self) -> int | None:
        """The process's id while it runs, or is paused."""
        found = self.find()
        return found.pid if found else None

    def configure(self, settings: Mapping[str, str]) -> None:
        """Say how it runs, from its next start on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._settings.write_text(text(settings), encoding="ascii")

    def format(self, cluster_id: str, arguments: list[str]) -> None:
        """Make its storage, unless it has some.

        Raises:  DependencyDown when Kafka cannot.
        """
        if self.formatted:
            return
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)  # of a formatting that was killed
        settings = self.folder / "format.properties"
        changed = self._settings.read_text(encoding="ascii").replace("\nlog.dirs=data\n", "\nlog.dirs=data.new\n")
        settings.write_text(changed, encoding="ascii")
        command = self._program().command("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", settings.name)
        done = subprocess.run(  # noqa: S603
            [*command, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=START_S, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            said = last_words(done.stdout.decode(errors="replace"))
            raise DependencyDown(f"Kafka cannot format {self._data}: {said}")
        fresh.rename(self._data)
        settings.unlink()

    def start(self) -> None:
        """Start it and wait until it serves.

        Raises:  DependencyDown when it does not.
        """
        if self.find() is None:
            self.launch()
            wait([self])

    def launch(self) -> None:
        """Start it without waiting. The log begins anew; that of the start before is kept beside it."""
        command = self._program().command("kafka.Kafka", self._settings, flags=self._flags)
        try:
            if self.log.exists():
                self.log.rename(self.log.with_suffix(".log.1"))
            process.launch(command, self._pid_file, self.log, self.folder)
        except OSError as err:
            raise DependencyDown(f"Kafka cannot be started in {self.folder}: {err.strerror}") from err

    def serves(self) -> bool:
        """Whether it has begun to serve: its listeners are open and the controller counts it in.

        Raises:  PortTaken; DependencyDown when it ended before, with its last words.
        """
        told = process.told(self._pid_file)
        died = told is not None and not process.alive(told)
        with contextlib.suppress(FileNotFoundError), self.log.open(encoding="utf-8", errors="replace") as lines:
            if any(_STARTED in line for line in lines) and not died:
                return True
        if died:
            said = self.log.read_text(encoding="utf-8", errors="replace")
            kind = PortTaken if _TAKEN in said else DependencyDown
            raise kind(f"Kafka's node {self.number} died at its start ({last_words(said)}), see {self.log}")
        return False

    def stop(self, patience_s: float = STOP_S) -> None:
        """End it in order, or by force when that takes more than `patience_s`."""
        stop([self], patience_s)

    def kill(self) -> None:
        """SIGKILL: it has no say in it. It is gone when this returns."""
        kill([self])

    def pause(self) -> None:
        """SIGSTOP: its connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start it. Raises DependencyDown when it does not come back."""
        self.stop()
        self.start()

    def _signal(self, number: signal.Signals) -> None:
        found = self.find()
        if found is None:
            raise Unavailable(f"Kafka's node {self.number} does not run")
        process.send(found, number)

    def find(self) -> process.Running | None:
        """Return its process while it runs, or is paused."""
        return process.find(self._pid_file, str(self._settings))


def wait(nodes: Sequence[Node]) -> None:
    """Wait until all of them serve. Raises as `Node.serves`, as soon as one does; DependencyDown after START_S."""
    left, deadline_s = list(nodes), time.monotonic() + START_S
    while left := [node for node in left if not node.serves()]:
        if time.monotonic() > deadline_s:
            raise DependencyDown(f"Kafka's node {left[0].number} does not serve after {START_S:g} s, see {left[0].log}")
        time.sleep(process.POLL_S)


def stop(nodes: Sequence[Node], patience_s: float = STOP_S) -> None:
    """End them in order, all at once: the last of three that end in turn has no controller left to let it go.

    Those that take more than `patience_s` are killed.
    """
    running = [found for node in nodes if (found := node.find())]
    for found in running:
        process.send(found, signal.SIGTERM)
        process.send(found, signal.SIGCONT)  # it may be paused
    deadline_s = time.monotonic() + patience_s
    for found in running:
        process.ended(found, max(0.0, deadline_s - time.monotonic()))
    kill(nodes)


def kill(nodes: Sequence[Node]) -> None:
    """SIGKILL all of them. They are gone when this returns."""
    running = [found for node in nodes if (found := node.find())]
    for found in running:
        process.send(found, signal.SIGKILL)
    for found in running:
        if not process.ended(found, GONE_S):
            raise DependencyDown(f"process {found.pid} does not end although killed")


def last_words(log: str) -> str:
    r"""Return the line of a log that tells best why a program ended: its last error, else its last line. Pure.

    >>> last_words("INFO a\n[main] ERROR - ends\njava.lang.RuntimeException: no id\n\tat kafka.Kafka\nINFO bye\n")
    'java.lang.RuntimeException: no id'
    >>> last_words("INFO a\n\n"), last_words("")
    ('INFO a', 'its log is empty')
    """
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith(("\t", " "))]
    errors = [line for line in lines if _ERROR.match(line)]
    return (errors or lines or ["its log is empty"])[-1].strip()[:300]
