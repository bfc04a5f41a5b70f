"""`seedstream topics`: made whole, listed, and compared without being changed."""

import asyncio
import json
from pathlib import Path

import pytest

from deploy.cli import run
from deploy.planning import recipe
from deploy.streams.topics import topics_of, wanted_by
from stream.embedded import Embedded
from stream.topics import TOPICS
from tests.contract.steps import append, inputs

SAID = pytest.CaptureFixture[str]


def said(capsys: SAID, *arguments: str | Path) -> tuple[int, list[str]]:
    capsys.readouterr()
    code = run([str(argument) for argument in arguments])
    return code, capsys.readouterr().out.splitlines()


def test_create_makes_every_topic_of_the_recipe_and_those_of_jobs_once(tmp_path: Path, capsys: SAID) -> None:
    code, made = said(capsys, "topics", "create", "--dir", tmp_path / "run")
    assert code == 0
    expected = {f"main.{topic.name}" for topic in topics_of(recipe.load("selfcodealign"))}
    assert set(made) == expected | {"main.models", "main.scores"}
    assert {"main.audit", "main.recipe", "main.files.state", "main.unique.state"} < expected
    assert said(capsys, "topics", "create", "--dir", tmp_path / "run") == (0, [])


def test_what_stands_is_as_it_must_be_until_something_is_missing(tmp_path: Path, capsys: SAID) -> None:
    async def without_seeds() -> None:
        async with Embedded.open(tmp_path / "run") as bus:
            topics = [topic for topic in topics_of(recipe.load("selfcodealign")) if topic.name != "seeds"]
            await bus.create(topics)

    asyncio.run(without_seeds())
    code, lines = said(capsys, "topics", "check", "--dir", tmp_path / "run")
    assert (code, lines) == (1, ["topic main.seeds: missing; make it with `seedstream topics create`"])
    assert said(capsys, "topics", "create", "--dir", tmp_path / "run")[0] == 0
    assert said(capsys, "topics", "check", "--dir", tmp_path / "run") == (0, [])


def test_the_input_of_a_fold_has_one_partition_or_is_refused(tmp_path: Path, capsys: SAID) -> None:
    direct = tmp_path / "direct.toml"
    direct.write_text(
        'extends = "selfcodealign"\n[stages.unique]\nreads = "functions"\n[stages.typed]\nreads = "unique"\n'
    )
    loaded = recipe.load(str(direct))
    (functions,) = [topic for topic in topics_of(loaded) if topic.name == "functions"]
    assert (functions.partitions, TOPICS["functions"].partitions) == (1, None)

    async def many() -> None:
        async with Embedded.open(tmp_path / "run", partitions=3) as bus:
            await bus.create([TOPICS["functions"]])

    asyncio.run(many())
    asked = ("--dir", tmp_path / "run", "--recipe", direct)
    assert run([str(word) for word in ("topics", "create", *asked)]) == 2
    assert "topic main.functions has 3 partitions, 1 expected" in capsys.readouterr().err
    code, lines = said(capsys, "topics", "check", *asked)
    assert code == 1 and "topic main.functions has 3 partitions, 1 expected; begin anew in another namespace" in lines
    model = ("--llm", "http://127.0.0.1:9", "--model", "m", "--until-idle", "--start-budget", "0")
    assert run([str(word) for word in ("run", "functions", *asked, *model)]) == 2
    assert "topic main.functions has 3 partitions, 1 expected" in capsys.readouterr().err


def test_list_counts_records_and_what_was_pruned(tmp_path: Path, capsys: SAID) -> None:
    async def some() -> None:
        async with Embedded.open(tmp_path / "run", partitions=2) as bus:
            await bus.create([TOPICS["files"], TOPICS["typed"]])
            await append(bus, inputs(30))
            await append(bus, inputs(10, first=30))
            ends = await bus.ends("files")
            await append(bus, inputs(20, first=40))
            await bus.delete_before("files", ends)

    asyncio.run(some())
    code, _ = said(capsys, "topics", "list", "--dir", tmp_path / "run")
    assert code == 0
    assert run(["topics", "list", "--dir", str(tmp_path / "run"), "--json"]) == 0
    files, typed = json.loads(capsys.readouterr().out)
    assert files == {"topic": "main.files", "partitions": 2, "records": 20, "pruned": 40, "kept": "until pruned"}
    assert (typed["topic"], typed["partitions"], typed["records"]) == ("main.typed", 1, 0)


def test_each_stage_has_progress_on_what_it_reads() -> None:
    wanted = wanted_by(recipe.load("selfcodealign"))
    assert wanted.readers["functions"] == "files" and wanted.readers["examples"] == "executions"
    assert len(wanted.readers) == 9


def test_a_namespace_without_topics_is_refused_with_those_that_have_some(tmp_path: Path, capsys: SAID) -> None:
    where = ("--dir", tmp_path / "run")
    assert said(capsys, "topics", "create", *where)[0] == 0
    assert said(capsys, "topics", "list", *where)[0] == 0
    for namespace, known in (("mian", "did you mean main?"), ("v2", "expected one of main")):
        assert run([str(word) for word in ("topics", "list", *where, "--namespace", namespace)]) == 2
        assert capsys.readouterr() == ("", f"seedstream: namespace {namespace} has no topics; {known}\n")


def test_what_cannot_be_created_makes_no_bus(tmp_path: Path, capsys: SAID) -> None:
    for wrong in (("--recipe", "none"), ("--recipe", tmp_path / "none.toml")):
        assert said(capsys, "topics", "create", "--dir", tmp_path / "run", *wrong) == (2, [])
    assert list(tmp_path.iterdir()) == []
