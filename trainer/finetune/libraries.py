"""The border to the libraries of training, which carry no types that a strict checker can use."""

import importlib
from typing import Any

torch: Any = importlib.import_module("torch")
transformers: Any = importlib.import_module("transformers")
datasets: Any = importlib.import_module("datasets")
safetensors: Any = importlib.import_module("safetensors")
hub: Any = importlib.import_module("huggingface_hub")
trl: Any = importlib.import_module("trl")

datasets.disable_progress_bars()
transformers.utils.logging.disable_progress_bar()


def versions() -> dict[str, str]:
    """Return the versions that a checkpoint was trained with."""
    return {module.__name__: str(module.__version__) for module in (torch, transformers, trl)}
