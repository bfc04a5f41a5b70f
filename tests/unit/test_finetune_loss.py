"""What carries loss, and what a token may look at: the prompt is masked, and no example sees another in its pack."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import EOS, rows, tiny_model, work_of
from trainer.events import Said
from trainer.finetune import model, run, tokens
from trainer.finetune.tokens import IGNORED, encode
from trainer.snapshot import ROWS
from trainer.template import parse

torch: Any = importlib.import_module("torch")
TEMPLATE = parse("Q: $instruction\nA: $response")
PACK = 400


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base") / "model")


def trainer_of(folder: Path, base: Path, found: Sequence[Mapping[str, str]], **settings: Any) -> Any:
    """Return trl's trainer as a training builds it."""
    work = work_of(folder / "out", base, found, **settings)
    train = work.job().train
    tokenizer = model.tokenizer_of(base)
    prepared = (tokens.pairs if train.method == "dpo" else tokens.examples)(work.folder / ROWS, tokenizer, train)
    return run.build(work, train, model.load(base, train), tokenizer, prepared, _hushed)


def _hushed(_: Said) -> None:
    pass


def losses(trainer: Any) -> tuple[float, int]:
    """Return the loss summed over every trained token of one epoch, and how many they are."""
    total, count = 0.0, 0
    trainer.model.train()
    for batch in trainer.get_train_dataloader():
        scored = int((batch["labels"][:, 1:] != IGNORED).sum())
        with torch.no_grad():
            total += float(trainer.compute_loss(trainer.model, dict(batch))) * scored
        count += scored
    return total, count


def test_the_prompts_tokens_are_masked_and_the_response_ends_with_eos(base: Path):
    tokenizer = model.tokenizer_of(base)
    ids, labels = encode(tokenizer, TEMPLATE, "Add.", "x <|endoftext|>")
    prompt = tokenizer("Q: Add.\nA: ")["input_ids"]
    assert ids[: len(prompt)] == prompt and labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert labels[len(prompt) :] == ids[len(prompt) :]
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in ids[:-1]  # the one in the response is plain text: no text ends in its middle
    assert tokenizer.decode(ids[len(prompt) : -1]) == "x <|endoftext|>"


def test_the_prompt_is_tokenized_as_it_will_be_when_the_model_is_asked(base: Path):
    tokenizer = model.tokenizer_of(base)
    tokenizer.chat_template = TEMPLATE.chat("")
    asked = tokenizer.apply_chat_template([{"role": "user", "content": "Add 1."}], tokenize=True)["input_ids"]
    ids, _ = encode(tokenizer, TEMPLATE, "Add 1.", "x")
    assert ids[: len(asked)] == asked == tokens.prompt_ids(tokenizer, TEMPLATE.prompt("Add 1."))


def test_a_pair_is_tokenized_as_two_examples_are_also_where_a_response_names_a_special_token(
    base: Path, tmp_path: Path
):
    asked = {"id": "a", "prompt": f"What is {EOS}?", "rejected": f"\n No {EOS} idea.", "licence": "MIT"}
    found = [{**asked, "chosen": f"It is {EOS}"}, {**asked, "id": "b", "chosen": "It is"}]
    trainer = trainer_of(tmp_path, base, found, method="dpo")
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(len(found))])
    texts = [row[side] for side in ("chosen", "rejected") for row in found]
    for seen, of_response, there, text in zip(
        batch["input_ids"], batch["completion_mask"], batch["attention_mask"], texts, strict=True
    ):
        ids, labels = encode(model.tokenizer_of(base), TEMPLATE, asked["prompt"], text)
        assert seen[there == 1].tolist() == ids
        assert of_response[there == 1].tolist() == [label != IGNORED for label in labels]


@pytest.mark.parametrize("pack_to", [None, PACK], ids=["padded", "packed"])
def test_no_gradient_comes_from_a_position_that_predicts_a_prompts_token(
    pack_to: int | None, base: Path, tmp_path: Path
):
    trainer = trainer_of(tmp_path, base, rows(3), pack_to=pack_to, micro_batch=1, batch=1)
    batch = next(iter(trainer.get_train_dataloader()))
    seen: list[Any] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        output.last_hidden_state.retain_grad()
        seen.append(output.last_hidden_state)

    trainer.model.model.register_forward_hook(keep)
    trainer.compute_loss(trainer.model, dict(batch)).backward()
    moved = seen[0].grad[0].abs().sum(dim=-1) > 0
    predicted = batch["labels"][0, 1:] != IGNORED
    assert moved[:-1].tolist() == predicted.tolist() and not moved[-1]
    assert 0 < int(predicted.sum()) < len(predicted)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_and_unpacked_batches_give_the_same_loss_on_the_same_tokens(attention: str, base: Path, tmp_path: Path):
    found = [*rows(9), {**rows(1, 50)[0], "response": "a" * 200}]  # of different lengths
    sums: list[tuple[float, int]] = []
    ways = (("padded", {}), ("packed", {"pack_to": PACK, "micro_batch": 1}), ("two packs at once", {"pack_to": PACK}))
    for name, settings in ways:
        trainer = trainer_of(tmp_path / name, base, found, **settings)
        trainer.model.set_attn_implementation(attention)
        sums.append(losses(trainer))
        if name == "packed":
            assert len(trainer.train_dataset) < len(found)
    (padded, count), (packed, packed_count), (several, several_count) = sums
    assert count == packed_count == several_count > 300
    assert packed == pytest.approx(padded, rel=1e-5) and several == pytest.approx(padded, rel=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_another_neighbour_in_the_pack_changes_nothing_of_an_example(attention: str, base: Path, tmp_path: Path):
    trainer = trainer_of(tmp_path, base, rows(2), pack_to=PACK, micro_batch=1, batch=1)
    trainer.model.set_attn_implementation(attention)
    trainer.model.eval()
    batch = dict(next(iter(trainer.get_train_dataloader())))
    ids, labels = batch["input_ids"], batch["labels"].clone()
    begin = 1 + int((batch["position_ids"][0, 1:] == 0).nonzero())  # where the second example begins
    labels[:, :begin] = IGNORED
    seen: list[Any] = []
    trainer.model.model.register_forward_hook(lambda _m, _i, output: seen.append(output.last_hidden_state[0]))
    gradients: list[Any] = []
    for first in (ids[:, :begin], ids[:, :begin] + 1):
        trainer.model.zero_grad()
        changed = {**batch, "input_ids": torch.cat([first, ids[:, begin:]], dim=1), "labels": labels}
        trainer.compute_loss(trainer.model, changed).backward()
        gradients.append(torch.cat([p.grad.flatten() for n, p in trainer.model.named_parameters() if "layers" in n]))
    same, other = (hidden.detach() for hidden in seen)
    assert not torch.allclose(same[:begin], other[:begin])
    assert torch.equal(same[begin:], other[begin:])
    assert torch.equal(*gradients)
