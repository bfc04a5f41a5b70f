"""Replies and servers as they occur, each over real HTTP through the real client: the tables of `tests.shapes`."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from consumers import concepts, prompt, responses, seeds
from consumers.instructions import from_concepts
from consumers.llm import errors as llm_errors
from consumers.llm.client import LLMClient
from consumers.llm.endpoint import Endpoint
from consumers.llm.request import LLM, Completion, Prompt, Request, Result, Sampling, TooLong
from consumers.reply import Form
from deploy.scripted_llm.faults import At, Fault, Raw
from deploy.scripted_llm.server import ScriptedLLM
from stream import errors as stream_errors
from stream.records import Concepts, Instruction, Responses, Seed, Step
from stream.stage import Map, Outcome, Reject
from tests import records
from tests.shapes.answers import ANSWERS, Wrote
from tests.shapes.questions import MODELS, TOKENIZERS, Counted, Listed
from tests.shapes.refusals import REFUSALS, Refused
from tests.shapes.replies import REPLIES, Replied
from tests.shapes.rows import Again, Raised, Rejected, Sent, Stage, chat, completion

SAMPLING = Sampling(0.7, 200, ("## A", "## B", "## C", "## D", "## E", "## F"), top_p=0.9)


def test_there_are_enough_rows_and_each_has_a_name_of_its_own() -> None:
    tables = (ANSWERS, REPLIES, REFUSALS, MODELS, TOKENIZERS)
    for table in tables:
        names = [row.name for row in table]
        assert len(set(names)) == len(names)
    assert sum(map(len, tables)) >= 60


def name(row: object) -> str:
    return f"{row.name} ({row.source})" if isinstance(row, Wrote | Replied | Refused | Listed | Counted) else str(row)


def fault(sent: Sent, at: At = "completions", count: int | None = None) -> Fault:
    # JSON of our own: half of a surrogate pair is to be served too.
    text = json.dumps(sent.body) if sent.text is None else sent.text
    return Fault(raw=Raw(status=sent.status, headers=dict(sent.headers), text=text), at=at, count=count)


@asynccontextmanager
async def serving(*faults: Fault, **endpoint: Any) -> AsyncGenerator[tuple[ScriptedLLM, LLMClient]]:
    async with ScriptedLLM(faults) as server:
        keys: dict[str, Any] = {"url": server.url, "model": "scripted", "api": "chat"} | endpoint
        async with LLMClient(Endpoint(**keys)) as client:
            yield server, client


def error(raised: Raised) -> type[Exception]:
    found = getattr(stream_errors, raised.error, None) or getattr(llm_errors, raised.error)
    assert isinstance(found, type) and issubclass(found, Exception)
    return found


# --- through the stages


def stage(of: Stage, llm: LLM) -> tuple[Map[Any, Any], Any]:
    """Return a stage of the shipped recipe, and a record for it."""
    prompts = prompt.load("selfcodealign", of)
    match of:
        case "seeds":
            return seeds.stage(seeds.Params(1, 0.0, 50, 16_380), llm, prompts, 1), records.seed()
        case "concepts":
            return concepts.stage(concepts.Params(1, 0.7, 200), llm, prompts, 1), records.seed()
        case "instructions":
            params = from_concepts.Params(1, 0.7, 200, ("function",), ("easy",))
            return from_concepts.stage(params, llm, prompts, 1), records.concepts()
        case "responses":
            return responses.stage(responses.Params(1, 1, 0.7, 200), llm, prompts, 1), records.instruction()


def said(record: object) -> object:
    """Return what a record holds of the answer."""
    match record:
        case Seed():
            return record.steps[-1].verdict
        case Concepts():
            return record.concepts
        case Instruction():
            return record.text
        case Responses():
            return record.responses[0].code
        case _:
            raise AssertionError(record)


def check(outcome: Outcome[Any], right: object) -> None:
    """Check that an outcome is the answer, or the reject, that it should be."""
    if not isinstance(right, Rejected):
        assert [reject.reason for reject in outcome.rejected] == []
        assert [said(record) for record in outcome.emitted] == [right]
        return
    [reject] = outcome.rejected
    check_reject(reject, right)


def check_reject(reject: Reject, right: Rejected) -> None:
    assert reject.reason in right.reasons
    assert right.shows in reject.evidence


@pytest.mark.parametrize("row", ANSWERS, ids=name)
async def test_what_a_model_writes_around_its_answer_is_not_the_answer(row: Wrote) -> None:
    if row.api == "chat":
        body = chat(row.wrote, row.finish_reason)
    else:
        assert isinstance(row.wrote, str)
        body = completion(row.wrote, row.finish_reason)
    async with serving(fault(Sent(body)), api=row.api) as (_, client):
        shape, record = stage(row.stage, client.for_stage("s", 0))
        [outcome] = await shape.call([record])
    check(outcome, row.right)


@pytest.mark.parametrize("row", REPLIES, ids=name)
async def test_a_reply_is_read_in_whatever_form_it_comes(row: Replied) -> None:
    text = row.body if isinstance(row.body, str) else None
    sent = Sent(row.body, text=text, headers={"Content-Type": row.content_type})
    async with serving(fault(sent), api=row.api) as (_, client):
        shape, record = stage("instructions", client.for_stage("s", 0))
        if isinstance(row.right, Raised):
            with pytest.raises(error(row.right), match=row.right.says or None):
                await shape.call([record])
        else:
            [outcome] = await shape.call([record])
            check(outcome, row.right)
        used = client.usage()["s"]
    if row.paid is not None:
        assert (used.requests, used.prompt_tokens, used.completion_tokens) == (1, *row.paid)
        assert used.estimated == 0
    elif isinstance(row.right, str):
        assert (used.requests, used.estimated) == (1, 1)
        assert used.prompt_tokens > 0 < used.completion_tokens
    else:
        assert (used.requests, used.prompt_tokens, used.completion_tokens) == (0, 0, 0)


# --- what a server refuses


def request(number: int) -> Request:
    return Request(f"r/{number}", Prompt("Be brief.", (), f"Write task {number}."), SAMPLING, seed=number)


def reject_of(result: Result) -> Reject:
    parent = records.concepts()
    wanted = from_concepts.Properties("function", "python", "easy", parent.concepts)
    found = from_concepts.read(parent, wanted, result, Form(), Step("instructions", 1))
    assert isinstance(found, Reject)
    return found


@pytest.mark.parametrize("row", REFUSALS, ids=name)
async def test_a_refusal_is_what_its_words_say(row: Refused) -> None:
    text = row.body if isinstance(row.body, str) else None
    first = fault(Sent(row.body, row.status, text), count=1 if isinstance(row.right, Again) else None)
    async with serving(first, api=row.api, **row.endpoint) as (server, client):
        llm = client.for_stage("s", 0)
        if isinstance(row.right, Raised):
            with pytest.raises(error(row.right), match=row.right.says or None):
                await llm.complete("r", [request(1)])
            return
        [result] = await llm.complete("r", [request(1)])
        if isinstance(row.right, Rejected):
            check_reject(reject_of(result), row.right)
            assert client.usage()["s"].requests == 0 or not isinstance(result, TooLong)
            return
        assert isinstance(result, Completion)
        check_sent(server.bodies[0], server.bodies[1], row.right)
        # What was learnt holds for the endpoint: the next request is sent once.
        await llm.complete("q", [request(2)])
        check_sent(server.bodies[0], server.bodies[2], row.right)
        assert len(server.bodies) == 3


def check_sent(before: Mapping[str, Any], after: Mapping[str, Any], right: Again) -> None:
    """Check what is sent instead of what was refused: all else stays."""
    holds = dict(right.holds)
    if roles := holds.pop("roles", None):
        assert tuple(message["role"] for message in after["messages"]) == roles
        assert "Be brief." in after["messages"][0]["content"] and "Write task" in after["messages"][0]["content"]
    if stops := holds.pop("stops", None):
        assert len(after["stop"]) == stops < len(before["stop"])
    for key, value in holds.items():
        assert after[key] == value
    for key in right.lacks:
        assert key in before and key not in after
    other = {"messages", "stop", "seed", "stream_options", *right.holds, *right.lacks}
    assert {key: value for key, value in before.items() if key not in other} == {
        key: value for key, value in after.items() if key not in other
    }


# --- the small questions


@pytest.mark.parametrize("row", MODELS, ids=name)
async def test_a_list_of_models_is_read_in_whatever_form_it_comes(row: Listed) -> None:
    async with serving(fault(row.sent, "models"), model=row.model, **row.endpoint) as (_, client):
        if row.right is None:
            await client.check()
        else:
            with pytest.raises(error(row.right), match=row.right.says or None):
                await client.check()


@pytest.mark.parametrize("row", TOKENIZERS, ids=name)
async def test_where_a_server_cannot_count_tokens_they_are_estimated(row: Counted) -> None:
    ask = "x" * (2_300 if row.estimate == "fits" else 2_500)
    asked = Request("r", Prompt("Answer.", (), ask), Sampling(0.0, 200), seed=1)
    async with serving(fault(row.sent, "tokenize"), api="completions", context=1_000) as (server, client):
        [result] = await client.for_stage("s", 0).complete("r", [asked])
        assert isinstance(result, Completion if row.right == "sent" else TooLong)
        assert len(server.bodies) == int(row.right == "sent")
