"""Runs a command and sees that nothing of it outlives its owner: `python guard.py OWNER_PID COMMAND…`.

vLLM is several processes; when the first of them is killed the others stay, with all their memory. So the guard takes
in whatever is orphaned below it, and ends it all when the command ends, when it is told to, or when its owner is gone,
however that came. It is killed itself: the command dies with it, and the owner ends the rest, which is the guard's
process group.

Standard library only, and nothing of seedstream: it starts in a bare interpreter. Exits with the command's code, or
128 + the signal that ended it.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_S = 5.0
"""How long the command may take to end when told to."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_WOKEN_BY = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_libc = ctypes.CDLL(None)


def main(arguments: list[str]) -> int:
    owner, command = int(arguments[0]), arguments[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, _WOKEN_BY)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != owner:  # it was gone before we asked to be told
        return 128 + signal.SIGTERM
    me = os.getpid()
    try:
        # One thread, and nothing is held that the new process could wait for.
        child = subprocess.Popen(command, preexec_fn=lambda: _die_with(me))  # noqa: PLW1509, S603
    except OSError as err:
        print(f"{command[0]} cannot be started: {err.strerror}", file=sys.stderr)
        return 127
    code = _wait(child.pid)
    _end_all()
    return code


def _die_with(parent: int) -> None:
    """In the new process: be killed with the guard."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WOKEN_BY)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def _wait(child: int) -> int:
    """Wait for the command, or for word to stop: then it gets a while to end by itself. Return its exit code."""
    deadline_s: float | None = None
    while True:
        left_s = None if deadline_s is None else deadline_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            return 128 + signal.SIGKILL
        woken = signal.sigwaitinfo(_WOKEN_BY) if left_s is None else signal.sigtimedwait(_WOKEN_BY, left_s)
        if woken is not None and woken.si_signo != signal.SIGCHLD and deadline_s is None:
            deadline_s = time.monotonic() + GRACE_S
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        for pid, code in _reap():
            if pid == child:
                return code if code >= 0 else 128 - code


def _reap() -> list[tuple[int, int]]:
    """Collect the children that have ended, the orphans taken in among them: pid, and exit code or minus a signal."""
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append((pid, os.waitstatus_to_exitcode(status)))


def _end_all() -> None:
    """Kill every descendant. Those of a killed child become children of ours, so the end is when there are none."""
    me = os.getpid()
    while children := Path(f"/proc/{me}/task/{me}/children").read_text(encoding="ascii").split():
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
