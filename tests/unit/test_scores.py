"""Scores of a stream: the latest of each model, benchmark and setting, as a grid and as a picture."""

from pathlib import Path

import pytest

from stream.audit import audit
from stream.embedded import Embedded
from stream.errors import WrongConfig
from stream.records import Score, Step
from tests import audited
from trainer import plot
from trainer.passk import estimate
from trainer.score_table import Grid, Measure, percent
from trainer.scores import publish, published


def score(
    model: str, passed: list[int], *, benchmark: str = "humaneval", samples: int = 1, ks: tuple[int, ...] = (1,),
    setting: str = "completions, greedy", sha256: str = "x",
) -> Score:  # fmt: skip
    at = tuple(estimate(samples, passed, k) for k in ks)
    return Score(model, benchmark, sha256, setting, samples, tuple(passed), at, 10, 20, Step("scores", 1))


async def test_a_later_score_takes_the_place_of_an_earlier_one_and_no_other(tmp_path: Path):
    async with Embedded.open(tmp_path) as bus:
        assert await published(bus) == []
        kept = [
            score("b", [1, 1]),
            score("a", [0, 1]),
            score("a", [0, 1], benchmark="mbpp"),
            score("a", [3, 1], samples=4, setting="completions, temperature 0.8, 4 samples"),
        ]
        for each in (score("b", [0, 1]), *kept):
            await publish(bus, each)
        assert await published(bus) == kept
        assert (await bus.topics())["scores"] == 1


async def test_scores_are_no_stage_s_so_the_proof_of_conservation_holds_beside_them(tmp_path: Path):
    async with Embedded.open(tmp_path) as bus:
        await audited.prepare(bus)
        await audited.feed(bus, count=4)
        await audited.run_all(bus)
        await publish(bus, score("a", [1]))
        assert await audit(bus, audited.SPECS) == []


def test_the_grid_has_a_row_a_model_a_column_a_measure_and_says_when_the_problems_differ():
    grid = Grid.of(
        [
            score("b", [1, 1]),
            score("a", [3, 1], samples=4, ks=(1, 2), setting="t", benchmark="mbpp", sha256="y"),
            score("b", [0, 1], benchmark="mbpp", sha256="z"),
        ]
    )
    assert grid.models == ("b", "a")
    assert [str(measure) for measure in grid.measures] == [
        "humaneval pass@1, completions, greedy",
        "mbpp pass@1, completions, greedy",
        "mbpp pass@1, t",
        "mbpp pass@2, t",
    ]
    assert percent(grid.cells["b", Measure("mbpp", "completions, greedy", 1)]) == "50.0 (9.5–90.5)"
    assert ("a", grid.measures[0]) not in grid.cells
    assert grid.changed == ("mbpp",)


def test_the_picture_is_a_png_and_equal_scores_give_equal_bytes(tmp_path: Path):
    pytest.importorskip("matplotlib")
    grid = Grid.of([score("b", [1, 0]), score("a", [0, 0]), score("a", [2, 1], samples=4, setting="t", ks=(1, 4))])
    plot.draw(grid, tmp_path / "one.png")
    plot.draw(grid, tmp_path / "two.png")
    raw = (tmp_path / "one.png").read_bytes()
    assert raw.startswith(b"\x89PNG") and raw == (tmp_path / "two.png").read_bytes()


def test_a_picture_that_cannot_be_drawn_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("matplotlib")
    with pytest.raises(WrongConfig, match="no score to draw"):
        plot.draw(Grid.of([]), tmp_path / "x.png")
    with pytest.raises(WrongConfig, match=r"none/x.png cannot be written: No such file"):
        plot.draw(Grid.of([score("a", [1])]), tmp_path / "none" / "x.png")

    with pytest.raises(WrongConfig, match=r"x.foo: expected a name that ends in .png"):
        plot.draw(Grid.of([score("a", [1])]), tmp_path / "x.foo")

    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(WrongConfig, match=r'needs matplotlib: pip install "seedstream\[train\]"'):
        plot.draw(Grid.of([score("a", [1])]), tmp_path / "x.png")
