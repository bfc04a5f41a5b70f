"""A slice of the running interpreter's standard library, from files to a dataset: real code through every stage."""

import ast
import json
import shutil
import sysconfig
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.server import ScriptedLLM
from tests.integration.processes import seedstream
from tests.integration.streams import CONFIG

FILES = 300


def slice_of_the_standard_library(target: Path, files: int = FILES) -> None:
    """Copy so many modules, spread evenly over the library, with their folders and its licence."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"site-packages", "test", "tests", "__pycache__", "lib2to3", "idlelib"}
    modules = sorted(p for p in root.rglob("*.py") if not skipped & set(p.relative_to(root).parts))
    step = len(modules) / files
    for k in range(files):
        module = modules[int(k * step)]
        copy = target / module.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, copy)
    shutil.copyfile(root / "LICENSE.txt", target / "LICENSE.txt")


@pytest.mark.timeout(1800)
async def test_a_slice_of_the_standard_library_becomes_a_dataset(tmp_path: Path) -> None:
    source, config, where = tmp_path / "library", tmp_path / "seedstream.toml", ["--dir", str(tmp_path / "dir")]
    slice_of_the_standard_library(source)
    config.write_text(CONFIG, encoding="utf-8")
    async with ScriptedLLM(shares=Shares(hanging=0.01)) as server:
        arguments = [
            "up", "--source", str(source), *where, "--llm", server.url, "--model", "scripted",
            "--config", str(config), "--until-idle", "--json",
        ]  # fmt: skip
        code, out, err = await seedstream(*arguments)
        assert code == 0, err
        calls = server.calls.counts.total()
        again = await seedstream(*arguments)  # all is done: nothing is asked or sent again
        assert again[0] == 0, again[2]
        assert server.calls.counts.total() == calls
    assert json.loads(again[1])["stages"] == json.loads(out)["stages"]
    stages = {stage["stage"]: stage for stage in json.loads(out)["stages"]}
    files = stages["files"]
    assert files["out"] + sum(files["rejected"].values()) == FILES
    assert all(stage["dead"] == 0 for stage in stages.values()), stages
    assert stages["functions"]["out"] >= stages["typed"]["out"] >= stages["unique"]["out"] > 5
    assert {"no_docstring", "no_return_value", "no_arguments"} <= stages["functions"]["rejected"].keys()
    assert stages["examples"]["out"] > 3
    code, _, err = await seedstream("audit", *where)
    assert (code, err) == (0, "every input has its outcomes, once\n")

    assert (await seedstream("export", str(tmp_path / "data"), *where))[0] == 0
    (table,) = (tmp_path / "data").glob("*.parquet")
    rows = pq.read_table(table).to_pylist()
    assert len(rows) == stages["examples"]["out"]
    licences = {row["licence"] for row in rows}
    assert "PSF-2.0" in licences and licences <= {"PSF-2.0", "MIT", "Zlib", "unknown"}  # headers of their own
    for row in rows:
        line = (source / row["path"]).read_text(encoding="utf-8").splitlines()[row["seed_line"] - 1]
        assert line.startswith(("def ", "async def ", "@"))  # the lineage leads back to the very line
        ast.parse(row["seed_code"])
