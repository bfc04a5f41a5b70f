"""Table [train] of a recipe or a config: how a checkpoint is trained. The defaults are StarCoder2-Instruct's.

    Source:  arXiv:2410.24198 and github.com/bigcode-project/starcoder2-self-align; where a default is ours, it says so.

Whoever names a `base` turns training on; nothing is trained without.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import orjson

from trainer import template
from trainer.trigger import Rule

Optimizer = Literal["adafactor", "adamw", "rmsprop"]
Precision = Literal["bf16", "mixed", "fp32"]


@dataclass(frozen=True, slots=True)
class Lora:
    """Table [train.lora]: train low-rank adapters (arXiv:2106.09685), which are merged into what is published."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    targets: tuple[str, ...] = ("all-linear",)  # names of modules; all-linear: each linear layer but the output
    quantized: bool = False  # the base in 4 bits (QLoRA, arXiv:2305.14314); needs bitsandbytes

    def __post_init__(self) -> None:
        _at_least("rank", self.rank, 1)
        _at_least("alpha", self.alpha, 1)
        _share("dropout", self.dropout)
        if not self.targets:
            raise ValueError("targets must name at least one module")


@dataclass(frozen=True, slots=True)
class Train:
    """The hyper-parameters of one training."""

    base: str | None = None  # a folder with a causal language model, or its name on the hub
    method: Literal["sft", "dpo"] = "sft"  # on examples; or on pairs of a passing and a failing response
    template: str = template.PUBLISHED
    optimizer: Optimizer = "adafactor"
    learning_rate: float = 1e-5
    schedule: Literal["linear", "cosine"] = "linear"
    warmup_ratio: float = 0.05  # of all steps
    epochs: float = 4.0
    batch: int = 64  # sequences an optimizer step, on all GPUs together
    micro_batch: int = 1  # published: sequences on one GPU at a time; the rest of a batch is accumulated
    max_length: int = 1_280  # tokens of prompt and response; a longer example is left out, and named
    pack_to: int | None = None  # tokens of a sequence that several examples share (Stable Code: 4,096)
    dropout: float = 0.0
    clip_norm: float = 0.0  # of the gradient; 0: no clipping
    weight_decay: float = 0.0
    betas: tuple[float, ...] = (0.9, 0.999)  # adamw alone; Stable Code: .9, .95
    epsilon: float = 1e-8  # adamw alone; Stable Code: 1e-6
    beta: float = 0.1  # dpo alone: how far the policy is held to its reference
    precision: Precision = "bf16"  # published: weights in bf16. mixed: weights in fp32, arithmetic in bf16
    gradient_checkpointing: bool = False  # less memory, about a fifth slower
    lora: Lora | None = None
    held_out: float = 0.0  # ours: share of the examples, drawn by id, that is not trained on but measured
    seed: int = 3407
    # How the work is done; neither decides what is learned.
    checkpoint_steps: int = 100  # optimizer steps between two checkpoints to resume from
    gpus: int = 0  # one process each; 0: all that are visible
    accelerate: str | None = None  # a config file of accelerate: FSDP, DeepSpeed
    trigger: Rule = field(default_factory=Rule)

    def __post_init__(self) -> None:
        template.parse(self.template)
        for name in ("learning_rate", "epochs", "epsilon", "beta"):
            _above_zero(name, getattr(self, name))
        for name in ("warmup_ratio", "dropout", "held_out"):
            _share(name, getattr(self, name))
        for name in ("clip_norm", "weight_decay"):
            _at_least(name, getattr(self, name), 0)
        for name in ("batch", "micro_batch", "max_length", "checkpoint_steps"):
            _at_least(name, getattr(self, name), 1)
        _at_least("gpus", self.gpus, 0)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must be two numbers from 0 to under 1")
        if self.batch % self.micro_batch:
            raise ValueError(f"batch ({self.batch}) must be a multiple of micro_batch ({self.micro_batch})")
        if self.pack_to is not None and self.pack_to < self.max_length:
            raise ValueError(f"pack_to ({self.pack_to}) must not be less than max_length ({self.max_length})")
        if self.pack_to is not None and self.method == "dpo":
            raise ValueError("pack_to: preference pairs (method = dpo) are not packed")

    def canonical(self) -> str:
        """Return equal text for trainings that learn the same."""
        told = {k: v for k, v in msgspec.to_builtins(self).items() if k not in ("base", *_TUNING)}
        return orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()


_TUNING = ("checkpoint_steps", "gpus", "accelerate", "trigger")


def _above_zero(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be above 0, got {value:g}")


def _at_least(name: str, value: float, least: int) -> None:
    if not (value >= least and math.isfinite(value)):
        raise ValueError(f"{name} must be at least {least}, got {value:g}")


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be from 0 to under 1, got {value:g}")
