"""How the rows of a stream came about, from its topics alone: the funnel, and what models were asked for."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from consumers.llm.endpoint import Endpoint
from deploy.planning.effective import stored_recipe
from deploy.streams.funnel import Count, funnel
from deploy.streams.outline import legs, outline
from deploy.streams.record_parts import responses_of
from stream.bus import Bus
from stream.codec import decode
from stream.records import Concepts, Instruction, Record, Seed
from stream.topics import TOPICS

NOT_SENT = "prompt_too_long"
"""The reason of a reject that no reply stands behind."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one stage asked one model for. Tokens are as the server counted them; of a reply that was turned down no
    topic keeps them."""

    stage: str
    model: str
    replies: int  # that were taken
    uncounted: int  # of those, without tokens on record: made by an earlier version
    prompt_tokens: int  # of the counted ones
    completion_tokens: int
    turned_down: int  # replies of the stage in `rejects`

    @property
    def about(self) -> tuple[int, int] | None:
        """Tokens in and out of all replies, as if those that were not counted took as many as the others do."""
        counted = self.replies - self.uncounted
        if not counted:
            return None
        all_of_them = self.replies + self.turned_down
        return (
            round(self.prompt_tokens * all_of_them / counted),
            round(self.completion_tokens * all_of_them / counted),
        )


@dataclass(frozen=True, slots=True)
class Story:
    """A stream up to now."""

    namespace: str
    recipe: Mapping[str, Any]  # the effective one
    counts: tuple[Count, ...]
    asked: tuple[Asked, ...]


async def story(bus: Bus) -> Story | None:
    """Read the story of a stream; None of one that has not begun. Reads the topics of all stages that ask a model."""
    stored = await stored_recipe(bus)
    if stored is None:
        return None
    recipe: dict[str, Any] = json.loads(stored.text)
    counts = await funnel(bus, legs(await outline(bus)))
    rejected = {count.stage: count.rejected for count in counts}
    asked: list[Asked] = []
    for stage, plan in recipe["stages"].items():
        if "asks" in plan and stage in rejected:  # else it runs in the namespace that this one was branched from
            turned_down = sum(n for reason, n in rejected[stage].items() if reason != NOT_SENT)
            asked.append(await _asked(bus, stage, str(plan["asks"]["model"]), turned_down))
    order = list(TOPICS)
    return Story(bus.namespace, recipe, tuple(counts), tuple(sorted(asked, key=lambda a: order.index(a.stage))))


async def _asked(bus: Bus, stage: str, model: str, turned_down: int) -> Asked:
    sums: Counter[str] = Counter()
    async for batch in bus.read(stage):
        sums.update(_summed(decode(stored.value, TOPICS[stage].record) for stored in batch))
    return Asked(stage, model, sums["replies"], sums["uncounted"], sums["in"], sums["out"], turned_down)


def _summed(records: Iterable[Record]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for record in records:
        for tokens in _tokens(record):
            sums["replies"] += 1
            if tokens is None:
                sums["uncounted"] += 1
            else:
                sums.update({"in": tokens[0], "out": tokens[1]})
    return sums


def _tokens(record: Record) -> Iterator[tuple[int, int] | None]:
    """Yield the tokens of each reply that the last step of a record took."""
    for response in responses_of(record):
        yield response.prompt_tokens, response.completion_tokens
    if isinstance(record, Seed | Concepts | Instruction):
        step = record.steps[-1] if isinstance(record, Seed) else record.step
        known = step.prompt_tokens is not None and step.completion_tokens is not None
        yield (step.prompt_tokens or 0, step.completion_tokens or 0) if known else None


def cost(asked: Asked, prices: Mapping[str, Endpoint]) -> float | None:
    """Return about what a stage cost, by the prices of its model; None where they or the tokens are not known."""
    end, tokens = prices.get(asked.model), asked.about
    if end is None or tokens is None or not (end.price_in or end.price_out):
        return None
    return end.cost(*tokens)
