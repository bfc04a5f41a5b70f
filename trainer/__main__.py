"""The process that trains: `python -m trainer WORK`, started by `trainer.child` and by nobody else.

It dies with the process that started it. Where several GPUs are to be used it becomes the launcher of one process each.
"""

import os
import sys
from pathlib import Path

from sandbox.linux import die_with_parent
from stream.errors import Fatal
from trainer.events import Said, encode
from trainer.work import Work

EXIT_DEFECT = 70  # of sysexits.h: internal software error
ERROR_CHARS = 4_000


def main(out: Path) -> int:
    """Do the job of the training that publishes to `out`; return the exit code."""
    events = os.dup(1)
    os.dup2(2, 1)  # a library that prints must not be taken for us
    first = int(os.environ.get("RANK", "0")) == 0

    def say(said: Said) -> None:
        if first:
            os.write(events, encode(said))

    try:
        from trainer.finetune import launch, run

        launch.several(Work(out), events)
        run.run(Work(out), say)
    except Fatal as err:
        say(Said(str(err)[:ERROR_CHARS], failed=err.exit_code))
        return err.exit_code
    return 0


if __name__ == "__main__":
    parent = os.getppid()
    die_with_parent()
    if os.getppid() != parent:
        sys.exit(EXIT_DEFECT)  # it was gone before we asked
    sys.exit(main(Path(sys.argv[1])))
