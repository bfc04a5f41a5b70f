"""How a card says that its topic is made again: every namespace that it goes back to, in order, each as it ran."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.cli import run
from deploy.dataset.export import CARD
from deploy.dataset.rebuild import Generation, commands
from deploy.planning.effective import begin
from deploy.planning.plan import Flags, plan
from deploy.streams.topics import wanted_by
from stream.embedded import Embedded
from stream.records import RecipeText

SCA = "--recipe selfcodealign"
M = "--llm URL --model m"


def generation(
    namespace: str = "main",
    branched: tuple[str, str, str] | tuple[None, None, None] = (None, None, None),  # parent, first, reads
    models: Sequence[str] = ("m", "m"),
    name: str = "selfcodealign",
    **over: Any,
) -> Generation:
    stages = ("seeds", "responses")
    asks = {
        stage: {"asks": {"model": model, "api": "completions"}} for stage, model in zip(stages, models, strict=True)
    }
    recipe = {"name": name, "seed": 1, "decontamination": {}, "stages": asks} | over
    return Generation(namespace, RecipeText(name, json.dumps(recipe), *branched))


def test_a_stream_is_made_by_one_run_over_its_sources():
    assert commands([generation()], ["a b", "c"]) == [
        f"seedstream up {SCA} --source 'a b' --source c --dir run {M} --until-idle"
    ]
    for many in ([], [*"abcd"]):
        assert " --source SOURCE --dir " in commands([generation()], many)[0]


def test_a_branch_is_made_by_its_parents_run_a_replay_and_its_own_run_without_sources():
    v2 = generation("v2", ("main", "responses", "main/instructions"))
    assert commands([generation(), v2], ["src"]) == [
        f"seedstream up {SCA} --source src --dir run {M} --until-idle",
        f"seedstream replay responses --into v2 {SCA} --dir run {M}",
        f"seedstream up {SCA} --dir run --namespace v2 {M} --until-idle",
    ]


def test_a_branch_of_a_branch_begins_with_the_namespace_that_takes_the_sources():
    first = generation("a")
    second = generation("b", ("a", "responses", "a/instructions"))
    third = generation("c", ("b", "examples", "b/executions"))
    assert commands([first, second, third], ["src"]) == [
        f"seedstream up {SCA} --source src --dir run --namespace a {M} --until-idle",
        f"seedstream replay responses --into b {SCA} --dir run --namespace a {M}",
        f"seedstream up {SCA} --dir run --namespace b {M} --until-idle",
        f"seedstream replay examples --into c {SCA} --dir run --namespace b {M}",
        f"seedstream up {SCA} --dir run --namespace c {M} --until-idle",
    ]


def test_a_namespace_that_nothing_is_read_from_begins_but_is_not_run():
    second = generation("b", ("main", "responses", "main/instructions"))
    third = generation("c", ("b", "responses", "main/instructions"))
    found = commands([generation(), second, third], ["src"])
    assert [line.split()[1] for line in found] == ["up", "replay", "replay", "up"]


def test_where_the_parents_recipe_is_gone_the_commands_begin_with_the_replay():
    found = commands([generation("v2", ("main", "responses", "main/instructions"))], ["src"])
    assert [line.split()[1] for line in found] == ["replay", "up"]
    assert "--source" not in "".join(found)


@pytest.mark.parametrize(
    ("ran", "recipe", "settings"),
    [
        (generation(models=("m", "other")), SCA, " --config main.toml"),
        (generation(decontamination={"a.txt": "f"}), SCA, f" --config main.toml {M}"),
        (generation(name="mine"), "--recipe mine.toml", f" {M}"),
        (generation(stages={"seeds": {"asks": {"model": "m", "api": "chat"}}}), SCA, f" {M} --api chat"),
        (generation(stages={"typed": {}}), SCA, ""),
    ],
    ids=["models", "decontamination", "file", "chat", "no model"],
)
def test_the_flags_are_those_that_give_the_recipe_that_ran(ran: Generation, recipe: str, settings: str):
    assert commands([ran], ["s"]) == [f"seedstream up {recipe} --source s --dir run{settings} --until-idle"]


def test_what_a_branch_runs_otherwise_needs_a_config_in_it_and_in_its_children_but_a_model_alone_does_not():
    at = ("main", "seeds", "main/unique")
    assert f" --config v2.toml {M}" in commands([generation(), generation("v2", at, seed=7)], [])[1]
    line = [generation(), generation("v2", at, seed=7), generation("v3", ("v2", "seeds", "main/unique"), seed=7)]
    assert all(" --config v3.toml " in command for command in commands(line, [])[2:])
    found = commands([generation(), generation("v2", at, models=("other", "other"))], [])
    assert [command.split("--model ")[1].split()[0] for command in found] == ["m", "other", "other"]
    assert not any("--config" in command for command in found)
    found = commands([generation(), generation("v2", at, name="lab", seed=7)], [])
    assert found[1] == f"seedstream replay seeds --into v2 --recipe lab --dir run {M}"


@pytest.fixture
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a stream that has begun."""
    monkeypatch.chdir(tmp_path)
    Path("main.toml").write_text('[llm.a]\nurl = "http://127.0.0.1:9"\nmodel = "m"\n')
    Path("v2.toml").write_text(f"{Path('main.toml').read_text()}[stages.responses]\nsamples = 4\n")
    planned = plan(Flags(config=Path("main.toml")))
    wanted = wanted_by(planned.recipe)
    async with Embedded.open(Path("run")) as bus:
        await bus.create(wanted.topics, wanted.readers)
        await begin(bus, planned.effective())
    return tmp_path


def test_the_card_of_a_branch_names_its_line_and_what_it_runs_otherwise_and_its_replays_are_accepted(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    begun = "replay {} --into {} --dir run --namespace {} --config v2.toml"
    assert run(begun.format("responses", "v2", "main").split()) == 0
    assert run(begun.format("examples", "v3", "v2").split()) == 0
    assert run(["export", "out", "--dir", "run", "--namespace", "v3"]) == 0
    text = Path("out", CARD).read_text()
    block = re.search(r"## How to make it again\n\n```\n(.*?)\n```", text, re.DOTALL)
    assert block is not None
    found = block[1].splitlines()
    assert [line.split()[1] for line in found] == ["up", "replay", "up", "replay", "up", "export"]
    assert [line.split().count("--source") for line in found] == [1, 0, 0, 0, 0, 0]
    assert found[-1] == "seedstream export DATASET --dir run --namespace v3 --topic examples"
    assert "| v3 | stages.responses.params.samples | 10 | 4 |" in text and "(`v2.toml`, `v3.toml`)" in text

    # With another name they are accepted, and lead to the same recipe.
    Path("v3.toml").write_text(Path("v2.toml").read_text())
    for line, old, new in ((found[1], "v2", "w2"), (found[3], "v3", "w3")):
        command = line.replace(f"--into {old}", f"--into {new}").replace("--namespace v2", "--namespace w2")
        assert run(command.replace("URL", "http://127.0.0.1:9").split()[1:]) == 0, capsys.readouterr().err
    assert run(["recipe", "diff", "v3", "w3", "--dir", "run"]) == 0
