"""Loading a base model, its tokenizer and its adapters; every complaint of the libraries becomes one line."""

import hashlib
import importlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stream.errors import DependencyDown, WrongConfig
from stream.records import digest
from trainer.base import check_folder
from trainer.events import TrainingFailed
from trainer.finetune.libraries import hub, safetensors, torch, transformers
from trainer.hyperparameters import Lora, Train
from trainer.work import RECORD

HASHED = ("*.safetensors", "*.bin", "*.json", "*.model")
FETCHED = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


def located(base: str) -> Path:
    """Return the folder of a base model, fetched from the hub where it is none.

    Raises:  WrongConfig when it is neither, or no causal language model; DependencyDown when the hub is away.
    """
    folder = Path(base)
    if not folder.is_dir():
        errors = hub.errors
        try:
            folder = Path(hub.snapshot_download(base, allow_patterns=list(FETCHED)))
        except (errors.RepositoryNotFoundError, errors.HFValidationError, errors.RevisionNotFoundError) as err:
            raise WrongConfig(f"base {base}: neither a folder nor a model on the hub") from err
        except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as err:
            raise DependencyDown(f"base {base} is no folder, and the hub cannot be reached: {_first(err)}") from err
    check_folder(folder)
    return folder


def tokenizer_of(base: Path) -> Any:
    """Return the tokenizer of a base model.

    Raises:  WrongConfig when there is none, or it has no token that ends a text.
    """
    with _loading(base, "tokenizer"):
        if not any((base / name).is_file() for name in VOCABULARIES):  # transformers would make up an empty one
            raise ValueError(f"none of {', '.join(VOCABULARIES)} is there")
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(base))
    if tokenizer.eos_token_id is None:
        raise WrongConfig(f"base {base}: its tokenizer has no EOS token, so no response could end")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def config_of(base: Path, train: Train) -> Any:
    """Return the configuration of a base model, with the dropout of `train`.

    Raises:  WrongConfig when the context is too short for `train`, or dropout is asked of a model without any.
    """
    with _loading(base, "configuration"):
        config = transformers.AutoConfig.from_pretrained(str(base))
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and train.max_length > positions:
        raise WrongConfig(f"max_length ({train.max_length:,}) is more than the base's {positions:,} positions")
    names = [name for name, value in config.to_dict().items() if _is_dropout(name) and isinstance(value, int | float)]
    if train.dropout and not names:
        raise WrongConfig(f"dropout = {train.dropout:g}: base {base} has no dropout to set")
    for name in names:
        setattr(config, name, train.dropout)
    return config


def _is_dropout(name: str) -> bool:
    return name.endswith(("dropout", "_pdrop", "dropout_prob"))


def load(base: Path, train: Train) -> Any:
    """Return the base model, ready to be trained.

    Raises:  WrongConfig for a folder without usable weights; as `config_of`.
    """
    config = config_of(base, train)
    more = {"quantization_config": _four_bits()} if train.lora and train.lora.quantized else {}
    dtype = torch.bfloat16 if train.precision == "bf16" else torch.float32
    with _loading(base, "weights"):
        loaded, told = transformers.AutoModelForCausalLM.from_pretrained(
            str(base), config=config, dtype=dtype, output_loading_info=True, **more
        )
        if told["missing_keys"]:  # transformers would draw them at random
            raise ValueError(f"they lack {', '.join(sorted(told['missing_keys'])[:3])}")
    return loaded


def _four_bits() -> Any:
    if not torch.cuda.is_available():
        raise WrongConfig("lora.quantized: a base in 4 bits needs a GPU")
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip


def adapters(lora: Lora) -> Any:
    """Return the configuration of low-rank adapters."""
    targets = lora.targets[0] if lora.targets == ("all-linear",) else list(lora.targets)
    peft: Any = importlib.import_module("peft")
    return peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets,
        task_type=peft.TaskType.CAUSAL_LM,
    )  # fmt: skip


def trained(base: Path, saved: Path, lora: bool) -> Any:
    """Return what was trained and saved, in the numbers of its base, adapters merged."""
    dtype = transformers.AutoConfig.from_pretrained(str(base)).dtype or torch.float32
    if not lora:
        return transformers.AutoModelForCausalLM.from_pretrained(str(saved), dtype=dtype)
    peft: Any = importlib.import_module("peft")
    # Merged in fp32: in bf16 the sum would lose what the adapters add.
    model = transformers.AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
    return peft.PeftModel.from_pretrained(model, str(saved)).merge_and_unload().to(dtype)


def folder_sha256(folder: Path) -> str:
    """Return the hash of a model's configuration, tokenizer and weights. A model that we published and then train on
    has the same hash as a base."""
    found = {path for pattern in HASHED for path in folder.glob(pattern) if path.name != RECORD}
    return digest(*(part for path in sorted(found) for part in (path.name, file_sha256(path))))


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _loading(base: Path, what: str) -> Generator[None]:
    try:
        yield
    except torch.OutOfMemoryError as err:
        raise TrainingFailed(f"base {base} does not fit the GPU's memory") from err
    except (OSError, ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as err:
        raise WrongConfig(f"base {base}: its {what} cannot be loaded: {_first(err)}") from err


def _first(err: Exception) -> str:
    """Return the first line of what a library says."""
    return (str(err).strip().splitlines() or [type(err).__name__])[0]
