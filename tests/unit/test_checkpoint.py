"""What is known of a model in a directory without loading it, and how it is served."""

import json
from pathlib import Path

import pytest

from deploy.planning import recipe
from deploy.planning.plan import Flags, plan
from deploy.serving import checkpoint, vllm
from deploy.serving.vllm import Build
from stream.errors import DependencyDown, WrongConfig

CONFIG = {"architectures": ["Starcoder2ForCausalLM"], "max_position_embeddings": 512}
CPU, GPU = Build("1.0", cpu=True), Build("1.0", cpu=False)


def model(directory: Path, weights: bytes = b"w" * 1000, **config: object) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (directory / "model.safetensors").write_bytes(weights)
    return directory


def test_a_model_is_named_by_its_directory_and_by_what_it_holds(tmp_path: Path) -> None:
    one = checkpoint.read(model(tmp_path / "m"))
    assert one.name.startswith("m@") and len(one.name) == 2 + checkpoint.NAME_CHARS
    assert (one.weight_bytes, one.context) == (1000, 512)
    assert checkpoint.read(tmp_path / "m") == one


@pytest.mark.parametrize("at", [0, 1 << 19, (1 << 20) - 1])
def test_another_training_has_another_name(tmp_path: Path, at: int) -> None:
    weights = bytearray(1 << 20)
    before = checkpoint.read(model(tmp_path / "m", bytes(weights))).name
    weights[at : at + 4096] = b"x" * min(4096, len(weights) - at)
    assert checkpoint.read(model(tmp_path / "m", bytes(weights))).name != before


def test_large_files_are_sampled_over_their_whole_length(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # a hole
    before = checkpoint.fingerprint([path])
    with path.open("r+b") as file:
        for at in range(0, 1 << 30, 1 << 24):
            file.seek(at)
            file.write(b"x" * (1 << 17))
    assert checkpoint.fingerprint([path]) != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d / "config.json").unlink(), "config.json missing"),
        (lambda d: (d / "model.safetensors").unlink(), r"\*.safetensors missing"),
        (lambda d: (d / "config.json").write_text("{"), "cannot be read"),
        (lambda d: (d / "config.json").write_text("[]"), "cannot be read"),
        (lambda d: model(d, architectures=["BertModel"]), "no causal language model, but BertModel"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, change, message: str) -> None:
    directory = model(tmp_path / "m")
    change(directory)
    with pytest.raises(WrongConfig, match=message):
        checkpoint.read(directory)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongConfig, match="there is no such directory"):
        checkpoint.read(tmp_path / "none")


def test_a_model_that_is_not_shipped_is_refused_with_those_that_are() -> None:
    with pytest.raises(WrongConfig, match=r"no model large is shipped \(those that are: seedstream-lab\)"):
        checkpoint.find("large")


def test_the_recipe_lab_names_a_model_that_is_shipped() -> None:
    planned = plan(Flags(recipe="lab"))
    assert planned.local is not None
    assert planned.local.name.startswith("seedstream-lab@")
    assert planned.local.context is not None and planned.local.context >= 1024
    assert {end.model for end in planned.endpoints.values()} == {planned.local.name}


def test_a_server_that_is_named_goes_before_the_model_of_the_recipe() -> None:
    planned = plan(Flags(recipe="lab", llm="http://there:1", model="m"))
    assert planned.local is None
    assert {end.model for end in planned.endpoints.values()} == {"m"}


def test_a_model_may_be_a_directory_for_any_recipe(tmp_path: Path) -> None:
    planned = plan(Flags(model=str(model(tmp_path / "mine"))))
    assert planned.local is not None and planned.local.directory == tmp_path / "mine"
    with pytest.raises(WrongConfig, match="no such directory"):
        plan(Flags(model="./not-there"))


def test_the_lab_recipe_keeps_the_rules_and_thresholds_of_the_main_one() -> None:
    main, lab = recipe.load("selfcodealign"), recipe.load("lab")
    assert [stage.name for stage in main.stages] == [stage.name for stage in lab.stages]
    for name in ("typed", "unique", "executions", "examples"):
        assert main.stage(name).params == lab.stage(name).params
    assert lab.stage("responses").params.samples == main.stage("responses").params.samples


def test_on_a_cpu_a_prefill_fits_one_batch_and_is_not_cut(tmp_path: Path) -> None:
    one = checkpoint.read(model(tmp_path / "m", max_position_embeddings=100_000))
    command = vllm.command(CPU, one, "127.0.0.1", 1234, ["--seed", "1"])
    assert "--no-enable-chunked-prefill" in command
    assert command[command.index("--max-num-batched-tokens") + 1] == "100000"
    assert command[-2:] == ["--seed", "1"]
    assert command[command.index("--served-model-name") + 1] == one.name


def test_a_gpu_gets_no_flags_of_the_cpu(tmp_path: Path) -> None:
    command = vllm.command(GPU, checkpoint.read(model(tmp_path / "m")), "127.0.0.1", 1234, [])
    assert not {"--enforce-eager", "--no-enable-chunked-prefill", "--max-num-seqs"} & set(command)
    assert "VLLM_CPU_KVCACHE_SPACE" not in vllm.environment(GPU, {})


def test_nothing_is_asked_of_a_hub() -> None:
    environment = vllm.environment(CPU, {"PATH": "p", "HF_HUB_OFFLINE": "0"})
    assert environment["HF_HUB_OFFLINE"] == environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["PATH"] == "p"


def test_a_model_too_large_for_the_memory_is_refused_with_both_figures(tmp_path: Path) -> None:
    one = checkpoint.read(model(tmp_path / "m"))
    vllm.check_memory(CPU, one, 8 << 30)
    vllm.check_memory(GPU, one, 0)  # its own memory is vLLM's to check
    with pytest.raises(DependencyDown, match=r"takes about 4\.3 GiB of memory .*, and 2\.0 GiB are free"):
        vllm.check_memory(CPU, one, 2 << 30)


@pytest.mark.parametrize(
    ("build", "gpu", "message"),
    [
        (None, False, "vLLM is not installed: make vllm"),
        (None, True, "vLLM is not installed: pip install 'seedstream"),
        (GPU, False, "vLLM 1.0 for GPUs is installed, and there is no GPU here"),
    ],
)
def test_a_vllm_that_cannot_serve_here_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, build: Build | None, gpu: bool, message: str
) -> None:
    monkeypatch.setattr(vllm, "installed", lambda: build)
    monkeypatch.setattr(vllm, "has_gpu", lambda: gpu)
    with pytest.raises(DependencyDown) as refused:
        vllm.usable()
    assert str(refused.value).startswith(message)
    assert refused.value.exit_code == 3


@pytest.mark.parametrize(("build", "gpu"), [(CPU, False), (CPU, True), (GPU, True)])
def test_a_vllm_that_fits_the_machine_is_used(monkeypatch: pytest.MonkeyPatch, build: Build, gpu: bool) -> None:
    monkeypatch.setattr(vllm, "installed", lambda: build)
    monkeypatch.setattr(vllm, "has_gpu", lambda: gpu)
    assert vllm.usable() is build


def test_special_tokens_are_those_that_the_tokenizers_files_call_so(tmp_path: Path) -> None:
    assert checkpoint.special_tokens(tmp_path) == ()
    config = {
        "eos_token": "<|im_end|>",
        "pad_token": {"content": "<pad>", "lstrip": False},
        "bos_token": None,
        "additional_special_tokens": ["<|im_start|>"],
        "added_tokens_decoder": {"5": {"content": "<eom>", "special": True}, "6": {"content": "def", "special": False}},
        "tokenizer_class": "X",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    added = [{"id": 1, "content": "<|endoftext|>", "special": True}, {"id": 2, "content": "    ", "special": True}]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    (tmp_path / "special_tokens_map.json").write_text("{")
    assert checkpoint.special_tokens(tmp_path) == ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<eom>", "<pad>")


def test_the_shipped_models_special_tokens_are_known() -> None:
    assert checkpoint.special_tokens(checkpoint.find("seedstream-lab"))
