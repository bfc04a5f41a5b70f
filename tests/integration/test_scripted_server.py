"""The scripted server as a process: its command line, its counts, its faults."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.scripted_llm.server import ScriptedLLM, Service
from tests.patience import PATIENCE_S

PROMPT = "Judge.\n\n## Example 1\n[Code]\n```python\ndef f(x):\n    return x\n```\n[Concepts]\n"


@contextmanager
def process(*options: str) -> Generator[tuple[str, "subprocess.Popen[str]"]]:
    command: Sequence[str] = [sys.executable, "-m", "deploy.scripted_llm", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        try:
            yield running.stdout.readline().strip(), running
        finally:
            running.kill()


def complete(url: str, seed: int | None = 1, **fields: Any) -> httpx.Response:
    body = {"model": "scripted", "prompt": PROMPT, "max_tokens": 50, "seed": seed} | fields
    return httpx.post(f"{url}/v1/completions", json=body, trust_env=False, timeout=PATIENCE_S)


def test_replies_are_the_same_in_every_process_and_calls_outlive_it(tmp_path: Path) -> None:
    replies: list[Any] = []
    for _ in range(2):
        with process("--calls", str(tmp_path / "calls")) as (url, _):
            replies.append(complete(url).json())
            listed = httpx.get(f"{url}/_calls", trust_env=False).json()
            assert [(row["stage"], row["seed"], row["calls"]) for row in listed] == [("concepts", 1, 1)]
    assert replies[0] == replies[1]
    lines = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert len(lines) == 2 and lines[0] == lines[1]
    assert lines[0]["stage"] == "concepts" and re.fullmatch("[0-9a-f]{64}", lines[0]["prompt_sha256"])


def test_an_interrupt_ends_it_without_a_word(tmp_path: Path) -> None:
    with process() as (url, running):
        assert httpx.get(f"{url}/health", trust_env=False).status_code == 200
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in errors


def test_wrong_faults_are_refused_with_what_was_expected() -> None:
    with process("--faults", '[{"statsu": 503}]') as (_, running):
        _, errors = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == 2 and "statsu" in errors


@pytest.mark.parametrize(("option", "expected"), [("--dialect", "llamacpp"), ("--around", "tail-thoughts")])
def test_what_it_cannot_play_is_refused_with_what_it_can(option: str, expected: str) -> None:
    with process(option, "nothing") as (_, running):
        _, errors = running.communicate(timeout=20)
        assert running.returncode == 2 and expected in errors and "nothing" in errors


def test_faults_are_switched_while_it_runs() -> None:
    with process("--faults", '[{"status": 503, "retry_after_s": 2}]') as (url, _):
        refused = complete(url)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert httpx.post(f"{url}/_faults", json={"garbage": True, "count": 1}, trust_env=False).status_code == 200
        assert complete(url).text == "<html>It works!</html>"
        assert complete(url).json()["choices"][0]["finish_reason"] == "stop"
        wrong = httpx.post(f"{url}/_faults", json={"statsu": 1}, trust_env=False)
        assert wrong.status_code == 400 and "statsu" in wrong.text


def test_while_it_is_down_nobody_listens_and_then_it_is_back() -> None:
    with process() as (url, _):
        httpx.post(f"{url}/_faults", json={"down_s": 3, "count": 1}, trust_env=False)
        with pytest.raises(httpx.TransportError):
            complete(url)
        with pytest.raises(httpx.ConnectError):
            complete(url)
        patient = httpx.HTTPTransport(retries=8)  # connects again after growing pauses
        with httpx.Client(transport=patient) as client:
            assert client.get(f"{url}/health").status_code == 200


@pytest.mark.parametrize(
    ("fields", "text", "finish_reason"),
    [
        ({}, "reading code", "stop"),
        ({"stop": [" code"]}, "reading", "stop"),
        ({"stop": "d"}, "rea", "stop"),
        ({"max_tokens": 1}, "read", "length"),
        ({"max_tokens": 1, "stop": ["a"]}, "re", "stop"),
    ],
)
async def test_stop_and_max_tokens_are_honoured(fields: dict[str, Any], text: str, finish_reason: str) -> None:
    prompt = "## Example 1\n[Code]\n```python\nx\n```\n[Concepts]\n"
    body = {"model": "scripted", "prompt": prompt, "max_tokens": 50, "stop": "\n"} | fields
    async with ScriptedLLM() as server, httpx.AsyncClient(trust_env=False) as client:
        reply = (await client.post(f"{server.url}/v1/completions", json=body)).json()
        assert (reply["choices"][0]["text"], reply["choices"][0]["finish_reason"]) == (text, finish_reason)
        assert reply["usage"]["completion_tokens"] == -(-len(text) // 4)


async def test_models_tokens_and_length_limits_are_told_as_vllm_tells_them() -> None:
    async with ScriptedLLM(context=20) as server, httpx.AsyncClient(trust_env=False) as client:
        models = (await client.get(f"{server.url}/v1/models")).json()
        assert models["data"][0].items() >= {"id": "scripted", "object": "model", "max_model_len": 20}.items()
        body = {"model": "scripted", "prompt": "x" * 41, "max_tokens": 16}
        assert (await client.post(f"{server.url}/tokenize", json=body)).json()["count"] == 11
        refused = await client.post(f"{server.url}/v1/completions", json=body)
        assert refused.status_code == 400 and "maximum context length is 20 tokens" in refused.text


async def test_no_more_than_the_slots_are_served_at_a_time() -> None:
    service = Service(slots=2, mean_s=0.1, sigma=0.0)
    async with ScriptedLLM(service=service) as server, httpx.AsyncClient(trust_env=False) as client:
        body = {"model": "scripted", "prompt": "x", "max_tokens": 50}
        server.answering.clear()
        url = f"{server.url}/v1/completions"
        posts = [asyncio.create_task(client.post(url, json=body | {"seed": k})) for k in range(6)]
        async with asyncio.timeout(PATIENCE_S):
            while server.in_flight < 6:
                await asyncio.sleep(0.005)
        started_s = time.monotonic()
        server.answering.set()
        await asyncio.gather(*posts)
        assert time.monotonic() - started_s >= 0.29
        assert server.most_in_flight == 6
