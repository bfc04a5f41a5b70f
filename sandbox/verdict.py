"""What became of a program. A verdict is about the program; an exception is about us."""

import re
import signal
from dataclasses import dataclass
from enum import StrEnum

from sandbox.wire import Ending, Killed, Kind

DETAIL_CHARS = 2000


class Verdict(StrEnum):
    """How a program ended. Only `PASS` says that it did what its assertions ask."""

    PASS = "pass"  # noqa: S105 - reached its end, with at least one assertion reached, and a canary failed
    ASSERTION = "assertion"  # an AssertionError left the module
    EXCEPTION = "exception"  # any other exception left the module
    SYNTAX_ERROR = "syntax_error"  # does not compile
    TIMEOUT = "timeout"  # used up its CPU time, or slept for too long
    OOM = "oom"  # a MemoryError left the module
    EARLY_EXIT = "early_exit"  # the process ended before the module did, whatever its exit code
    OUTPUT_LIMIT = "output_limit"  # wrote too much to stdout or stderr
    CRASH = "crash"  # killed by a signal: a segmentation fault, an abort
    NO_TESTS = "no_tests"  # no assertion, none passed, or one that fails goes unnoticed


class Tier(StrEnum):
    """What a run was confined by. Named in every result, since not every tier bounds the same things."""

    NAMESPACES = "namespaces"


class SandboxBroken(Exception):  # noqa: N818 - the name says what happened
    """The sandbox failed, not the program. Raised after one more try; never written down as a verdict."""


class SandboxRefused(SandboxBroken):
    """This machine lets no sandbox start. One line names the setting or capability that is missing."""


@dataclass(frozen=True, slots=True)
class Result:
    """One program's verdict.

    `cpu_s` and `wall_s` are those of the program's own run, without the canary. `stdout` and `stderr` are the first
    `kept_output_bytes` of each, decoded as UTF-8 with replacement. `detail` says why, at most 2,000 characters and
    free of addresses, so equal programs give equal details; "" for a pass.
    """

    verdict: Verdict
    cpu_s: float
    wall_s: float
    stdout: str
    stderr: str
    detail: str
    tier: Tier


def judge(run: Ending, canary: Ending | None, nonce: bytes) -> tuple[Verdict, str]:
    """Return the verdict and its detail from what was seen of the run, and of its canary when there was one. Pure.

    Raises:  SandboxBroken when the endings show a fault of ours.
    """
    verdict, detail = _ending(run, nonce)
    if verdict is Verdict.PASS:
        if canary is None:
            raise SandboxBroken("a program passed and its canary was not run")
        told, _ = _ending(canary, nonce)
        if told is Verdict.PASS:
            return Verdict.NO_TESTS, "no assertion was passed, or a failing one goes unnoticed"
        if told is not Verdict.ASSERTION:
            return Verdict.NO_TESTS, f"with a failing assertion at its end it gave {told}, not {Verdict.ASSERTION}"
    return verdict, _steady(detail)


_KINDS = {
    Kind.PASS: Verdict.PASS,
    Kind.ASSERTION: Verdict.ASSERTION,
    Kind.EXCEPTION: Verdict.EXCEPTION,
    Kind.MEMORY: Verdict.OOM,
    Kind.EXIT: Verdict.EARLY_EXIT,
    Kind.SYNTAX: Verdict.SYNTAX_ERROR,
    Kind.NO_TESTS: Verdict.NO_TESTS,
}

_KILLED = {
    Killed.CPU: (Verdict.TIMEOUT, "used up its CPU time"),
    Killed.WALL: (Verdict.TIMEOUT, "used up its wall time"),
    Killed.STDOUT: (Verdict.OUTPUT_LIMIT, "wrote too much to stdout"),
    Killed.STDERR: (Verdict.OUTPUT_LIMIT, "wrote too much to stderr"),
    Killed.RECORD: (Verdict.OUTPUT_LIMIT, "wrote too much to a pipe that is not its own"),
}


def _ending(ending: Ending, nonce: bytes) -> tuple[Verdict, str]:
    """What one run alone shows. The exit code is looked at last and never means a pass."""
    if not ending.record.startswith(Kind.BEGUN):
        lines = ending.stderr.decode("utf-8", "replace").strip().splitlines() or [f"status {ending.status}"]
        raise SandboxBroken(f"a program could not be confined: {lines[-1]}")
    if ending.killed != Killed.NO:
        return _KILLED[ending.killed]
    if ending.status == -9:  # a program is not allowed to send itself SIGKILL, and the supervisor did not
        raise SandboxBroken("a run was killed from outside the sandbox: most likely the machine is out of memory")
    if ending.status < 0:
        return Verdict.CRASH, f"killed by {_signal_name(-ending.status)}"
    told = ending.record.removeprefix(Kind.BEGUN)
    kind, text = told[len(nonce) : len(nonce) + 1], told[len(nonce) + 1 :].decode("utf-8", "replace")
    if told.startswith(nonce) and kind in _KINDS and (kind != Kind.PASS or not text):
        return _KINDS[kind], text
    what = "wrote to a pipe that is not its own, and ended" if told else "the process ended before its module"
    return Verdict.EARLY_EXIT, f"{what}, exit code {ending.status}"


def _signal_name(number: int) -> str:
    """The name of a signal; real-time signals have none of their own.

    >>> _signal_name(11), _signal_name(40)
    ('SIGSEGV', 'signal 40')
    """
    known = {s.value: s.name for s in signal.Signals}
    return known.get(number, f"signal {number}")


_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")


def _steady(detail: str) -> str:
    """The last characters of a detail, without what differs between two runs of one program.

    >>> _steady("<object object at 0x7f43ac1b2a30>")
    '<object object at 0x…>'
    """
    return _ADDRESS.sub("0x…", detail.replace("\0", "�")).rstrip()[-DETAIL_CHARS:]
