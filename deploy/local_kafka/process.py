"""A process that outlives the one that started it, known again by a file that a reused pid cannot fool."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.05

# The process writes its own line of /proc before it becomes the command: pid and start time stay the same across exec,
# and no moment is left in which it runs and no file says so. The outer shell ends at once, so that nobody has to wait
# for the process, and Ctrl-C in our terminal is not for it.
_BECOME = 'read -r line </proc/$$/stat && echo "$line" >"$0" && exec "$@"'
_LAUNCH = 'become=$1; shift; /bin/sh -c "$become" "$0" "$@" &'


@dataclass(frozen=True, slots=True)
class Running:
    """A process that runs: its pid, and when it started, in clock ticks since boot."""

    pid: int
    start_ticks: int


def launch(command: Sequence[str | Path], pid_file: Path, log: Path, cwd: Path) -> None:
    """Start a command in a session of its own; its output is appended to `log`, `pid_file` tells of it.

    Raises:  OSError when a file cannot be written.
    """
    pid_file.unlink(missing_ok=True)
    with log.open("ab") as output:
        subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", _LAUNCH, pid_file, _BECOME, *command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            check=True,
        )


def find(pid_file: Path, argument: str) -> Running | None:
    """Return the process that a pid file tells of, if it still runs.

    It is the same process when it started at the same moment and `argument` stands in its command line.
    """
    process = told(pid_file)
    if process is None or not alive(process):
        return None
    with contextlib.suppress(OSError):
        if argument.encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0"):
            return process
    return None


def told(pid_file: Path) -> Running | None:
    """Return the process that a pid file tells of, whether or not it still runs. None when it tells of none."""
    try:
        return parse(pid_file.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None


def alive(process: Running) -> bool:
    """Whether it runs, or is stopped: a zombie does not."""
    try:
        line = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return parse(line) == process and _fields(line)[0] not in "ZX"


def parse(line: str) -> Running | None:
    """Read pid and start time from a line of /proc/PID/stat (proc_pid_stat(5), fields 1 and 22). Pure.

    >>> parse("7 (a (b) c) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0")
    Running(pid=7, start_ticks=4242)
    >>> parse("")
    """
    try:
        return Running(int(line.split(" ", 1)[0]), int(_fields(line)[19]))
    except (ValueError, IndexError):
        return None


def _fields(line: str) -> list[str]:
    """The fields from the third on: the second is a name in brackets that may hold anything."""
    return line.rpartition(")")[2].split()


def send(process: Running, number: signal.Signals) -> None:
    """Signal it; one that is gone takes no harm."""
    if alive(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def ended(process: Running, patience_s: float) -> bool:
    """Wait for its end, and tell whether it came."""
    deadline_s = time.monotonic() + patience_s
    while alive(process):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True
