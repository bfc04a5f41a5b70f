"""What metrics and the live view call an endpoint."""

from pathlib import Path

import pytest

from deploy.planning.plan import Flags, plan

ASKING = ("seeds", "concepts", "instructions", "responses")
CONFIG = """
[llm.small]
url = "http://small:8000"
model = "org/Model-7B"

[llm.large]
url = ["http://large1:8000", "http://large2:8000"]
model = "org/Model-7B"

[llm.same]
url = "http://small:8000"
model = "org/Model-7B"

[stages.seeds]
llm = "small"
[stages.concepts]
llm = "same"
[stages.instructions]
llm = "large"
[stages.responses]
llm = "large"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "seedstream.toml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("model", [None, "other"])
def test_an_endpoint_is_called_as_its_table_and_one_of_two_equal_ones_as_the_first(
    config: Path, model: str | None
) -> None:
    planned = plan(Flags(config=config, model=model))
    assert planned.endpoint_names == {
        "seeds": "small", "concepts": "small", "instructions": "large", "responses": "large",
    }  # fmt: skip
    assert planned.endpoints["seeds"] == planned.endpoints["concepts"], "they are one, with one window"


def test_an_endpoint_of_flags_is_called_by_the_last_part_of_its_model(config: Path) -> None:
    planned = plan(Flags(config=config, llm="http://there:1", model="Qwen/Qwen2.5-Coder-7B"))
    assert planned.endpoint_names == dict.fromkeys(ASKING, "Qwen2.5-Coder-7B")


def test_the_model_of_a_recipe_that_is_served_here_is_called_by_its_name() -> None:
    planned = plan(Flags(recipe="lab"))
    assert planned.local is not None
    assert set(planned.endpoint_names.values()) == {planned.local.name.rpartition("/")[-1]}
