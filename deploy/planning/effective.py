"""The effective recipe: all that decides what a stream's records look like, as canonical JSON.

It goes into topic `recipe` when a stream begins; a later start with another one is refused with the difference, so
that no topic ever holds a mixture. Where and how fast the work is done (URLs, slots, windows) is no part of it.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import msgspec

from deploy.planning.recipe import Recipe, StagePlan
from stream.bus import Appender, Bus, Message
from stream.codec import decode, encode
from stream.errors import InUse, LeaseLost, WrongConfig
from stream.records import RecipeText
from stream.retry import backoff_s
from stream.topics import RECIPE, foreign

OWNED_S = 10.0  # how long another process may take to begin a stream
SHOWN = 5  # differences that a refusal prints
NAME_A_MODEL = "name a server with --llm URL --model M, or as [llm.NAME] in a --config file"


@dataclass(frozen=True, slots=True)
class Asked:
    """What an LLM stage asks, as far as it decides its records."""

    prompt_sha256: str
    model: str | None = None  # None where no endpoint is named yet
    api: str | None = None
    reasoning_tokens: int = 0
    extra_body: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def plain(self) -> dict[str, Any]:
        """Return it for the recipe. Room for thoughts and additions to requests stand in it only where there are some:
        streams that began before these could be set hold none. Where no endpoint is named, those of the stored recipe
        hold (see `filled`)."""
        more: dict[str, Any] = {"reasoning_tokens": self.reasoning_tokens, "extra_body": dict(self.extra_body)}
        more = dict.fromkeys(more) if self.model is None else {name: value for name, value in more.items() if value}
        return {"prompt_sha256": self.prompt_sha256, "model": self.model, "api": self.api, **more}


@dataclass(frozen=True, slots=True)
class Difference:
    """One parameter that differs; None where it is not set."""

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: {_short(self.before)} -> {_short(self.now)}"


def effective(recipe: Recipe, asked: Mapping[str, Asked], decontamination: Mapping[str, str]) -> dict[str, Any]:
    """Return the effective recipe. `asked` is by stage, `decontamination` maps file names to the hashes of their
    content."""
    return {
        "name": recipe.name,
        "seed": recipe.seed,
        "source": msgspec.to_builtins(recipe.source),
        "decontamination": dict(decontamination),
        "stages": {
            plan.name: {
                "reads": plan.reads.name,
                "variant": plan.kind.variant,
                "version": plan.kind.version,
                "params": _params(plan),
                **({"asks": asked[plan.name].plain()} if plan.name in asked else {}),
            }
            for plan in recipe.stages
        },
    }


def _params(plan: StagePlan) -> dict[str, Any]:
    params: dict[str, Any] = msgspec.to_builtins(plan.params)
    return {name: value for name, value in params.items() if name not in plan.kind.tuning}


def canonical(recipe: Mapping[str, Any]) -> str:
    """Return equal text for equal recipes."""
    return json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def diff(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Return every parameter that differs, sorted by its name.

    >>> print(*diff({"a": {"b": 1}, "c": 2}, {"a": {"b": [1]}, "c": 2, "d": None}), sep=", ")
    a.b: 1 -> [1]
    """
    old, new = _flat(before), _flat(now)
    return [Difference(key, old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)]


async def begun(bus: Bus, recipe: Mapping[str, Any], remedy: str) -> bool:
    """Return whether the stream has begun, and see that it began with this recipe. Where `recipe` names no model, that
    of the stored one holds.

    Raises:  WrongConfig with the first differences and the `remedy`.
    """
    stored = await stored_recipe(bus)
    if stored is None:
        return False
    before: dict[str, Any] = json.loads(stored.text)
    differences = diff(before, filled(before, recipe))
    if differences:
        some = "; ".join(map(str, differences[:SHOWN]))
        more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        raise WrongConfig(f"this stream runs another recipe: {some}{more}. {remedy}")
    return True


async def begin(
    bus: Bus, recipe: Mapping[str, Any], branched: RecipeText | None = None, remedy: str = "Another process began it"
) -> None:
    """Store the recipe of a stream that has not begun; `branched` says where one was branched from another. Where
    another process has begun it since, see that it did so with this recipe.

    Raises:  as `check_named` and `begun`.
    """
    check_named(recipe)
    name, text = str(recipe["name"]), canonical(recipe)
    record = replace(branched, name=name, text=text) if branched else RecipeText(name, text, None)
    give_up_s, failures = time.monotonic() + OWNED_S, 0
    while not await begun(bus, recipe, remedy):
        try:
            async with _owned(bus) as appender:
                if not await begun(bus, recipe, remedy):
                    await appender.append([Message(RECIPE.name, record.key, encode(record))])
                return
        except LeaseLost:  # on Kafka the last of several that start together owns the name
            failures += 1
            if time.monotonic() >= give_up_s:
                raise
            await asyncio.sleep(backoff_s(failures, 0.1, 2.0, random.random()))


@asynccontextmanager
async def _owned(bus: Bus) -> AsyncGenerator[Appender]:
    """Own the name under which recipes are written. Workers that are started together all want it, for a moment."""
    async with AsyncExitStack() as stack:
        give_up_s = time.monotonic() + OWNED_S
        while True:
            try:
                appender = await stack.enter_async_context(bus.appender("recipe"))
                break
            except InUse:
                if time.monotonic() >= give_up_s:
                    raise
                await asyncio.sleep(0.05)
        yield appender


def check_named(recipe: Mapping[str, Any]) -> None:
    """See that a stream can begin with a recipe.

    Raises:  WrongConfig when it names not all of its models: they could not be held to later.
    """
    unnamed = [name for name, stage in recipe["stages"].items() if stage.get("asks", {"model": ""})["model"] is None]
    if unnamed:
        raise WrongConfig(f"a stream begins with all its models named, {', '.join(unnamed)} have none: {NAME_A_MODEL}")


async def stored_recipe(bus: Bus, namespace: str | None = None) -> RecipeText | None:
    """Return the recipe that the stream runs, or another namespace's; None where it has not begun."""
    latest: RecipeText | None = None
    if (namespace or bus.namespace) in await bus.namespaces():
        topic = foreign(RECIPE, namespace) if namespace else RECIPE
        async for batch in bus.read(topic.name):
            latest = decode(batch[-1].value, RecipeText)
    return latest


def filled(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return `now` with what it leaves unnamed taken from `before`."""
    found = dict(now)
    for key, value in now.items():
        if isinstance(value, dict):
            found[key] = filled(before.get(key) or {}, cast("dict[str, Any]", value))
        elif value is None:
            found[key] = before.get(key)
    return found


def _flat(value: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            flat |= _flat(cast("dict[str, Any]", inner), f"{at}{key}.")
        else:
            flat[f"{at}{key}"] = list(cast("Sequence[Any]", inner)) if isinstance(inner, tuple) else inner
    return flat


def _short(value: Any) -> str:
    text = "not set" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
