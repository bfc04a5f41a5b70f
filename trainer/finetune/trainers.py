"""trl's trainers and an optimizer of transformers, where they would do it another way than this training needs."""

from itertools import chain
from typing import Any

from trainer.finetune.libraries import torch, transformers, trl


class Preferring(trl.DPOTrainer):
    """Takes pairs as tokens. trl would make them of texts, and take a special token that a response names for one."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class Adafactor(transformers.Adafactor):
    """Goes on from a checkpoint with the state that was saved. It is in fp32 whatever the weights are in, and torch
    casts what it loads to the numbers of the weights: in bf16 a resumed training would end with other ones."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        transformers.Adafactor.load_state_dict(self, {**state_dict, "state": {}})
        numbers = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        weights = chain.from_iterable(group["params"] for group in self.param_groups)
        for number, weight in zip(numbers, weights, strict=True):
            if number in state_dict["state"]:
                saved = state_dict["state"][number]
                self.state[weight] = {name: _beside(weight, value) for name, value in saved.items()}


def _beside(weight: Any, value: Any) -> Any:
    """Return a value of the state on the device of its weight; some are numbers."""
    return value.to(device=weight.device) if isinstance(value, torch.Tensor) else value
