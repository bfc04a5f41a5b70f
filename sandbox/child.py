"""What the sandboxed interpreter runs: `python -S -s -P child.py`, by path, with three descriptors.

    0  lifeline: a pipe whose other end the host holds; when it closes, everything here ends
    1  exchange: a memory file that holds the job, and the report when we are done
    2  faults: a memory file; what we fail with is written there

Three processes: the launcher (this one) makes the namespaces; its child is pid 1 in them and supervises; the program
is a child of that. When pid 1 ends the kernel kills all that is left of the namespace.
"""

import os
import sys


def main() -> None:
    # The package without its __init__, which imports asyncio: 40 ms that no program needs.
    package = type(sys)("sandbox")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120 - pathlib costs 10 ms
    sys.modules["sandbox"] = package
    from sandbox import linux, namespaces, supervise
    from sandbox.wire import Job

    job = Job.unpack(os.pread(1, os.fstat(1).st_size, 0))
    namespaces.enter(job)
    linux.die_with_parent()  # only now: changing ids undoes it
    if os.getppid() != job.host_pid:
        os._exit(1)
    launcher = os.pidfd_open(os.getpid())
    supervisor = os.fork()
    if supervisor == 0:
        supervise.serve(job, launcher)
    _, status = os.waitpid(supervisor, 0)
    os._exit(0 if status == 0 else 1)


if __name__ == "__main__":
    main()
