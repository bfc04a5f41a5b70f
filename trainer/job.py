"""A training from beginning to end: the right to publish, a snapshot, the training, the folder, the record.

Every step can be killed: the next call with the same folder goes on. What is written last is the record in `models`, so
that a model which stands there is whole on the disk.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stream.bus import Bus
from stream.errors import WrongConfig
from stream.records import Manifest, Model, RecipeText
from trainer import base, child, files, publish, snapshot
from trainer.events import Said
from trainer.hyperparameters import Train
from trainer.models import Press, history, owned
from trainer.work import Job, Work

SHOWN = 5  # differences that a refusal names


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be trained, and where to."""

    train: Train
    out: Path
    data: Path | None = None  # preference pairs of the user's, instead of a topic
    rebuild: Path | None = None  # a published model, whose rows are to be built again
    restart: bool = False  # forget what an earlier run left


async def train(bus: Bus, request: Request, recipe: RecipeText | None, tell: Callable[[Said], None]) -> Model:
    """Train and publish; go on where an earlier run was killed. `recipe` is the namespace's.

    Raises:  WrongConfig, also when there is nothing to train on, or the folder holds another unfinished training;
             InUse; Superseded; DependencyDown; TrainingFailed; CannotWrite.
    """
    base.check(request.train)
    work = Work(request.out)
    with work.mine():
        async with owned(bus) as press:
            if request.restart:
                work.clear()
            if work.begun():
                job = await _go_on(press, work, request, tell)
            else:
                job = await _begin(bus, work, request, recipe, tell)
            if work.result() is None:
                await child.train(work, tell)
            result = work.result()
            assert result is not None
            model = publish.record(work, job, result)
            if not job.rebuilt:
                await press.check_for(model)
            tell(Said("publishing", result.steps, result.steps))
            publish.publish(work, job, result, model)
            if not job.rebuilt:
                await press.publish(model)
            work.clear()
            return model


async def _begin(
    bus: Bus, work: Work, request: Request, recipe: RecipeText | None, tell: Callable[[Said], None]
) -> Job:
    newest = (await history(bus)).newest
    work.clear()
    retracted: tuple[str, ...] = ()
    rebuilt_from: str | None = None
    if request.rebuild is not None:
        before = publish.published(request.rebuild).manifest
        rebuilt_from = before.sha256
        manifest, gone = await snapshot.rebuild(bus, before, publish.keys(request.rebuild), work.folder)
        retracted = publish.retracted(gone)
        if gone:
            tell(Said(f"{len(gone):,} rows of the manifest were retracted since: {snapshot.first(gone)}"))
    elif request.data is not None:
        manifest = snapshot.from_file(request.data, bus.namespace, work.folder)
    else:
        topic = "executions" if request.train.method == "dpo" else "examples"
        manifest = await snapshot.take(bus, topic, recipe, work.folder)
    if not manifest.keys:
        raise WrongConfig(_nothing(manifest, request))
    tell(Said(f"a snapshot of {manifest.keys:,} rows of {manifest.source}, sha256 {manifest.sha256[:12]}"))
    predecessor = newest.model_id if newest else None
    job = Job(request.train, manifest, predecessor, retracted, rebuilt_from is not None, rebuilt_from)
    work.begin(job)
    return job


def _nothing(manifest: Manifest, request: Request) -> str:
    if request.data is not None:
        return f"{request.data} holds no preference pair"
    if manifest.source == "executions":
        return f"namespace {manifest.namespace} has no instruction with a passing and a failing response"
    return f"namespace {manifest.namespace} has no examples to train on yet"


async def _go_on(press: Press, work: Work, request: Request, tell: Callable[[Said], None]) -> Job:
    job = work.job()
    differing = differences(job, request, _rows_named(work, request))
    if differing:
        raise WrongConfig(
            f"{work.folder} holds an unfinished training with other settings: {differing}; run it with those, or "
            "begin again with --restart"
        )
    if not job.rebuilt and work.result() is None:
        await press.check(job.predecessor)
    job = replace(job, train=request.train)  # how the work is done may differ
    work.begin(job)
    tell(Said(f"going on with an unfinished training on {job.manifest.keys:,} rows of {job.manifest.source}"))
    return job


def _rows_named(work: Work, request: Request) -> str | None:
    """Return the hash of the rows that a request names; None where it takes those of a topic as it stands."""
    if request.rebuild is not None:
        return publish.published(request.rebuild).manifest.sha256
    if request.data is None:
        return None
    with files.writing(work.folder), TemporaryDirectory(dir=work.folder) as scratch:
        return snapshot.from_file(request.data, "", Path(scratch)).sha256


def differences(job: Job, request: Request, rows: str | None = None) -> str:
    """Name what a request asks for otherwise than a training that is under way; "" where it may go on. `rows` is the
    hash of the rows that it names itself, by a model or a file."""
    source = request.data.name if request.data else "executions" if request.train.method == "dpo" else "examples"
    told: Mapping[str, Any] = {"base": job.train.base, "data": job.manifest.source, **_told(job.train)}
    asked: Mapping[str, Any] = {"base": request.train.base, "data": source, **_told(request.train)}
    differing = [f"{name} {told.get(name)} -> {asked[name]}" for name in asked if told.get(name) != asked[name]]
    if job.rebuilt != (request.rebuild is not None):
        differing.append(f"--rebuild {'' if job.rebuilt else 'not '}given before")
    before = job.rebuilt_from if job.rebuilt else job.manifest.sha256
    if before is not None and rows not in (None, before):
        differing.append(f"rows {before[:12]} -> {rows[:12]}")
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return ", ".join(differing[:SHOWN]) + more


def _told(train: Train) -> Mapping[str, Any]:
    return json.loads(train.canonical())
