"""The program itself: confine this process for good, then become it. Runs in the sandboxed interpreter.

A record on a private pipe says how it ended. It begins with this run's nonce, and that of a pass is only written by
falling out of the end of the module. Once the program has run, nothing it could have replaced decides anything: only
functions written in C and bytes, all bound before.
"""

# Not pathlib, which costs every program 10 ms of CPU:
# ruff: noqa: PTH123, PTH108

import builtins
import os
import resource
import sys
from types import CodeType

from sandbox import canary as canaries
from sandbox import linux, namespaces, unseen
from sandbox.describe import describe
from sandbox.wire import Job, Kind

FILE = "/tmp/program.py"  # noqa: S108 - on the program's own tmpfs
_RECORD = 3
_DETAIL_BYTES = 8000
_DEPTH = 3000
"""Recursion limit for a syntax tree: a program of two thousand branches is compiled without one in Python itself."""


def run(job: Job, canary: bool, stdout: int, stderr: int, record: int) -> None:
    """Become the job's program, or its canary, and end this process. Never returns.

    What is raised before `BEGUN` is written ends the process with a traceback on its stderr; the host takes that for
    what it is, a fault of ours.
    """
    _confine(job, stdout, stderr, record)
    module = _main_module(job.source)
    os.write(_RECORD, Kind.BEGUN)
    try:
        code = _compile(job.source, job.nonce if canary else None)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        # The parser raises MemoryError for what is nested too deep, whatever memory there is.
        os.write(_RECORD, job.nonce + Kind.SYNTAX + describe(error, FILE)[-_DETAIL_BYTES:])
        os._exit(0)
    if code is None:
        os.write(_RECORD, job.nonce + Kind.NO_TESTS + b"no assertion in the program")
        os._exit(0)
    _execute(code, module, job.nonce)


def _confine(job: Job, stdout: int, stderr: int, record: int) -> None:
    """Give up everything but four descriptors, an empty /tmp and the allowed system calls."""
    for fd, number in ((os.open("/dev/null", os.O_RDONLY), 0), (stdout, 1), (stderr, 2), (record, _RECORD)):
        os.dup2(fd, number)
    os.closerange(_RECORD + 1, 1024)
    os.setsid()  # kill(0, …) reaches the process group, also across pid namespaces
    namespaces.fresh_tmp(job.tmp_options)
    _write_source(job.source)
    # The kernel's backstop where the supervisor is late, in whole seconds; the supervisor decides, on fractions.
    for limit, value in (*job.rlimits, (resource.RLIMIT_CPU, int(job.cpu_s) + 1)):
        resource.setrlimit(limit, (value, value))
    linux.set_dumpable(False)
    linux.drop_capabilities()
    linux.no_new_privileges()
    linux.load_seccomp(job.seccomp)


def _write_source(source: bytes) -> None:
    """Leave the program where its tracebacks say it is: `inspect.getsource` and `traceback` read it there. One that
    does not fit runs all the same."""
    try:
        with open(FILE, "wb") as file:
            file.write(source)
    except OSError:
        os.unlink(FILE)


def _main_module(source: bytes) -> dict[str, object]:
    """Return the namespace of a new `__main__`, in an interpreter that shows nothing of us on its surface."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "sandbox"]:
        del sys.modules[name]
    sys.argv[:] = sys.orig_argv[:] = [FILE]
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the process's life
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # noqa: SIM115
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    if b"random" in source:
        import random

        random.seed(0)  # equal programs have equal outcomes; the module costs 8 ms, so only where it is named
    module = type(sys)("__main__")
    sys.modules["__main__"] = module
    module.__file__ = FILE
    namespace = module.__dict__
    namespace["__builtins__"] = builtins
    return namespace


def _compile(source: bytes, nonce: bytes | None) -> CodeType | None:
    """Return the code of the program, or with a nonce of its canary; None when it has no assertion."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(_DEPTH)
    try:
        tree = canaries.parse(source, FILE)
        if not canaries.has_assertion(tree):
            return None
        if nonce is not None:
            passed, failed = set[int](), set[int]()
            for name, mark in zip(canaries.marks(nonce), (passed, failed), strict=True):
                setattr(builtins, name, mark)
            unseen.note(failed, source)
            canaries.plant(tree, nonce)
        return compile(tree, FILE, "exec", dont_inherit=True)
    finally:
        sys.setrecursionlimit(limit)


def _execute(code: CodeType, module: dict[str, object], nonce: bytes) -> None:
    """Run the program, say how it ended, and end this process. All that decides after it is bound before it."""
    write, leave, settrace, setprofile = os.write, os._exit, sys.settrace, sys.setprofile
    execute, text_of = exec, describe
    is_a, anything, assertion, memory, leaving = isinstance, BaseException, AssertionError, MemoryError, SystemExit
    passed, failed, out_of_memory = nonce + Kind.PASS, nonce + Kind.ASSERTION, nonce + Kind.MEMORY
    left, raised = nonce + Kind.EXIT, nonce + Kind.EXCEPTION
    flush_out, flush_err = sys.stdout.flush, sys.stderr.flush
    try:
        # One expression: no line begins between the program's end and the record, so a trace function that the
        # program left behind has nowhere to jump to.
        _ = execute(code, module), settrace(None), setprofile(None), write(_RECORD, passed)
    except anything as error:
        try:
            settrace(None)
            setprofile(None)
            if is_a(error, assertion):
                write(_RECORD, failed)
            elif is_a(error, memory):
                write(_RECORD, out_of_memory)
            else:
                write(_RECORD, left if is_a(error, leaving) else raised)
            # From here the program's own code may run, in a __str__; it can spoil the text and no more.
            write(_RECORD, text_of(error, FILE)[-_DETAIL_BYTES:])
        except anything:
            pass  # the program took a descriptor or a name away: no record, and so no pass
    try:
        flush_out()
        flush_err()
    finally:
        leave(0)
