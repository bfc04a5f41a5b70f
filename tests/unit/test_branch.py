"""`seedstream replay STAGE --into NAMESPACE`: a stage and all below it, anew, in a namespace of their own."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.cli import run
from deploy.planning.effective import begin, stored_recipe
from deploy.planning.plan import Flags, plan
from deploy.streams.branch import below
from deploy.streams.topics import wanted_by
from stream.bus import Cause, Message
from stream.codec import encode
from stream.embedded import Embedded
from stream.records import Executions
from tests import records

SAID = pytest.CaptureFixture[str]
ENDPOINT = '[llm.a]\nurl = "http://127.0.0.1:9"\nmodel = "m"\n'


def executed(index: int) -> Executions:
    """An instruction whose one sample passed."""
    block = f"```python\nx = {index}\n```"
    return records.executions(
        records.instruction(f"Write task number {index}.", index=index),
        (records.response(0, f"So:\n\n{block}"), "pass"),
    )


async def send(bus: Embedded, found: Sequence[Executions], first: int = 0) -> None:
    async with bus.appender("test") as appender:
        await appender.append(
            [
                Message("executions", record.key, encode(record), Cause("executions", "responses", 0, k, 0, 1))
                for k, record in enumerate(found, start=first)
            ]
        )


@pytest.fixture
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a stream of six executions in namespace main, and a config with another seed for v2."""
    monkeypatch.chdir(tmp_path)
    Path("code").mkdir()
    Path("code", "a.py").write_text(records.CODE)
    Path("main.toml").write_text(ENDPOINT)
    Path("v2.toml").write_text(f"seed = 7\n{ENDPOINT}")
    planned = plan(Flags(config=Path("main.toml")))
    wanted = wanted_by(planned.recipe)
    async with Embedded.open(Path("run")) as bus:
        await bus.create(wanted.topics, wanted.readers)
        await begin(bus, planned.effective())
        await send(bus, [executed(k) for k in range(6)])
    return tmp_path


def said(capsys: SAID, command: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(command.split())
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def branched(capsys: SAID, command: str = "replay examples --into v2 --dir run --config v2.toml") -> None:
    code, out, err = said(capsys, command)
    assert code == 0, err
    assert "begins: examples reads" in out


def accepted(capsys: SAID, namespace: str) -> int:
    """Run the stage `examples` of a namespace until nothing is left; return how many it has let through."""
    config = "main.toml" if namespace == "main" else "v2.toml"
    code, _, err = said(capsys, f"run examples --dir run --namespace {namespace} --config {config} --until-idle")
    assert code == 0, err
    _, out, _ = said(capsys, f"status --dir run --namespace {namespace} --json")
    (count,) = [count for count in json.loads(out) if count["stage"] == "examples"]
    assert count["lag"] == 0
    return int(count["out"])


def test_a_new_namespace_reads_its_parents_topic_from_the_first_record(folder: Path, capsys: SAID) -> None:
    assert accepted(capsys, "main") == 6
    branched(capsys)
    _, out, _ = said(capsys, "status --dir run --namespace v2 --json")
    assert [(c["stage"], c["done"], c["lag"]) for c in json.loads(out)] == [("examples", 0, 6)]
    assert accepted(capsys, "v2") == 6
    assert accepted(capsys, "main") == 6


def test_each_namespace_conserves_its_own(folder: Path, capsys: SAID) -> None:
    branched(capsys)
    accepted(capsys, "v2")
    assert said(capsys, "audit --dir run --namespace v2")[0] == 0

    async def forged() -> None:
        async with Embedded.open(Path("run"), "v2") as bus, bus.appender("test") as appender:
            cause = Cause("examples", "main/executions", 0, 99, 0, 1)
            [stored] = [s async for batch in bus.read("examples") for s in batch][:1]
            await appender.append([Message("examples", stored.key, stored.value, cause)])

    asyncio.run(forged())
    code, out, _ = said(capsys, "audit --dir run --namespace v2")
    assert code == 1
    assert "examples: main/executions[0]@99: an outcome without its input" in out


def test_what_comes_into_the_parent_later_reaches_the_child(folder: Path, capsys: SAID) -> None:
    branched(capsys)
    assert accepted(capsys, "v2") == 6

    async def more() -> None:
        async with Embedded.open(Path("run")) as bus:
            await send(bus, [executed(k) for k in range(6, 9)], first=6)

    asyncio.run(more())
    assert accepted(capsys, "v2") == 9


def test_the_lineage_goes_up_into_the_parent(folder: Path, capsys: SAID) -> None:
    branched(capsys)
    accepted(capsys, "v2")
    key = executed(3).key
    code, out, _ = said(capsys, f"show {key[:10]} --dir run --namespace v2 --json")
    assert code == 0
    found = [(record["topic"], record["depth"]) for record in json.loads(out)]
    assert found == [("main/executions", 0), ("examples", 1)]


def test_the_recipe_on_record_names_the_parent_and_where_it_was_left(folder: Path, capsys: SAID) -> None:
    branched(capsys)

    async def stored() -> tuple[str | None, str | None, str | None]:
        async with Embedded.open(Path("run")) as bus:
            record = await stored_recipe(bus, "v2")
            assert record is not None
            return record.parent, record.first, record.reads

    assert asyncio.run(stored()) == ("main", "examples", "main/executions")
    code, out, _ = said(capsys, "recipe diff main v2 --dir run")
    assert (code, out) == (1, "seed: 3407 -> 7\n")


def test_funnels_and_recipes_are_shown_beside_each_other(folder: Path, capsys: SAID) -> None:
    branched(capsys)
    accepted(capsys, "v2")
    code, out, _ = said(capsys, "status --dir run --namespace v2 --compare main")
    assert code == 0
    (line,) = [line.split() for line in out.splitlines() if line.startswith("examples")]
    assert line == ["examples", "0", "0", "6", "6", "100.0%"]
    assert "seed: 3407 -> 7" in out
    _, out, _ = said(capsys, "status --dir run --namespace v2 --compare main --json")
    assert set(json.loads(out)) == {"main", "v2", "recipe"}
    assert said(capsys, "status --dir run --namespace v2 --compare v3")[0] == 2


def test_a_child_of_a_child_reads_where_its_parent_reads(folder: Path, capsys: SAID) -> None:
    branched(capsys)
    branched(capsys, "replay examples --into v3 --namespace v2 --dir run --config v2.toml")
    assert accepted(capsys, "v3") == 6
    assert said(capsys, "audit --dir run --namespace v3")[0] == 0


def test_what_was_pruned_from_the_parents_topic_is_told_and_not_waited_for(folder: Path, capsys: SAID) -> None:
    accepted(capsys, "main")

    async def more() -> None:
        async with Embedded.open(Path("run")) as bus:
            end = await bus.ends("executions")
            await send(bus, [executed(6)], first=6)
            await bus.delete_before("executions", end)

    asyncio.run(more())
    branched(capsys)
    assert accepted(capsys, "v2") == 1
    assert said(capsys, "audit --dir run --namespace v2")[0] == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("replay examples --into main", "--into main: that is the namespace it would be read from"),
        ("replay examples --into a.b", "namespace 'a.b': expected 1 to 100 letters"),
        ("replay examples --into v2", "namespace v2 exists already"),
        ("replay exmples --into v3", "has no stage exmples; did you mean examples?"),
        ("replay files --into v3", "has no stage files"),
        ("replay examples --into v3 --namespace none", "namespace none holds no stream"),
        (
            "replay seeds --into v3 --namespace v2",
            "namespace v2 has no topic unique; it was branched from main at examples",
        ),
        ("replay examples --into v3 --dead", "--into runs a stage anew on all that it reads"),
        ("replay examples --dead --recipe lab", "runs in a namespace of its own: name one with --into"),
        ("replay examples --dead --namespace v2", "stage examples of v2 reads main.executions, which is not its own"),
        ("up --namespace v2 --source code", "namespace v2 takes no sources: it reads main.executions"),
        (
            "run seeds --namespace v2",
            "namespace v2 begins with stage examples, which reads main.executions: seeds runs",
        ),
        ("run examples --namespace v2 --until-idle --recipe lab", "this stream runs another recipe"),
        ("status --compare main --watch", "--watch shows one namespace"),
        ("recipe diff main v9", "namespace v9 holds no stream; expected one of main, v2"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(command: str, message: str, folder: Path, capsys: SAID) -> None:
    branched(capsys)
    code, _, err = said(capsys, f"{command} --dir run --config v2.toml")
    assert code == 2
    (line,) = err.splitlines()
    assert message in line


def test_a_change_above_the_stage_is_refused_since_it_would_have_no_effect(folder: Path, capsys: SAID) -> None:
    Path("above.toml").write_text(f"{ENDPOINT}[stages.responses]\nsamples = 4\n")
    code, _, err = said(capsys, "replay examples --into v2 --dir run --config above.toml")
    assert code == 2
    assert "stages.responses.params.samples: 10 -> 4. Replay the first stage that is to change" in err
    code, out, _ = said(capsys, "replay responses --into v2 --dir run --config above.toml")
    assert (code, out) == (0, "namespace v2 begins: responses reads 0 records of main.instructions\n")


def test_a_new_model_alone_is_a_new_recipe(folder: Path, capsys: SAID) -> None:
    code, _, err = said(capsys, "replay responses --into v2 --dir run --config main.toml --model other")
    assert code == 2 and "stages.concepts.asks.model" in err
    code, _, err = said(capsys, "replay seeds --into v2 --dir run --config main.toml --model other")
    assert code == 0, err
    _, out, _ = said(capsys, "recipe diff main v2 --dir run")
    assert 'stages.responses.asks.model: "m" -> "other"' in out


def test_a_stage_takes_with_it_all_that_lives_on_it_and_nothing_else() -> None:
    reads = {"a": "files", "b": "a", "c": "b", "other": "a"}
    assert below("b", reads) == ["b", "c"]
    assert below("a", reads) == ["a", "b", "c", "other"]
