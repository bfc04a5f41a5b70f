"""What a model has answered is on disk at once, and is never asked again."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from consumers.llm.request import Completion, Prompt, Request, Sampling, TooLong
from stream.errors import EndpointDown, Permanent, PipelineError, RequestTimedOut, WrongConfig
from stream.retry import Gate
from stream.settings import DEFAULTS, Settings
from tests.fakes import Answer as Reply
from tests.fakes import FakeLLM, completion
from trainer import answers
from trainer.answers import Answer, AnswerFile, Question, ask


def questions(*names: str) -> list[Question]:
    return [Question(name, 0, Request(f"id-{name}", Prompt("", (), "", name), Sampling(0.0, 10), 7)) for name in names]


async def asked(
    path: Path, names: Sequence[str], reply: Reply, settings: Settings = DEFAULTS
) -> tuple[list[Answer], list[str], list[int]]:
    """Ask, and return the answers, what the model was asked for, and what was noted."""
    llm, notes = FakeLLM(reply), list[int]()
    with AnswerFile(path) as file:
        found = await ask(llm, questions(*names), file, notes.append, settings)
    return found, [request.prompt.prefill for request in llm.asked], notes


def echo(request: Request) -> str:
    return f"re {request.prompt.prefill}"


async def test_answers_come_in_the_order_of_the_questions_and_only_new_ones_are_asked(tmp_path: Path):
    path = tmp_path / "deep" / "answers.jsonl"
    first, paid, notes = await asked(path, ["a", "b"], echo)
    assert ([a.text for a in first], sorted(paid), notes) == (["re a", "re b"], ["a", "b"], [0, 1, 2])
    again, paid, notes = await asked(path, ["c", "b", "a"], echo)
    assert ([a.text for a in again], paid, notes) == (["re c", "re b", "re a"], ["c"], [2, 3])


async def test_when_one_question_fails_the_others_that_were_answered_are_kept(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    with pytest.raises(Permanent, match="refused"):
        await asked(path, ["a", "b"], lambda r: Permanent("refused") if r.prompt.prefill == "b" else echo(r))
    _, paid, _ = await asked(path, ["a", "b"], echo)
    assert paid == ["b"]


async def test_a_line_that_a_kill_cut_off_is_asked_again_and_leaves_no_trace(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    await asked(path, ["a", "b"], echo)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    _, paid, _ = await asked(path, ["a", "b"], echo)
    assert paid == ["b"] and path.read_bytes() == whole


@pytest.mark.parametrize("line", ["no JSON", "[1]", '{"id": "x"}', "[" * 100_000])
async def test_any_other_bad_line_is_named(line: str, tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    await asked(path, ["a"], echo)
    path.write_bytes(path.read_bytes() + f"{line}\n".encode())
    with pytest.raises(WrongConfig, match=r"answers.jsonl, line 2: expected an answer as JSON"):
        await asked(path, ["a"], echo)


async def test_answers_of_other_questions_are_in_nobodys_way(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    await asked(path, ["a"], echo)
    found, paid, _ = await asked(path, ["b"], echo)
    assert (len(found), paid) == (1, ["b"])
    assert len(path.read_text().splitlines()) == 2


async def test_half_of_a_surrogate_pair_is_kept_as_it_came(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    await asked(path, ["a"], lambda _: "x\ud800\u2028y")
    [found], paid, _ = await asked(path, ["a"], echo)
    assert (found.text, paid) == ("x\ud800\u2028y", [])


async def test_a_prompt_that_does_not_fit_is_answered_but_not_kept(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    [found], _, _ = await asked(path, ["a"], lambda _: TooLong(900, 512))
    assert (found.finish_reason, found.text, found.prompt_tokens) == (answers.TOO_LONG, "", 900)
    assert path.read_bytes() == b""


async def test_a_request_that_times_out_is_tried_again_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answers, "backoff_s", lambda *_: 0.0)
    failures = [RequestTimedOut("slow")] * 4
    [found], paid, _ = await asked(tmp_path / "x", ["a"], lambda r: failures.pop() if failures else echo(r))
    assert found.text == "re a" and len(paid) == 5
    with pytest.raises(RequestTimedOut):
        await asked(tmp_path / "y", ["a"], lambda _: RequestTimedOut("slow"))


async def test_a_server_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Gate, "BASE_S", 0.0)
    failures = [EndpointDown("away")] * 9
    [found], _, _ = await asked(tmp_path / "x", ["a"], lambda r: failures.pop() if failures else echo(r))
    assert found.text == "re a"


async def test_the_whole_reply_is_kept_with_what_it_took(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    await asked(path, ["a"], lambda _: completion("one two", "length", prompt_tokens=9))
    assert json.loads(path.read_text()) == {
        "id": "id-a", "task_id": "a", "sample": 0, "text": "one two", "finish_reason": "length", "prompt_tokens": 9,
        "completion_tokens": 2, "model": "fake-model", "special_tokens": [],
    }  # fmt: skip


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WrongConfig, match=r"file/answers.jsonl cannot be written"):
        await asked(tmp_path / "file" / "answers.jsonl", ["a"], echo)


async def test_a_full_disk_says_that_what_was_answered_is_kept(tmp_path: Path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with full.open("wb", buffering=0) as disk, AnswerFile(tmp_path / "x") as file:
        file._file = disk  # type: ignore[assignment]
        with pytest.raises(PipelineError, match=r"x: No space left on device; what was answered before is kept"):
            file.add(Answer("i", "t", 0, "", "stop", 0, 0, "m"))


def test_completions_have_all_that_an_answer_needs():
    names = set(Answer.__slots__) - {"id", "task_id", "sample"}
    assert names == set(Completion.__slots__) - {"reasoning"}  # no part of an answer
