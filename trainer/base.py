"""What can be seen of a base model, and of what training needs, before any heavy package is imported."""

import importlib.util
from pathlib import Path
from typing import Any, cast

import orjson

from stream.errors import DependencyDown, WrongConfig
from trainer.hyperparameters import Train

CAUSAL = ("ForCausalLM", "LMHeadModel")
PACKAGES = ("torch", "transformers", "trl", "datasets", "accelerate", "matplotlib")


def check(train: Train) -> None:
    """See that training is possible as far as can be told at once.

    Raises:  DependencyDown for a missing package, naming the command that installs it; as `check_folder`.
    """
    extra = [("peft", "'seedstream[train]'")] if train.lora else []
    if train.lora and train.lora.quantized:
        extra.append(("bitsandbytes", "bitsandbytes"))
    for package, install in (*((name, "'seedstream[train]'") for name in PACKAGES), *extra):
        if importlib.util.find_spec(package) is None:
            raise DependencyDown(f"training needs {package}, which is not installed: pip install {install}")
    if train.accelerate is not None and not Path(train.accelerate).is_file():
        raise WrongConfig(f"accelerate: there is no file {train.accelerate}")
    if train.base is None:
        raise WrongConfig("no base model is named: give --base, or base in the table [train]")
    if Path(train.base).is_dir():
        check_folder(Path(train.base))
    elif train.base.startswith((".", "/", "~")) or train.base.count("/") > 1:
        raise WrongConfig(f"base {train.base}: there is no such folder")


def check_folder(folder: Path) -> None:
    """See that a folder holds a causal language model, by its configuration alone.

    Raises:  WrongConfig.
    """
    try:
        read: Any = orjson.loads((folder / "config.json").read_bytes())
    except FileNotFoundError as err:
        raise WrongConfig(f"base {folder}: no model is there: it has no config.json") from err
    except (OSError, orjson.JSONDecodeError) as err:
        raise WrongConfig(f"base {folder}: config.json cannot be read: {err}") from err
    config = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
    architectures = [str(name) for name in config.get("architectures") or ()]
    if config.get("is_encoder_decoder") or not any(name.endswith(CAUSAL) for name in architectures):
        found = ", ".join(architectures) or "no architecture"
        raise WrongConfig(f"base {folder} is no causal language model: its config.json names {found}")
