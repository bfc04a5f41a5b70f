"""Which endpoint is asked: the one that is named, else `main`, else the only one."""

from pathlib import Path

import pytest

from deploy.planning.plan import Flags, plan
from deploy.training.evaluating import endpoint_of
from stream.errors import WrongConfig


def config(tmp_path: Path, *names: str, more: str = "", model: str = "") -> Path:
    path = tmp_path / "seedstream.toml"
    tables = [f'[llm.{name}]\nurl = "http://{name}"\nmodel = "{model or f"model-of-{name}"}"\n' for name in names]
    path.write_text("".join(tables) + more)
    return path


def urls(path: Path, **flags: str) -> dict[str, str]:
    return {stage: str(end.url) for stage, end in plan(Flags(config=path, **flags)).endpoints.items()}  # type: ignore[arg-type]


def test_a_stage_that_names_no_endpoint_asks_main(tmp_path: Path) -> None:
    found = urls(config(tmp_path, "small", "main", more='[stages.seeds]\nllm = "small"\n'))
    assert found == {
        "seeds": "http://small", "concepts": "http://main", "instructions": "http://main", "responses": "http://main",
    }  # fmt: skip


def test_without_a_main_the_only_one_is_asked(tmp_path: Path) -> None:
    assert set(urls(config(tmp_path, "small")).values()) == {"http://small"}


def test_of_several_of_which_none_is_main_one_must_be_named(tmp_path: Path) -> None:
    path = config(tmp_path, "a", "b")
    with pytest.raises(
        WrongConfig, match=r"stage seeds names no endpoint, and none of a, b is the default: set llm in "
    ):
        urls(path)
    with pytest.raises(WrongConfig, match=r"or name one of them main"):
        urls(path)
    more = "".join(f'[stages.{s}]\nllm = "a"\n' for s in ("seeds", "concepts", "instructions", "responses"))
    assert set(urls(config(tmp_path, "a", "b", more=more)).values()) == {"http://a"}


def asked(path: Path, model: str) -> object:
    return endpoint_of(model, None, None, path)[0].url


def test_an_evaluation_asks_the_endpoint_of_the_model_then_of_that_name_then_main(tmp_path: Path) -> None:
    path = config(tmp_path, "model-of-main", "other", "main")
    assert asked(path, "model-of-main") == "http://main"  # a model's name goes before an endpoint's
    assert asked(path, "model-of-other") == "http://other"
    assert asked(path, "other") == "http://other"
    assert asked(path, "") == "http://main"


def test_of_several_endpoints_with_a_model_an_evaluation_asks_the_one_of_its_name_or_main(tmp_path: Path) -> None:
    assert asked(config(tmp_path, "a", "main", model="m"), "m") == "http://main"
    assert asked(config(tmp_path, "a", "main", "m", model="m"), "m") == "http://m"
    with pytest.raises(WrongConfig, match="model m: name its server with --llm URL"):
        asked(config(tmp_path, "a", "b", model="m"), "m")


def test_main_is_not_asked_for_a_model_that_it_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(WrongConfig, match=r"model other: name its server .*seedstream\.toml has a, main"):
        asked(config(tmp_path, "a", "main"), "other")


def test_without_a_model_an_evaluation_needs_a_default(tmp_path: Path) -> None:
    assert asked(config(tmp_path, "only"), "") == "http://only"
    with pytest.raises(WrongConfig, match="name the model to evaluate, and its server"):
        asked(config(tmp_path, "a", "b"), "")
