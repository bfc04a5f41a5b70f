"""What the host and the sandboxed interpreter tell each other.

Imported on both sides. The sandboxed side starts anew for every program, and `dataclasses`, `typing`, `enum`, `json`
or `collections` would each cost it 1 to 16 ms of CPU, so here and in the other files it imports there are none of them.
"""

import marshal
import struct

CANARY_TIMES = 2.0
"""What a canary may take of the limits on time: it notes each assertion. The run alone decides what is too slow."""

LEAST_SHARE = 32.0
"""A program that gets a 32nd of a processor or more never meets the limit on wall time while it computes: for each
second of CPU time that it has used it may take this many seconds more. A busy machine then gives the same verdicts."""


def allowed_wall_s(wall_s: float, cpu_s: float) -> float:
    """Return how long a run may last that has used `cpu_s` seconds of CPU time. Pure.

    What sleeps ends after `wall_s`; what computes ends at its limit on CPU time first.

    >>> allowed_wall_s(7.0, 0.0), allowed_wall_s(7.0, 2.0)
    (7.0, 71.0)
    """
    return wall_s + LEAST_SHARE * cpu_s


class Kind:
    """What a program's own record says: `BEGUN` once it is confined, then the nonce of the run and how it ended.

    Without `BEGUN` the program never ran, and its ending is a fault of ours.
    """

    BEGUN = b"+"
    PASS = b"P"  # fell out of the end of the module; nothing follows
    ASSERTION = b"A"  # the rest of the record is text for people, and the program may have forged it
    EXCEPTION = b"E"
    MEMORY = b"M"
    EXIT = b"X"
    SYNTAX = b"C"
    NO_TESTS = b"N"


class Killed:
    """Why the supervisor killed a program."""

    NO, CPU, WALL, STDOUT, STDERR, RECORD = range(6)


class Ending:
    """What the supervisor saw of one run. No verdict: that is decided on the host, from this alone."""

    __slots__ = ("cpu_s", "killed", "record", "status", "stderr", "stdout", "wall_s")

    def __init__(
        self, killed: int, status: int, cpu_s: float, wall_s: float, record: bytes, stdout: bytes, stderr: bytes
    ) -> None:
        self.killed = killed
        self.status = status  # exit code, or minus the signal
        self.cpu_s = cpu_s
        self.wall_s = wall_s
        self.record = record
        self.stdout = stdout
        self.stderr = stderr


_HEAD = struct.Struct("<iiddIII")


def pack(endings: list[Ending]) -> bytes:
    """Write a report: the run's ending, then that of its canary where there was one."""
    return b"".join(
        _HEAD.pack(e.killed, e.status, e.cpu_s, e.wall_s, len(e.record), len(e.stdout), len(e.stderr))
        + e.record
        + e.stdout
        + e.stderr
        for e in endings
    )


def unpack(report: bytes) -> list[Ending]:
    """Read a report.

    >>> [e.stdout for e in unpack(pack([Ending(0, 0, 0.1, 0.2, b"nonceP", b"out", b"")]))]
    [b'out']
    >>> unpack(b"torn")
    Traceback (most recent call last):
    ...
    ValueError: a report of 4 bytes is torn

    Raises:  ValueError when it is torn.
    """
    endings: list[Ending] = []
    at = 0
    while at < len(report):
        if at + _HEAD.size > len(report):
            raise ValueError(f"a report of {len(report)} bytes is torn")
        killed, status, cpu_s, wall_s, *sizes = _HEAD.unpack_from(report, at)
        at += _HEAD.size
        parts: list[bytes] = []
        for size in sizes:
            parts.append(report[at : at + size])
            at += size
        if at > len(report):
            raise ValueError(f"a report of {len(report)} bytes is torn")
        endings.append(Ending(killed, status, cpu_s, wall_s, *parts))
    return endings


class Job:
    """All that the sandboxed side is told, over a file descriptor: an argument list would be seen by the program."""

    def __init__(
        self,
        *,
        source: bytes,
        nonce: bytes,  # of this run: behind it our own harness says how the run ended
        host_pid: int,
        uid: int,  # who to become when started by root
        folders: list[str],  # bound read-only into the new root
        hidden: list[str],  # folders inside those that are covered by an empty one
        seccomp: bytes,  # the filter, as an array of struct sock_filter
        rlimits: list[tuple[int, int]],
        tmp_options: str,
        cpu_s: float,
        wall_s: float,
        kept_output_bytes: int,
        max_output_bytes: int,
    ) -> None:
        self.source = source
        self.nonce = nonce
        self.host_pid = host_pid
        self.uid = uid
        self.folders = folders
        self.hidden = hidden
        self.seccomp = seccomp
        self.rlimits = rlimits
        self.tmp_options = tmp_options
        self.cpu_s = cpu_s
        self.wall_s = wall_s
        self.kept_output_bytes = kept_output_bytes
        self.max_output_bytes = max_output_bytes

    def pack(self) -> bytes:
        return marshal.dumps(vars(self))

    @staticmethod
    def unpack(raw: bytes) -> "Job":
        """Read a job. Only the host's own bytes come here: marshal is not safe against others."""
        return Job(**marshal.loads(raw))  # noqa: S302
