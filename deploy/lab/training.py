"""Training the lab model from scratch on the CPU: a Starcoder2 of 2 million parameters, on 4 million tokens.

Muon on the matrices and AdamW on the rest, warm-up, stable, then linear decay. Run it with OMP_WAIT_POLICY=PASSIVE and
GOMP_SPINCOUNT=0 where anything else uses the cores.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import Starcoder2Config, Starcoder2ForCausalLM

from deploy.lab import tokenizer as tokenizers
from deploy.lab.corpus import ANSWER, VERDICT, Corpus, Piece

Model = Any  # a Starcoder2ForCausalLM, most of whose methods are annotated in part only
Tokenizer = Any  # a PreTrainedTokenizerFast, likewise

TOKENIZER_DOCUMENTS = 1_500
OPEN_ROWS = 40  # rows that wait for a document which fits
REPORT_STEPS = 25


@dataclass(frozen=True, slots=True)
class Settings:
    """The model and how it is trained."""

    seed: int = 3407
    tokens: int = 5_500_000
    batch: int = 4  # rows
    context: int = 2_048  # tokens of a row, and positions of the model
    vocabulary: int = 3_500
    hidden: int = 192
    layers: int = 4
    feed_forward: int = 768
    heads: int = 6
    key_value_heads: int = 2
    matrix_lr: float = 6e-3  # Muon
    other_lr: float = 4e-3  # AdamW: embeddings, norms, biases
    warmup_ratio: float = 0.03
    decay_ratio: float = 0.4
    clip: float = 1.0
    threads: int = 2

    @property
    def steps(self) -> int:
        return self.tokens // (self.batch * self.context)


@dataclass(frozen=True, slots=True)
class Report:
    """What a training cost, and where it ended."""

    parameters: int
    steps: int
    tokens: int
    loss: float  # weighted, mean of the last steps
    verdict_loss: float  # of the judge's one token
    wall_s: float
    cpu_s: float


def train(corpus: Corpus, settings: Settings, directory: Path) -> Report:
    """Make tokenizer and model, and save both as transformers and vLLM load them."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    torch.random.manual_seed(settings.seed)  # pyright: ignore[reportUnknownMemberType]
    torch.set_num_threads(settings.threads)
    documents = iter(corpus)
    texts = ["".join(piece.text for piece in next(documents)) for _ in range(TOKENIZER_DOCUMENTS)]
    tokenizer: Tokenizer = tokenizers.train(texts, settings.vocabulary, settings.context)
    rows = list(itertools.islice(pack(documents, tokenizer, settings.context), settings.steps * settings.batch))
    order = torch.randperm(len(rows)).view(settings.steps, settings.batch)
    ids, weights = (torch.tensor(column) for column in zip(*rows, strict=True))
    model = new_model(settings, tokenizer)
    losses, verdicts = list[float](), list[float]()
    optimizers = _optimizers(model, settings)
    for step in range(settings.steps):
        share = _lr_share(step, settings)
        for optimizer, lr in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * share
        loss, verdict = _loss(model, ids[order[step]], weights[order[step]])
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        verdicts += verdict
        if step % REPORT_STEPS == REPORT_STEPS - 1:
            said = f"loss {_mean(losses):.3f}, judge {_mean(verdicts):.3f}, {time.perf_counter() - wall_s:.0f} s"
            print(f"step {step + 1} of {settings.steps}: {said}", flush=True)
    model.to(torch.bfloat16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    tokens = settings.steps * settings.batch * settings.context
    return Report(parameters, settings.steps, tokens, _mean(losses), _mean(verdicts), wall_s, cpu_s)


def new_model(settings: Settings, tokenizer: Tokenizer) -> Model:
    """Return a model with random weights."""
    end = tokenizer.eos_token_id
    return Starcoder2ForCausalLM(
        Starcoder2Config(
            vocab_size=len(tokenizer),
            hidden_size=settings.hidden,
            intermediate_size=settings.feed_forward,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.key_value_heads,
            max_position_embeddings=settings.context,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
            attention_dropout=0.0,
            residual_dropout=0.0,
            embedding_dropout=0.0,
            tie_word_embeddings=True,
            sliding_window=None,
        )
    )


def pack(
    documents: Iterator[Sequence[Piece]], tokenizer: Tokenizer, length: int
) -> Iterator[tuple[list[int], list[float]]]:
    """Fill rows of `length` tokens with whole documents, each after the token that ends the one before; yields token
    ids and their weights. A document longer than a row is cut off."""
    end = tokenizer.eos_token_id
    rows: list[tuple[list[int], list[float]]] = []
    for document in documents:
        ids, weights = [end], [ANSWER]
        for piece in document:
            encoded = tokenizer(piece.text)["input_ids"]
            ids += encoded
            weights += [piece.weight] * len(encoded)
        del ids[length:], weights[length:]
        fitting = [row for row in rows if len(row[0]) + len(ids) <= length]
        if fitting:
            row = max(fitting, key=lambda row: len(row[0]))
            row[0].extend(ids)
            row[1].extend(weights)
        else:
            rows.append((ids, weights))
        if len(rows) > OPEN_ROWS:
            fullest = max(rows, key=lambda row: len(row[0]))
            rows.remove(fullest)
            empty = length - len(fullest[0])
            yield fullest[0] + [end] * empty, fullest[1] + [0.0] * empty


def _optimizers(model: Model, settings: Settings) -> list[tuple[torch.optim.Optimizer, float]]:
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in named if not (p.ndim == 2 and "embed" not in name)]
    muon = torch.optim.Muon(
        matrices, lr=settings.matrix_lr, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    adam = torch.optim.AdamW(others, lr=settings.other_lr, betas=(0.9, 0.95), weight_decay=0.0)
    return [(muon, settings.matrix_lr), (adam, settings.other_lr)]


def _lr_share(step: int, settings: Settings) -> float:
    """Return the share of the learning rate at a step: warm-up, stable, linear decay to 2%."""
    warm = min(1.0, (step + 1) / (settings.warmup_ratio * settings.steps))
    return min(warm, max(0.02, (settings.steps - step) / (settings.decay_ratio * settings.steps)))


def _loss(model: Model, ids: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
    """Return the weighted loss of a batch, and the loss of each verdict.

    Shapes:  ids int64[batch, length], weights float32[batch, length].

    A weight below 1 counts as the chance that the token counts at all: that saves the output layer, which is half of
    so small a model, the tokens that are only shown.
    """
    weights = weights[:, 1:].reshape(-1)
    counted = torch.rand(len(weights)) < weights
    weights = weights[counted].clamp(min=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        states = (
            model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1].reshape(-1, model.config.hidden_size)
        )
        logits = model.lm_head(states[counted])
    losses = cross_entropy(logits.float(), ids[:, 1:].reshape(-1)[counted], reduction="none")
    verdicts: Any = losses[weights == VERDICT]
    return (losses * weights).sum() / weights.sum(), verdicts.tolist()


def _mean(values: Sequence[float], last: int = REPORT_STEPS) -> float:
    recent = values[-last:]
    return sum(recent) / len(recent) if recent else float("nan")
