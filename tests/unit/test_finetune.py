"""A training from its folder: what it learns, what it writes, and what it refuses in one line."""

import csv
import importlib
import json
import math
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from stream.errors import DependencyDown, WrongConfig
from tests.tiny import EOS, rows, tiny_model, work_of
from trainer.events import Said, TrainingFailed
from trainer.files import CannotWrite
from trainer.finetune import arguments, checkpoints, model, run
from trainer.finetune.reporter import Reporter
from trainer.hyperparameters import Train
from trainer.work import Result, Work

torch: Any = importlib.import_module("torch")
transformers: Any = importlib.import_module("transformers")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base") / "model")


def trained(work: Work) -> tuple[Result, list[Said]]:
    said: list[Said] = []
    run.run(work, said.append)
    result = work.result()
    assert result is not None
    return result, said


def weights(folder: Path) -> Mapping[str, Any]:
    return importlib.import_module("safetensors.torch").load_file(folder / "model.safetensors")


def table(work: Work) -> list[dict[str, str]]:
    with (work.model / "training" / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def done(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Work, Result, list[Said]]:
    """A whole training, with a share held out."""
    out = tmp_path_factory.mktemp("done") / "out"
    work = work_of(out, base, rows(40), held_out=0.2, epochs=4.0, warmup_ratio=0.25, checkpoint_steps=7)
    return work, *trained(work)


def test_the_held_out_loss_falls(done: tuple[Work, Result, list[Said]]):
    _, result, _ = done
    assert len(result.held_out_losses) == 1 + 4
    assert result.held_out_losses[-1] < 0.8 * result.held_out_losses[0]
    assert result.losses[-1] < 0.8 * result.losses[0]


def test_what_is_written_loads_as_a_causal_model_that_ends_its_texts(done: tuple[Work, Result, list[Said]], base: Path):
    work, result, _ = done
    loaded = transformers.AutoModelForCausalLM.from_pretrained(work.model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(work.model)
    assert loaded.num_parameters() == result.parameters and loaded.config.use_cache
    assert loaded.generation_config.eos_token_id == tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids(EOS)
    asked = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert asked == "Q: hi\nA: "
    assert not torch.equal(weights(work.model)["model.norm.weight"], weights(base)["model.norm.weight"])
    assert {path.name for path in work.model.iterdir()} >= {"config.json", "generation_config.json", "tokenizer.json"}


def test_losses_are_written_step_by_step_and_drawn(done: tuple[Work, Result, list[Said]]):
    work, result, _ = done
    lines = table(work)
    assert [float(line["loss"]) for line in lines if line["loss"]] == list(result.losses)
    assert [float(line["held_out_loss"]) for line in lines if line["held_out_loss"]] == list(result.held_out_losses)
    assert (work.model / "training" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_the_learning_rate_warms_up_and_falls_in_a_line(done: tuple[Work, Result, list[Said]]):
    work, result, _ = done
    warmup, peak = math.ceil(0.25 * result.steps), 3e-3
    for step, line in enumerate([line for line in table(work) if line["loss"]]):
        line_rate = peak * min(step / warmup, (result.steps - step) / (result.steps - warmup))
        assert float(line["learning_rate"]) == pytest.approx(line_rate)


def test_every_step_is_told_with_its_loss(done: tuple[Work, Result, list[Said]]):
    _, result, said = done
    steps = [event for event in said if event.loss is not None]
    assert [(event.step, event.loss) for event in steps] == list(enumerate(result.losses, start=1))
    assert {event.steps for event in steps} == {result.steps}


# --- killed and gone on


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the training catches it. A real one is in tests/integration/test_training.py."""


@pytest.mark.parametrize(
    "settings",
    [
        {},  # the checkpoint is in the middle of an epoch
        {"pack_to": 300, "micro_batch": 1, "dropout": 0.1, "optimizer": "adamw", "epochs": 3.0},  # at the end of one
        {"dropout": 0.1, "schedule": "cosine", "clip_norm": 0.5, "gradient_checkpointing": True},
        {"precision": "bf16"},  # Adafactor's state is in fp32 all the same
    ],
    ids=["plain", "packed", "dropout", "bf16"],
)
def test_a_training_that_goes_on_from_its_checkpoint_ends_with_the_same_weights(
    settings: dict[str, Any], base: Path, tmp_path: Path
):
    quiet = work_of(tmp_path / "quiet", base, rows(24), checkpoint_steps=2, held_out=0.1, **settings)
    undisturbed, _ = trained(quiet)
    killed = work_of(tmp_path / "killed", base, rows(24), checkpoint_steps=2, held_out=0.1, **settings)

    def die(said: Said) -> None:
        if said.step == 4 and said.loss is not None:
            raise Killed

    with pytest.raises(Killed):
        run.run(killed, die)
    assert checkpoints.newest(killed.checkpoints) == killed.checkpoints / "checkpoint-2"
    resumed, said = trained(killed)
    assert next(event for event in said if event.what == "training").step == 2
    assert (killed.model / "model.safetensors").read_bytes() == (quiet.model / "model.safetensors").read_bytes()
    assert (resumed.losses, resumed.held_out_losses) == (undisturbed.losses, undisturbed.held_out_losses)
    assert len(resumed.losses) == resumed.steps >= 5


def test_a_checkpoint_counts_once_it_is_whole_and_the_one_before_it_goes_then(tmp_path: Path):
    for step in (2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "model").write_text("")
        if step == 2:
            checkpoints.complete(tmp_path, step)
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-2"  # a kill came while 10 was written
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    (tmp_path / "checkpoint-10").mkdir()
    checkpoints.complete(tmp_path, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]
    assert checkpoints.newest(tmp_path / "none") is None


def test_a_disk_that_fills_up_leaves_the_checkpoint_before_it(base: Path, tmp_path: Path):
    """A file system of 3 MB, where we may mount one; a checkpoint takes 0.5 MB, tokens and model as much again."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system")
    try:
        work = work_of(small / "out", base, rows(12), checkpoint_steps=2)

        def fill(said: Said) -> None:
            if said.step == 3 and said.loss is not None:
                with (small / "ballast").open("wb") as file:
                    file.write(bytes(os.statvfs(small).f_bavail * os.statvfs(small).f_bsize - 100_000))

        with pytest.raises(CannotWrite, match=r"\.out\.training cannot be written: .*(No space left|disk full)"):
            run.run(work, fill)
        assert checkpoints.newest(work.checkpoints) == work.checkpoints / "checkpoint-2"
        (small / "ballast").unlink()
        assert trained(work)[0].steps == 6
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


# --- what is not trained on, and what is refused


def test_rows_longer_than_the_context_are_left_out_whole_and_named(base: Path, tmp_path: Path):
    long = {**rows(1, 90)[0], "response": "x" * 300}
    work = work_of(tmp_path / "out", base, [*rows(8), long])
    result, said = trained(work)
    assert (result.left_out, result.trained) == ((long["id"],), 8)
    assert any(
        f"1 rows are longer than max_length (256 tokens) and are left out: {long['id'][:12]}" in s.what for s in said
    )
    with pytest.raises(WrongConfig, match=r"each of the 8 rows is longer than max_length \(10 tokens\)"):
        run.run(work_of(tmp_path / "none", base, rows(8), max_length=10), said.append)


def broken(change: Callable[[Path], None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        change(tiny_model(folder))
        return folder

    return make


def _config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _tokenizer(folder: Path, **values: object) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "no model is there: it has no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda f: _config(f, architectures=["BertForMaskedLM"]), "is no causal language model: .* BertForMaskedLM"),
        (lambda f: _config(f, is_encoder_decoder=True), "is no causal language model"),
        (lambda f: _config(f, architectures=None), "is no causal language model: .* no architecture"),
        (lambda f: _config(f, model_type="novel"), "its configuration cannot be loaded"),
        (
            lambda f: _config(f, max_position_embeddings=100),
            r"max_length \(256\) is more than the base's 100 positions",
        ),
        (lambda f: _config(f, hidden_size=52), "its weights cannot be loaded"),
        (lambda f: _config(f, num_hidden_layers=3), "its weights cannot be loaded: they lack model.layers.2"),
        (lambda f: (f / "model.safetensors").unlink(), "its weights cannot be loaded"),
        (lambda f: (f / "model.safetensors").write_bytes(b"1"), "its weights cannot be loaded"),
        (lambda f: [p.unlink() for p in f.glob("tokenizer*")], "its tokenizer cannot be loaded"),
        (lambda f: _tokenizer(f, eos_token=None), "its tokenizer has no EOS token"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_base_that_cannot_be_trained_is_named_with_the_reason(
    change: Callable[[Path], None], message: str, tmp_path: Path
):
    wrong = broken(change)(tmp_path / "wrong")
    with pytest.raises(WrongConfig, match=f"({wrong}.*{message}|^{message})"):
        run.run(work_of(tmp_path / "out", wrong, rows(4)), lambda _: None)


def test_a_name_that_is_neither_a_folder_nor_on_the_hub_is_said(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(WrongConfig, match="neither a folder nor a model on the hub"):
        model.located("not a name")
    hub = importlib.import_module("huggingface_hub")

    def away(*_: object, **__: object) -> str:
        raise hub.errors.LocalEntryNotFoundError("cannot reach it")

    monkeypatch.setattr(hub, "snapshot_download", away)
    with pytest.raises(DependencyDown, match="base org/name is no folder, and the hub cannot be reached: cannot reach"):
        model.located("org/name")


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path):
    reporter = Reporter(Work(tmp_path / "out"), lambda _: None)
    state = transformers.TrainerState(global_step=3, max_steps=9)
    with pytest.raises(TrainingFailed, match="the loss is nan at step 3: try a lower learning_rate"):
        reporter.on_log(None, state, None, {"loss": float("nan")})


# --- options


@pytest.mark.parametrize(("batch", "micro", "processes", "steps"), [(64, 1, 1, 64), (64, 2, 8, 4), (8, 8, 1, 1)])
def test_a_batch_is_made_of_micro_batches(batch: int, micro: int, processes: int, steps: int):
    assert arguments.accumulation(Train(batch=batch, micro_batch=micro), processes) == steps


def test_a_batch_that_does_not_come_out_even_is_refused():
    with pytest.raises(WrongConfig, match=r"batch \(64\) must be a multiple of micro_batch x GPUs \(1 x 3\)"):
        arguments.accumulation(Train(), 3)


def test_the_hyper_parameters_arrive_in_the_libraries_words(tmp_path: Path):
    train = Train(
        optimizer="adamw", betas=(0.9, 0.95), epsilon=1e-6, weight_decay=0.1, schedule="cosine", clip_norm=1.0,
        precision="bf16", gradient_checkpointing=True, micro_batch=2, pack_to=4_096, seed=5, epochs=1.5,
    )  # fmt: skip
    found = arguments.arguments(train, tmp_path, evaluated=True, resumed=False)
    assert (found.optim.value, found.adam_beta2, found.adam_epsilon, found.weight_decay) == (
        "adamw_torch",
        0.95,
        1e-6,
        0.1,
    )
    assert (found.lr_scheduler_type, found.warmup_steps, found.max_grad_norm) == ("cosine", 0.05, 1.0)
    assert (found.bf16, found.gradient_checkpointing, found.gradient_accumulation_steps) == (True, True, 32)
    assert (found.packing, found.max_length, found.eval_packing, found.num_train_epochs) == (True, 4_096, False, 1.5)
    assert found.get_warmup_steps(1_000) == 50
    plain = arguments.arguments(Train(precision="fp32"), tmp_path, evaluated=False, resumed=False)
    assert (plain.optim.value, plain.max_grad_norm, plain.bf16, plain.packing) == ("adafactor", 0, False, False)
    assert plain.max_length is None  # nothing is ever cut: what is too long was left out before


def test_dropout_is_what_the_recipe_says_whatever_the_base_was_made_with(base: Path, tmp_path: Path):
    assert model.config_of(base, Train(max_length=256, dropout=0.2)).attention_dropout == 0.2
    wrong = tiny_model(tmp_path / "model")
    _config(wrong, attention_dropout=0.5, residual_dropout=0.5)
    found = model.config_of(wrong, Train(max_length=256))
    assert (found.attention_dropout, found.residual_dropout, found.embedding_dropout) == (0, 0, 0)


def test_adapters_are_merged_into_what_is_written_and_change_the_layers_alone(base: Path, tmp_path: Path):
    from trainer.hyperparameters import Lora

    work = work_of(tmp_path / "out", base, rows(12), lora=Lora(rank=4, dropout=0.0), learning_rate=3e-3, epochs=4.0)
    result, _ = trained(work)
    assert result.losses[-1] < result.losses[0]
    assert result.parameters == transformers.AutoModelForCausalLM.from_pretrained(base).num_parameters()
    before, after = weights(base), weights(work.model)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.endswith("proj.weight") or ".c_" in name for name in changed)
    with pytest.raises(WrongConfig, match="a base in 4 bits needs a GPU"):
        model.load(base, Train(max_length=256, lora=Lora(quantized=True)))


def pairs(count: int) -> list[dict[str, str]]:
    return [
        {
            "id": row["id"],
            "prompt": row["instruction"],
            "chosen": row["response"],
            "rejected": "I do not know.",
            "licence": "MIT",
        }
        for row in rows(count)
    ]


def test_preferences_move_the_model_towards_what_passed(base: Path, tmp_path: Path):
    long = {**pairs(1)[0], "id": "long", "rejected": "y" * 300}
    work = work_of(tmp_path / "out", base, [*pairs(12), long], method="dpo", optimizer="rmsprop", learning_rate=1e-3)
    result, _ = trained(work)
    assert (result.left_out, result.trained) == (("long",), 12)
    assert result.losses[0] == pytest.approx(math.log(2), abs=0.01)  # policy and reference are one at first
    assert result.losses[-1] < 0.5 * result.losses[0]
    assert transformers.AutoModelForCausalLM.from_pretrained(work.model).num_parameters() == result.parameters


def test_weights_are_written_in_the_numbers_of_the_base(tmp_path: Path):
    base = tiny_model(tmp_path / "bf16")
    transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(base)
    for precision in ("bf16", "mixed"):
        work = work_of(tmp_path / precision, base, rows(8), precision=precision, epochs=1.0)
        result, _ = trained(work)
        assert {tensor.dtype for tensor in weights(work.model).values()} == {torch.bfloat16}
        assert all(map(math.isfinite, result.losses))
