"""Models small enough to be made and trained inside a test: 60,000 random parameters, and a tokenizer of bytes."""

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stream.records import Manifest, digest
from trainer.hyperparameters import Train
from trainer.snapshot import KEYS, ROWS
from trainer.work import Job, Work

EOS = "<|endoftext|>"


def tiny_model(folder: Path, positions: int = 512, seed: int = 0, **others: int) -> Path:
    """Write a causal language model with its tokenizer into `folder`, in the form that transformers loads. `others`
    are values of its configuration."""
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    tokenizers: Any = importlib.import_module("tokenizers")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {EOS: 0, **{letter: number for number, letter in enumerate(alphabet, start=1)}}
    bytes_ = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    bytes_.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_.decoder = tokenizers.decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_, bos_token=EOS, eos_token=EOS, pad_token=EOS, model_max_length=positions
    ).save_pretrained(str(folder))
    torch.manual_seed(seed)
    shape = {"vocab_size": len(vocabulary), "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, **others}  # fmt: skip
    config = transformers.Starcoder2Config(
        **shape, max_position_embeddings=positions, sliding_window=None, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=0, pad_token_id=0, dtype="float32",
    )  # fmt: skip
    transformers.Starcoder2ForCausalLM(config).save_pretrained(str(folder))
    return folder


def rows(count: int, first: int = 0) -> list[dict[str, str]]:
    """Rows of a snapshot: tasks of one kind, so that a model which has seen some does better on the others."""
    return [
        {
            "id": digest("row", n),
            "instruction": f"Write add_{n}, which adds {n}.",
            "response": f"```python\ndef add_{n}(x):\n    return x + {n}\n```",
            "licence": "MIT",
        }
        for n in range(first, first + count)
    ]


def work_of(out: Path, base: Path, found: Sequence[Mapping[str, str]], **settings: Any) -> Work:
    """Begin a training on `found` as `trainer.job` does, without a bus."""
    work = Work(out)
    work.folder.mkdir(parents=True)
    (work.folder / ROWS).write_text("".join(f"{json.dumps(row)}\n" for row in found))
    (work.folder / KEYS).write_text("".join(f"{digest(row['id'])}  {row['id']}\n" for row in found))
    (work.folder / "licences.json").write_text(json.dumps({"MIT": len(found)}))
    manifest = Manifest("main", "examples", (len(found),), len(found), "0" * 64, "", "1" * 64)
    work.begin(Job(Train(base=str(base), **{**QUICK, **settings}), manifest, None))
    return work


QUICK = {
    "template": "Q: $instruction\nA: $response", "precision": "fp32", "learning_rate": 3e-3, "batch": 4,
    "micro_batch": 2, "epochs": 2.0, "max_length": 256,
}  # fmt: skip
