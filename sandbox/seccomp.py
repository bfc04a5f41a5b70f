"""The system-call filter of a program, as classic BPF.

An allow-list: a call that is not named here fails with EPERM, so what a later kernel adds is shut until someone opens
it. Threads are allowed and processes are not, which makes every bound on the process a bound on the run.

Source: seccomp(2); the numbers are those of the kernel's asm/unistd_64.h and asm-generic/unistd.h.
"""

import errno
import struct
from collections.abc import Iterable
from dataclasses import dataclass

# name, number on x86_64, number on aarch64 ("-": the call does not exist there, libc uses a newer one)
_ALLOWED = """
read 0 63, write 1 64, open 2 -, close 3 57, stat 4 -, fstat 5 80, lstat 6 -, poll 7 -, lseek 8 62, mmap 9 222,
mprotect 10 226, munmap 11 215, brk 12 214, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139,
pread64 17 67, pwrite64 18 68, readv 19 65, writev 20 66, access 21 -, pipe 22 -, select 23 -, sched_yield 24 124,
mremap 25 216, msync 26 227, mincore 27 232, madvise 28 233, dup 32 23, dup2 33 -, pause 34 -, nanosleep 35 101,
getitimer 36 102, alarm 37 -, setitimer 38 103, getpid 39 172, sendfile 40 71, sendto 44 206, recvfrom 45 207,
sendmsg 46 211, recvmsg 47 212, shutdown 48 210, getsockname 51 204, getpeername 52 205, setsockopt 54 208,
getsockopt 55 209, exit 60 93, wait4 61 260, uname 63 160, flock 73 32, fsync 74 82, fdatasync 75 83, truncate 76 45,
ftruncate 77 46, getdents 78 -, getcwd 79 17, chdir 80 49, fchdir 81 50, rename 82 -, mkdir 83 -, rmdir 84 -,
creat 85 -, link 86 -, unlink 87 -, symlink 88 -, readlink 89 -, chmod 90 -, fchmod 91 52, umask 95 166,
gettimeofday 96 169, getrlimit 97 163, getrusage 98 165, sysinfo 99 179, times 100 153, getuid 102 174, getgid 104 176,
geteuid 107 175, getegid 108 177, getppid 110 173, getpgrp 111 -, getgroups 115 158, getresuid 118 148,
getresgid 120 150, getpgid 121 155, getsid 124 156, rt_sigpending 127 136, rt_sigtimedwait 128 137,
rt_sigsuspend 130 133, sigaltstack 131 132, utime 132 -, statfs 137 43, fstatfs 138 44, getpriority 140 141,
sched_getparam 143 121, sched_getscheduler 145 120, sched_get_priority_max 146 125, sched_get_priority_min 147 126,
sched_rr_get_interval 148 127, gettid 186 178, getxattr 191 8, lgetxattr 192 9, fgetxattr 193 10, listxattr 194 11,
llistxattr 195 12, flistxattr 196 13, time 201 -, futex 202 98, sched_getaffinity 204 123, epoll_create 213 -,
getdents64 217 61, set_tid_address 218 96, restart_syscall 219 128, fadvise64 221 223, clock_gettime 228 113,
clock_getres 229 114, clock_nanosleep 230 115, exit_group 231 94, epoll_wait 232 -, epoll_ctl 233 21, utimes 235 -,
waitid 247 95, openat 257 56, mkdirat 258 34, newfstatat 262 79, unlinkat 263 35, renameat 264 38, linkat 265 37,
symlinkat 266 36, readlinkat 267 78, fchmodat 268 53, faccessat 269 48, pselect6 270 72, ppoll 271 73,
set_robust_list 273 99, get_robust_list 274 100, utimensat 280 88, epoll_pwait 281 22, timerfd_create 283 85,
eventfd 284 -, fallocate 285 47, timerfd_settime 286 86, timerfd_gettime 287 87, eventfd2 290 19, epoll_create1 291 20,
dup3 292 24, pipe2 293 59, preadv 295 69, pwritev 296 70, getcpu 309 168, renameat2 316 276, getrandom 318 278,
membarrier 324 283, copy_file_range 326 285, preadv2 327 286, pwritev2 328 287, statx 332 291, rseq 334 293,
close_range 436 436, faccessat2 439 439, epoll_pwait2 441 441, futex_waitv 449 449
"""

# Allowed by their arguments alone, in `build`.
_JUDGED = """
ioctl 16 29, socketpair 53 199, clone 56 220, kill 62 129, fcntl 72 25, prctl 157 167, tkill 200 130, tgkill 234 131,
prlimit64 302 261, clone3 435 435
"""

SYSCALLS = ("x86_64", "aarch64")
"""The machines there is a table for, in the order of its columns."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _JUMP, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x05, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_NUMBER, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data

CLONE_THREAD = 0x00010000
CLONE_NEW_ANY = 0x7E020080  # every CLONE_NEW* flag


@dataclass(frozen=True, slots=True)
class _Op:
    code: int
    value: int
    if_true: int = 0  # instructions to skip
    if_false: int = 0


def _numbers(table: str, machine: str) -> dict[str, int]:
    column = 1 + SYSCALLS.index(machine)
    rows = [row.split() for row in table.split(",")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def _deny(error: int) -> _Op:
    return _Op(_RETURN, 0x00050000 | error)


def _argument(index: int) -> _Op:
    """Load the low half of an argument. The kernel reads no more than that of those we judge."""
    return _Op(_LOAD, _ARGS + 8 * index)


def _only(number: int, body: Iterable[_Op]) -> list[_Op]:
    """`body`, entered only for one call. It must end in a return; behind it the call's number is still loaded."""
    ops = list(body)
    return [_Op(_EQUAL, number, 0, len(ops)), *ops]


def _one_of(index: int, values: Iterable[int], error: int) -> list[_Op]:
    """Allow a call whose argument is one of a few values."""
    ops = [_argument(index)]
    for value in values:
        ops += [_Op(_EQUAL, value, 0, 1), _Op(_RETURN, _ALLOW)]
    return [*ops, _deny(error)]


def _none_of(index: int, values: Iterable[int], error: int) -> list[_Op]:
    """Allow a call unless its argument is one of a few values."""
    ops = [_argument(index)]
    for value in values:
        ops += [_Op(_EQUAL, value, 0, 1), _deny(error)]
    return [*ops, _Op(_RETURN, _ALLOW)]


def build(machine: str) -> bytes:
    """Return the filter as an array of struct sock_filter, 8 bytes each.

    A program may not send itself SIGKILL by any way left open here (kill, F_SETSIG, a lower RLIMIT_CPU), so that a
    SIGKILL the supervisor did not send is known to come from outside: the machine ran out of memory.

    Raises:  ValueError for a machine without a table.
    """
    if machine not in SYSCALLS:
        raise ValueError(f"no system-call table for {machine}: expected {' or '.join(SYSCALLS)}")
    judged = _numbers(_JUDGED, machine)
    thread_only = [
        _argument(0),
        _Op(_ANY_BIT, CLONE_NEW_ANY, 2, 0),
        _Op(_ANY_BIT, CLONE_THREAD, 0, 1),
        _Op(_RETURN, _ALLOW),
        _deny(errno.EPERM),
    ]
    own_limits = [
        _argument(0),
        _Op(_EQUAL, 0, 1, 0),
        _deny(errno.EPERM),  # another process's
        _argument(2),
        _Op(_EQUAL, 0, 0, 3),  # reading: the new limit is a null pointer, in both halves
        _Op(_LOAD, _ARGS + 8 * 2 + 4),
        _Op(_EQUAL, 0, 0, 1),
        _Op(_RETURN, _ALLOW),
        *_none_of(1, (0,), errno.EPERM),  # RLIMIT_CPU
    ]
    ops = [
        _Op(_LOAD, _ARCH),
        _Op(_EQUAL, _AUDIT_ARCH[machine], 1, 0),
        _Op(_RETURN, _KILL),
        _Op(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        ops += [
            _Op(_AT_LEAST, 0x40000000, 0, 1),
            _Op(_RETURN, _KILL),
        ]  # the x32 calls are the same ones by other numbers
    for number in _numbers(_ALLOWED, machine).values():
        ops += [_Op(_EQUAL, number, 0, 1), _Op(_RETURN, _ALLOW)]
    ops += _only(judged["clone"], thread_only)
    ops += _only(judged["clone3"], [_deny(errno.ENOSYS)])  # its flags are out of reach; libc then calls clone
    ops += _only(judged["socketpair"], _one_of(0, (1,), errno.EPERM))  # AF_UNIX: asyncio wakes itself with one
    # TCGETS, FIONBIO, FIONREAD, FIONCLEX, FIOCLEX
    ops += _only(judged["ioctl"], _one_of(1, (0x5401, 0x5421, 0x541B, 0x5450, 0x5451), errno.ENOTTY))
    ops += _only(judged["prctl"], _one_of(0, (3, 15, 16), errno.EPERM))  # PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME
    ops += _only(judged["fcntl"], _none_of(1, (10,), errno.EPERM))  # F_SETSIG
    ops += _only(judged["prlimit64"], own_limits)
    for name, signal_argument in (("kill", 1), ("tkill", 1), ("tgkill", 2)):
        ops += _only(judged[name], _none_of(signal_argument, (9,), errno.EPERM))
    ops.append(_deny(errno.EPERM))
    return b"".join(struct.pack("=HBBI", op.code, op.if_true, op.if_false, op.value) for op in ops)
