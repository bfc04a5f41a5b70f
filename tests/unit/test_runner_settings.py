"""The table [runner]: documented with its defaults, overridden by stage, and used by the evaluation too."""

import asyncio
import re
import tomllib
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest

from consumers.llm.request import Completion, Request
from deploy.planning import settings
from stream.errors import RequestTimedOut, WrongConfig
from stream.settings import DEFAULTS, SCORES, Settings, StageSettings
from tests.fakes import FakeLLM
from tests.unit.test_answers import questions
from trainer.answers import AnswerFile, ask

README = Path(__file__).parents[2] / "README.md"


def read(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "seedstream.toml"
    path.write_text(text)
    return settings.read(path)[0].runner


def block() -> str:
    """Return the README's example of the table, as it stands there."""
    blocks = re.findall(r"^```toml\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    [found] = [text for text in blocks if "[runner]" in text]
    return found


def documented() -> dict[str, Any]:
    """Return the table [runner] as the README shows it."""
    blocks = [
        tomllib.loads(block)
        for block in re.findall(r"^```toml\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    ]
    [runner] = [block["runner"] for block in blocks if "runner" in block]
    return runner


def test_the_readme_shows_every_key_of_the_table_with_its_default() -> None:
    shown = documented()
    stages = shown.pop("stages")
    defaults = {field.name: field.default for field in fields(Settings) if field.default is not MISSING}
    assert shown == defaults
    assert [type(value) for value in shown.values()] == [type(defaults[key]) for key in shown]
    assert {field.name for field in fields(Settings)} - defaults.keys() == {"stages"}
    [own] = stages.values()
    assert own.keys() == {field.name for field in fields(StageSettings)}


def test_what_the_readme_shows_is_a_config_file(tmp_path: Path) -> None:
    [block] = [
        b for b in re.findall(r"^```toml\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL) if "[runner]" in b
    ]
    assert replace(read(tmp_path, block), stages={}) == DEFAULTS


def test_a_stage_has_its_own_retries_and_deadline_over_those_of_all(tmp_path: Path) -> None:
    runner = read(
        tmp_path,
        "[runner]\nattempts = 7\nretry_cap_s = 9\n[runner.stages.responses]\nattempts = 2\ncall_deadline_s = 60\n"
        "[runner.stages.scores]\nretry_base_s = 0\n",
    )
    responses, seeds, scores = (runner.of(name) for name in ("responses", "seeds", SCORES))
    assert (responses.attempts, responses.call_deadline_s, responses.retry_cap_s) == (2, 60, 9)
    assert (seeds.attempts, seeds.call_deadline_s) == (7, 3_600)
    assert (scores.attempts, scores.retry_base_s) == (7, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[runner.stages.respones]\nattempts = 2", "line 2, runner.stages.respones: unknown stage; did you mean resp"),
        ("[runner.stages.files]\nattempts = 2", "line 2, runner.stages.files: unknown stage; expected one of concepts"),
        ("[runner.stages.score]", "line 2, runner.stages.score: unknown stage; did you mean scores?"),
        ("[runner.stages.seeds]\nattempts = 0", "line 2, runner.stages.seeds: attempts must be at least 1"),
        ("[runner.stages.seeds]\nretry_cap_s = -1", "runner.stages.seeds: retry_cap_s must not be negative"),
        ("[runner.stages.seeds]\ncall_deadline_s = 0", "call_deadline_s = 0 would let no call end"),
        ("[runner.stages.seeds]\ndrain_s = 1", "line 3, runner.stages.seeds.drain_s: unknown key"),
        ("[runner]\nflood_share = 1.5", "flood_share must be from 0 to 1"),
        ("[runner]\nflood_share = -0.5", "flood_share must not be negative"),
        ("[runner]\nflood_window = 0", "flood_window must be at least 1"),
        ("[runner]\nflood_in_a_row = -1", "flood_in_a_row must not be negative"),
    ],
)
def test_a_wrong_table_is_refused_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(WrongConfig, match=r"seedstream\.toml") as refused:
        read(tmp_path, f"\n{text}\n")
    assert message in str(refused.value)


async def test_an_evaluation_makes_as_many_attempts_as_it_is_told(tmp_path: Path) -> None:
    asked = 0

    def slow(_: Request) -> Exception:
        nonlocal asked
        asked += 1
        return RequestTimedOut("slow")

    own = replace(DEFAULTS, attempts=3, retry_base_s=0.0)
    with AnswerFile(tmp_path / "answers") as file, pytest.raises(RequestTimedOut):
        await ask(FakeLLM(slow), questions("a"), file, lambda _: None, own)
    assert asked == 3


async def test_a_request_of_an_evaluation_has_a_deadline(tmp_path: Path) -> None:
    class Hanging(FakeLLM):
        async def complete(self, record_id: str, requests: Any) -> list[Completion]:
            await asyncio.Event().wait()
            raise AssertionError

    own = replace(DEFAULTS, attempts=1, call_deadline_s=0.01)
    with AnswerFile(tmp_path / "answers") as file, pytest.raises(RequestTimedOut, match=r"request id-a took .* 0.01 s"):
        await ask(Hanging(lambda _: ""), questions("a"), file, lambda _: None, own)
