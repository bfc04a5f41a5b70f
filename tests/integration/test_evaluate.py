"""`seedstream evaluate` from the command line to the score, against a scripted server in a process of its own."""

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from consumers.llm.endpoint import Endpoint
from deploy.cli import run
from deploy.training.evaluating import Plan, score
from stream.embedded import Embedded
from stream.errors import WrongConfig
from tests.benchmarks_made import HUMAN_EVAL, MBPP, scripted, write
from tests.odd_servers import chat, odd_server
from tests.patience import PATIENCE_S
from trainer.asking import Chatting
from trainer.evaluate import Samples


@dataclass(frozen=True, slots=True)
class Server:
    """A scripted LLM that solves most tasks, in a process of its own."""

    url: str

    def calls(self) -> int:
        with urllib.request.urlopen(f"{self.url}/_calls") as answer:
            return sum(call["calls"] for call in json.load(answer))

    def faults(self, faults: list[dict[str, object]]) -> None:
        """Replace what goes wrong from now on."""
        request = urllib.request.Request(f"{self.url}/_faults", json.dumps(faults).encode(), method="POST")
        urllib.request.urlopen(request).close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    shares = ["--failing", "0.1", "--hanging", "0"]
    command = [sys.executable, "-m", "deploy.scripted_llm", "--port", "0", *shares]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Server(process.stdout.readline().strip())
        process.terminate()


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a benchmark of 12 tasks, where commands run."""
    monkeypatch.chdir(tmp_path)
    write(Path("tasks.jsonl"), *scripted(12))
    return tmp_path


def evaluate(server: Server, *more: str, model: str = "scripted") -> int:
    return run(["evaluate", model, "--benchmark", "tasks.jsonl", "--llm", server.url, *more])


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_model_is_scored_by_either_api_shown_drawn_and_published(
    api: str, server: Server, work: Path, capsys: pytest.CaptureFixture[str]
):
    asyncio.run(made("run"))
    assert evaluate(server, "--api", api, "--dir", "run") == 0
    captured = capsys.readouterr()
    assert re.search(rf"tasks pass@1\n.*{api}, greedy", captured.out)
    found = re.search(r"scripted +(\d+\.\d) \(\d", captured.out)
    assert found and float(found.group(1)) > 50
    assert "12 samples asked; " in captured.err and "plot:    evaluation/scores.png" in captured.err
    assert Path("evaluation/scores.png").read_bytes().startswith(b"\x89PNG")
    [results] = Path("evaluation/scripted").glob("tasks.*.results.jsonl")
    verdicts = [json.loads(line)["verdict"] for line in results.read_text().splitlines()]
    assert len(verdicts) == 12 and verdicts.count("pass") > 6
    assert run(["scores", "--dir", "run", "--plot", "again.png", "--json"]) == 0
    [score] = json.loads(capsys.readouterr().out)
    assert sum(score["passed"]) == verdicts.count("pass") and score["model_id"] == "scripted"
    assert run(["export", "out", "--dir", "run", "--topic", "scores"]) == 0


async def made(directory: str) -> None:
    async with Embedded.open(Path(directory)):
        pass


def test_a_second_run_asks_nothing_and_more_samples_ask_for_themselves_alone(
    server: Server, work: Path, capsys: pytest.CaptureFixture[str]
):
    sampled = ("--temperature", "0.8", "--k", "1", "--k", "2")
    assert evaluate(server, *sampled, "--samples", "2") == 0
    before = server.calls()
    assert evaluate(server, *sampled, "--samples", "2", "--json") == 0
    captured = capsys.readouterr()
    assert server.calls() == before and "24 of them by an earlier run" in captured.err
    assert evaluate(server, *sampled, "--samples", "3") == 0
    assert server.calls() == before + 12


def test_a_run_that_is_killed_is_gone_on_with_and_no_answer_is_paid_twice(
    server: Server, work: Path, capsys: pytest.CaptureFixture[str]
):
    before = server.calls()
    server.faults([{"hang_s": 300, "match": f"arrange_{n}("} for n in (3, 8)])
    program = Path(sys.executable).with_name("seedstream")
    command = [program, "evaluate", "scripted", "--benchmark", "tasks.jsonl", "--llm", server.url]
    answers = Path("evaluation/scripted/tasks.answers.jsonl")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers.exists() and answers.read_bytes().count(b"\n") == 10, "ten answers on disk")
            until(lambda: server.calls() == before + 12, "two more under way")
        finally:
            process.kill()
            server.faults([])
    assert evaluate(server) == 0
    assert "12 samples asked, 10 of them by an earlier run" in capsys.readouterr().err
    assert server.calls() == before + 12 + 2


def until(holds: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.02)


def test_a_template_is_asked_by_completions(server: Server, work: Path):
    Path("t.txt").write_text("@@ Instruction\n$instruction\n\n@@ Response\n")
    assert evaluate(server, "--template", "t.txt", "--limit", "2") == 0


def test_an_endpoint_of_the_config_is_asked_by_its_name_or_its_models(
    server: Server, work: Path, capsys: pytest.CaptureFixture[str]
):
    Path("c.toml").write_text(f'[llm.mine]\nurl = "{server.url}"\nmodel = "scripted"\napi = "chat"\n')
    for model in ("mine", "scripted"):
        code = run(["evaluate", model, "--benchmark", "tasks.jsonl", "--config", "c.toml", "--limit", "2"])
        captured = capsys.readouterr()
        assert code == 0 and "chat, greedy" in captured.out and "\nscripted " in captured.out


def test_the_solutions_of_a_benchmark_are_checked_without_a_model(work: Path, capsys: pytest.CaptureFixture[str]):
    wrong = MBPP | {"task_id": 12, "code": "def vowels(word): return 0"}
    write(Path("HumanEval.jsonl"), HUMAN_EVAL)
    assert run(["evaluate", "--check", "--benchmark", "humaneval", "--file", "."]) == 0
    assert "1 of 1 solutions pass" in capsys.readouterr().err
    write(Path("wrong.jsonl"), MBPP, wrong)
    assert run(["evaluate", "--check", "--benchmark", "wrong.jsonl"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("wrong 12: assertion: ") and "1 of 2 solutions pass" in captured.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "name the model to evaluate"),
        (["--benchmark", "tasks.jsonl"], 2, "name the model to evaluate"),
        (["m", "--benchmark", "tasks.jsonl"], 2, "model m: name its server with --llm URL"),
        (["m", "--benchmark", "humanevil", "--llm", "http://x"], 2, "did you mean humaneval?"),
        (["m", "--benchmark", "bad.jsonl", "--llm", "http://x"], 2, "bad.jsonl, line 2: expected a JSON object"),
        (["m", "--benchmark", "humaneval", "--file", ".", "--llm", "http://x"], 2, "no HumanEval.jsonl.gz or"),
        (["m", "--benchmark", "tasks.jsonl", "--file", ".", "--llm", "http://x"], 2, "tasks.jsonl is a file itself"),
        (["m", "--benchmark", "tasks.jsonl", "--llm", "x:1"], 2, "--llm x:1: expected a url"),
        (
            ["m", "--benchmark", "tasks.jsonl", "--llm", "http://x", "--samples", "2"],
            2,
            "greedy samples are all the same",
        ),
        (["m", "--benchmark", "tasks.jsonl", "--llm", "http://x", "--k", "5"], 2, "pass@5 needs as many samples"),
        (
            ["m", "--benchmark", "tasks.jsonl", "--llm", "http://x", "--template", "bad.jsonl"],
            2,
            "with $instruction in it",
        ),
        (
            ["m", "--benchmark", "tasks.jsonl", "--llm", "http://x", "--api", "chat", "--template", "t"],
            2,
            "completions",
        ),
        (["m", "--benchmark", "tasks.jsonl", "--llm", "http://x", "--dir", "none"], 2, "none: there is no bus here"),
        (
            ["m", "--benchmark", "tasks.jsonl", "--llm", "http://127.0.0.1:9", "--start-budget", "0"],
            3,
            "cannot be reached",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_asked(
    arguments: list[str], code: int, message: str, work: Path, capsys: pytest.CaptureFixture[str]
):
    Path("bad.jsonl").write_text(json.dumps(MBPP) + "\n{\n")
    assert run(["evaluate", *arguments]) == code
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert line.startswith("seedstream: ") and message in line and not captured.out


def test_a_model_that_is_not_offered_is_refused_with_those_that_are(
    server: Server, work: Path, capsys: pytest.CaptureFixture[str]
):
    assert evaluate(server, model="gpt-7") == 2
    assert "does not offer model 'gpt-7', but scripted" in capsys.readouterr().err


def test_a_stream_without_scores_says_how_to_make_one(work: Path, capsys: pytest.CaptureFixture[str]):
    asyncio.run(made("run"))
    assert run(["scores", "--dir", "run"]) == 2
    assert "`seedstream evaluate MODEL --dir DIR` makes one" in capsys.readouterr().err


async def test_a_context_that_leaves_no_room_is_said_before_anything_is_asked(tmp_path: Path):
    models = (200, {"data": [{"id": "m", "max_model_len": 2_000}]})
    plan = Plan((), Chatting(), Samples(max_tokens=2_000), (1,), tmp_path, 1.0)
    async with odd_server(lambda _: chat("yes"), {"/v1/models": models}) as server:
        with pytest.raises(WrongConfig, match=r"max_tokens = 2,000, .* in a context of 2,000 tokens"):
            await score(Endpoint(server.url, "m", "chat"), "m", plan)
        assert server.asked == []
