"""Hyper-parameters in the words of transformers and trl."""

import os
from pathlib import Path
from typing import Any

from stream.errors import WrongConfig
from trainer.finetune.libraries import torch, trl
from trainer.hyperparameters import Train

OPTIMIZERS = {"adafactor": "adafactor", "adamw": "adamw_torch", "rmsprop": "rmsprop"}


def arguments(train: Train, checkpoints: Path, evaluated: bool, resumed: bool) -> Any:
    """Return the arguments of trl's trainer for this method.

    Raises:  WrongConfig when a batch cannot be shared among the GPUs, or a GPU knows no bf16.
    """
    common = _common(train, checkpoints)
    if evaluated:
        common |= {"eval_strategy": "epoch", "eval_on_start": not resumed}
    if train.method == "dpo":
        return trl.DPOConfig(**common, beta=train.beta, max_length=None, disable_dropout=train.dropout == 0)
    # Packed by best fit, with positions that begin anew at each example: that is what keeps attention inside it. What
    # is longer than a pack was left out before.
    return trl.SFTConfig(
        **common, packing=train.pack_to is not None, packing_strategy="bfd", max_length=train.pack_to,
        eval_packing=False, completion_only_loss=False,
    )  # fmt: skip


def _common(train: Train, checkpoints: Path) -> dict[str, Any]:
    on_gpu = torch.cuda.is_available()
    if on_gpu and train.precision != "fp32" and not torch.cuda.is_bf16_supported():
        raise WrongConfig('precision: this GPU knows no bf16; set precision = "fp32"')
    return {
        "output_dir": str(checkpoints),
        "learning_rate": train.learning_rate,
        "optim": OPTIMIZERS[train.optimizer],
        "adam_beta1": train.betas[0],
        "adam_beta2": train.betas[1],
        "adam_epsilon": train.epsilon,
        "weight_decay": train.weight_decay,
        "lr_scheduler_type": train.schedule,
        "warmup_steps": train.warmup_ratio,  # under 1 it is a ratio
        "num_train_epochs": train.epochs,
        "per_device_train_batch_size": train.micro_batch,
        "per_device_eval_batch_size": train.micro_batch,
        "gradient_accumulation_steps": accumulation(train, int(os.environ.get("WORLD_SIZE", "1"))),
        "max_grad_norm": train.clip_norm,
        "bf16": train.precision != "fp32",
        "gradient_checkpointing": train.gradient_checkpointing,
        "seed": train.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is no number ends the training: see `reporter`
        "save_steps": train.checkpoint_steps,
        "save_total_limit": None,  # the old ones go once the new one is whole: see `checkpoints`
        "use_cpu": not on_gpu,
        "report_to": "none",
        "disable_tqdm": True,
    }


def accumulation(train: Train, processes: int) -> int:
    """Return how many micro-batches a process adds up for one optimizer step.

    Raises:  WrongConfig when they do not come out even.
    """
    at_once = train.micro_batch * processes
    if train.batch % at_once:
        raise WrongConfig(
            f"batch ({train.batch}) must be a multiple of micro_batch x GPUs ({train.micro_batch} x {processes})"
        )
    return train.batch // at_once
