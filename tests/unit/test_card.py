"""What the card tells of a stream: funnel, tokens, cost, decontamination, how to make it again; always the same."""

import importlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consumers.llm.endpoint import Endpoint
from deploy.dataset import funnel_picture
from deploy.dataset.card_header import header
from deploy.dataset.export import CARD, Wanted, export_from
from deploy.planning.effective import begin
from deploy.planning.plan import Flags, plan
from deploy.streams.funnel import Count
from deploy.streams.story import Asked, cost, story
from deploy.streams.topics import topics_of
from deploy.streams.where import Where
from stream.bus import Message
from stream.codec import encode
from stream.embedded import Embedded
from stream.records import Example, Execution, Record, Rejected, Responses, Step
from tests import records


def steps(stage: str, tokens: tuple[int, int] | None) -> Step:
    return Step(stage, 1, "f" * 64, "m", 7, None, *(tokens or (None, None)))


def made(topic: str, index: int = 0, tokens: tuple[int, int] | None = (100, 5)) -> Record:
    """A record as a stage that asks a model leaves it."""
    seed = replace(records.seed(index=index), steps=(steps("seeds", tokens),))
    concepts = replace(records.concepts(index=index), seed=seed, step=steps("concepts", tokens))
    instruction = replace(records.instruction(index=index), concepts=concepts, step=steps("instructions", tokens))
    answers = (records.response(0), records.response(1))  # 100 tokens in and 20 out, each
    return {
        "seeds": seed,
        "concepts": concepts,
        "instructions": instruction,
        "responses": Responses(instruction, answers),
        "examples": Example(instruction, answers[0], Execution(0, "pass", ""), Step("examples", 1)),
    }[topic]


async def stream(directory: Path, decontamination: str | None = None) -> Path:
    """A stream that has begun, with what some stages left; its models are all `m`."""
    config = directory / "seedstream.toml"
    config.write_text('[llm.a]\nurl = "http://x"\nmodel = "m"\nprice_in = 2\nprice_out = 8\n')
    if decontamination:
        (directory / decontamination).write_text("a benchmark's own words\n")
        config.write_text(f'decontamination = ["{decontamination}"]\n{config.read_text()}')
    planned = plan(Flags(config=config))
    async with Embedded.open(directory / "run") as bus:
        await bus.create(topics_of(planned.recipe))
        await begin(bus, planned.effective())
        async with bus.appender("test") as appender:
            left = [(topic, made(topic)) for topic in ("seeds", "concepts", "instructions", "responses", "examples")]
            left += [("seeds", made("seeds", 1, None))]
            left += [("rejects", Rejected(f"r{n}", "seeds", "not_good", "no")) for n in range(2)]
            left += [("rejects", Rejected("long", "seeds", "prompt_too_long", "not sent"))]
            left += [("rejects", Rejected("part", "responses", "parts", "…"))]
            await appender.append([Message(topic, record.key, encode(record)) for topic, record in left])
    return directory / "run"


async def card(run: Path, into: Path, wanted: Wanted | None = None) -> str:
    await export_from(Where(run, run), "examples", into, wanted or Wanted())
    return (into / CARD).read_text()


async def test_tokens_are_those_of_the_topics_and_what_no_topic_keeps_is_estimated(tmp_path: Path):
    async with Embedded.open(await stream(tmp_path)) as bus:
        told = await story(bus)
    assert told is not None
    assert told.asked == (
        Asked("seeds", "m", replies=2, uncounted=1, prompt_tokens=100, completion_tokens=5, turned_down=2),
        Asked("concepts", "m", 1, 0, 100, 5, 0),
        Asked("instructions", "m", 1, 0, 100, 5, 0),
        Asked("responses", "m", 2, 0, 200, 40, 1),
    )
    assert [asked.about for asked in told.asked] == [(400, 20), (100, 5), (100, 5), (300, 60)]
    assert Asked("seeds", "m", 1, 1, 0, 0, 5).about is None


def test_a_cost_is_known_where_the_prices_and_the_tokens_are():
    asked, end = Asked("concepts", "m", 1, 0, 1_000_000, 500_000, 0), Endpoint("http://x", "m", price_in=2, price_out=8)
    assert cost(asked, {"m": end}) == 6.0
    assert cost(asked, {}) is None and cost(asked, {"m": replace(end, price_in=0, price_out=0)}) is None
    assert cost(Asked("concepts", "m", 1, 1, 0, 0, 0), {"m": end}) is None


async def test_the_card_tells_the_whole_story_and_the_same_each_time(tmp_path: Path):
    run = await stream(tmp_path)
    text = await card(run, tmp_path / "a", Wanted("messages"))
    assert text == await card(run, tmp_path / "b", Wanted("messages"))
    for told in (
        "| seeds | 0 | 2 | 3 | 0 | 0 | not_good 2, prompt_too_long 1 |",
        "**None.** No benchmark was named to keep out",
        "The seed of the recipe is 3407.",
        "| responses | m | 2 | 200 | 40 | 1 | 300 | 60 |  |",
        "1 of the replies have no tokens on record",
        "The cost is not known",
        f"| concepts | 1 | {'f' * 16} | m | 1 |",
        "seedstream up --recipe selfcodealign --source src --dir run --llm URL --model m --until-idle",
        "seedstream export DATASET --dir run --topic examples --format messages\n",
        '"name": "selfcodealign"',
    ):
        assert told in text
    assert not any(str(tmp_path) in line for line in text.splitlines())


async def test_with_prices_the_card_says_what_it_cost(tmp_path: Path):
    prices = {"m": Endpoint("http://x", "m", price_in=2000, price_out=8000)}
    text = await card(await stream(tmp_path), tmp_path / "a", Wanted(prices=prices))
    assert "The cost is about 2.52, at the prices given" in text  # 900 tokens in, 90 out
    assert "| responses | m | 2 | 200 | 40 | 1 | 300 | 60 | 1.08 |" in text


async def test_the_card_names_the_files_that_decontaminated(tmp_path: Path):
    text = await card(await stream(tmp_path, "words.txt"), tmp_path / "a")
    assert "No seed holds a string of these files" in text and "| words.txt | " in text
    assert "**None.**" not in text


async def test_the_funnel_is_a_picture_and_without_matplotlib_a_table_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("matplotlib")
    run = await stream(tmp_path)
    assert "](funnel.png)" in await card(run, tmp_path / "a")
    picture = (tmp_path / "a" / "funnel.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    await card(run, tmp_path / "b")
    assert picture == (tmp_path / "b" / "funnel.png").read_bytes()

    find: Any = importlib.import_module

    def without(name: str) -> object:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return find(name)

    monkeypatch.setattr(importlib, "import_module", without)
    text = await card(run, tmp_path / "a")
    assert "matplotlib was not installed" in text and "not_good 2" in text and "](funnel.png)" not in text
    assert not (tmp_path / "a" / "funnel.png").exists()


def test_a_funnel_of_many_reasons_or_of_nothing_is_drawn_too(tmp_path: Path):
    pytest.importorskip("matplotlib")
    many = Counter({f"reason_{n}": n + 1 for n in range(9)})
    assert funnel_picture.draw([Count("files"), Count("functions", 9, 0, 3, many, 2)], tmp_path / "x.png")
    assert funnel_picture.draw([Count("files")], tmp_path / "y.png")


def test_the_head_is_yaml_with_the_hubs_names_of_licences_and_sizes():
    yaml: Any = pytest.importorskip("yaml")
    text = header({"train": "a.parquet", "test": "b.parquet"}, 1_500, ["MIT", "PSF-2.0", "unknown"], conversations=True)
    lines = text.splitlines()
    assert lines[0] == lines[-1] == "---"
    assert yaml.safe_load("\n".join(lines[1:-1])) == {
        "license": ["mit", "other", "unknown"],
        "language": ["en"],
        "task_categories": ["text-generation"],
        "tags": ["code", "synthetic", "instruction-tuning"],
        "size_categories": ["1K<n<10K"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": "a.parquet"}, {"split": "test", "path": "b.parquet"}],
            }
        ],
    }
    plain = header({"train": "a.parquet"}, 0, [], conversations=False)
    assert "license" not in plain and "language" not in plain
