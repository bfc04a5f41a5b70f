"""What transformers' trainer calls as it goes: to tell how the training goes, and to save at the right moment."""

import math
import os
from collections.abc import Callable
from typing import Any

from trainer.events import Said, TrainingFailed
from trainer.finetune import checkpoints
from trainer.finetune.libraries import torch, transformers
from trainer.work import Work


class Reporter(transformers.TrainerCallback):
    """Tells each step. Only the first of several processes has one."""

    def __init__(self, work: Work, say: Callable[[Said], None]) -> None:
        self._work = work
        self._say = say

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._say(Said("training", state.global_step, state.max_steps))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        logs = logs or {}
        name = "loss" if "loss" in logs else "eval_loss"
        if name not in logs:
            return
        loss = float(logs[name])
        if not math.isfinite(loss):
            raise TrainingFailed(f"the loss is {loss} at step {state.global_step}: try a lower learning_rate")
        if name == "loss":
            self._say(Said("training", state.global_step, state.max_steps, loss))
        else:
            self._say(Said(f"held-out loss {loss:.4f}", state.global_step, state.max_steps))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        checkpoints.complete(self._work.checkpoints, state.global_step)


class Saving(transformers.TrainerCallback):
    """When a checkpoint is saved, and is whole; in each of the processes, before their Reporter.

    One that falls on the end of an epoch is put off until the evaluation there is over. Saved before it, as
    transformers does, a resumed training would lack that evaluation, and what it took from the random numbers.
    """

    def __init__(self) -> None:
        self._put_off = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._put_off = control.should_save and float(state.epoch).is_integer()
        control.should_save = control.should_save and not self._put_off

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_save = self._put_off

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # each has written its part


def is_first() -> bool:
    """Whether this process is the first, or the only one, of those that train together."""
    return int(os.environ.get("RANK", "0")) == 0
