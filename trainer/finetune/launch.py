"""One process for each GPU."""

import os
import sys

from trainer.finetune.libraries import torch
from trainer.work import Work

_LAUNCHED = "SEEDSTREAM_LAUNCHED"


def several(work: Work, stdout: int) -> None:
    """Become the launcher of several processes where the job asks for them, or where several GPUs are to be seen;
    return in each of these, and where one process will do. `stdout` is what they say goes to.
    """
    if _LAUNCHED in os.environ:
        return
    train = work.job().train
    count = train.gpus or max(1, torch.cuda.device_count())
    if count == 1 and train.accelerate is None:
        return
    os.dup2(stdout, 1)
    os.environ[_LAUNCHED] = "1"
    this = ("-m", "trainer", str(work.out))
    if train.accelerate is None:
        launcher = ("torch.distributed.run", "--standalone", f"--nproc-per-node={count}")
    else:
        launcher = ("accelerate.commands.launch", "--config_file", train.accelerate, "--num_processes", str(count))
    os.execv(sys.executable, [sys.executable, "-m", *launcher, *this])  # noqa: S606 - keeps its parent's death signal
