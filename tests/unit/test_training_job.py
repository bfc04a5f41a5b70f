"""A training from beginning to end: what is published, who may, and what a kill at any step leaves. The training itself
runs in this process; `tests/integration/test_training.py` has real ones."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream.bus import Message
from stream.codec import encode
from stream.embedded import Embedded
from stream.errors import DependencyDown, InUse, WrongConfig
from stream.records import Example, Execution, Manifest, Model, RecipeText, Step
from stream.topics import TOPICS
from tests.records import executions, instruction, response
from tests.tiny import QUICK, rows, tiny_model
from trainer import base as base_module
from trainer import child, job, publish, snapshot
from trainer.events import Said, TrainingFailed
from trainer.finetune import run
from trainer.hyperparameters import Lora, Train
from trainer.job import Request
from trainer.models import History, Press, Superseded, history, owned
from trainer.work import RECORD, Job, Work

RECIPE = RecipeText("selfcodealign", '{"name":"selfcodealign","stages":{}}', None)


def example(n: int) -> Example:
    row = rows(1, n)[0]
    parent, answer = instruction(row["instruction"], index=n), response(text=row["response"])
    return Example(parent, answer, Execution(0, "pass", ""), Step("examples", 1))


@asynccontextmanager
async def stream(folder: Path, examples: Sequence[int]) -> AsyncIterator[Embedded]:
    async with Embedded.open(folder) as bus:
        await bus.create([TOPICS["examples"], TOPICS["executions"]])
        await send(bus, examples)
        yield bus


async def send(bus: Embedded, examples: Sequence[int]) -> None:
    async with bus.appender("test") as appender:
        await appender.append([Message("examples", (e := example(n)).key, encode(e)) for n in examples])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base") / "model")


class Trainings:
    """Stands in for the process that trains: the same code, here. Counts, and can be told to fail."""

    def __init__(self) -> None:
        self.count = 0
        self.first: Callable[[Work], None] = lambda _: None

    async def train(self, work: Work, tell: Callable[[Said], None]) -> None:
        self.count += 1
        self.first(work)
        await asyncio.to_thread(run.run, work, tell)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    here = Trainings()
    monkeypatch.setattr(child, "train", here.train)
    return here


def request(base: Path, out: Path, **settings: Any) -> Request:
    return Request(Train(base=str(base), **{**QUICK, "epochs": 1.0, **settings}), out)


async def train(bus: Embedded, asked: Request, said: list[Said] | None = None) -> Model:
    return await job.train(bus, asked, RECIPE, (said if said is not None else []).append)


def ids(folder: Path) -> set[str]:
    return set(snapshot.read_keys(publish.keys(folder)))


@pytest.fixture(autouse=True)
def _one_at_a_time(trainings: Trainings) -> None:
    """Every test here trains in this process."""


# --- what is published


async def test_a_training_publishes_a_folder_that_says_all_and_a_record(base: Path, tmp_path: Path):
    out, said = tmp_path / "out", list[Said]()
    async with stream(tmp_path / "bus", range(8)) as bus:
        model = await train(bus, request(base, out), said)
        assert (await history(bus)).newest == model == publish.published(out)
    assert model.predecessor is None and model.directory == str(out)
    assert model.manifest.recipe == RECIPE.text and model.manifest.keys == 8
    assert ids(out) == {example(n).key for n in range(8)}
    card = (out / "README.md").read_text()
    for told in (model.model_id, model.base, model.manifest.sha256, model.weights_sha256, "| MIT | 8 |", "adafactor"):
        assert told in card
    assert json.loads((out / "training" / "manifest.json").read_text())["sha256"] == model.manifest.sha256
    assert {path.name for path in tmp_path.iterdir()} == {"bus", "out"}  # nothing is left of the work
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in out.iterdir())
    assert said[0].what == f"a snapshot of 8 rows of examples, sha256 {model.manifest.sha256[:12]}"


async def test_the_second_trainings_manifest_holds_the_firsts_examples_and_the_new_ones(base: Path, tmp_path: Path):
    async with stream(tmp_path / "bus", range(6)) as bus:
        first = await train(bus, request(base, tmp_path / "one"))
        await send(bus, range(6, 10))
        second = await train(bus, request(base, tmp_path / "two"))
        found = await history(bus)
    assert ids(tmp_path / "two") == ids(tmp_path / "one") | {example(n).key for n in range(6, 10)}
    assert (first.manifest.ends, second.manifest.ends) == ((6,), (10,))
    assert found == History(second, second, 2) and second.predecessor == first.model_id


async def test_a_published_folder_is_replaced_whole_by_the_next_one(base: Path, tmp_path: Path):
    async with stream(tmp_path / "bus", range(6)) as bus:
        first = await train(bus, request(base, tmp_path / "out"))
        second = await train(bus, request(base, tmp_path / "out", seed=1))
    assert publish.published(tmp_path / "out") == second != first
    assert {path.name for path in tmp_path.iterdir()} == {"bus", "out"}


async def test_equal_trainings_have_equal_ids_and_weights(base: Path, tmp_path: Path):
    models: list[Model] = []
    for name in ("one", "two"):
        async with stream(tmp_path / f"bus-{name}", range(6)) as bus:
            models.append(await train(bus, request(base, tmp_path / name)))
    one, two = models
    assert replace(one, directory="") == replace(two, directory="")


# --- kills and failures


class Killed(BaseException):
    """Stands for SIGKILL."""


def kill(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(owner, name, die)


@pytest.mark.parametrize(("owner", "name"), [(publish, "publish"), (Press, "publish"), (Work, "clear")])
async def test_killed_behind_the_training_it_goes_on_without_training_again(
    owner: object, name: str, base: Path, trainings: Trainings, tmp_path: Path
):
    asked = request(base, tmp_path / "out")
    async with stream(tmp_path / "bus", range(6)) as bus:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            if owner is not Work:
                kill(patch, owner, name)
            else:  # it is called at the beginning, too
                trainings.first = lambda _: kill(patch, owner, name)
            await train(bus, asked)
        trainings.first = lambda _: None
        model = await train(bus, asked)
        assert (await history(bus)) == History(model, model, 1)
    assert trainings.count == 1
    assert publish.published(tmp_path / "out") == model
    assert {path.name for path in tmp_path.iterdir()} == {"bus", "out"}


async def test_an_unfinished_training_goes_on_with_its_own_snapshot(base: Path, trainings: Trainings, tmp_path: Path):
    asked = request(base, tmp_path / "out")
    async with stream(tmp_path / "bus", range(6)) as bus:
        trainings.first = _die
        with pytest.raises(Killed):
            await train(bus, asked)
        await send(bus, range(6, 9))  # they come too late for this one
        trainings.first = lambda _: None
        model = await train(bus, asked)
    assert (model.manifest.keys, model.manifest.ends) == (6, (6,))


def _die(_: Work) -> None:
    raise Killed


async def test_other_settings_do_not_go_on_with_an_unfinished_training(
    base: Path, trainings: Trainings, tmp_path: Path
):
    asked = request(base, tmp_path / "out")
    async with stream(tmp_path / "bus", range(6)) as bus:
        trainings.first = _die
        with pytest.raises(Killed):
            await train(bus, asked)
        trainings.first = lambda _: None
        other = replace(asked, train=replace(asked.train, epochs=2.0, seed=9))
        with pytest.raises(WrongConfig, match=r"other settings: epochs 1.0 -> 2.0, seed 3407 -> 9; .* --restart"):
            await train(bus, other)
        model = await train(bus, replace(other, restart=True))
        assert json.loads(model.hyperparameters)["seed"] == 9


async def test_an_unfinished_training_goes_on_with_the_rows_it_was_asked_to_rebuild_alone(
    base: Path, trainings: Trainings, tmp_path: Path
):
    async with stream(tmp_path / "bus", range(4)) as bus:
        first = await train(bus, request(base, tmp_path / "one"))
        await send(bus, range(4, 8))
        second = await train(bus, request(base, tmp_path / "two"))
        asked = replace(request(base, tmp_path / "again"), rebuild=tmp_path / "one")
        trainings.first = _die
        with pytest.raises(Killed):
            await train(bus, asked)
        trainings.first = lambda _: None
        other = replace(asked, rebuild=tmp_path / "two")
        hashes = f"{first.manifest.sha256[:12]} -> {second.manifest.sha256[:12]}"
        with pytest.raises(WrongConfig, match=rf"other settings: rows {hashes}; .* --restart"):
            await train(bus, other)
        assert (await train(bus, asked)).manifest == first.manifest
        assert (await train(bus, replace(other, restart=True))).manifest == second.manifest


async def test_an_unfinished_training_goes_on_with_the_content_of_its_file_alone(
    base: Path, trainings: Trainings, tmp_path: Path
):
    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n')
    dpo = request(base, tmp_path / "out", method="dpo", optimizer="rmsprop", learning_rate=1e-4)
    asked = replace(dpo, data=mine)
    async with stream(tmp_path / "bus", []) as bus:
        trainings.first = _die
        with pytest.raises(Killed):
            await train(bus, asked)
        trainings.first = lambda _: None
        (tmp_path / "elsewhere").mkdir()
        other = replace(asked, data=tmp_path / "elsewhere" / mine.name)
        with pytest.raises(WrongConfig, match=r"mine\.jsonl cannot be read: No such file"):
            await train(bus, other)
        (tmp_path / "elsewhere" / mine.name).write_text('{"prompt": "q", "chosen": "b", "rejected": "a"}\n')
        with pytest.raises(WrongConfig, match=r"other settings: rows \w{12} -> \w{12}; .* --restart"):
            await train(bus, other)
        assert (await train(bus, asked)).manifest.source == mine.name


def test_a_job_of_a_version_that_noted_no_hash_is_still_gone_on_with(tmp_path: Path):
    manifest = Manifest("main", "examples", (5,), 5, "a" * 64, "", "")
    asked = Request(Train(base="b"), tmp_path / "out", rebuild=tmp_path / "one")
    work = Work(asked.out)
    work.folder.mkdir()
    work.begin(Job(asked.train, manifest, None, rebuilt=True, rebuilt_from="b" * 64))
    written = json.loads((work.folder / "job.json").read_bytes())
    assert written.pop("rebuilt_from") == "b" * 64
    (work.folder / "job.json").write_text(json.dumps(written))
    assert work.job() == Job(asked.train, manifest, None, rebuilt=True)
    assert job.differences(work.job(), asked, "c" * 64) == ""
    assert "--rebuild given before" in job.differences(work.job(), replace(asked, rebuild=None))


async def test_a_training_that_another_one_overtook_is_refused(base: Path, trainings: Trainings, tmp_path: Path):
    slow, quick = request(base, tmp_path / "slow"), request(base, tmp_path / "quick")
    async with stream(tmp_path / "bus", range(6)) as bus:
        trainings.first = _die
        with pytest.raises(Killed):
            await train(bus, slow)
        trainings.first = lambda _: None
        overtaking = await train(bus, quick)
        with pytest.raises(Superseded, match=rf"model {overtaking.model_id[:12]} was published .* with --restart"):
            await train(bus, slow)
        assert not (tmp_path / "slow").exists() and (await history(bus)).count == 1
        assert (await train(bus, replace(slow, restart=True))).predecessor == overtaking.model_id


async def test_what_was_overtaken_behind_its_training_is_not_published(
    base: Path, trainings: Trainings, tmp_path: Path
):
    slow, quick = request(base, tmp_path / "slow"), request(base, tmp_path / "quick")
    async with stream(tmp_path / "bus", range(6)) as bus:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            kill(patch, publish, "publish")
            await train(bus, slow)
        await train(bus, quick)
        with pytest.raises(Superseded):
            await train(bus, slow)
        assert not (tmp_path / "slow").exists() and (await history(bus)).count == 1


async def test_two_trainers_of_a_namespace_do_not_run_at_once(base: Path, trainings: Trainings, tmp_path: Path):
    async with stream(tmp_path / "bus", range(6)) as bus, Embedded.open(tmp_path / "bus") as other, owned(other):
        with pytest.raises(InUse, match="models of namespace main is in use by process"):
            await train(bus, request(base, tmp_path / "out"))
    assert trainings.count == 0 and not (tmp_path / "out").exists()


async def test_a_training_that_fails_leaves_the_published_one_as_it_was(
    base: Path, trainings: Trainings, tmp_path: Path
):
    async with stream(tmp_path / "bus", range(6)) as bus:
        before = await train(bus, request(base, tmp_path / "out"))

        def fail(_: Work) -> None:
            raise TrainingFailed("no")

        trainings.first = fail
        with pytest.raises(TrainingFailed):
            await train(bus, request(base, tmp_path / "out", seed=1))
        assert publish.published(tmp_path / "out") == before and (await history(bus)).count == 1


# --- other rows


async def test_a_rebuilt_model_is_trained_on_the_same_rows_and_is_no_progress(base: Path, tmp_path: Path):
    async with stream(tmp_path / "bus", range(6)) as bus:
        first = await train(bus, request(base, tmp_path / "one"))
        await send(bus, range(6, 9))
        asked = replace(request(base, tmp_path / "again"), rebuild=tmp_path / "one")
        again = await train(bus, asked)
        assert (await history(bus)).count == 1
    assert (again.model_id, again.weights_sha256) == (first.model_id, first.weights_sha256)
    for name in ("manifest.json", "keys.txt", "losses.csv", "loss.png"):
        before, after = (tmp_path / folder / "training" / name for folder in ("one", "again"))
        assert before.read_bytes() == after.read_bytes()


async def test_what_was_retracted_since_is_said_and_stands_on_the_card(base: Path, tmp_path: Path):
    async with stream(tmp_path / "bus", range(6)) as bus:
        await train(bus, request(base, tmp_path / "one"))
        changed = replace(example(2), response=response(text="Other."))
        async with bus.appender("test") as appender:
            await appender.append([Message("examples", changed.key, encode(changed))])
        said: list[Said] = []
        again = await train(bus, replace(request(base, tmp_path / "again"), rebuild=tmp_path / "one"), said)
    assert again.manifest.keys == 5
    assert f"1 rows of the manifest were retracted since: {changed.key} (changed)" in [event.what for event in said]
    assert f"`{changed.key} (changed)`" in (tmp_path / "again" / "README.md").read_text()


async def test_preferences_come_from_executions_or_a_file_and_leave_the_progress(base: Path, tmp_path: Path):
    dpo: Mapping[str, Any] = {"method": "dpo", "optimizer": "rmsprop", "learning_rate": 1e-4}
    async with stream(tmp_path / "bus", range(6)) as bus:
        sft = await train(bus, request(base, tmp_path / "sft"))
        with pytest.raises(WrongConfig, match="no instruction with a passing and a failing response"):
            await train(bus, request(tmp_path / "sft", tmp_path / "dpo", **dpo))
        both = [(response(0, "right"), "pass"), (response(1, "wrong"), "assertion")]
        async with bus.appender("test") as appender:
            tried = [executions(instruction(index=n), *both) for n in range(5)]
            await appender.append([Message("executions", e.key, encode(e)) for e in tried])
        preferred = await train(bus, request(tmp_path / "sft", tmp_path / "dpo", **dpo))
        assert (preferred.manifest.source, preferred.manifest.keys) == ("executions", 5)
        assert preferred.base_sha256 == sft.weights_sha256
        (tmp_path / "mine.jsonl").write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n')
        asked = replace(request(base, tmp_path / "own", **dpo), data=tmp_path / "mine.jsonl")
        own = await train(bus, asked)
        assert (own.manifest.source, own.manifest.ends) == ("mine.jsonl", ())
        found = await history(bus)
    assert found.newest == own and found.on_examples == sft and found.ends() == {0: 6}


# --- refused in one line


async def test_a_namespace_without_examples_is_said(base: Path, tmp_path: Path):
    async with stream(tmp_path / "bus", []) as bus:
        with pytest.raises(WrongConfig, match="namespace main has no examples to train on yet"):
            await train(bus, request(base, tmp_path / "out"))
    assert {path.name for path in tmp_path.iterdir()} == {"bus"}


async def test_a_folder_that_is_not_ours_is_not_replaced(base: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("")
    async with stream(tmp_path / "bus", range(3)) as bus:
        with pytest.raises(WrongConfig, match=r"out is there and holds no model of seedstream's"):
            await train(bus, request(base, tmp_path / "out"))
        (tmp_path / "out" / "thesis.tex").unlink()
        await train(bus, request(base, tmp_path / "out"))  # an empty folder is nobody's
    assert (tmp_path / "out" / RECORD).is_file()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"model_id":"\xff"}', b"[" * 100_000], ids=lambda c: repr(c[:9]))
def test_a_folder_whose_record_is_none_was_not_published(content: bytes, tmp_path: Path):
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(WrongConfig, match=rf"is no model that seedstream published: {RECORD}"):
        publish.published(tmp_path)


async def test_only_one_training_at_a_time_writes_to_a_folder(base: Path, tmp_path: Path):
    async with stream(tmp_path / "bus", range(3)) as bus, Embedded.open(tmp_path / "bus", "another") as other:
        with Work(tmp_path / "out").mine(), pytest.raises(InUse, match="out is in use by process"):
            await train(other, request(base, tmp_path / "out"))
        await train(bus, request(base, tmp_path / "out"))


@pytest.mark.parametrize(
    ("missing", "settings", "message"),
    [
        ("torch", {}, r"training needs torch, which is not installed: pip install 'seedstream\[train\]'"),
        ("peft", {"lora": Lora()}, r"training needs peft"),
        ("bitsandbytes", {"lora": Lora(quantized=True)}, r"training needs bitsandbytes, .*: pip install bitsandbytes"),
    ],
)
def test_a_package_that_is_missing_is_named_with_what_installs_it(
    missing: str, settings: dict[str, Any], message: str, base: Path, monkeypatch: pytest.MonkeyPatch
):
    find = base_module.importlib.util.find_spec
    monkeypatch.setattr(base_module.importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(DependencyDown, match=message):
        base_module.check(Train(base=str(base), **settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no base model is named"),
        ({"base": "/no/such"}, "base /no/such: there is no such folder"),
        ({"base": "./no"}, "base ./no: there is no such folder"),
        ({"base": "org/name", "accelerate": "none.yaml"}, "accelerate: there is no file none.yaml"),
    ],
)
def test_what_is_named_and_not_there_is_said_at_once(settings: dict[str, Any], message: str):
    with pytest.raises(WrongConfig, match=message):
        base_module.check(Train(**settings))
