"""How well the lab model tells docstrings that say nothing: the area under the curve of its judge, on functions that it
has not read."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from consumers import prompt
from consumers.llm.render import completion_text
from deploy.lab.corpus import MAX_LINES
from deploy.lab.functions import Function, standard_library
from deploy.planning import recipe
from stream.records import sampling_seed

TRIVIAL = ("", "TBD", "XXX", "Undocumented.", "Function.", "Fix me", "Method.", "Add documentation.")
"""Docstrings that say nothing; none of them is in the corpus."""

YES, NO = "yes", "no"
_transformers: Any = transformers  # what it returns is annotated in part only


def judge_auc(directory: Path, functions: int) -> float:
    """Return the chance that a real docstring is judged better than one that says nothing, each on functions that are
    held out: real ones as they stand, against TRIVIAL and single words.

    Raises:  OSError, ValueError of transformers when the directory holds no model.
    """
    held_out = [function for function in standard_library("held out") if function.lines <= MAX_LINES]
    rng = random.Random(1)
    drawn = rng.sample(held_out, min(functions, len(held_out)))
    good = [function.code for function in drawn]
    bad = [function.with_docstring(f'"""{_nothing(rng, function)}"""') for function in drawn]
    scores = _scores(directory, [*good, *bad])
    return auc(scores[: len(good)], scores[len(good) :])


def _nothing(rng: random.Random, function: Function) -> str:
    return rng.choice([*TRIVIAL, rng.choice(function.summary.split())])


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return the share of pairs in which the positive one scores higher; a tie is half of one.

    >>> auc([2.0, 1.0], [1.0, 0.0])
    0.875
    """
    wins = sum((p > n) + (p == n) / 2 for p in positive for n in negative)
    return wins / (len(positive) * len(negative))


@torch.inference_mode()
def _scores(directory: Path, codes: Sequence[str]) -> list[float]:
    """Return by how much the model rather says yes than no, in logits. What does not fit its context is judged last."""
    tokenizer = _transformers.AutoTokenizer.from_pretrained(directory)
    model = _transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    [yes], [no] = (tokenizer(word)["input_ids"] for word in (YES, NO))
    plan = recipe.load("lab")
    few_shot, shots = prompt.load(plan.prompts, "seeds"), plan.stage("seeds").params.shots
    scores = list[float]()
    for code in codes:
        asked = few_shot.prompt(sampling_seed(code, plan.seed), shots, {"code": code})
        ids = tokenizer(completion_text(asked), return_tensors="pt", truncation=True)["input_ids"]
        logits = model(input_ids=ids, logits_to_keep=1).logits[0, -1]
        scores.append(float(logits[yes] - logits[no]))
    return scores
