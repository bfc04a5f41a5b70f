"""The trainer in `seedstream up`: beside the stages, whenever the trigger holds, and once more when all is done."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from deploy.planning.effective import stored_recipe
from deploy.signals import Interrupted, cancelled_by_signals
from deploy.training.view import Pace, View, line
from stream.bus import Bus
from stream.errors import Fatal, InUse, Unavailable, WrongConfig
from stream.records import Model
from stream.tasks import cancelled
from trainer import base, job
from trainer.events import Said
from trainer.hyperparameters import Train
from trainer.job import Request
from trainer.models import EXAMPLES, Superseded, history, news
from trainer.trigger import Rule, should_train
from trainer.work import Work

LOOK_S = 5.0

log = logging.getLogger(__name__)


def check(train: Train) -> None:
    """See, before anything is paid for, that the trainer can do its part.

    Raises:  as `trainer.base.check`; WrongConfig for a method whose rows are no examples.
    """
    if train.base is None:
        return
    if train.method != "sft":
        raise WrongConfig(f"train.method = {train.method}: beside a stream only sft is trained; see `seedstream train`")
    base.check(train)


class Beside:
    """Trains checkpoints of a namespace, one at a time. `note` is told in a line where it is."""

    def __init__(self, bus: Bus, train: Train, directory: Path, note: Callable[[str], None]) -> None:
        self._bus = bus
        self._train = train
        self._folder = directory / "models"
        self._tell: Callable[[Said], None] = _Noted(note)
        self._trigger = Trigger(bus, train.trigger)
        self._busy = asyncio.Lock()
        self._failed: Fatal | None = None

    async def watch(self) -> None:
        """Train whenever the trigger holds, until cancelled, or until a training has failed."""
        while self._failed is None:
            await asyncio.sleep(LOOK_S)
            await self._look()

    async def finish(self) -> bool:
        """End with a run that ends by itself: let a training in progress finish, train once more if the trigger holds,
        and return whether a signal cut it short."""
        view = View(log.info)
        with view.shown():
            self._tell = view
            try:
                with cancelled_by_signals():
                    await self._look()
            except Interrupted:
                log.warning("the training stops; the next `up` goes on from its last checkpoint")
                return True
        return False

    def raise_failure(self) -> None:
        """Raise what a training failed with, if one did: the stages went on, but the run is not a success."""
        if self._failed is not None:
            raise self._failed

    async def _look(self) -> None:
        async with self._busy:
            try:
                if self._failed is None and await self._trigger.holds(time.time()):
                    model = await self._once()
                    log.info("model %s of %d examples: %s", model.model_id[:12], model.manifest.keys, model.directory)
            except InUse as err:
                log.info("not training now: %s", err)
            except Unavailable as err:  # the stages wait for it too; what is there to train on will be there then
                log.warning("not training now: %s", err)
            except Fatal as err:
                log.error("the trainer stops, the stages go on: %s", err)
                self._failed = err

    async def _once(self) -> Model:
        count = (await history(self._bus)).count
        out = self._folder / f"{self._bus.namespace}-{count + 1:03}"
        request, work = Request(self._train, out), Work(out)
        if work.begun() and job.differences(work.job(), request):
            request = replace(request, restart=True)
        recipe = await stored_recipe(self._bus)
        try:
            return await job.train(self._bus, request, recipe, self._say)
        except Superseded:
            return await job.train(self._bus, replace(request, restart=True), recipe, self._say)
        finally:
            self._say(Said(""))

    def _say(self, said: Said) -> None:
        self._tell(said)  # whoever listens now


class _Noted:
    """Tells a training to a live view that has one line for it."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._pace = Pace()

    def __call__(self, said: Said) -> None:
        self._note(line(said, self._pace.left_s(time.monotonic(), said.step, said.steps)))


class Trigger:
    """`trainer.trigger` on a bus. Time is passed in."""

    def __init__(self, bus: Bus, rule: Rule) -> None:
        self._bus = bus
        self._rule = rule
        self._oldest: tuple[Mapping[int, int], float] | None = None  # the oldest new example, by what was seen before

    async def holds(self, now_s: float) -> bool:
        """Return whether to train now. The topic is read only where its end offsets say that it may be so: on a bus
        whose offsets have gaps they promise more than there is."""
        if EXAMPLES.name not in await self._bus.topics():
            return False
        seen = (await history(self._bus)).ends()
        ends = await self._bus.ends(EXAMPLES.name)
        at_most = sum(end - seen.get(partition, 0) for partition, end in ends.items())
        waited_s = now_s - self._oldest[1] if self._oldest and self._oldest[0] == seen else float("inf")
        if not should_train(at_most, waited_s, self._rule):
            return False
        found = await news(self._bus, seen)
        if found.oldest_at_s is None:
            return False
        self._oldest = (seen, found.oldest_at_s)
        return should_train(found.count, now_s - found.oldest_at_s, self._rule)


@asynccontextmanager
async def beside(bus: Bus, train: Train, directory: Path, note: Callable[[str], None]) -> AsyncGenerator[Beside | None]:
    """Train beside what runs inside; None where no base model is named. Leaving it ends a training in progress, which
    the next run goes on with."""
    if train.base is None:
        yield None
        return
    trainer = Beside(bus, train, directory, note)
    watch = asyncio.create_task(trainer.watch())
    try:
        yield trainer
    finally:
        await cancelled(watch)
