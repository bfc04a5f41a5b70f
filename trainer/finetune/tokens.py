"""Rows to tokens. The prompt is tokenized alone, as it will be when the model is asked; its tokens carry no loss."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.records import digest
from trainer.finetune.libraries import datasets
from trainer.hyperparameters import Train
from trainer.template import Template, parse

IGNORED = -100
"""The label of a token without loss; torch's default."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows that are ready to be trained on."""

    train: Any  # a datasets.Dataset
    held_out: Any | None
    left_out: tuple[str, ...]  # ids of the rows that are longer than the context
    tokens: int  # of `train`


def encode(tokenizer: Any, template: Template, instruction: str, response: str) -> tuple[list[int], list[int]]:
    """Return the input ids and labels of one example, both of one length; the labels of the prompt are IGNORED.

    A special token in the prompt is one, as a server reads it; in the response it is plain text, but for the EOS token
    that ends it. Published: the same, with a BOS token in front also where the tokenizer puts none.
    """
    prompt, answer = prompt_ids(tokenizer, template.prompt(instruction)), response_ids(tokenizer, response)
    return prompt + answer, [IGNORED] * len(prompt) + answer


def prompt_ids(tokenizer: Any, prompt: str) -> list[int]:
    """Return the tokens of a prompt, with the BOS token where the tokenizer puts one."""
    return [*bos_ids(tokenizer), *tokenizer(prompt, add_special_tokens=False)["input_ids"]]


def response_ids(tokenizer: Any, response: str) -> list[int]:
    """Return the tokens of a response, and the EOS token behind them."""
    plain = tokenizer(response, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [*plain, tokenizer.eos_token_id]


def bos_ids(tokenizer: Any) -> list[int]:
    """Return the special token that this tokenizer puts before a text, if it does."""
    before = tokenizer("")["input_ids"][:1]
    return before if before == [tokenizer.bos_token_id] else []


def examples(rows: Path, tokenizer: Any, train: Train) -> Prepared:
    """Tokenize the rows of a snapshot. What is longer than `max_length` is left out whole and named; a share is held
    out, drawn by id, so that it stays held out when rows are added."""
    template = parse(train.template)

    def ids(row: dict[str, str]) -> dict[str, Any]:
        input_ids, labels = encode(tokenizer, template, row["instruction"], row["response"])
        return {"input_ids": input_ids, "labels": labels, "length": len(input_ids)}

    found = _read(rows, ("id", "instruction", "response", "licence")).map(ids)
    return _prepared(found, train, ("input_ids", "labels"))


def pairs(rows: Path, tokenizer: Any, train: Train) -> Prepared:
    """Tokenize preference pairs, each side as an example is; what is too long is left out, as in `examples`."""
    template = parse(train.template)

    def ids(row: dict[str, str]) -> dict[str, Any]:
        prompt = prompt_ids(tokenizer, template.prompt(row["prompt"]))
        chosen, rejected = (response_ids(tokenizer, row[side]) for side in ("chosen", "rejected"))
        length = len(prompt) + max(len(chosen), len(rejected))
        return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected, "length": length}

    found = _read(rows, ("id", "prompt", "chosen", "rejected", "licence")).map(ids)
    return _prepared(found, train, ("prompt_ids", "chosen_ids", "rejected_ids"))


def _read(rows: Path, columns: tuple[str, ...]) -> Any:
    # The types are said, so that a column whose texts all look like times is read as text all the same.
    features = datasets.Features({name: datasets.Value("string") for name in columns})
    cache = str(rows.parent / "tokens")
    return datasets.load_dataset("json", data_files=str(rows), features=features, split="train", cache_dir=cache)


def _prepared(found: Any, train: Train, used: tuple[str, ...]) -> Prepared:
    def is_held_out(key: str) -> bool:
        return int(digest(train.seed, key)[:13], 16) / 16**13 < train.held_out

    kept: dict[str, list[int]] = {"trained": [], "held out": [], "left out": []}
    for number, (key, length) in enumerate(zip(found["id"], found["length"], strict=True)):
        where = "left out" if length > train.max_length else "held out" if is_held_out(key) else "trained"
        kept[where].append(number)
    trained = found.select(kept["trained"])
    return Prepared(
        trained.select_columns(list(used)),
        found.select(kept["held out"]).select_columns(list(used)) if kept["held out"] else None,
        tuple(found.select(kept["left out"])["id"]),
        sum(trained["length"]),
    )
