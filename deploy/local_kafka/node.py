"""One node of a local Kafka: a Java process with a folder of its own."""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local_kafka import process
from deploy.local_kafka.jars import fetched
from deploy.local_kafka.java import java
from deploy.local_kafka.properties import text
from stream.errors import DependencyDown, Unavailable

HEAP = "-Xmx256m"
START_S = 120.0
STOP_S = 20.0
"""How long a node may take to end in order before it is killed: what was acknowledged is kept either way."""
GONE_S = 20.0

_STARTED = "Kafka Server started"
_TAKEN = "Address already in use"
_ERROR = re.compile(r"^(?:Caused by: )?[\w.$]+(?:Exception|Error): .+")


class PortTaken(DependencyDown):
    """Another program was faster at a port."""


@dataclass(frozen=True, slots=True)
class Program:
    """What runs: `java`, and the folder of Kafka's jars."""

    java: Path
    jars: Path

    @staticmethod
    def found() -> "Program":
        """Return it, with the jars fetched. Raises DependencyDown when that is not possible."""
        return Program(java(), fetched())

    def command(self, main: str, *arguments: str | Path) -> list[str | Path]:
        return [
            self.java,
            HEAP,
            "-XX:+UseSerialGC",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
            "-cp",
            f"{self.jars}/*",
            main,
            *arguments,
        ]


class Node:
    """One node. It may be one that another process started: what is known of it stands in its folder."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.folder = folder
        self.log = folder / "kafka.log"
        self._settings = folder / "server.properties"
        self._data = folder / "data"
        self._pid_file = folder / "pid"
        self._log_begins = 0  # of the last launch
        self._program: Program | None = None

    @property
    def formatted(self) -> bool:
        """Whether it has storage. The folder gets its name when it is complete."""
        return self._data.is_dir()

    @property
    def pid(self) -> int | None:
        """The process's id while it runs, or is paused."""
        found = self._find()
        return found.pid if found else None

    def configure(self, program: Program, settings: Mapping[str, str]) -> None:
        """Say what it runs, and how, from its next start on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._settings.write_text(text(settings), encoding="ascii")
        self._program = program

    def format(self, cluster_id: str, arguments: list[str]) -> None:
        """Make its storage, unless it has some.

        Raises:  DependencyDown when Kafka cannot.
        """
        if self.formatted:
            return
        assert self._program is not None
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)  # of a formatting that was killed
        settings = self.folder / "format.properties"
        changed = self._settings.read_text(encoding="ascii").replace("\nlog.dirs=data\n", "\nlog.dirs=data.new\n")
        settings.write_text(changed, encoding="ascii")
        command = self._program.command("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", settings.name)
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
        if self._find() is None:
            self.launch()
            self.wait()

    def launch(self) -> None:
        """Start it without waiting."""
        program = self._program or Program.found()
        self._log_begins = self.log.stat().st_size if self.log.exists() else 0
        command = program.command("kafka.Kafka", self._settings)
        try:
            process.launch(command, self._pid_file, self.log, self.folder)
        except OSError as err:
            raise DependencyDown(f"Kafka cannot be started in {self.folder}: {err.strerror}") from err

    def wait(self) -> None:
        """Wait until it serves: its listeners are open and the controller counts it in.

        Raises:  PortTaken; DependencyDown when it ends before, with its last words, or takes more than START_S.
        """
        deadline_s = time.monotonic() + START_S
        launched_s = time.monotonic()
        while True:
            here = self._find() is not None
            said = self._said()
            if here and _STARTED in said:
                return
            if not here and time.monotonic() > launched_s + 1:  # it writes its pid file in its first moment
                kind = PortTaken if _TAKEN in said else DependencyDown
                raise kind(f"Kafka's node {self.number} died at its start ({last_words(said)}), see {self.log}")
            if time.monotonic() > deadline_s:
                raise DependencyDown(f"Kafka's node {self.number} does not serve after {START_S:g} s, see {self.log}")
            time.sleep(process.POLL_S)

    def ask_to_stop(self) -> None:
        """Tell it to end in order (SIGTERM), also when it is paused."""
        if found := self._find():
            process.send(found, signal.SIGTERM)
            process.send(found, signal.SIGCONT)

    def stop(self, patience_s: float = STOP_S) -> None:
        """End it in order, or by force when that takes more than `patience_s`."""
        self.ask_to_stop()
        found = self._find()
        if found and not process.ended(found, patience_s):
            self.kill()

    def kill(self) -> None:
        """SIGKILL: it has no say in it. It is gone when this returns."""
        if found := self._find():
            process.send(found, signal.SIGKILL)
            if not process.ended(found, GONE_S):
                raise Unavailable(f"process {found.pid} does not end although killed")

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
        found = self._find()
        if found is None:
            raise Unavailable(f"Kafka's node {self.number} does not run")
        process.send(found, number)

    def _find(self) -> process.Running | None:
        return process.find(self._pid_file, str(self._settings))

    def _said(self) -> str:
        """What it logged since its last launch."""
        try:
            with self.log.open("rb") as file:
                file.seek(self._log_begins)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""


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
