"""A model in a directory, as transformers saves it: what can be known of it without loading it."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson

from stream.errors import WrongConfig

SHIPPED = Path(__file__).parent.parent / "lab"
WEIGHTS = "*.safetensors"
NAME_CHARS = 12
_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A directory that holds a causal language model."""

    directory: Path
    name: str  # of the directory, and the first digits of what it holds: another training has another name
    weight_bytes: int
    context: int | None  # tokens; None where its config does not say


def find(model: str) -> Path:
    """Return the directory of a model: a path where it has a "/", else one that is shipped.

    Raises:  WrongConfig when there is none.
    """
    if "/" in model:
        return Path(model)
    shipped = sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))
    if model in shipped:
        return SHIPPED / model
    known = ", ".join(shipped) or "none"
    raise WrongConfig(f"no model {model} is shipped (those that are: {known}); a path is written with a /")


def read(directory: Path) -> Checkpoint:
    """Look at a model's directory.

    Raises:  WrongConfig when it is none, or not that of a causal language model.
    """
    config = directory / "config.json"
    if not directory.is_dir():
        raise WrongConfig(f"{directory}: there is no such directory, expected one with a model")
    weights = sorted(directory.glob(WEIGHTS))
    missing = [name for name, there in ((config.name, config.is_file()), (WEIGHTS, weights)) if not there]
    if missing:
        raise WrongConfig(
            f"{directory} holds no model: {' and '.join(missing)} missing, as save_pretrained writes them"
        )
    try:
        fields: Any = orjson.loads(config.read_bytes())
        kinds = cast("list[str]", fields.get("architectures") or [])
        sizes = [file.stat().st_size for file in weights]
        name = f"{directory.resolve().name}@{fingerprint([config, *_tokenizer(directory), *weights])[:NAME_CHARS]}"
    except (OSError, ValueError, AttributeError) as err:
        raise WrongConfig(f"{directory} holds a model that cannot be read: {err}") from err
    if not any(kind.endswith("ForCausalLM") for kind in kinds):
        raise WrongConfig(f"{directory} holds no causal language model, but {', '.join(kinds) or 'no architecture'}")
    context = next((fields[key] for key in _CONTEXT_KEYS if isinstance(fields.get(key), int)), None)
    return Checkpoint(directory, name, sum(sizes), context)


def special_tokens(directory: Path) -> tuple[str, ...]:
    """Return the special tokens of a model's tokenizer, such as `<|im_end|>`, the longest first, without those that are
    plain words: an answer may end so. None where its files name none or cannot be read."""
    found: set[str] = set()
    for name in ("tokenizer_config.json", "special_tokens_map.json", "tokenizer.json"):
        try:
            data: Any = orjson.loads((directory / name).read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(data, dict):
            found.update(_special(cast("dict[str, Any]", data)))
    marks = [token for token in found if token.strip() and not token.isalnum()]
    return tuple(sorted(marks, key=lambda token: (-len(token), token)))


def _special(fields: dict[str, Any]) -> Iterator[str]:
    """Yield what a tokenizer's file calls special: `eos_token` and its like, and the added tokens so marked."""
    for name, value in fields.items():
        if name.endswith("_token"):
            yield from _token(value)
        elif name in ("additional_special_tokens", "extra_special_tokens"):
            for item in _items(value):
                yield from _token(item)
        elif name in ("added_tokens_decoder", "added_tokens"):
            for item in _items(value):
                if isinstance(item, dict) and cast("dict[str, Any]", item).get("special") is True:
                    yield from _token(cast("object", item))


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()


def _token(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict) and isinstance(content := cast("dict[str, Any]", value).get("content"), str):
        yield content


def _tokenizer(directory: Path) -> list[Path]:
    return [path for name in ("tokenizer.json", "tokenizer_config.json") if (path := directory / name).is_file()]


def fingerprint(files: list[Path]) -> str:
    """Return a hash of the files' sizes and of samples spread evenly over each: it tells one training from another,
    and takes a fraction of a second where hashing all of a large model takes minutes."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"{path.name} {size}\n".encode())
            step = max(1, (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
            for at in range(0, max(1, size), max(step, _SAMPLE_BYTES)):
                file.seek(at)
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
