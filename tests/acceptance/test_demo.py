"""`make demo` with a server of one's own: to a dataset, and a second time nothing is asked again."""

import asyncio
import sys
from pathlib import Path

import pytest

from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.server import ScriptedLLM
from tests.patience import LONG_S


async def demo(folder: Path, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "deploy.demo", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), LONG_S)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.timeout(1800)
async def test_the_demo_makes_a_dataset_and_says_when_all_is_done(tmp_path: Path) -> None:
    async with ScriptedLLM(model="org/scripted", shares=Shares(hanging=0.0)) as server:
        arguments = ["--llm", server.url, "--model", "org/scripted"]
        code, out, err = await demo(tmp_path, *arguments)
        assert code == 0, err
        assert "── lineage" in out and "no_docstring" in out  # an example in full, and reasons
        dataset = tmp_path / "demo" / "org-scripted" / "dataset"
        assert {path.suffix for path in dataset.iterdir()} >= {".parquet", ".jsonl"}
        calls = server.calls.counts.total()
        code, again, err = await demo(tmp_path, *arguments)
        assert code == 0, err
        assert again.startswith("all is done: 100 files")
        assert server.calls.counts.total() == calls


async def test_a_server_without_a_model_is_refused(tmp_path: Path) -> None:
    code, _, err = await demo(tmp_path, "--llm", "http://127.0.0.1:1")
    assert code == 2
    assert "MODEL" in err
    assert not (tmp_path / "demo").exists()
