"""Recipes: checked whole, with the line of what is wrong; merged by `extends` and by the config file; compared."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.planning import recipe
from deploy.planning.effective import Asked, begin, begun, canonical, diff, effective, stored_recipe
from deploy.planning.recipe_copy import copy
from stream import config
from stream.embedded import Embedded
from stream.errors import WrongConfig
from stream.topics import RECIPE, TOPICS

BASE = """seed = 1
prompts = "selfcodealign"
[stages.unique]
reads = "files2"
threshold = 0.5
ngram = 5
num_perm = 250
bands = 50
rows = 5
""".replace("files2", "typed")


def written(folder: Path, text: str, name: str = "r.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_that_comes_with_us_is_whole_and_describes_itself(name: str):
    found = recipe.load(name)
    assert found.description
    written_before = {recipe.SOURCE_TOPIC}
    for stage in found.stages:
        assert stage.reads.name in written_before
        assert stage.reads.record is stage.kind.reads
        written_before.add(stage.name)
    assert found.stages[-1].name == "examples"


def test_every_figure_of_a_recipe_says_where_it_is_from():
    for name in recipe.names():
        lines = recipe.find(name).read_text().splitlines()
        bare = [line for line in lines if any(c.isdigit() for c in line.split("#")[0]) and "#" not in line]
        allowed = [line for line in bare if line.startswith("rows =") or line.lstrip().startswith('"')]
        assert bare == allowed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("threshold", "treshold"), r"line 5, stages\.unique\.treshold: unknown key; did you mean threshold\?"),
        (("0.5", '"high"'), r"line 5, stages\.unique\.threshold: expected float, got str"),
        (("0.5", "1.5"), r"line 3, stages\.unique: expected 0 < threshold <= 1, got 1\.5"),
        (("rows = 5", ""), r"line 3, stages\.unique: the key rows is missing"),
        (("[stages.unique]", "[stages.uniq]"), r"line 3, stages\.uniq: there is no such stage; did you mean unique\?"),
        (('"typed"', '"typd"'), r"line 4, stages\.unique\.reads: there is no topic typd; did you mean typed\?"),
        (('"typed"', '"concepts"'), r"line 4, .*reads: concepts holds Concepts records, unique takes Seed"),
        (('"typed"', '"seeds"'), r"line 4, .*reads: nothing writes seeds: the recipe has no such stage"),
        (('"typed"', '"unique"'), r"line 4, .*reads: these stages wait for each other: unique"),
        (('reads = "typed"', 'reads = "typed"\nllm = "x"'), r"line 5, stages\.unique\.llm: this stage asks no model"),
        (('reads = "typed"', 'reads = "typed"\nvariant = "x"'), r"line 5, .*variant: expected variant = none"),
        (('reads = "typed"', ""), r"line 3, stages\.unique: the key reads is missing"),
        (("seed = 1", "sed = 1"), r"line 1, sed: unknown key; did you mean seed\?"),
        (("seed = 1", 'seed = 1\nextends = "no"'), r"no recipe is named no"),
        (("[stages.unique]", "[source]\nlicence = 3\n[stages.unique]"), r"line 4, source\.licence: .* licences\?"),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_starts(change: tuple[str, str], message: str, tmp_path: Path):
    with pytest.raises(WrongConfig, match=message):
        recipe.load(written(tmp_path, BASE.replace(*change)))


def test_a_recipe_that_extends_another_has_its_keys_and_changes_some(tmp_path: Path):
    path = written(tmp_path, 'extends = "selfcodealign"\n[stages.responses]\nsamples = 2\n', "mine.toml")
    mine, base = recipe.load(path), recipe.load("selfcodealign")
    assert mine.name == "mine"
    changed = diff(effective(base, {}, {}), effective(mine, {}, {}))
    assert [str(d) for d in changed] == [
        'name: "selfcodealign" -> "mine"',
        "stages.responses.params.samples: 10 -> 2",
    ]


def test_recipes_that_extend_each_other_are_refused(tmp_path: Path):
    written(tmp_path, 'extends = "b.toml"', "a.toml")
    with pytest.raises(WrongConfig, match=r"a\.toml, line 1, extends: these recipes extend each other in a circle"):
        recipe.load(written(tmp_path, 'extends = "./a.toml"', "b.toml"))


def test_a_config_file_goes_over_the_recipe_and_its_errors_name_its_own_lines(tmp_path: Path):
    def over(text: str) -> config.Document:
        return config.read(Path(written(tmp_path, text, "seedstream.toml")))

    found = recipe.load("selfcodealign", over('partitions = 2\n[stages.seeds]\nllm = "judge"\nshots = 3\n'))
    assert (found.stage("seeds").llm, found.stage("seeds").params.shots) == ("judge", 3)
    assert found.stage("concepts").llm is None
    with pytest.raises(WrongConfig, match=r"seedstream\.toml, line 2, stages\.seeds\.shot: unknown key"):
        recipe.load("selfcodealign", over("[stages.seeds]\nshot = 3\n"))


def test_a_copy_runs_as_the_recipe_it_was_made_from_and_keeps_every_comment(tmp_path: Path):
    path = copy("selfcodealign", tmp_path / "mine")
    mine, base = recipe.load(str(path)), recipe.load("selfcodealign")
    assert diff(effective(base, {}, {}), effective(mine, {}, {})) == []
    assert Path(mine.prompts).resolve() == tmp_path / "mine" / "prompts"
    before, after = recipe.find("selfcodealign").read_text().splitlines(), path.read_text().splitlines()
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    with pytest.raises(WrongConfig, match="mine is not empty"):
        copy("selfcodealign", tmp_path / "mine")


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(WrongConfig, match=r"no recipe is named selfcodealing \(did you mean selfcodealign\?\)"):
        recipe.load("selfcodealing")


ASKED = {name: Asked("p" * 64, "model-a", "chat") for name in ("seeds", "concepts", "instructions", "responses")}


async def test_a_stream_keeps_the_recipe_it_began_with(tmp_path: Path):
    base = recipe.load("selfcodealign")
    async with Embedded.open(tmp_path, "main") as bus:
        await bus.create([RECIPE, TOPICS["files"]])
        assert await stored_recipe(bus) is None
        first = effective(base, ASKED, {"humaneval.jsonl": "h"})
        assert await begun(bus, first, "") is False
        await begin(bus, first)
        assert await begun(bus, first, "") is True
        stored = await stored_recipe(bus)
        assert stored and json.loads(stored.text)["stages"]["responses"]["params"]["samples"] == 10

        other = effective(base, ASKED | {"seeds": Asked("q" * 64, "model-b", "chat")}, {})
        with pytest.raises(WrongConfig) as refused:
            await begun(bus, other, "Take a new --dir.")
        message = str(refused.value)
        assert 'stages.seeds.asks.model: "model-a" -> "model-b"' in message
        assert 'decontamination.humaneval.jsonl: "h" -> not set' in message
        assert message.endswith(". Take a new --dir.")

        thinking = effective(base, ASKED | {"seeds": Asked("p" * 64, "model-a", "chat", 4_096, {"top_k": 20})}, {})
        with pytest.raises(WrongConfig) as refused:
            await begun(bus, thinking, "")
        assert "stages.seeds.asks.reasoning_tokens: not set -> 4096" in str(refused.value)
        assert "stages.seeds.asks.extra_body.top_k: not set -> 20" in str(refused.value)

        unnamed = {name: Asked("p" * 64) for name in ASKED}
        assert await begun(bus, effective(base, unnamed, {"humaneval.jsonl": "h"}), "") is True
        assert (await bus.ends(RECIPE.name)) == {0: 1}


async def test_where_no_endpoint_is_named_the_room_for_thoughts_and_the_extra_body_are_those_of_the_stream(
    tmp_path: Path,
):
    base = recipe.load("selfcodealign")
    named = {name: Asked("p" * 64, "m", "chat", 4_096, {"top_k": 20, "deep": {"a": [1]}}) for name in ASKED}
    async with Embedded.open(tmp_path, "main") as bus:
        await bus.create([RECIPE])
        await begin(bus, effective(base, named, {}))
        assert await begun(bus, effective(base, {name: Asked("p" * 64) for name in ASKED}, {}), "") is True
        assert await begun(bus, effective(base, named, {}), "") is True
        with pytest.raises(WrongConfig, match="reasoning_tokens: 4096 -> not set"):
            await begun(bus, effective(base, ASKED, {}), "")


def test_an_endpoint_with_none_of_the_new_settings_has_the_recipe_of_older_streams():
    stages = effective(recipe.load("selfcodealign"), ASKED, {})["stages"].values()
    [asks] = {json.dumps(stage["asks"]) for stage in stages if "asks" in stage}
    assert json.loads(asks) == {"prompt_sha256": "p" * 64, "model": "model-a", "api": "chat"}


async def test_of_processes_that_begin_a_stream_at_once_with_other_recipes_one_begins_it(tmp_path: Path):
    one = effective(recipe.load("selfcodealign"), ASKED, {})
    other = effective(recipe.load("selfcodealign"), ASKED, {"humaneval.jsonl": "h"})
    async with AsyncExitStack() as opened:
        buses = [await opened.enter_async_context(Embedded.open(tmp_path, "main")) for _ in range(6)]
        await buses[0].create([RECIPE])
        begins = (begin(bus, (one, other)[n % 2]) for n, bus in enumerate(buses))
        ended = await asyncio.gather(*begins, return_exceptions=True)
        assert [error is None for error in ended].count(True) == 3
        assert all(error is None or isinstance(error, WrongConfig) for error in ended)
        assert await buses[0].ends(RECIPE.name) == {0: 1}


async def test_a_stream_begins_only_with_all_its_models_named(tmp_path: Path):
    unnamed = effective(recipe.load("selfcodealign"), ASKED | {"concepts": Asked("p")}, {})
    async with Embedded.open(tmp_path, "main") as bus:
        await bus.create([RECIPE])
        with pytest.raises(WrongConfig, match="concepts have none: name a server with --llm URL"):
            await begin(bus, unnamed)


def test_equal_recipes_have_equal_text():
    one = effective(recipe.load("selfcodealign"), ASKED, {})
    other = effective(recipe.load("selfcodealign"), dict(reversed(ASKED.items())), {})
    assert canonical(one) == canonical(other)
    assert json.loads(canonical(one)) == json.loads(json.dumps(one))


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("temperature = nan", r"line 2, stages\.responses\.temperature: expected a finite number, got nan"),
        ("temperature = -1.0", r"line 1, stages\.responses: expected a temperature from 0 to 10, got -1"),
        ("max_tokens = 99999999999999999", r"stages\.responses: expected max_tokens from 1 to 1,048,576, got 9999"),
        ("samples = 1000000000", r"stages\.responses: expected samples from 1 to 1,000, got 1000000000"),
    ],
)
def test_sampling_that_no_server_takes_is_refused_before_anything_starts(parameter: str, message: str, tmp_path: Path):
    document = config.read(Path(written(tmp_path, f"[stages.responses]\n{parameter}\n")))
    with pytest.raises(WrongConfig, match=message):
        recipe.load("selfcodealign", document)
