"""`seedstream up` against the servers that the scripted one plays: with the tables of docs/servers.md, and with nothing
but url, model and api."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.cli import run as cli
from deploy.scripted_llm.around import END_TOKEN, PREAMBLE, THOUGHTS
from deploy.scripted_llm.question import HEADINGS
from tests.corpus import write_corpus

PAGE = Path(__file__).parents[2] / "docs" / "servers.md"
PROGRAM = Path(sys.executable).with_name("seedstream")
DEADLINE_S = 120.0
KEY = "sk-of-the-test"

SECTIONS = {
    "vllm": "vLLM",
    "tgi": "TGI",
    "llamacpp": "llama.cpp",
    "ollama": "Ollama",
    "litellm": "LiteLLM",
    "openai-reasoning": "OpenAI's reasoning models",
    "azure": "Azure OpenAI",
}
"""Where the page tells of a dialect."""

RECIPE = """
seed = 3407
prompts = "selfcodealign"
[stages.functions]
reads = "files"
max_lines = 150
max_seed_bytes = 65_536
banned_words = []
banned_imports = []
[stages.unique]
reads = "functions"
threshold = 0.5
ngram = 5
num_perm = 128
bands = 32
rows = 4
[stages.seeds]
reads = "unique"
shots = 2
temperature = 0.0
max_tokens = 5
max_prompt_tokens = 16_380
[stages.concepts]
reads = "seeds"
shots = 2
temperature = 0.7
max_tokens = 1_536
[stages.instructions]
variant = "from_concepts"
reads = "concepts"
shots = 2
temperature = 0.7
max_tokens = 1_536
categories = ["function", "class"]
difficulties = ["easy", "hard"]
[stages.responses]
reads = "instructions"
samples = 4
shots = 1
temperature = 0.7
max_tokens = 1_536
[stages.executions]
reads = "responses"
cpu_s = 10.0
memory_bytes = 4_294_967_296
[stages.examples]
reads = "executions"
"""
"""The shipped recipe without the type check, which takes longer than all the rest."""

WRAPPING = (
    *("<think>", "</think>", "<|", "\r", "\ufeff", "## Example"),
    *(heading for heading in (*HEADINGS.values(), "[Tests]", "[/Tests]")),
    *(END_TOKEN, PREAMBLE.strip(), "A first draft", THOUGHTS[:40]),
)
"""What must not stand in a row."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a run left."""

    code: int
    out: str
    err: str
    counts: dict[str, dict[str, object]]  # by stage
    rows: list[dict[str, object]]

    def rejected(self, stage: str) -> dict[str, int]:
        found = self.counts[stage]["rejected"]
        assert isinstance(found, dict)
        return found

    @property
    def dead(self) -> int:
        return sum(int(str(count["dead"])) for count in self.counts.values())


@contextmanager
def server(dialect: str, *options: str) -> Iterator[str]:
    command = [sys.executable, "-m", "deploy.scripted_llm", "--port", "0", "--hanging", "0", "--dialect", dialect]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "code"
    write_corpus(folder, files=3)
    return folder


def up(folder: Path, code: Path, config: str) -> Ended:
    """Run all stages to their end, and look at what came out."""
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "seedstream.toml").write_text(f'recipe = "recipe.toml"\nprocesses = 1\n{config}')
    keys = dict.fromkeys(re.findall(r'key_env = "(\w+)"', config), KEY)
    ended = subprocess.run(
        [PROGRAM, *asked_of(code)],
        cwd=folder,
        env=os.environ | keys,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    if not ended.stdout:
        return Ended(ended.returncode, ended.stdout, ended.stderr, {}, [])
    counts = {count["stage"]: count for count in json.loads(ended.stdout)["stages"]}
    assert cli(["export", str(folder / "dataset"), "--dir", str(folder / "run")]) == 0
    lines = (folder / "dataset" / "examples.jsonl").read_text().splitlines()
    return Ended(ended.returncode, ended.stdout, ended.stderr, counts, [json.loads(line) for line in lines])


def asked_of(code: Path) -> list[str]:
    return ["up", "--source", str(code), "--dir", "run", "--config", "seedstream.toml", "--until-idle", "--json"]


def settings(dialect: str, url: str) -> str:
    """Return the table of the page, for the server that plays."""
    page = PAGE.read_text()
    section = page.split(f"\n## {SECTIONS[dialect]}\n")[1].split("\n## ")[0]
    [table] = re.findall(r"^```toml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    table = re.sub(r'^url = ".*"', f'url = "{url}"', table, flags=re.MULTILINE)
    model = "scripted:latest" if dialect == "ollama" else "scripted"
    return re.sub(r'^model = ".*"', f'model = "{model}"', table, flags=re.MULTILINE)


def check_rows(ended: Ended) -> None:
    """Check that there are examples, and nothing in them but answers."""
    assert ended.rows
    for row in ended.rows:
        answers = [str(row[name]) for name in ("instruction", "response", "tests")] + [str(row["concepts"])]
        for text in answers:
            assert [mark for mark in WRAPPING if mark in text] == []
            assert text == text.strip()


@pytest.mark.parametrize("dialect", SECTIONS)
def test_with_the_settings_of_the_page_a_run_ends_with_examples(dialect: str, code: Path, tmp_path: Path) -> None:
    with server(dialect, "--key", KEY if dialect in ("litellm", "openai-reasoning", "azure") else "") as url:
        ended = up(tmp_path, code, settings(dialect, url))
    assert ended.code == 0, ended.err
    assert ended.dead == 0
    check_rows(ended)
    assert {row["model"] for row in ended.rows} <= {"scripted", "scripted:latest"}
