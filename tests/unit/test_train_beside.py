"""The trainer in `up`: beside the stages, at the trigger, and once more at the end. The training itself is a fake that
writes down what it was asked for; `test_up_ends_with_a_checkpoint` has a real one."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.training import beside as train_beside
from deploy.training.beside import Beside, Trigger, beside, check
from stream.bus import Bus, Message, Stored
from stream.embedded import Embedded
from stream.errors import BrokerDown, Fatal, InUse, WrongConfig
from stream.records import Manifest, Model, ModelId, RecipeText
from stream.topics import TOPICS
from tests.patience import PATIENCE_S
from trainer import job
from trainer.events import Said, TrainingFailed
from trainer.hyperparameters import Train
from trainer.job import Request
from trainer.models import Superseded, owned
from trainer.trigger import Rule

EXAMPLES = TOPICS["examples"]
RULE = Rule(examples=10, age_s=3_600, least=3)


@asynccontextmanager
async def stream(folder: Path) -> AsyncIterator[Embedded]:
    async with Embedded.open(folder) as bus:
        await bus.create([EXAMPLES])
        yield bus


async def send(bus: Embedded, count: int) -> None:
    async with bus.appender("test") as appender:
        await appender.append([Message(EXAMPLES.name, f"{n}", b"") for n in range(count)])


def model(name: str, end: int) -> Model:
    manifest = Manifest("main", "examples", (end,), end, "0" * 64, "", "1" * 64)
    return Model(ModelId(name), None, "base", "b" * 64, manifest, "{}", (2.0, 1.0), (), 0, "w" * 64, "out")


class Trainings:
    """A trainer that publishes at once, or fails as it is told to."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.failures: list[Fatal] = []
        self.wait: Callable[[], Any] | None = None

    async def train(self, bus: Bus, request: Request, recipe: RecipeText | None, tell: Callable[[Said], None]) -> Model:
        self.asked.append(request)
        if self.wait is not None:
            await self.wait()
        if self.failures:
            raise self.failures.pop(0)
        tell(Said("training", 1, 2, 0.5))
        ends = await bus.ends(EXAMPLES.name)
        async with owned(bus) as press:
            made = replace(model(f"m{len(self.asked)}", ends[0]), predecessor=await _newest(bus))
            await press.publish(made)
        return made


async def _newest(bus: Bus) -> ModelId | None:
    found = (await train_beside.history(bus)).newest
    return found.model_id if found else None


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    fake = Trainings()
    monkeypatch.setattr(job, "train", fake.train)
    return fake


def trainer(bus: Embedded, folder: Path, rule: Rule = RULE, notes: list[str] | None = None) -> Beside:
    return Beside(bus, Train(base="base", trigger=rule), folder, (notes if notes is not None else []).append)


class Counted:
    """A bus that counts how often the examples are read."""

    def __init__(self, bus: Embedded) -> None:
        self._bus = bus
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    def read(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncIterator[Sequence[Stored]]:
        self.reads += topic == EXAMPLES.name
        return self._bus.read(topic, start)


async def test_the_trigger_counts_what_no_model_has_seen_and_reads_only_where_it_may_hold(tmp_path: Path):
    async with stream(tmp_path) as bus:
        counted = Counted(bus)
        trigger = Trigger(counted, RULE)  # pyright: ignore[reportArgumentType] - a bus in all but name
        now_s = 1e10  # long after anything was appended
        assert not await trigger.holds(now_s)
        await send(bus, 2)
        assert not await trigger.holds(now_s) and counted.reads == 0  # too few, whatever their age
        await send(bus, 2)
        assert await trigger.holds(now_s)  # few, but they have waited
        appended_s = [stored.at_s async for batch in bus.read(EXAMPLES.name) for stored in batch]
        reads = counted.reads
        assert not await trigger.holds(appended_s[0] + 3_599)
        assert await trigger.holds(appended_s[0] + 3_600)
        assert counted.reads == reads + 1  # the age of the oldest was known
        await send(bus, 6)
        assert await trigger.holds(0)  # enough at once
        async with owned(bus) as press:
            await press.publish(model("a", 8))
        assert not await trigger.holds(now_s)  # 2 are new
        await send(bus, 1)
        assert await trigger.holds(now_s)


async def test_at_the_end_it_trains_when_the_trigger_holds_and_then_not_again(trainings: Trainings, tmp_path: Path):
    async with stream(tmp_path) as bus:
        beside_it = trainer(bus, tmp_path)
        await send(bus, 9)
        assert await beside_it.finish() is False and trainings.asked == []
        await send(bus, 1)
        for _ in range(2):
            assert await beside_it.finish() is False
        await send(bus, 10)
        await beside_it.finish()
        beside_it.raise_failure()
    assert [request.out for request in trainings.asked] == [tmp_path / "models" / f"main-00{n}" for n in (1, 2)]


async def test_it_trains_beside_the_stages_and_says_where_it_is(
    trainings: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(train_beside, "LOOK_S", 0.001)
    notes: list[str] = []
    noted = asyncio.Event()

    def note(line: str) -> None:
        notes.append(line)
        if line == "":
            noted.set()

    async with stream(tmp_path) as bus:
        await send(bus, 10)
        async with beside(bus, Train(base="base", trigger=RULE), tmp_path, note):
            await asyncio.wait_for(noted.wait(), PATIENCE_S)
    assert notes == ["training: step 1 of 2, loss 0.5000", ""]
    assert len(trainings.asked) == 1


async def test_a_training_in_progress_is_let_finish_at_the_end_and_cancelled_by_leaving(
    trainings: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(train_beside, "LOOK_S", 0.001)
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await may_end.wait()

    trainings.wait = wait
    async with stream(tmp_path) as bus:
        await send(bus, 10)
        async with beside(bus, Train(base="base", trigger=RULE), tmp_path, lambda _: None) as it:
            assert it is not None
            await asyncio.wait_for(begun.wait(), PATIENCE_S)
            end = asyncio.create_task(it.finish())
            await asyncio.sleep(0)
            may_end.set()
            assert await asyncio.wait_for(end, PATIENCE_S) is False
        assert len(trainings.asked) == 1
        begun.clear()
        may_end.clear()
        await send(bus, 10)
        async with beside(bus, Train(base="base", trigger=RULE), tmp_path, lambda _: None):
            await asyncio.wait_for(begun.wait(), PATIENCE_S)
    assert len(trainings.asked) == 2


async def test_a_training_that_fails_ends_the_trainer_and_is_raised_when_the_run_is_over(
    trainings: Trainings, tmp_path: Path
):
    trainings.failures = [TrainingFailed("no memory")]
    async with stream(tmp_path) as bus:
        await send(bus, 10)
        beside_it = trainer(bus, tmp_path)
        for _ in range(2):
            assert await beside_it.finish() is False
        assert len(trainings.asked) == 1
        with pytest.raises(TrainingFailed, match="no memory"):
            beside_it.raise_failure()


async def test_while_the_bus_is_away_the_trainer_waits_and_then_goes_on(
    trainings: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(train_beside, "LOOK_S", 0.001)
    noted, looks = asyncio.Event(), iter(range(3))
    holds = Trigger.holds

    async def away_at_first(self: Trigger, now_s: float) -> bool:
        if next(looks, None) is not None:
            raise BrokerDown("no broker answers")
        return await holds(self, now_s)

    monkeypatch.setattr(Trigger, "holds", away_at_first)
    async with stream(tmp_path) as bus:
        await send(bus, 10)
        async with beside(bus, Train(base="base", trigger=RULE), tmp_path, lambda line: line or noted.set()) as it:
            await asyncio.wait_for(noted.wait(), PATIENCE_S)
            assert it is not None
            it.raise_failure()
    assert len(trainings.asked) == 1
    assert caplog.messages.count("not training now: no broker answers") == 3


async def test_another_trainer_is_waited_for_and_one_that_overtook_makes_it_begin_anew(
    trainings: Trainings, tmp_path: Path
):
    async with stream(tmp_path) as bus:
        await send(bus, 10)
        beside_it = trainer(bus, tmp_path)
        trainings.failures = [InUse("models is in use by process 1")]
        await beside_it.finish()
        beside_it.raise_failure()
        trainings.failures = [Superseded("another one")]
        await beside_it.finish()
        beside_it.raise_failure()
    assert [request.restart for request in trainings.asked] == [False, False, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base": "/no/such"}, "base /no/such: there is no such folder"),
        ({"base": "b", "method": "dpo"}, "beside a stream only sft is trained"),
    ],
)
def test_what_could_never_train_is_refused_before_anything_is_paid_for(settings: Mapping[str, Any], message: str):
    with pytest.raises(WrongConfig, match=message):
        check(Train(**settings))


async def test_nothing_is_trained_where_no_base_model_is_named(tmp_path: Path):
    check(Train())
    async with stream(tmp_path) as bus, beside(bus, Train(), tmp_path, lambda _: None) as it:
        assert it is None


def test_a_training_of_a_recipe_is_read_with_its_base_beside_the_file(tmp_path: Path):
    from deploy.planning.plan import Flags, plan

    (tmp_path / "base").mkdir()
    (tmp_path / "recipe.toml").write_text('extends = "selfcodealign"\n[train]\nbase = "base"\nepochs = 2\n')
    (tmp_path / "seedstream.toml").write_text("[train]\nepochs = 3\n")
    recipe = plan(Flags(recipe=str(tmp_path / "recipe.toml"), config=tmp_path / "seedstream.toml")).recipe
    assert (recipe.train.base, recipe.train.epochs) == (str(tmp_path / "base"), 3)
    assert plan(Flags()).recipe.train == Train()
    (tmp_path / "seedstream.toml").write_text("[train]\nepochs = 0\n")
    with pytest.raises(WrongConfig, match=r"seedstream.toml, line 1, train: epochs must be above 0, got 0"):
        plan(Flags(config=tmp_path / "seedstream.toml"))
    assert "train" not in json.dumps(plan(Flags()).effective())
