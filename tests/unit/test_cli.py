"""The command line: its help, its exit codes, and one line on stderr for whatever is wrong."""

import io
import json
import os
import re
import resource
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.cli import app, run
from deploy.serving import checkpoint
from stream.bus import Cause, Message
from stream.codec import encode
from stream.embedded import Embedded
from stream.errors import DependencyDown, EndpointDown, Fatal, PipelineError, WrongConfig
from stream.records import Rejected
from tests import records
from tests.begun import begun

PROGRAM = Path(sys.executable).with_name("seedstream")
MODEL = ["--llm", "http://127.0.0.1:9", "--model", "m"]
HELP_CPU_S = 0.3
LIBRARIES = "import asyncio, rich, typer"  # what the help cannot do without


def names() -> list[str]:
    found = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    groups = ["recipe list", "recipe show", "recipe copy", "recipe diff"]
    return [*found, *groups, "topics create", "topics list", "topics check"]


def error(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """Run a command that fails; return its exit code and the one line it said."""
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert not captured.out
    return code, line


def least_cpu_s(*command: str | Path) -> float:
    """The CPU time of a command, the least of five: a busy machine takes more for the same."""
    times: list[float] = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_help_answers_within_three_tenths_of_a_second_of_cpu_time():
    assert " up " in subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout
    # A slower machine takes more for the libraries alone.
    allowed_s = max(HELP_CPU_S, 2 * least_cpu_s(sys.executable, "-c", LIBRARIES))
    assert least_cpu_s(PROGRAM, "--help") < allowed_s


@pytest.mark.parametrize("command", names())
def test_the_help_of_each_command_has_an_example_of_it(command: str, capsys: pytest.CaptureFixture[str]):
    assert run([*command.split(), "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"Example: .*seedstream {re.escape(command)}\b", text)


@pytest.mark.parametrize("command", ["dedup"])
def test_what_is_not_there_yet_is_not_in_the_help(command: str, capsys: pytest.CaptureFixture[str]):
    assert command not in names()
    code, line = error(capsys, command)
    assert (code, line.startswith(f"seedstream: No such command '{command}'")) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["status"], 2, "name the stream's directory: --dir DIR"),
        (["status", "--dir", "none"], 2, "none: there is no bus here"),
        (["status", "--bus", "kafka://x"], 2, "--bus kafka://x: expected embedded:PATH or kafka://HOST:PORT"),
        (["status", "--bus", "redis://x"], 2, "--bus redis://x: expected embedded:PATH or kafka://HOST:PORT"),
        (["status", "--bus", "embedded:a", "--dir", "b"], 2, "name two places"),
        (["status", "--colour"], 2, "No such option: --colour"),
        (["up", "--dir", "run", "--source", "none", *MODEL], 2, "none: no such folder or file"),
        (["up", "--dir", "run", "--source", "empty", *MODEL], 2, "empty: no source file to read"),
        (
            ["up", "--dir", "run", "--source", "code"],
            2,
            "all its models named, seeds, concepts, instructions, responses have none: name a server with --llm URL",
        ),
        (["up", "--dir", "run", "--source", "code", "--llm", "http://x"], 2, "--llm http://x: name the model too"),
        (["up", "--dir", "run", "--llm", "localhost:1", "--model", "m"], 2, "expected a url such as http://localhost"),
        (["up", "--dir", "run", "--recipe", "none", *MODEL], 2, "no recipe is named none"),
        (["up", "--dir", "run", "--recipe", "no.toml", *MODEL], 2, "no.toml cannot be read: No such file"),
        (
            ["up", "--dir", "run", "--config", "bad.toml", *MODEL],
            2,
            "bad.toml, line 2, partitons: unknown key; did you",
        ),
        (["up", "--dir", "run", "--config", "key.toml"], 2, "environment variable NO_SUCH_KEY"),
        (["up", "--dir", "run", "--limit", "0", *MODEL], 2, "--limit"),
        (["up", "--dry-run"], 2, "--dry-run counts what sources hold"),
        (["up", "--dir", "run", "--start-budget", "0", *MODEL], 3, "http://127.0.0.1:9/v1 cannot be reached"),
        (["run", "respones", "--dir", "run", *MODEL], 2, "has no stage respones; did you mean responses?"),
        (["try", "examples", "--show-prompt"], 2, "stage examples asks no model"),
        (
            ["export", "out", "--dir", "run", "--topic", "exmples"],
            2,
            "there is no topic exmples; did you mean examples?",
        ),
        (["recipe", "show", "none"], 2, "no recipe is named none"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_by_the_exit_code(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("code").mkdir()
    Path("code", "a.py").write_text(records.CODE)
    Path("bad.toml").write_text("# where\npartitons = 2\n")
    Path("key.toml").write_text('[llm.a]\nurl = "http://x"\nmodel = "m"\nkey_env = "NO_SUCH_KEY"\n')
    found, line = error(capsys, *arguments)
    assert message in line
    assert (found, line[:12]) == (code, "seedstream: ")


def test_a_folder_without_permission_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "closed").mkdir(mode=0)
    code, line = error(capsys, "up", "--dir", tmp_path / "run", "--source", tmp_path / "closed", *MODEL)
    assert code == 2 and "closed" in line


def test_a_newer_bus_file_is_refused_with_both_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "run").mkdir()
    with sqlite3.connect(tmp_path / "run" / "bus.sqlite") as db:
        db.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL)")
        db.execute("INSERT INTO meta VALUES ('schema', 99)")
    code, line = error(capsys, "status", "--dir", tmp_path / "run")
    assert code == 2 and "schema 99, this seedstream knows 1" in line


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (WrongConfig("x"), 2),
        (DependencyDown("x"), 3),
        (EndpointDown("x"), 3),
        (Fatal("x"), 1),
        (PipelineError("two\nlines"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_exit_code_follows_from_the_class_of_the_error(
    raised: BaseException, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fails(*_: object) -> object:
        raise raised

    monkeypatch.setattr("deploy.streams.looking.holes", fails)
    assert run(["audit", "--dir", "run"]) == code
    assert len(capsys.readouterr().err.splitlines()) == (0 if code == 130 else 1)


BROKEN = """
import deploy.streams.looking
from deploy.cli import main
def holes(*_): raise KeyError("a\\nb")
deploy.streams.looking.holes = holes
main()
"""


def test_a_defect_is_one_line_and_a_traceback_only_with_debug():
    def said(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-c", BROKEN, *arguments, "audit", "--dir", "run"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    code, err = said()
    assert code == 1 and len(err.splitlines()) == 1
    assert "a defect: KeyError in holes" in err and "--debug" in err
    code, err = said("--debug")
    assert code == 1 and "Traceback (most recent call last)" in err


@pytest.fixture
async def stream(tmp_path: Path) -> Path:
    """A stream that has begun, with a reject, a dead letter and a hole."""
    async with Embedded.open(await begun(tmp_path)) as bus:
        seed = records.seed()
        async with bus.appender("test") as appender:
            reject = Rejected(seed.key, "seeds", "not_good", "No.\nIt is not.")
            cause = Cause("seeds", "unique", 0, 0, 0, 1)
            await appender.append([Message("unique", seed.key, encode(seed), Cause("unique", "typed", 0, 0, 0, 1))])
            await appender.append([Message("rejects", reject.key, encode(reject), cause)])
    return tmp_path / "run"


def test_rejects_are_grouped_and_shown_with_their_evidence(stream: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["rejects", "--dir", str(stream)]) == 0
    out = capsys.readouterr().out
    assert "seeds: not_good: 1" in out and "    It is not." in out
    assert run(["rejects", "--dir", str(stream), "--stage", "concepts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_audit_names_what_does_not_hold_and_ends_with_one(stream: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["audit", "--dir", str(stream), "--json"]) == 1
    holes = json.loads(capsys.readouterr().out)
    assert any(hole.startswith("unique: typed[0]@0: an outcome without its input") for hole in holes)


def test_status_counts_from_the_topics_alone(stream: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["status", "--dir", str(stream), "--json"]) == 0
    counts = {count["stage"]: count for count in json.loads(capsys.readouterr().out)}
    assert [*counts][:2] == ["files", "functions"] and len(counts) == 10
    assert counts["unique"]["out"] == 1
    assert (counts["seeds"]["lag"], counts["seeds"]["rejected"]) == (1, {"not_good": 1})
    assert run(["status", "--dir", str(stream)]) == 0
    assert "not_good 1" in capsys.readouterr().out


def test_show_finds_a_record_by_the_beginning_of_its_id_and_what_became_of_it(
    stream: Path, capsys: pytest.CaptureFixture[str]
):
    key = records.seed().key
    assert run(["show", key[:8], "--dir", str(stream)]) == 0
    out = capsys.readouterr().out
    assert f"seed_id: {key}" in out and "at rejects[0]@0 by seeds: not_good: No." in out
    assert error(capsys, "show", "0" * 12, "--dir", stream) == (2, f"seedstream: no record's id begins with {'0' * 12}")
    assert error(capsys, "show", key[:3], "--dir", stream)[0] == 2


def test_dead_letters_end_with_one_and_none_with_zero(stream: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["dead", "--dir", str(stream)]) == 0
    assert "none" in capsys.readouterr().err


def test_try_shows_the_prompt_as_it_would_be_sent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    line = encode(records.seed())
    text = json.dumps(json.loads(line)["record"])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{text}\nno record\n".encode())))
    assert run(["try", "concepts", "--show-prompt", "--api", "chat"]) == 1
    captured = capsys.readouterr()
    assert records.CODE.strip() in captured.out
    assert "line 2: expected a Seed as JSON" in captured.err


def test_a_copy_of_a_recipe_differs_in_nothing_until_it_is_edited(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["recipe", "list"]) == 0
    assert "selfcodealign" in capsys.readouterr().out
    assert run(["recipe", "copy", "selfcodealign", str(tmp_path / "mine")]) == 0
    mine = tmp_path / "mine" / "selfcodealign.toml"
    assert run(["recipe", "diff", "selfcodealign", str(mine)]) == 0
    mine.write_text(mine.read_text().replace("samples = 10", "samples = 4"))
    capsys.readouterr()
    assert run(["recipe", "diff", "selfcodealign", str(mine)]) == 1
    assert capsys.readouterr().out == "stages.responses.params.samples: 10 -> 4\n"
    assert run(["recipe", "show", "selfcodealign", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"]["responses"]["asks"]["prompt_sha256"]


def test_the_difference_of_the_lab_recipe_names_shots_prompts_model_and_limits(capsys: pytest.CaptureFixture[str]):
    assert run(["recipe", "diff", "selfcodealign", "lab"]) == 1
    keys = {line.split(":")[0] for line in capsys.readouterr().out.splitlines()}
    assert {"stages.concepts.params.shots", "stages.functions.params.max_lines"} < keys
    assert {f"stages.{s}.asks.{k}" for s in ("seeds", "responses") for k in ("model", "prompt_sha256")} < keys
    assert not [key for key in keys if key.split(".")[1] in ("typed", "unique", "executions", "examples")]


def test_a_model_that_cannot_be_served_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, line = error(capsys, "serve-model", tmp_path / "none")
    assert code == 2 and "there is no such directory" in line
    code, line = error(capsys, "serve-model", tmp_path)
    assert code == 2 and "holds no model: config.json and *.safetensors missing" in line
    code, line = error(capsys, "up", "--model", tmp_path, "--dir", tmp_path / "dir", "--until-idle")
    assert code == 2 and "holds no model" in line
    assert not (tmp_path / "dir").exists()


def test_a_port_that_is_taken_is_wrong_use(capsys: pytest.CaptureFixture[str]):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, line = error(capsys, "serve-model", checkpoint.find("seedstream-lab"), "--port", str(port))
    assert code == 2 and f"port {port} of 127.0.0.1 cannot be used" in line
