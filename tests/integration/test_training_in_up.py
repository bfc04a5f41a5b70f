"""From code to a checkpoint in one command: `seedstream up --until-idle` with a base model in its config."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.embedded import Embedded
from tests.corpus import write_corpus
from tests.integration.processes import seedstream
from tests.tiny import tiny_model
from trainer import publish
from trainer.models import history, news

CONFIG = """
processes = 1
[stages.typed]
linger_s = 0.2
[train]
base = "base"
precision = "fp32"
batch = 4
epochs = 2
max_length = 2048
[train.trigger]
examples = 1
"""


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of a scripted LLM in a process of its own."""
    command = [sys.executable, "-m", "deploy.scripted_llm", "--port", "0", "--hanging", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


async def test_up_ends_with_a_checkpoint_of_all_its_examples(server: str, tmp_path: Path):
    write_corpus(tmp_path / "code", files=2)
    tiny_model(tmp_path / "base", positions=2_048)
    (tmp_path / "seedstream.toml").write_text(CONFIG)
    where = ("--dir", str(tmp_path / "run"))
    up = ("up", *where, "--config", str(tmp_path / "seedstream.toml"), "--llm", server, "--model", "scripted")
    code, _, err = await seedstream(*up, "--source", str(tmp_path / "code"), "--until-idle")
    assert code == 0, err
    async with Embedded.open(tmp_path / "run", create=False) as bus:
        model = (await history(bus)).newest
        assert model is not None
        assert (await news(bus, dict(enumerate(model.manifest.ends)))).count == 0
    assert Path(model.directory).parent == tmp_path / "run" / "models"
    assert publish.published(Path(model.directory)) == model
    assert json.loads(model.manifest.recipe)["name"] == "selfcodealign"
    assert f"model {model.model_id[:12]} of {model.manifest.keys} examples: {model.directory}" in err
    code, _, err = await seedstream("audit", *where)
    assert (code, err) == (0, "every input has its outcomes, once\n")
