"""`rejects`, `dead` and `replay`: names that a stream does not have are refused, and what was mended is told so."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.cli import run
from deploy.planning.effective import begin
from deploy.planning.plan import Flags, plan
from deploy.streams.topics import wanted_by
from stream.bus import Cause, Message
from stream.codec import encode
from stream.embedded import Embedded
from stream.outcomes import dead_letter
from stream.records import Rejected
from tests.stage_runs import seeds

SEEDS = seeds(5)
FAILED = SEEDS[:3]  # 0, 1 and 2 ended in dead letters of `seeds`, 3 in a reject, 4 is not done
REJECTED = SEEDS[3]
STAGES = "concepts, examples, executions, files, functions, instructions, responses, seeds, typed, unique"


async def fail(letters: Sequence[Message]) -> None:
    async with Embedded.open(Path("run")) as bus, bus.appender("test") as appender:
        await appender.append(letters)


@pytest.fixture
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stream with three dead letters and two rejects of stage `seeds`, one by a reason that is no more."""
    monkeypatch.chdir(tmp_path)
    Path("seedstream.toml").write_text('[llm.a]\nurl = "http://x"\nmodel = "m"\n')
    planned = plan(Flags(config=Path("seedstream.toml")))
    wanted = wanted_by(planned.recipe)
    async with Embedded.open(Path("run")) as bus:
        await bus.create(wanted.topics, wanted.readers)
        await begin(bus, planned.effective())
        async with bus.appender("test") as appender:
            await appender.append([Message("unique", seed.key, encode(seed)) for seed in SEEDS])
            for i, reason in enumerate(("not_good", "of_an_earlier_version")):
                reject = Rejected(REJECTED.key, "seeds", reason, "No.")
                cause = Cause("seeds", "unique", 0, 3, i, 2)
                await appender.append([Message("rejects", reject.key, encode(reject), cause)])
    for offset, seed in enumerate(FAILED):
        await fail(dead_letter("seeds", ("unique", 0, offset), seed.key, encode(seed), KeyError("x")))
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run([*command.split(), "--dir", "run"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("dead --stage respnses", "namespace main has no stage respnses; did you mean responses?"),
        ("dead --stage nope", f"namespace main has no stage nope; expected one of {STAGES}"),
        ("rejects --stage nope", f"namespace main has no stage nope; expected one of {STAGES}"),
        ("rejects --stage nope --reason nope", "namespace main has no stage nope"),
        ("rejects --reason not_god", "no stage rejects for not_god; did you mean not_good?"),
        ("rejects --reason nope --json", "no stage rejects for nope; expected one of already_kept, banned_import"),
        (
            "rejects --stage seeds --reason no_tests",
            "stage seeds does not reject for no_tests; expected one of filtered, no_verdict, not_good",
        ),
        ("rejects --stage files --reason x", "does not reject for x; expected one of binary, encoding"),
        ("rejects --stage unique --reason x", "does not reject for x; expected one of already_kept, near_duplicate"),
        (
            "replay responses --reason nope",
            "stage responses does not reject for nope; expected one of filtered, markers",
        ),
        ("replay responses --dead --reason nope", "stage responses does not reject for nope"),
        ("replay respnses --dead", "namespace main has no stage respnses; did you mean responses?"),
        ("replay responses zzzzzzzz", "no input of responses, and nothing that it turned down, has the id zzzzzzzz"),
        ("replay seeds", "say what to replay"),
        ("replay seeds --reason=", "say what to replay"),
    ],
)
def test_a_name_that_is_not_known_is_refused_with_those_that_are(
    command: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(capsys, command)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("command", "out", "err"),
    [
        ("dead --stage responses", "", "none\n"),
        ("dead --stage files", "", "none\n"),
        ("rejects --stage responses --reason no_tests", "", "none\n"),
        ("rejects --reason no_tests", "", "none\n"),
        ("rejects --stage unique --reason already_kept", "", "none\n"),
        ("replay responses --reason no_tests", "0 inputs of responses stand in its topic again\n", ""),
        ("replay responses --dead", "0 inputs of responses stand in its topic again\n", ""),
        (f"replay seeds {SEEDS[4].key}", "0 inputs of seeds stand in its topic again\n", ""),
    ],
)
def test_a_name_that_is_known_may_have_nothing_to_it(
    command: str, out: str, err: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, command) == (0, out, err)


def test_a_reason_on_record_is_known_though_no_stage_gives_it_any_more(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, "rejects --reason of_an_earlier_version")
    assert code == 0 and "seeds: of_an_earlier_version: 1" in out
    assert said(capsys, "replay seeds --reason of_an_earlier_version")[:2] == (
        0,
        "1 inputs of seeds stand in its topic again\n",
    )


def test_a_branch_has_the_stages_that_run_in_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "replay responses --into v2 --config seedstream.toml")[0] == 0
    code, _, err = said(capsys, "dead --namespace v2 --stage seeds")
    assert code == 2 and "namespace v2 has no stage seeds; expected one of examples, executions, responses" in err
    assert said(capsys, "dead --namespace v2 --stage responses")[0] == 0


def test_dead_ends_with_one_until_each_open_one_is_replayed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "dead")
    assert (code, err) == (1, "") and "seeds: KeyError: 3 open\n" in out
    assert said(capsys, f"replay seeds {SEEDS[0].key}")[0] == 0
    code, out, err = said(capsys, "dead")
    assert (code, err) == (1, "")
    assert out.index("seeds: KeyError: 2 open\n") < out.index("seeds: KeyError: 1 replayed\n")
    assert said(capsys, "replay seeds --dead")[:2] == (0, "2 inputs of seeds stand in its topic again\n")
    code, out, err = said(capsys, "dead")
    assert (code, err) == (0, "none is open\n") and "seeds: KeyError: 3 replayed\n" in out
    assert said(capsys, "dead --stage seeds")[0] == 0


def test_the_fates_are_groups_of_their_own_for_programs_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, f"replay seeds {SEEDS[0].key} {SEEDS[1].key}")[0] == 0
    code, out, _ = said(capsys, "dead --json")
    groups = [(g["stage"], g["reason"], g["fate"], g["count"]) for g in json.loads(out)]
    assert (code, groups) == (1, [("seeds", "KeyError", "open", 1), ("seeds", "KeyError", "replayed", 2)])
    assert "fate" not in json.loads(said(capsys, "rejects --json")[1])[0]


def test_what_fails_again_is_open_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "replay seeds --dead")[0] == 0
    asyncio.run(fail(dead_letter("seeds", ("unique", 0, 5), FAILED[0].key, b"", KeyError("again"))))
    code, out, _ = said(capsys, "dead")
    assert code == 1 and "seeds: KeyError: 1 open\n" in out and "seeds: KeyError: 3 replayed\n" in out


def test_what_a_source_failed_stays_open_since_no_replay_takes_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(fail(dead_letter("files", ("code", 0, 0), "f" * 64, b"", ValueError("x"))))
    code, out, _ = said(capsys, "dead --stage files")
    assert code == 1 and "files: ValueError: 1 open\n" in out


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_as_many_samples_are_shown_as_were_asked_for_the_latest_ones(
    count: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (group,) = json.loads(said(capsys, f"dead --json --samples {count}")[1])
    assert [sample["record_id"] for sample in group["samples"]] == [seed.key for seed in FAILED][-count or 3 :]
