"""Watch a program run: its time, its output, its end. Pid 1 of its namespace, in the sandboxed interpreter."""

import os
import select
import time

from sandbox import linux, program
from sandbox.wire import CANARY_TIMES, Ending, Job, Killed, Kind, allowed_wall_s, pack

_LIFELINE, _EXCHANGE = 0, 1
_SIGINT, _SIGKILL = 2, 9
_MAX_RECORD_BYTES = 16 * 1024
_CHUNK_BYTES = 64 * 1024


def serve(job: Job, launcher: int) -> None:
    """Run the job's program, and its canary if it seems to pass; write the report and end this process.

    `launcher` is a pidfd of our parent. A program can see this process as pid 1, but every signal it sends here is
    ignored by the kernel as long as it has the default action. What is raised here ends the process with a traceback
    among the faults.
    """
    linux.die_with_parent()
    if _ready(launcher):
        os._exit(1)
    linux.default_action(_SIGINT)
    endings = [_run(job, canary=False)]
    if endings[0].record == Kind.BEGUN + job.nonce + Kind.PASS:
        job.cpu_s, job.wall_s = CANARY_TIMES * job.cpu_s, CANARY_TIMES * job.wall_s
        endings.append(_run(job, canary=True))
    os.ftruncate(_EXCHANGE, 0)
    os.pwrite(_EXCHANGE, pack(endings), 0)
    os._exit(0)


def _ready(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))


class _Stream:
    """The reading end of one of the program's pipes: keeps the first bytes and counts all of them."""

    def __init__(self, fd: int, kept_bytes: int, max_bytes: int, killed: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.kept = bytearray()
        self.total_bytes = 0
        self.killed = killed  # why a program that writes more than `max_bytes` is killed
        self._kept_bytes = kept_bytes
        self._max_bytes = max_bytes

    @property
    def flooded(self) -> bool:
        return self.total_bytes > self._max_bytes

    def read(self) -> bool:
        """Take what is there, at most one chunk. Return False when there is no more now, or never will be."""
        try:
            chunk = os.read(self.fd, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        self.total_bytes += len(chunk)
        self.kept += chunk[: max(0, self._kept_bytes - len(self.kept))]
        return bool(chunk)


def _run(job: Job, *, canary: bool) -> Ending:
    pipes = [os.pipe() for _ in range(3)]
    stdout, stderr, record = (write for _, write in pipes)
    began_s = time.monotonic()
    pid = os.fork()
    if pid == 0:
        program.run(job, canary, stdout, stderr, record)
    for _, write in pipes:
        os.close(write)
    streams = [
        _Stream(pipes[0][0], job.kept_output_bytes, job.max_output_bytes, Killed.STDOUT),
        _Stream(pipes[1][0], job.kept_output_bytes, job.max_output_bytes, Killed.STDERR),
        _Stream(pipes[2][0], _MAX_RECORD_BYTES, _MAX_RECORD_BYTES, Killed.RECORD),
    ]
    killed = _watch(pid, streams, began_s, job)
    _, raw_status, usage = os.wait4(pid, 0)
    wall_s = time.monotonic() - began_s
    status = os.waitstatus_to_exitcode(raw_status)
    cpu_s = usage.ru_utime + usage.ru_stime
    for stream in streams:
        # Never waits: a descriptor the program sent to itself over a socket can hold a pipe open after its end.
        while not stream.flooded and stream.read():
            pass
        os.close(stream.fd)
        if stream.flooded and killed == Killed.NO:
            killed = stream.killed
    if killed == Killed.NO and cpu_s >= job.cpu_s:
        killed = Killed.CPU  # at the last moment, or by RLIMIT_CPU
    out, err, told = (bytes(stream.kept) for stream in streams)
    return Ending(killed, status, cpu_s, wall_s, told, out, err)


def _watch(pid: int, streams: list[_Stream], began_s: float, job: Job) -> int:
    """Read the program's pipes until it ends, or kill it when it may not go on; return why it was killed."""
    cpu_clock = (~pid << 3) | 2  # CPUCLOCK_SCHED of a process: clock_getcpuclockid(3)
    cores = len(os.sched_getaffinity(0))
    process = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(process, select.POLLIN)
    poller.register(_LIFELINE, 0)  # its hang-up is told in any case
    by_fd = {stream.fd: stream for stream in streams}
    for fd in by_fd:
        poller.register(fd, select.POLLIN)
    killed = Killed.NO
    ended = False
    while not ended and killed == Killed.NO:
        cpu_s = time.clock_gettime(cpu_clock)
        cpu_left_s = job.cpu_s - cpu_s
        wall_left_s = began_s + allowed_wall_s(job.wall_s, cpu_s) - time.monotonic()
        if cpu_left_s <= 0:
            killed = Killed.CPU
        elif wall_left_s <= 0:
            killed = Killed.WALL
        else:
            # CPU time passes at most `cores` times as fast as wall time, so this never wakes too late.
            wait_s = max(0.002, min(wall_left_s, cpu_left_s / cores))
            for fd, _ in poller.poll(wait_s * 1000):
                if fd == process:
                    ended = True
                elif fd == _LIFELINE:
                    os._exit(1)  # the host is gone or wants us gone; the kernel kills what is left
                elif not by_fd[fd].read():
                    poller.unregister(fd)
                elif by_fd[fd].flooded:
                    killed = by_fd[fd].killed
    if killed != Killed.NO:
        os.kill(pid, _SIGKILL)
    os.close(process)
    return killed
