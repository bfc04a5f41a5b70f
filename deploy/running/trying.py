"""One stage on a few records, outside of any stream: the loop in which prompts and filters are made."""

import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson

from consumers.decontamination import Decontamination
from consumers.llm import dialect, render
from consumers.llm.endpoint import Endpoint
from consumers.llm.request import Request, Result, TooLong
from deploy.options import say
from deploy.planning.pipeline import build
from deploy.planning.plan import Plan
from deploy.planning.recipe import StagePlan
from deploy.planning.stages import Clients, Shape
from stream.codec import UNREADABLE
from stream.errors import Permanent, Transient, WrongConfig
from stream.records import Record
from stream.stage import Fold, Outcome


class PromptPrinter:
    """An LLM that prints what it is asked, as the API would carry it, and answers nothing."""

    def __init__(self, end: Endpoint | None) -> None:
        self._end = end

    @property
    def model(self) -> str:
        return "none"

    async def complete(self, record_id: str, requests: Sequence[Request]) -> Sequence[Result]:
        prompt, sampling = requests[0].prompt, requests[0].sampling  # all samples of a record share them
        stop = ", ".join(map(repr, sampling.stop)) or "none"
        print(
            f"=== {record_id}: {len(requests)} samples, temperature {sampling.temperature:g}, "
            f"at most {sampling.max_tokens:,} tokens, stop {stop}"
        )
        if self._end is not None and self._end.api == "chat":
            for message in render.messages(prompt, dialect.of(self._end).system_role):
                print(f"--- {message['role']}\n{message['content']}")
        else:
            print(render.completion_text(prompt))
        return [TooLong(0, 0) for _ in requests]


async def try_stage(plan: Plan, stage: StagePlan, show_prompt: bool) -> int:
    """Run `stage` on the records of stdin, one a line, and print an outcome for each. Return how many lines could not
    be used: each is named by its number, and ends nothing.

    Raises:  WrongConfig; what the stage's clients raise.
    """
    if not show_prompt:
        async with build(plan, [stage], Path(tempfile.gettempdir())) as pipeline:
            return await _each(pipeline.specs[0].shape, stage, sys.stdin.buffer, outcomes=True)
    if not stage.kind.asks:
        raise WrongConfig(f"stage {stage.name} asks no model: it has no prompt to show")
    printer = PromptPrinter(plan.endpoints.get(stage.name))
    clients = Clients(plan.recipe.seed, {stage.name: printer}, plan.prompts, Decontamination(()))
    return await _each(stage.kind.build(stage.params, clients), stage, sys.stdin.buffer, outcomes=False)


async def _each(shape: Shape, stage: StagePlan, lines: Iterable[bytes], *, outcomes: bool) -> int:
    bad = 0
    state = shape.new() if isinstance(shape, Fold) else None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = msgspec.json.decode(line, type=stage.reads.record)
            outcome = await _outcome(shape, state, record)
        except UNREADABLE as err:
            say(f"line {number}: expected a {stage.reads.record.__name__} as JSON: {err}")
            bad += 1
        except (Permanent, Transient) as err:
            say(f"line {number}: {type(err).__name__}: {err}")
            bad += 1
        else:
            if outcomes:
                print(orjson.dumps(_plain(outcome)).decode(), flush=True)
    return bad


async def _outcome(shape: Shape, state: Any, record: Record) -> Outcome[Any]:
    if isinstance(shape, Fold):
        return shape.decide(state, [record])[0].outcome
    return (await shape.call([record]))[0]


def _plain(outcome: Outcome[Any]) -> dict[str, Any]:
    return {
        "emitted": msgspec.to_builtins(outcome.emitted),
        "rejected": [{"reason": r.reason, "record_id": r.record_id, "evidence": r.evidence} for r in outcome.rejected],
    }
