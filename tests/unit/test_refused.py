"""What is refused makes nothing: no folder, no bus file, no topic, no record."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.cli import run
from deploy.serving import checkpoint
from deploy.serving.checkpoint import Checkpoint
from deploy.serving.server import Place, Server
from stream.embedded import Embedded
from tests import records

MODEL = "--llm http://127.0.0.1:9 --model m --start-budget 0"
BEGINS = "a stream begins with all its models named, seeds, concepts, instructions, responses have none: name a server"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("code").mkdir()
    Path("code", "a.py").write_text(records.CODE)
    Path("judge.toml").write_text('[stages.seeds]\nllm = "judge"\n')
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, str]:
    capsys.readouterr()
    code = run(command.split())
    captured = capsys.readouterr()
    assert not captured.out
    return code, captured.err


def content(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("run responses", 2, BEGINS),
        ("run functions", 2, BEGINS),
        ("ingest code", 2, BEGINS),
        ("up --source code", 2, BEGINS),
        ("run respones", 2, "has no stage respones; did you mean responses?"),
        ("ingest nowhere", 2, "nowhere: no such folder or file"),
        ("up --config judge.toml", 2, "no endpoint [llm.judge] is there: name a server"),
        (f"run responses {MODEL}", 3, "cannot be reached"),
        (f"up --source code {MODEL}", 3, "cannot be reached"),
        (f"up --namespace a.b {MODEL}", 2, "namespace 'a.b'"),
    ],
)
def test_a_refused_command_makes_no_bus(
    command: str, code: int, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(folder)
    found, line = said(capsys, f"{command} --dir new")
    assert found == code
    assert message in line and len(line.splitlines()) == 1
    assert content(folder) == before


@pytest.mark.parametrize("command", ["run responses", "ingest code", f"up --source code {MODEL}"])
def test_a_refused_command_makes_no_topic_on_a_bus_that_is_there(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def made() -> None:
        async with Embedded.open(Path("run")):
            pass

    asyncio.run(made())
    assert said(capsys, f"{command} --dir run --namespace r2")[0] in (2, 3)
    with sqlite3.connect(Path("run", "bus.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM topic").fetchone() == (0,)


def dying(host: str, port: int) -> Sequence[str]:
    return [sys.executable, "-m", "tests.fake_server", host, str(port), "--dies-at-start", "no memory for the cache"]


def test_a_model_that_cannot_be_served_leaves_its_log_and_no_bus(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def server(model: Checkpoint, place: Place) -> Server:
        return Server(model.name, place, dying, os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})

    monkeypatch.setattr("deploy.planning.pipeline.vllm_server", server)
    model = checkpoint.find("seedstream-lab")
    code, said_last = said(capsys, f"up --recipe lab --model {model} --dir deep/new --until-idle")
    assert code == 3 and "no memory for the cache), see deep/new/vllm.log" in said_last.splitlines()[-1]
    assert [path.name for path in content(Path("deep"))] == ["new", "vllm.log"]


def test_a_source_that_is_not_there_is_told_as_such_after_a_refusal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "run responses --dir nosuch")
    assert said(capsys, "ingest nosuch --dir run") == (2, "seedstream: source nosuch: no such folder or file\n")


def test_an_endpoint_that_nobody_defined_is_refused_with_the_cure(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "run seeds --dir run --config judge.toml") == (
        2,
        "seedstream: judge.toml, line 2, stages.seeds.llm: no endpoint [llm.judge] is there: name a server with --llm "
        "URL --model M, or as [llm.judge] in a --config file\n",
    )
    with Path("judge.toml").open("a") as file:
        file.write('[llm.judges]\nurl = "http://x"\nmodel = "m"\n')
    assert (
        "no endpoint [llm.judge] is there; did you mean judges?"
        in said(capsys, "run seeds --dir run --config judge.toml")[1]
    )


def test_an_endpoint_that_a_recipe_names_is_asked_for_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text('extends = "selfcodealign"\n[stages.seeds]\nllm = "judge"\n')
    code, line = said(capsys, "run seeds --dir run --recipe mine.toml")
    assert (code, "no endpoint [llm.judge] is there: name a server" in line) == (2, True)
