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
from tests.benchmarks_made import scripted, write
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
    assert "WARNING" not in ended.err  # the settings save what the client would find out
    check_rows(ended)
    assert {row["model"] for row in ended.rows} <= {"scripted", "scripted:latest"}


def bare(url: str, api: str = "chat", more: str = "") -> str:
    """Return a config with nothing but url, model and api."""
    return f'[llm.main]\nurl = "{url}"\nmodel = "scripted"\napi = "{api}"\n{more}\n'


CURED = {
    "vllm-gemma": 'system_role = "user"',
    "tgi": "",
    "litellm": "send_seed = false",
    "gateway": "",
}
"""What is finished without a setting, and the setting that the line of the cure names."""


@pytest.mark.parametrize("dialect", CURED)
def test_without_settings_the_client_finds_out_by_itself(dialect: str, code: Path, tmp_path: Path) -> None:
    with server(dialect) as url:
        ended = up(tmp_path, code, bare(url, "completions" if dialect == "tgi" else "chat"))
    assert (ended.code, ended.dead) == (0, 0), ended.err
    check_rows(ended)
    assert CURED[dialect] in ended.err
    said = [line for line in ended.err.splitlines() if "WARNING" in line]
    assert len(said) == bool(CURED[dialect])


STOPPED = {
    ("azure", "chat"): "check_model = false",
    ("openai-reasoning", "completions"): "api",
}


@pytest.mark.parametrize(("dialect", "api"), STOPPED)
def test_what_no_client_can_find_out_stops_the_run_with_the_setting(
    dialect: str, api: str, code: Path, tmp_path: Path
) -> None:
    with server(dialect) as url:
        ended = up(tmp_path, code, bare(url, api))
    assert ended.code == 2
    *_, line = ended.err.splitlines()
    assert line.startswith("seedstream: ") and STOPPED[dialect, api] in line


THINKING = ("vllm", "llamacpp", "openai-reasoning")


@pytest.mark.parametrize("dialect", THINKING)
def test_thoughts_without_room_are_no_verdict_and_the_setting_is_named(
    dialect: str, code: Path, tmp_path: Path
) -> None:
    with server(dialect) as url:
        ended = up(tmp_path, code, bare(url))
    assert ended.dead == 0 and ended.rows == []
    assert list(ended.rejected("seeds")) == ["no_verdict"]
    assert "reasoning_tokens" in ended.err


ROOM = "reasoning_tokens = 400"
Row = tuple[object, ...]


def run_plain(folder: Path, code: Path, api: str, around: str = "") -> list[Row]:
    """Return the rows of a run, of a model that writes `around` around its answers."""
    with server("plain", "--around", around) as url:
        ended = up(folder, code, bare(url, api, ROOM if around else ""))
    assert (ended.code, ended.dead) == (0, 0), ended.err
    check_rows(ended)
    return sorted((row["concepts"], row["instruction"], row["response"], row["tests"]) for row in ended.rows)


@pytest.fixture(scope="module")
def plain(code: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """The rows of a model that writes nothing but answers, by api."""
    return {api: run_plain(tmp_path_factory.mktemp(api), code, api) for api in ("chat", "completions")}


@pytest.mark.parametrize(
    ("api", "around"),
    [
        ("chat", "thoughts,preamble,fence,crlf,token"),
        ("chat", "channels,blank"),
        ("completions", "tail-thoughts,prefill,blank,token"),
    ],
)
def test_what_a_model_writes_around_its_answers_changes_no_row(
    api: str, around: str, plain: dict[str, list[Row]], code: Path, tmp_path: Path
) -> None:
    assert run_plain(tmp_path, code, api, around) == plain[api]


def test_a_model_that_thinks_is_scored_by_what_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draft in its thoughts would not pass."""
    monkeypatch.chdir(tmp_path)
    write(Path("tasks.jsonl"), *scripted(6))
    scores: list[list[str]] = []
    for dialect in ("plain", "llamacpp", "vllm"):
        with server(dialect, "--failing", "0.2") as url:
            (tmp_path / "seedstream.toml").write_text(bare(url, more=ROOM))
            asked = ["evaluate", "scripted", "--benchmark", "tasks.jsonl", "--api", "chat", "--llm", url]
            assert cli([*asked, "--out", dialect]) == 0
        [results] = Path(dialect).rglob("*.results.jsonl")
        scores.append([json.loads(line)["verdict"] for line in results.read_text().splitlines()])
    assert scores[0] == scores[1] == scores[2]
    assert scores[0].count("pass") >= 3
