"""What a card says under "How to make it again" does: its commands, as they stand, lead to the same rows."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.cli import run
from tests.corpus import write_corpus


@pytest.fixture
def server() -> Iterator[str]:
    command = [sys.executable, "-m", "deploy.scripted_llm", "--port", "0", "--hanging", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def seedstream(command: str) -> None:
    assert run(shlex.split(command)) == 0, command


def commands(folder: Path) -> list[str]:
    text = (folder / "README.md").read_text()
    found = re.search(r"## How to make it again\n\n```\n(.*?)\n```", text, re.DOTALL)
    assert found is not None
    return found[1].splitlines()


@pytest.mark.timeout(600)  # it takes half a minute; on a machine that is busy with others, many
def test_the_commands_on_the_card_of_a_branch_of_a_branch_make_the_same_rows(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "code", files=3)
    for name in ("v2.toml", "v3.toml"):
        Path(name).write_text("[stages.responses]\nsamples = 3\n")
    up = f"up --dir run --llm {server} --model scripted --until-idle"
    seedstream(f"{up} --source code")
    seedstream("replay responses --into v2 --dir run --config v2.toml")
    seedstream(f"{up} --namespace v2 --config v2.toml")
    seedstream("replay examples --into v3 --namespace v2 --dir run --config v3.toml")
    seedstream(f"{up} --namespace v3 --config v3.toml")
    seedstream("export first --dir run --namespace v3")

    told = commands(Path("first"))
    assert [command.split()[1] for command in told] == ["up", "replay", "up", "replay", "up", "export"]
    for command in told:
        known = command.removeprefix("seedstream ").replace("--dir run", "--dir again").replace("URL", server)
        seedstream(known.replace("DATASET", "second"))
    rows = Path("first", "examples.jsonl").read_text()
    assert rows and rows == Path("second", "examples.jsonl").read_text()
