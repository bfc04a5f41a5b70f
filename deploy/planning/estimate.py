"""What models would be asked for so many functions: found by asking, on a sample, a model that always answers.

It answers in the right form, with the longest worked example of its prompt, so the stages run through to the end.
Every function counts as a seed, though type checker, duplicates and judge will turn many down, and every reply as
long as it may get: the tokens out are an upper bound, those in an estimate for as many records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumers.decontamination import Decontamination
from consumers.llm import lengths, render, stops
from consumers.llm.request import Completion, Request, Result
from deploy.planning.plan import Plan
from deploy.planning.recipe import StagePlan
from deploy.planning.stages import Clients
from stream.records import Seed
from stream.stage import Map


@dataclass(frozen=True, slots=True)
class Asking:
    """What one stage would ask for, at most."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float  # in the currency of the endpoint's prices


class Answering:
    """An LLM that counts what it is asked, and always answers."""

    def __init__(self) -> None:
        self.requests = self.prompt_tokens = self.completion_tokens = 0

    @property
    def model(self) -> str:
        return "none"

    async def complete(self, record_id: str, requests: Sequence[Request]) -> Sequence[Result]:
        prompt = requests[0].prompt  # all samples of a record share it
        tokens = lengths.estimate(render.completion_text(prompt))
        reply = max((shot.reply for shot in prompt.shots), key=len, default="")
        self.requests += len(requests)
        self.prompt_tokens += tokens * len(requests)
        self.completion_tokens += sum(request.sampling.max_tokens for request in requests)
        return [
            Completion(_served(reply, request), "stop", tokens, lengths.estimate(reply), self.model)
            for request in requests
        ]


def _served(reply: str, request: Request) -> str:
    """Return what a server would send of a whole reply."""
    return stops.cut(reply.removeprefix(request.prompt.prefill), request.sampling.stop)[0]


async def estimate(plan: Plan, sample: Sequence[Seed], functions: int) -> Mapping[str, Asking]:
    """Return what each stage would ask for if `functions` functions like those of `sample` came through to it."""
    asking: dict[str, Asking] = {}
    records: Sequence[Any] = sample
    for stage in plan.recipe.stages:
        if stage.kind.asks and records:
            model, records = await _ask(plan, stage, records)
            asking[stage.name] = _scaled(plan, stage, model, functions / len(sample))
    return asking


async def _ask(plan: Plan, stage: StagePlan, records: Sequence[Any]) -> tuple[Answering, Sequence[Any]]:
    model = Answering()
    clients = Clients(plan.recipe.seed, {stage.name: model}, plan.prompts, Decontamination(()))
    shape = stage.kind.build(stage.params, clients)
    assert isinstance(shape, Map)  # a Fold asks no one
    outcomes = [outcome for record in records for outcome in await shape.call([record])]
    return model, [record for outcome in outcomes for record in outcome.emitted]


def _scaled(plan: Plan, stage: StagePlan, model: Answering, factor: float) -> Asking:
    tokens = round(model.prompt_tokens * factor), round(model.completion_tokens * factor)
    end = plan.endpoints.get(stage.name)
    return Asking(round(model.requests * factor), *tokens, end.cost(*tokens) if end else 0.0)
