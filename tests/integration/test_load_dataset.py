"""What is exported is read by `datasets`, without a network, as it is."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from deploy.dataset.export import Wanted
from stream.records import Rejected
from stream.topics import TOPICS
from tests.unit.test_export import exported, unlike

datasets: Any = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub: Any = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_folder_is_loaded_with_its_splits_and_as_conversations(tmp_path: Path):
    out = tmp_path / "out"
    wanted = Wanted("messages", test_share=0.3)
    await exported(tmp_path / "bus", out, TOPICS["examples"], [unlike(n) for n in range(20)], wanted)
    loaded = datasets.load_dataset(str(out))
    assert set(loaded) == {"train", "test"}
    for name in loaded:
        assert list(loaded[name]) == lines(out / f"examples-{name}.jsonl")
    assert [turn["role"] for turn in loaded["test"][0]["messages"]] == ["user", "assistant"]


async def test_the_jsonl_files_hold_the_same_rows(tmp_path: Path):
    out = tmp_path / "out"
    await exported(tmp_path / "bus", out, TOPICS["examples"], [unlike(n) for n in range(5)])
    [whole] = datasets.load_dataset(str(out)).values()
    [from_json] = datasets.load_dataset("json", data_files=str(out / "examples.jsonl")).values()
    for row, same in zip(whole, from_json, strict=True):
        assert {name: value for name, value in row.items() if value is not None} == {
            name: value for name, value in same.items() if value is not None
        }


async def test_any_topic_is_loaded(tmp_path: Path):
    rejects = [Rejected(f"id{n}", "responses", "parts", "line\none") for n in range(3)]
    await exported(tmp_path / "bus", tmp_path / "out", TOPICS["rejects"], rejects)
    [rows] = datasets.load_dataset(str(tmp_path / "out")).values()
    assert [row["record_id"] for row in rows] == ["id0", "id1", "id2"]
