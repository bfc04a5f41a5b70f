"""`seedstream train`: flags, config and recipe into one table of hyper-parameters, and a training with its progress."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from deploy.options import put_json, say
from deploy.planning import recipe as recipes
from deploy.planning import settings
from deploy.planning.effective import diff, effective, stored_recipe
from deploy.signals import EXIT_INTERRUPTED, Interrupted, cancelled_by_signals
from deploy.streams.where import Where
from deploy.training.view import View
from stream import config
from stream.config import Document
from stream.errors import WrongConfig
from stream.records import Model, RecipeText
from trainer import publish
from trainer.hyperparameters import Train
from trainer.job import Request, train


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says over config file and recipe."""

    base: str | None = None
    method: str | None = None
    recipe: str | None = None
    config: Path | None = None
    settings: Sequence[str] = ()  # KEY=VALUE
    rebuild: Path | None = None  # its hyper-parameters stand in place of the recipe's


def hyperparameters(flags: Flags, running: RecipeText | None) -> Train:
    """Return the table [train] with the flags over it. `running` is the recipe that the stream runs: it is taken by its
    name, where neither flag nor config names another one.

    Raises:  WrongConfig naming flag, or file, line and key.
    """
    if flags.rebuild is not None:
        before = publish.published(flags.rebuild)
        found = replace(msgspec.json.decode(before.hyperparameters, type=Train), base=before.base)
    else:
        read, document = settings.read(flags.config)
        named = flags.recipe or (read.recipe if document is not None and "recipe" in document.data else None)
        built_in = running.name if running is not None and running.name in recipes.names() else None
        if named is None and running is not None and (built_in is None or _differs(running, built_in)):
            say(f"the stream runs a {running.name} of its own: name it with --recipe or --config to train as it says")
        found = recipes.load(named or built_in or read.recipe, document).train
    over: dict[str, Any] = {}
    for text in flags.settings:
        over = config.merge(over, setting(text))
    over |= {key: value for key, value in (("base", flags.base), ("method", flags.method)) if value is not None}
    table = config.merge(msgspec.to_builtins(found), over)
    return config.convert(table, Train, [Document("the command line", "", {"train": over})], ("train",))


def _differs(running: RecipeText, name: str) -> bool:
    """Whether a stream runs other parameters than the built-in recipe of this name: a changed copy keeps the name."""
    found = diff(json.loads(running.text), effective(recipes.load(name), {}, {}))
    return any(".params." in difference.key or difference.key in {"seed", "source"} for difference in found)


def setting(text: str) -> Mapping[str, Any]:
    """Read KEY=VALUE, the value as TOML has it, or a bare word.

    Raises:  WrongConfig.

    >>> setting("lora.rank=8"), setting("optimizer=adamw")
    ({'lora': {'rank': 8}}, {'optimizer': 'adamw'})
    """
    key, _, value = text.partition("=")
    for line in (f"{key} = {value}", f"{key} = {json.dumps(value)}"):
        try:
            if "\n" not in text and value:
                return tomllib.loads(line)
        except tomllib.TOMLDecodeError:
            continue
    raise WrongConfig(f"--set {text}: expected KEY=VALUE, as in --set epochs=2")


@dataclass(frozen=True, slots=True)
class Order:
    """What is trained on, and where to: the rest of a `trainer.job.Request`."""

    out: Path
    data: Path | None
    restart: bool


async def train_once(where: Where, flags: Flags, order: Order, as_json: bool) -> int:
    """Train, report, and return the exit code.

    Raises:  as `trainer.job.train` and `hyperparameters`; BusMissing.
    """
    try:
        with cancelled_by_signals():
            model = await _train(where, flags, order)
    except Interrupted:
        say("stopped; the same command goes on from the last checkpoint")
        return EXIT_INTERRUPTED
    if as_json:
        put_json(model)
    else:
        tell(model)
    return 0


async def _train(where: Where, flags: Flags, order: Order) -> Model:
    # Pairs of the user's own need no stream; whatever else is trained on stands in one.
    async with where.open(create=order.data is not None) as bus:
        recipe = await stored_recipe(bus)
        wanted = hyperparameters(flags, recipe)
        if order.data is not None and wanted.method != "dpo":
            raise WrongConfig("--data holds preference pairs: give --method dpo with it")
        view = View()
        with view.shown():
            request = Request(wanted, order.out, order.data, flags.rebuild, order.restart)
            return await train(bus, request, recipe, view)


def tell(model: Model) -> None:
    """Say what was published."""
    print(model.directory)
    lost = f"loss {model.losses[0]:.4f} -> {model.losses[-1]:.4f} in {len(model.losses):,} steps"
    if model.held_out_losses:
        lost += f"; held out {model.held_out_losses[0]:.4f} -> {model.held_out_losses[-1]:.4f}"
    say(f"model {model.model_id[:12]} on {model.manifest.keys - model.left_out:,} rows: {lost}")
    say(f"its card:                {model.directory}/README.md")
