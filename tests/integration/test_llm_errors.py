"""Every way a server can fail, over real sockets, as the error that the runner acts on."""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from consumers.llm.client import LLMClient
from consumers.llm.endpoint import Endpoint
from consumers.llm.errors import BadReply, Refused
from consumers.llm.request import Completion, Prompt, Request, Sampling
from deploy.scripted_llm.faults import Fault
from deploy.scripted_llm.server import ScriptedLLM
from stream.errors import EndpointDown, Permanent, PipelineError, RequestTimedOut, WrongConfig
from tests.patience import PATIENCE_S


def request(request_id: str) -> Request:
    return Request(request_id, Prompt("Answer.", (), "What?"), Sampling(0.0, 100), seed=1)


async def ask(endpoint: Endpoint, key: str = "") -> Completion:
    async with LLMClient(endpoint, environ={"KEY": key}) as client:
        [result] = await client.for_stage("s", 0).complete("r", [request("r/0")])
    assert isinstance(result, Completion)
    return result


@asynccontextmanager
async def raw_server(answer: bytes, *, reset: bool = False) -> AsyncGenerator[str]:
    """A server that answers each request with these bytes, whatever they are, and hangs up."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if reset:
            writer.transport.abort()
        else:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(status: str, body: bytes, *headers: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
    return head.encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=429), Refused),
        (Fault(status=503), Refused),
        (Fault(status=502), Refused),
        (Fault(status=504), Refused),
        (Fault(status=402), Refused),
        (Fault(status=500), BadReply),
        (Fault(status=418), Permanent),
        (Fault(garbage=True), BadReply),
        (Fault(reset=True), RequestTimedOut),
        (Fault(down_s=60), EndpointDown),
        (Fault(hang_s=60), RequestTimedOut),
    ],
)
async def test_a_fault_of_the_server_is_the_error_to_act_on(fault: Fault, error: type[PipelineError]) -> None:
    timeout_s = 2.0 if fault.hang_s else PATIENCE_S
    async with ScriptedLLM([fault]) as server:
        with pytest.raises(error) as raised:
            await ask(Endpoint(server.url, "scripted", timeout_s=timeout_s))
        assert type(raised.value) is error
        assert server.url in str(raised.value)


async def test_the_words_of_the_server_are_passed_on() -> None:
    async with ScriptedLLM([Fault(status=422, message="the prompt must hold a letter")]) as server:
        with pytest.raises(Permanent, match="the prompt must hold a letter"):
            await ask(Endpoint(server.url, "scripted"))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        http("200 OK", b"not gzip", "Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "no-http", "half", "bad-chunk", "bad-gzip", "huge-header"],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_a_server_that_breaks_off_or_speaks_nonsense_whatever_it_is_asked_is_down(
    answer: bytes, reset: bool
) -> None:
    async with raw_server(answer, reset=reset) as url:
        with pytest.raises(EndpointDown, match=r"answers nothing any more .*broke"):
            await ask(Endpoint(url, "m", timeout_s=PATIENCE_S))


async def test_a_server_that_hangs_is_down_and_is_asked_once_by_all_who_wait() -> None:
    never = asyncio.Event()
    connections = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await never.wait()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with LLMClient(Endpoint(url, "m", timeout_s=2.0)) as client:
        llm = client.for_stage("s", 0)
        with pytest.raises(EndpointDown, match="answers nothing any more"):
            await llm.complete("r", [request(str(number)) for number in range(20)])
    assert connections == 21  # twenty requests, and one small question
    never.set()
    server.close()


class Moody:
    """A server that can be told what to answer: small questions, and prompts by their words."""

    def __init__(self) -> None:
        self.lives = True
        self.answered = ""  # prompts that hold this are
        self.asked = asyncio.Event()  # a prompt came that gets no answer
        self._never = asyncio.Event()

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[str]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            self._never.set()
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            answered, answer = self.lives, b'{"data": []}'
        else:
            [length] = re.findall(rb"(?i)content-length: (\d+)", head)
            answered = self.answered.encode() in await reader.readexactly(int(length))
            answer = b'{"choices": [{"finish_reason": "stop", "text": "yes"}]}'
        if not answered:
            self.asked.set()
            await self._never.wait()
        writer.write(http("200 OK", answer, "Connection: close"))
        writer.close()


def asking(what: str) -> Request:
    return Request(what, Prompt("Answer.", (), what), Sampling(0.0, 100), seed=1)


async def test_what_a_server_answered_before_it_hung_does_not_make_it_live() -> None:
    server = Moody()
    server.lives, server.answered = False, "early"
    async with server.serve() as url, LLMClient(Endpoint(url, "m", timeout_s=2.0)) as client:
        llm = client.for_stage("s", 0)
        late = asyncio.create_task(llm.complete("late", [asking("late")]))
        await server.asked.wait()
        await llm.complete("early", [asking("early")])
        with pytest.raises(EndpointDown, match="answers nothing any more"):
            await late


async def test_a_request_sent_while_the_server_hung_is_not_to_blame_and_the_next_one_is() -> None:
    server = Moody()
    server.lives, server.answered = False, "nothing"
    async with server.serve() as url, LLMClient(Endpoint(url, "m", timeout_s=2.0)) as client:
        llm = client.for_stage("s", 0)
        with pytest.raises(EndpointDown, match="answers nothing any more"):
            await llm.complete("r", [asking("r")])
        server.asked.clear()
        probe = asyncio.create_task(llm.complete("r", [asking("r")]))
        await server.asked.wait()
        server.lives = True
        with pytest.raises(EndpointDown, match="was silent, and answers again"):
            await probe
        assert not client.snapshot().down
        with pytest.raises(RequestTimedOut):
            await llm.complete("r", [asking("r")])


async def test_a_refused_connection_is_an_endpoint_that_is_down() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(EndpointDown, match=f"{url}/v1 cannot be reached"):
            await ask(Endpoint(url, "m"))
        async with LLMClient(Endpoint(url, "m")) as client:
            with pytest.raises(EndpointDown, match=url):
                await client.check()


async def test_an_unknown_host_is_an_endpoint_that_is_down() -> None:
    with pytest.raises(EndpointDown, match="cannot be reached"):
        await ask(Endpoint("http://no-such-host.invalid", "m"))


async def test_a_server_without_tls_where_tls_is_asked_for_is_down() -> None:
    async with ScriptedLLM() as server:
        with pytest.raises(EndpointDown, match="cannot be reached"):
            await ask(Endpoint(server.url.replace("http:", "https:"), "scripted"))


async def test_a_wrong_model_is_a_wrong_config_with_the_names_offered() -> None:
    async with ScriptedLLM(model="starcoder2-15b") as server:
        endpoint = Endpoint(server.url, "starcoder-2")
        says = "does not offer model 'starcoder-2', but starcoder2-15b"
        with pytest.raises(WrongConfig, match=says):
            await ask(endpoint)
        async with LLMClient(endpoint) as client:
            with pytest.raises(WrongConfig, match=says):
                await client.check()


async def test_a_path_that_is_not_there_asks_whether_the_api_is_right() -> None:
    async with ScriptedLLM() as server:
        with pytest.raises(WrongConfig, match="is api = 'completions' right"):
            await ask(Endpoint(f"{server.url}/v2", "scripted"))


async def test_a_wrong_key_is_a_wrong_config_that_names_its_variable() -> None:
    async with ScriptedLLM(key="right") as server:
        endpoint = Endpoint(server.url, "scripted", key_env="KEY")
        assert await ask(endpoint, key="right")
        with pytest.raises(WrongConfig, match=r"the key in \$KEY is not accepted"):
            await ask(endpoint, key="wrong")
        async with LLMClient(endpoint, environ={"KEY": "wrong"}) as client:
            with pytest.raises(WrongConfig, match=r"\$KEY"):
                await client.check()


async def test_white_space_around_a_key_is_not_sent() -> None:
    async with ScriptedLLM(key="right") as server:
        assert await ask(Endpoint(server.url, "scripted", key_env="KEY"), key=" right\r\n")


@pytest.mark.parametrize("status", ["200 OK", "400 No", "401 No", "402 No", "404 No", "429 No", "500 No", "503 No"])
@pytest.mark.parametrize(
    "body", [b"the key sk-secret is over its quota", b'{"error": {"message": "over quota: sk-secret"}}']
)
async def test_no_error_shows_the_key_that_a_server_repeats(status: str, body: bytes) -> None:
    async with raw_server(http(status, body)) as url:
        endpoint = Endpoint(url, "m", key_env="KEY")
        with pytest.raises(PipelineError) as asking:
            await ask(endpoint, key="sk-secret")
        assert "over" in str(asking.value) and "sk-secret" not in str(asking.value)
        async with LLMClient(endpoint, environ={"KEY": "sk-secret"}) as client:
            try:
                await client.check()
            except PipelineError as err:  # a 404 says only that no list of models is kept
                assert "over" in str(err) and "sk-secret" not in str(err)


async def test_a_reply_that_holds_the_key_stays_as_the_model_wrote_it() -> None:
    reply = b'{"choices": [{"finish_reason": "stop", "text": "EMPTY = 1"}], "usage": {"prompt_tokens": 11}}'
    async with raw_server(http("200 OK", reply)) as url:
        for key in ("EMPTY", "1", "text"):
            assert (await ask(Endpoint(url, "m", key_env="KEY"), key=key)).text == "EMPTY = 1"


async def test_a_server_that_wants_a_key_says_where_to_name_one() -> None:
    async with ScriptedLLM(key="right") as server:
        with pytest.raises(WrongConfig, match="it wants a key: name its variable in key_env"):
            await ask(Endpoint(server.url, "scripted"))


@pytest.mark.parametrize("body", [b"", b"<h1>Log in</h1>", b'{"data": [1]}', b'{"data": [{"id": "\xff"}]}'])
async def test_a_server_of_another_kind_is_a_wrong_config(body: bytes) -> None:
    async with raw_server(http("200 OK", body)) as url, LLMClient(Endpoint(url, "m")) as client:
        with pytest.raises(WrongConfig, match="does not speak the OpenAI API"):
            await client.check()


async def test_a_redirect_is_a_wrong_config_with_the_address() -> None:
    async with raw_server(http("308 Permanent Redirect", b"", "Location: https://llm/v1/completions")) as url:
        with pytest.raises(WrongConfig, match="points to https://llm/v1/completions"):
            await ask(Endpoint(url, "m"))


async def test_a_server_without_a_list_of_models_passes_the_check() -> None:
    async with raw_server(http("404 Not Found", b"{}")) as url, LLMClient(Endpoint(url, "m")) as client:
        await client.check()


async def test_a_server_that_is_starting_is_down_not_wrong() -> None:
    async with raw_server(http("503 Service Unavailable", b"loading")) as url, LLMClient(Endpoint(url, "m")) as client:
        with pytest.raises(EndpointDown, match="loading"):
            await client.check()


async def test_a_reply_without_a_token_count_is_estimated_and_says_so() -> None:
    reply = b'{"choices": [{"finish_reason": "stop", "text": "yes"}]}'
    async with raw_server(http("200 OK", reply)) as url, LLMClient(Endpoint(url, "m")) as client:
        request = Request("r/0", Prompt("Answer.", (), "What?"), Sampling(0.0, 100), seed=1)
        [result] = await client.for_stage("s", 0).complete("r", [request])
        assert isinstance(result, Completion)
        assert (result.model, result.completion_tokens) == ("m", 1)
        assert result.prompt_tokens > 0
        assert client.usage()["s"].estimated == 1


async def test_a_server_elsewhere_is_asked_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reply = b'{"choices": [{"finish_reason": "stop", "text": "by proxy"}]}'
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with raw_server(http("200 OK", reply)) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        assert (await ask(Endpoint("http://far.invalid", "m"))).text == "by proxy"
