"""The client against a server over real HTTP: what it promises to a stage."""

import asyncio
import time
from collections.abc import Callable

import pytest

from consumers.llm.client import LLMClient
from consumers.llm.endpoint import Endpoint
from consumers.llm.errors import BadReply, Refused
from consumers.llm.request import Completion, Prompt, Request, Sampling, TooLong
from consumers.llm.usage import OUTCOMES, ServerState
from deploy.scripted_llm.faults import Fault, Faults
from deploy.scripted_llm.server import ScriptedLLM, Service
from stream.errors import EndpointDown, RequestTimedOut
from tests.patience import PATIENCE_S

SAMPLING = Sampling(temperature=0.7, max_tokens=200)


def requests(record: str, count: int = 1, ask: str | None = None) -> list[Request]:
    prompt = Prompt("Answer.", (), ask or f"What of {record}?")
    return [Request(f"{record}/{k}", prompt, SAMPLING, seed=k) for k in range(count)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("api", ["completions", "chat"])
async def test_each_request_gets_its_own_reply_in_order(api: str) -> None:
    async with ScriptedLLM() as server, LLMClient(Endpoint(server.url, "scripted", api=api)) as client:  # type: ignore[arg-type]
        await client.check()
        results = await client.for_stage("s", 0).complete("r", requests("r", 10))
        texts = [result.text for result in results if isinstance(result, Completion)]
        assert len(set(texts)) == 10
        again = await client.for_stage("s", 0).complete("other", list(reversed(requests("r", 10))))
        assert [result.text for result in again if isinstance(result, Completion)] == texts[::-1]


async def test_only_what_failed_is_asked_again() -> None:
    faults = [Fault(status=500, count=1)]
    async with ScriptedLLM(faults) as server, LLMClient(Endpoint(server.url, "scripted")) as client:
        llm = client.for_stage("s", 0)
        with pytest.raises(BadReply):
            await llm.complete("r", requests("r", 10))
        assert server.calls.counts.total() == 10
        assert len(await llm.complete("r", requests("r", 10))) == 10
        assert server.calls.counts.total() == 11
        assert sorted(server.calls.counts.values()) == [1] * 9 + [2]
        usage = client.usage()["s"]
        assert (usage.requests, usage.failed) == (10, 1)


async def test_an_error_is_raised_only_when_all_requests_of_the_call_have_ended() -> None:
    faults = [Fault(status=500, count=1), Fault(slow_s=0.2)]
    async with ScriptedLLM(faults) as server, LLMClient(Endpoint(server.url, "scripted")) as client:
        with pytest.raises(BadReply):
            await client.for_stage("s", 0).complete("r", requests("r", 5))
        assert client.snapshot().in_flight == 0
        assert client.usage()["s"].requests == 4


async def test_what_is_kept_is_dropped_once_a_call_succeeds_whole() -> None:
    async with ScriptedLLM() as server, LLMClient(Endpoint(server.url, "scripted")) as client:
        for _ in range(2):
            await client.for_stage("s", 0).complete("r", requests("r", 2))
        assert server.calls.counts.total() == 4


async def test_a_request_under_way_is_joined_and_outlives_the_call_that_began_it() -> None:
    async with ScriptedLLM() as server, LLMClient(Endpoint(server.url, "scripted")) as client:
        llm = client.for_stage("s", 0)
        server.answering.clear()
        first = asyncio.create_task(llm.complete("r", requests("r", 3)))
        await until(lambda: server.in_flight == 3)
        second = asyncio.create_task(llm.complete("r", requests("r", 3)))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        server.answering.set()
        assert len(await second) == 3
        assert first.cancelled()
        assert server.calls.counts.total() == 3


async def test_a_request_asked_for_twice_in_one_call_is_sent_once() -> None:
    async with ScriptedLLM() as server, LLMClient(Endpoint(server.url, "scripted")) as client:
        one, two = await client.for_stage("s", 0).complete("r", requests("r") * 2)
        assert one == two
        assert server.calls.counts.total() == 1


async def test_a_snapshot_tells_load_by_server_and_every_request_ends_in_one_outcome() -> None:
    async with (
        ScriptedLLM([Fault(hang_s=60, count=3)]) as server,
        LLMClient(Endpoint(server.url, "scripted", concurrency=3, concurrency_max=3)) as client,
    ):
        llm = client.for_stage("s", 0)
        call = asyncio.create_task(llm.complete("r", requests("r", 5)))
        await until(lambda: server.in_flight == 3)
        now = client.snapshot()
        assert (now.in_flight, now.waiting, now.window) == (3, 2, 3)
        assert now.servers == (ServerState(f"{server.url}/v1", 3, 3, False),)
        call.cancel()
        await asyncio.wait([call])
        server.faults = Faults([Fault(status=429, count=1), Fault(status=500, count=1), Fault(garbage=True, count=1)])
        with pytest.raises(EndpointDown):
            await llm.complete("r", requests("r", 5))
        await llm.complete("r", requests("r", 5))
        used = client.usage()["s"]
        outcomes = {name: count(used) for name, count in OUTCOMES.items() if count(used)}
        assert outcomes == {"answered": 5, "refused": 1, "bad_reply": 2, "cancelled": 3}
        assert sum(outcomes.values()) == server.calls.counts.total()
        assert client.snapshot().latencies["s"].count == 5
        assert [(one.in_flight, one.down) for one in client.snapshot().servers] == [(0, False)]


async def test_a_cancelled_call_leaves_nothing_in_flight_and_keeps_what_was_answered() -> None:
    faults = [Fault(hang_s=60, count=1)]
    async with ScriptedLLM(faults) as server, LLMClient(Endpoint(server.url, "scripted")) as client:
        llm = client.for_stage("s", 0)
        call = asyncio.create_task(llm.complete("r", requests("r", 4)))
        await until(lambda: client.usage()["s"].requests == 3)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert (client.snapshot().in_flight, client.snapshot().waiting) == (0, 0)
        await until(lambda: server.in_flight == 0)  # the server was told, too
        await llm.complete("r", requests("r", 4))
        assert server.calls.counts.total() == 5


async def test_closing_the_client_ends_its_calls() -> None:
    async with ScriptedLLM([Fault(hang_s=60)]) as server:
        client = LLMClient(Endpoint(server.url, "scripted"))
        async with client:
            call = asyncio.create_task(client.for_stage("s", 0).complete("r", requests("r")))
            await until(lambda: server.in_flight == 1)
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: server.in_flight == 0)


async def test_permits_go_to_the_stage_nearest_the_end_and_to_the_record_that_asked_first() -> None:
    endpoint = {"concurrency": 1, "concurrency_min": 1, "concurrency_max": 1}
    async with ScriptedLLM() as server, LLMClient(Endpoint(server.url, "scripted", **endpoint)) as client:
        server.answering.clear()
        early, late = client.for_stage("early", 1), client.for_stage("late", 2)
        calls = [asyncio.create_task(early.complete("e0", requests("e0")))]
        await until(lambda: server.in_flight == 1)
        for llm, name in ((early, "e1"), (early, "e2"), (late, "l0"), (late, "l1")):
            calls.append(asyncio.create_task(llm.complete(name, requests(name))))
            await until(lambda: client.snapshot().waiting == len(calls) - 1)
        server.answering.set()
        await asyncio.gather(*calls)
        asked = [prompt.rsplit("What of ")[-1][:2] for prompt in server.order]
        assert asked == ["e0", "l0", "l1", "e1", "e2"]


async def test_a_record_keeps_its_place_when_it_is_retried() -> None:
    bounds = {"concurrency": 1, "concurrency_min": 1, "concurrency_max": 1}
    faults = [Fault(status=500, match="of old", count=1)]
    async with ScriptedLLM(faults) as server, LLMClient(Endpoint(server.url, "scripted", **bounds)) as client:
        llm = client.for_stage("s", 0)
        with pytest.raises(BadReply):
            await llm.complete("old", requests("old"))
        server.answering.clear()
        calls = [asyncio.create_task(llm.complete(f"new{k}", requests(f"new{k}"))) for k in range(3)]
        await until(lambda: server.in_flight == 1 and client.snapshot().waiting == 2)
        calls.append(asyncio.create_task(llm.complete("old", requests("old"))))
        await until(lambda: client.snapshot().waiting == 3)
        server.answering.set()
        await asyncio.gather(*calls)
        asked = [prompt.rsplit("What of ")[-1].split("?")[0] for prompt in server.order]
        assert asked == ["old", "new0", "old", "new1", "new2"]


async def test_two_thousand_requests_are_in_flight_at_a_time() -> None:
    count = 2000
    bounds = {"concurrency": count, "concurrency_min": count, "concurrency_max": count}
    service = Service(slots=count)
    async with ScriptedLLM(service=service) as server, LLMClient(Endpoint(server.url, "scripted", **bounds)) as client:
        server.answering.clear()
        calls = [asyncio.create_task(client.for_stage("s", 0).complete(f"{k}", requests(f"{k}"))) for k in range(count)]
        await until(lambda: server.in_flight == count)
        server.answering.set()
        await asyncio.gather(*calls)
        assert client.usage()["s"].requests == count


async def test_tokens_and_cost_are_counted_by_stage() -> None:
    prices = {"price_in": 2.0, "price_out": 10.0}
    async with ScriptedLLM() as server, LLMClient(Endpoint(server.url, "scripted", **prices)) as client:
        before = client.snapshot()
        [one] = await client.for_stage("one", 0).complete("r", requests("r"))
        await client.for_stage("ten", 1).complete("r", requests("q", 10))
        assert isinstance(one, Completion)
        usage = client.usage()
        assert (usage["one"].requests, usage["ten"].requests) == (1, 10)
        assert (usage["one"].prompt_tokens, usage["one"].completion_tokens) == (
            one.prompt_tokens,
            one.completion_tokens,
        )
        assert usage["one"].cost == pytest.approx((2 * one.prompt_tokens + 10 * one.completion_tokens) / 1e6)
        assert usage["one"].seconds > 0 and usage["one"].estimated == 0
        after = client.snapshot()
        assert after.total.requests == 11 and before.total.requests == 0
        assert after.at_s > before.at_s and after.down == ()


# --- lengths


async def test_a_prompt_over_the_context_is_never_sent() -> None:
    async with ScriptedLLM() as server, LLMClient(Endpoint(server.url, "scripted", context=1000)) as client:
        long = requests("r", ask="x " * 20_000)
        [result] = await client.for_stage("s", 0).complete("r", long)
        assert isinstance(result, TooLong) and result.context == 1000 and result.prompt_tokens > 1000
        assert server.calls.counts.total() == 0
        assert client.usage()["s"].too_long == 1


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize(("chars", "fits"), [(3100, True), (3300, False)])
async def test_near_the_limit_the_server_counts(api: str, chars: int, fits: bool) -> None:
    # The script counts four characters a token, so 800 of 1,000 tokens are left to a prompt of 3,200 characters.
    async with ScriptedLLM() as server, LLMClient(Endpoint(server.url, "scripted", context=1000, api=api)) as client:  # type: ignore[arg-type]
        [result] = await client.for_stage("s", 0).complete("r", requests("r", ask="x" * chars))
        assert isinstance(result, Completion if fits else TooLong)
        assert server.calls.counts.total() == int(fits)
        assert server.tokenized == 1


async def test_a_short_prompt_is_sent_without_asking_for_its_length() -> None:
    async with ScriptedLLM() as server, LLMClient(Endpoint(server.url, "scripted", context=1000)) as client:
        await client.for_stage("s", 0).complete("r", requests("r"))
        assert server.tokenized == 0


async def test_without_a_tokenizer_lengths_are_estimated_on_the_safe_side() -> None:
    async with (
        ScriptedLLM(tokenizer=False) as server,
        LLMClient(Endpoint(server.url, "scripted", context=1000)) as client,
    ):
        llm = client.for_stage("s", 0)
        [fits] = await llm.complete("a", requests("a", ask="x" * 2300))
        [over] = await llm.complete("b", requests("b", ask="x" * 2500))
        assert isinstance(fits, Completion) and isinstance(over, TooLong)
        assert server.calls.counts.total() == 1


async def test_what_the_server_itself_finds_too_long_is_too_long() -> None:
    async with ScriptedLLM(context=300) as server, LLMClient(Endpoint(server.url, "scripted")) as client:
        [result] = await client.for_stage("s", 0).complete("r", requests("r", ask="x" * 500))
        assert isinstance(result, TooLong)


# --- several servers


async def test_requests_are_spread_over_the_servers() -> None:
    async with (
        ScriptedLLM() as one,
        ScriptedLLM() as two,
        LLMClient(Endpoint((one.url, two.url), "scripted", concurrency=40)) as client,
    ):
        await client.for_stage("s", 0).complete("r", requests("r", 40))
        assert one.calls.counts.total() == two.calls.counts.total() == 20


async def test_a_server_that_dies_is_passed_over_and_comes_back() -> None:
    service = Service(mean_s=0.01, sigma=0.0)
    async with (
        ScriptedLLM(service=service) as one,
        ScriptedLLM(service=service) as two,
        LLMClient(Endpoint((one.url, two.url), "scripted")) as client,
    ):
        llm = client.for_stage("s", 0)
        await one.go_down()
        await client.check()  # one of them answers
        await llm.complete("a", requests("a", 20))  # no error reaches the stage
        assert client.snapshot().down == (f"{one.url}/v1",)
        assert two.calls.counts.total() == 20
        await one.come_back()
        started_s, record = time.monotonic(), 0
        while client.snapshot().down and time.monotonic() < started_s + PATIENCE_S:
            await llm.complete(f"b{record}", requests(f"b{record}", 4))
            record += 1
        await llm.complete("c", requests("c", 20))
        assert one.calls.counts.total() > 5


async def test_one_of_several_servers_that_is_away_from_the_start_is_said_once_and_that_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ScriptedLLM() as one, ScriptedLLM() as two:
        await one.go_down()
        async with LLMClient(Endpoint((one.url, two.url), "scripted")) as client:
            await client.check()
            await client.check()
            [said] = [record.message for record in caplog.records if record.levelname == "WARNING"]
            assert said.startswith(f"{one.url}/v1") and said.endswith("go to the other servers of the endpoint")
            await one.come_back()
            await client.check()
            assert caplog.records[-1].message == f"{one.url}/v1 answers again"


async def test_when_all_servers_are_down_the_endpoint_is_down() -> None:
    async with (
        ScriptedLLM() as one,
        ScriptedLLM() as two,
        LLMClient(Endpoint((one.url, two.url), "scripted")) as client,
    ):
        await one.go_down()
        await two.go_down()
        with pytest.raises(EndpointDown, match="cannot be reached"):
            await client.for_stage("s", 0).complete("r", requests("r"))
        with pytest.raises(EndpointDown, match=one.url):
            await client.check()


async def test_a_refusal_sends_the_request_to_the_next_server() -> None:
    async with (
        ScriptedLLM([Fault(status=503)]) as one,
        ScriptedLLM() as two,
        LLMClient(Endpoint((one.url, two.url), "scripted")) as client,
    ):
        await client.for_stage("s", 0).complete("r", requests("r", 5))
        assert two.calls.counts.total() == 5


async def test_what_a_server_has_in_work_when_it_dies_goes_to_the_others_and_no_error_reaches_the_stage() -> None:
    one_service, two_service = Service(slots=64, mean_s=30.0, sigma=0.0), Service(slots=64, mean_s=0.01, sigma=0.0)
    async with (
        ScriptedLLM(service=one_service) as one,
        ScriptedLLM(service=two_service) as two,
        LLMClient(Endpoint((one.url, two.url), "scripted")) as client,
    ):
        call = asyncio.create_task(client.for_stage("s", 0).complete("r", requests("r", 90)))
        await until(lambda: two.calls.counts.total() == 90 - one.in_flight and not two.in_flight)
        moved = one.in_flight
        assert moved >= 30
        await one.go_down()
        assert len(await asyncio.wait_for(call, 20)) == 90
        assert two.calls.counts.total() == 90
        used = client.usage()["s"]
        assert (used.requests, used.failed, used.unreachable) == (90, moved, moved)  # each counted where it was in work


async def test_a_server_that_is_back_is_asked_again_while_others_are_busy() -> None:
    slow = Service(slots=64, mean_s=20.0, sigma=0.0)
    async with (
        ScriptedLLM() as one,
        ScriptedLLM(service=slow) as two,
        LLMClient(Endpoint((one.url, two.url), "scripted", concurrency=4, concurrency_max=4)) as client,
    ):
        llm = client.for_stage("s", 0)
        await one.go_down()
        calls = [asyncio.create_task(llm.complete(f"{k}", requests(f"{k}"))) for k in range(12)]
        await until(lambda: client.snapshot().down == (f"{one.url}/v1",) and two.in_flight >= 2)
        await one.come_back()
        await until(lambda: one.calls.counts.total() >= 8)  # though nothing else happens: the other is busy for long
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)


async def test_a_snapshot_tells_of_each_server() -> None:
    service = Service(mean_s=30.0, sigma=0.0)
    async with (
        ScriptedLLM(service=service) as one,
        ScriptedLLM(service=service) as two,
        LLMClient(Endpoint((one.url, two.url), "scripted", concurrency=10)) as client,
    ):
        await two.go_down()
        call = asyncio.create_task(client.for_stage("s", 0).complete("r", requests("r", 7)))
        await until(lambda: one.in_flight == 5 and bool(client.snapshot().down))
        now = client.snapshot()
        assert [server.url for server in now.servers] == [f"{one.url}/v1", f"{two.url}/v1"]
        assert [(server.in_flight, server.window, server.down) for server in now.servers] == [
            (5, 5, False),
            (0, 5, True),
        ]
        assert (now.in_flight, now.waiting, now.window) == (5, 2, 10)
        call.cancel()
        await asyncio.wait([call])


# --- refusals


async def test_refusals_narrow_the_window_and_replies_widen_it_again() -> None:
    service = Service(slots=64, mean_s=0.02, sigma=0.0)
    async with (
        ScriptedLLM(service=service) as server,
        LLMClient(Endpoint(server.url, "scripted", concurrency=50)) as client,
    ):
        llm = client.for_stage("s", 0)
        await llm.complete("warm", requests("warm"))
        server.faults = Faults([Fault(status=429)])
        for attempt in range(5):
            with pytest.raises(Refused):
                await llm.complete("r", requests("r", 20))
            assert client.snapshot().window == 35, attempt  # an outage is one fall
        server.faults = Faults()
        server.most_in_flight = 0
        await llm.complete("r", requests("r", 20))
        for record in range(20):
            await llm.complete(f"r{record}", requests(f"r{record}"))
        assert client.snapshot().window > 35
        await llm.complete("s", requests("s", 200))
        assert server.most_in_flight < 50


async def test_a_server_that_asked_for_rest_is_not_asked_before_it_is_over() -> None:
    async with (
        ScriptedLLM([Fault(status=429, retry_after_s=2, count=1)]) as server,
        LLMClient(Endpoint(server.url, "scripted")) as client,
    ):
        llm = client.for_stage("s", 0)
        with pytest.raises(EndpointDown) as refused:
            await llm.complete("r", requests("r"))
        assert refused.value.retry_after_s == 2.0
        with pytest.raises(EndpointDown) as held:
            await llm.complete("r", requests("r"))
        assert held.value.retry_after_s is not None and 0 < held.value.retry_after_s <= 2.0
        assert server.calls.counts.total() == 1
        await asyncio.sleep(held.value.retry_after_s)
        await llm.complete("r", requests("r"))


async def test_a_slow_reply_is_a_timeout_of_this_request_alone() -> None:
    faults = [Fault(hang_s=30, count=1)]
    async with ScriptedLLM(faults) as server, LLMClient(Endpoint(server.url, "scripted", timeout_s=2.0)) as client:
        with pytest.raises(RequestTimedOut, match=r"no whole answer within 2 s"):
            await client.for_stage("s", 0).complete("r", requests("r", 3))
        await client.for_stage("s", 0).complete("r", requests("r", 3))
        assert server.calls.counts.total() == 4
