"""One training from its folder: base and rows in, weights and losses out. It goes on from its last checkpoint."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stream.errors import WrongConfig
from trainer import files
from trainer.events import Said, TrainingFailed
from trainer.finetune import checkpoints, losses, model, tokens
from trainer.finetune.arguments import arguments
from trainer.finetune.libraries import datasets, safetensors, torch, transformers, trl, versions
from trainer.finetune.reporter import Reporter, Saving, is_first
from trainer.finetune.tokens import Prepared
from trainer.finetune.trainers import Adafactor, Preferring
from trainer.hyperparameters import Train
from trainer.snapshot import ROWS
from trainer.template import parse
from trainer.work import Result, Work


def run(work: Work, say: Callable[[Said], None]) -> None:
    """Do the job of `work`; its result stands there afterwards. Called in each of the processes that train together.

    Raises:  WrongConfig; DependencyDown; TrainingFailed; CannotWrite, with the last whole checkpoint left as it was.
    """
    job = work.job()
    train = job.train
    say(Said("loading the base model"))
    base = model.located(job.base)
    tokenizer = model.tokenizer_of(base)
    say(Said("tokenizing"))
    with _translated(work):
        prepared = (tokens.pairs if train.method == "dpo" else tokens.examples)(work.folder / ROWS, tokenizer, train)
    if not len(prepared.train):
        raise WrongConfig(
            f"nothing to train on: each of the {len(prepared.left_out):,} rows is longer than max_length "
            f"({train.max_length:,} tokens)"
        )
    if prepared.left_out:
        say(Said(_left_out(prepared, train)))
    loaded = model.load(base, train)
    resumed = checkpoints.newest(work.checkpoints)
    with _translated(work):
        trainer = build(work, train, loaded, tokenizer, prepared, say)
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        say(Said("writing the weights", trainer.state.max_steps, trainer.state.max_steps))
        final = work.folder / "final"
        _save(trainer, final)
    if is_first():
        with _translated(work):
            trained = model.trained(base, final, train.lora is not None)
            _write(work, train, trained, tokenizer, trainer.state.log_history)
        work.finish(_result(work, base, trained, trainer, prepared))


def build(work: Work, train: Train, base: Any, tokenizer: Any, prepared: Prepared, say: Callable[[Said], None]) -> Any:
    """Return trl's trainer for this training."""
    kind = Preferring if train.method == "dpo" else trl.SFTTrainer
    resumed = checkpoints.newest(work.checkpoints) is not None
    trainer = kind(
        model=base,
        args=arguments(train, work.checkpoints, prepared.held_out is not None, resumed),
        train_dataset=prepared.train,
        eval_dataset=prepared.held_out,
        processing_class=tokenizer,
        peft_config=model.adapters(train.lora) if train.lora else None,
        callbacks=[Saving(), *([Reporter(work, say)] if is_first() else [])],
    )
    if train.optimizer == "adafactor":  # not every trainer of trl can be told so as it is made
        _, settings = trainer.get_optimizer_cls_and_kwargs(trainer.args)
        trainer.optimizer_cls_and_kwargs = (Adafactor, settings)
    return trainer


def _save(trainer: Any, folder: Path) -> None:
    """Save the weights; each of the processes has its part in it."""
    if trainer.is_fsdp_enabled:  # else each would save its shard, in a form that only a checkpoint has
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model(str(folder))


def _left_out(prepared: Prepared, train: Train) -> str:
    shown = ", ".join(key[:12] for key in prepared.left_out[:3])
    more = ", …" if len(prepared.left_out) > 3 else ""
    return (
        f"{len(prepared.left_out):,} rows are longer than max_length ({train.max_length:,} tokens) and are left out: "
        f"{shown}{more}"
    )


def _write(work: Work, train: Train, trained: Any, tokenizer: Any, log: losses.Log) -> None:
    """Write what transformers and vLLM load, and the losses."""
    files.remove(work.model)
    trained.config.use_cache = True
    trained.generation_config = transformers.GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    bos = tokenizer.bos_token if tokens.bos_ids(tokenizer) else ""
    tokenizer.chat_template = parse(train.template).chat(bos)
    trained.save_pretrained(str(work.model))
    tokenizer.save_pretrained(str(work.model))
    about = work.model / "training"
    about.mkdir()
    losses.write_csv(log, about / "losses.csv")
    losses.draw(log, about / "loss.png", "pair" if train.method == "dpo" else "token")
    files.sync(work.model)


def _result(work: Work, base: Path, trained: Any, trainer: Any, prepared: Prepared) -> Result:
    log = trainer.state.log_history
    return Result(
        base_sha256=model.folder_sha256(base),
        weights_sha256=model.folder_sha256(work.model),
        parameters=trained.num_parameters(),
        trained=len(prepared.train),
        left_out=prepared.left_out,
        steps=trainer.state.global_step,
        losses=losses.steps(log),
        held_out_losses=losses.held_out(log),
        tokens=prepared.tokens,
        versions=versions(),
    )


@contextmanager
def _translated(work: Work) -> Generator[None]:
    """Raise what the libraries raise while they train and save, as ours."""
    try:
        yield
    except torch.OutOfMemoryError as err:
        raise TrainingFailed(
            "the GPU's memory is full: try micro_batch = 1, gradient_checkpointing, or [train.lora]"
        ) from err
    except datasets.exceptions.DatasetGenerationError as err:  # the rows are our own: it is the disk
        raise files.CannotWrite(f"{work.folder} cannot be written: {err.__cause__ or err}") from err
    except (OSError, safetensors.SafetensorError) as err:
        raise files.CannotWrite(f"{work.folder} cannot be written: {err}") from err
    except RuntimeError as err:
        if "PytorchStreamWriter" in str(err):  # what torch.save makes of a full disk
            raise files.CannotWrite(f"{work.folder} cannot be written: is the disk full? ({err})") from err
        raise
