"""From a finished training to a published folder: model card, record, manifest and keys beside the weights, and the
whole put in its place in one step.

    OUT/  config.json generation_config.json model.safetensors tokenizer.json chat_template.jinja
          README.md          the model card
          seedstream.json    the record of topic `models`
          training/          manifest.json, keys.txt (a hash for each row), losses.csv, loss.png, left_out.txt
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import orjson

from stream.codec import UNREADABLE
from stream.errors import WrongConfig
from stream.records import Model, ModelId, digest
from trainer import files, snapshot
from trainer.card import card
from trainer.work import RECORD, Job, Result, Work


def record(work: Work, job: Job, result: Result) -> Model:
    """Return the record of a finished training."""
    settings = job.train.canonical()
    return Model(
        model_id=ModelId(digest(result.base_sha256, job.manifest.sha256, settings)),
        predecessor=ModelId(job.predecessor) if job.predecessor else None,
        base=job.base,
        base_sha256=result.base_sha256,
        manifest=job.manifest,
        hyperparameters=settings,
        losses=result.losses,
        held_out_losses=result.held_out_losses,
        left_out=len(result.left_out),
        weights_sha256=result.weights_sha256,
        directory=str(work.out),
    )


def publish(work: Work, job: Job, result: Result, model: Model) -> None:
    """Put a finished training in its place, unless a kill came after that was done.

    Raises:  CannotWrite, with the folder of an earlier checkpoint left as it was.
    """
    if work.out.is_dir() and (work.out / RECORD).is_file() and published(work.out) == model:
        return
    with files.writing(work.out):
        _assemble(work, job, result, model)
        files.exchange(work.model, work.out)


def _assemble(work: Work, job: Job, result: Result, model: Model) -> None:
    about = work.model / "training"
    about.mkdir(exist_ok=True)
    licences = snapshot.licences(work.folder)
    on_hub = not Path(job.base).is_dir()
    text = card(model, result, licences, job.train.template, job.retracted, on_hub)
    (work.model / "README.md").write_text(text, encoding="utf-8")
    (about / "manifest.json").write_bytes(_pretty(model.manifest))
    (about / "left_out.txt").write_text("".join(f"{key}\n" for key in result.left_out), encoding="utf-8")
    shutil.copyfile(work.folder / snapshot.KEYS, about / snapshot.KEYS)
    (work.model / RECORD).write_bytes(_pretty(model))
    for path in work.model.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors lets its owner alone read what it writes


def published(folder: Path) -> Model:
    """Return the record of a published folder.

    Raises:  WrongConfig when it is none.
    """
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=Model)
    except (OSError, *UNREADABLE) as err:
        raise WrongConfig(f"{folder} is no model that seedstream published: {RECORD}: {err}") from err


def keys(folder: Path) -> Path:
    """Return the list of the rows that a published model was trained on."""
    return folder / "training" / snapshot.KEYS


def retracted(found: Sequence[snapshot.Retracted]) -> tuple[str, ...]:
    return tuple(map(str, found))


def _pretty(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
