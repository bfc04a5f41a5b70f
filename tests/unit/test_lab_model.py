"""The model that is shipped: what its files hold. How it does in a stream is for `tests/acceptance`."""

import json
from dataclasses import asdict
from pathlib import Path

import orjson
import pytest
from tokenizers import Tokenizer

from consumers import prompt
from consumers.llm.render import completion_text
from deploy.lab import BENCHMARK, benchmark
from deploy.lab.judging import NO, YES, auc, judge_auc
from deploy.planning import recipe
from deploy.serving import checkpoint

MODEL = checkpoint.find("seedstream-lab")
MOST_MIB = 6


def test_it_is_small_and_its_context_holds_the_prompts() -> None:
    config = json.loads((MODEL / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Starcoder2ForCausalLM"]
    assert config["max_position_embeddings"] >= 1024
    assert (MODEL / "model.safetensors").stat().st_size < MOST_MIB << 20


def test_a_verdict_is_one_token_and_each_prompt_leaves_room_for_a_function() -> None:
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    assert len(tokenizer.encode(YES).ids) == len(tokenizer.encode(NO).ids) == 1
    plan = recipe.load("lab")
    for stage in ("seeds", "concepts", "instructions", "responses"):
        few_shot, params = prompt.load(plan.prompts, stage), plan.stage(stage).params
        asked = dict.fromkeys(few_shot.ask.get_identifiers(), "")
        tokens = len(tokenizer.encode(completion_text(few_shot.prompt(1, params.shots, asked))).ids)
        assert tokens + params.max_tokens < 1_024, stage


def test_the_prompts_of_two_seeds_differ_by_their_code_alone() -> None:
    plan = recipe.load("lab")
    for stage in ("seeds", "concepts"):
        few_shot, shots = prompt.load(plan.prompts, stage), plan.stage(stage).params.shots
        one, other = (completion_text(few_shot.prompt(1, shots, {"code": code})) for code in ("a = 1", "b = 2"))
        assert one != other
        assert one.replace("a = 1", "b = 2") == other


def test_any_text_survives_the_tokenizer() -> None:
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    for text in ("class DataHelper:\n\n    def run(self):\n\treturn 12345", "naïve ✓ \U0001f600", " \n  \n x"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_the_benchmark_is_the_one_that_the_package_makes() -> None:
    shipped = BENCHMARK.read_bytes().splitlines()
    assert [orjson.loads(line) for line in shipped] == [asdict(problem) for problem in benchmark.problems()]


def test_the_card_says_what_the_model_is_and_is_not() -> None:
    card = Path(MODEL, "README.md").read_text(encoding="utf-8")
    for said in ("It is no coder", "that say nothing", "held-out functions", "parameters", "In a stream", "correct"):
        assert said in card, said


@pytest.mark.timeout(600)
def test_its_judge_tells_docstrings_that_say_nothing() -> None:
    assert judge_auc(MODEL, 150) >= 0.95


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order() -> None:
    assert auc([3.0, 2.0], [1.0]) == 1.0
    assert auc([1.0], [1.0]) == 0.5
    assert auc([0.0], [1.0]) == 0.0
