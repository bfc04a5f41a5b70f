"""`seedstream train` as its user meets it: the program as a process, a training in one below it, real signals."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from deploy import cli
from stream.bus import Message
from stream.codec import encode
from stream.embedded import Embedded
from stream.records import Example, Execution, Step
from stream.topics import TOPICS
from tests.integration.processes import SEEDSTREAM
from tests.patience import LONG_S
from tests.records import instruction, response
from tests.tiny import QUICK, rows, tiny_model
from trainer import publish
from trainer.finetune import checkpoints
from trainer.hyperparameters import Train
from trainer.models import history
from trainer.snapshot import take
from trainer.work import Job, Work

DEADLINE_S = LONG_S
SETTINGS = {**QUICK, "epochs": 12.0, "checkpoint_steps": 5, "dropout": 0.1}
ROWS = 24
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}  # sums of one thread are the same in every run


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stream of examples, and a base model."""
    folder = tmp_path_factory.mktemp("work")
    tiny_model(folder / "base")
    asyncio.run(_begin(folder / "run"))
    return folder


async def _begin(directory: Path) -> None:
    async with Embedded.open(directory) as bus:
        await bus.create([TOPICS["examples"]])
        async with bus.appender("test") as appender:
            for n, row in enumerate(rows(ROWS)):
                parent, answer = instruction(row["instruction"], index=n), response(text=row["response"])
                example = Example(parent, answer, Execution(0, "pass", ""), Step("examples", 1))
                await appender.append([Message("examples", example.key, encode(example))])


def command(work: Path, *more: str, settings: dict[str, object] = SETTINGS, out: str = "out") -> list[str]:
    over = [f"--set={name}={json.dumps(value)}" for name, value in settings.items()]
    return [SEEDSTREAM, "train", "--dir", str(work / "run"), "--out", str(work / out), *over, *more]


def seedstream(work: Path, *more: str, **others: object) -> "subprocess.CompletedProcess[str]":
    asked = command(work, *more, **others)  # pyright: ignore[reportArgumentType]
    return subprocess.run(asked, capture_output=True, text=True, timeout=DEADLINE_S, env=ENVIRONMENT, check=False)


def until(holds: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {DEADLINE_S:g} s: {what}"
        time.sleep(0.01)


def trainings(work: Path) -> list[int]:
    """Return the processes that train for a folder of this test."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        if b"trainer" in arguments and os.fsencode(work / "out") in arguments:
            found.append(int(path.parent.name))
    return found


def started(work: Path, errors: Path, *more: str) -> "subprocess.Popen[bytes]":
    with errors.open("wb") as err:
        return subprocess.Popen(
            command(work, *more), stdout=subprocess.DEVNULL, stderr=err, env=ENVIRONMENT, start_new_session=True
        )


async def undisturbed(work: Path) -> Path:
    """Train the same in one go, in a process such as the command starts, and return the weights."""
    beside = Work(work / "undisturbed")
    beside.folder.mkdir()
    async with Embedded.open(work / "run") as bus:
        manifest = await take(bus, "examples", None, beside.folder)
    train = Train(base=str(work / "base"), **SETTINGS)  # pyright: ignore[reportArgumentType]
    beside.begin(Job(train, manifest, None))
    alone = [sys.executable, "-m", "trainer", str(work / "undisturbed")]
    process = await asyncio.create_subprocess_exec(*alone, env=ENVIRONMENT, stdout=asyncio.subprocess.DEVNULL)
    assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0
    return beside.model / "model.safetensors"


async def test_killed_in_the_middle_it_leaves_nothing_behind_and_ends_with_the_same_weights(work: Path, tmp_path: Path):
    base = ("--base", str(work / "base"))
    checkpointed = Work(work / "out").checkpoints
    with started(work, tmp_path / "err", *base) as process:
        try:
            until(lambda: list(checkpointed.glob(f"*/{checkpoints.WHOLE}")), "a checkpoint")
            assert trainings(work)
        finally:
            process.send_signal(signal.SIGKILL)
    until(lambda: not trainings(work), "the process that trains is gone")
    left = checkpoints.newest(checkpointed)
    assert left is not None
    done = seedstream(work, *base, "--json")
    assert done.returncode == 0, done.stderr
    model = json.loads(done.stdout)
    resumed_at = int(left.name.removeprefix("checkpoint-"))
    assert f"training: step {resumed_at} of {len(model['losses'])}" in done.stderr
    assert 0 < resumed_at < len(model["losses"])
    assert (work / "out" / "model.safetensors").read_bytes() == (await undisturbed(work)).read_bytes()
    async with Embedded.open(work / "run") as bus:
        assert (await history(bus)).newest == publish.published(work / "out")


def test_interrupted_it_ends_with_130_and_leaves_no_process(work: Path, tmp_path: Path):
    errors = tmp_path / "err"
    with started(work, errors, "--base", str(work / "base"), "--set=seed=1") as process:
        until(lambda: trainings(work), "a process that trains")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
    assert not trainings(work)
    assert errors.read_text().splitlines()[-1] == "stopped; the same command goes on from the last checkpoint"


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--base", "/no/such/model"], 2, "base /no/such/model: there is no such folder"),
        ([], 2, "no base model is named: give --base, or base in the table [train]"),
        (["--set=learning_rate=0"], 2, "the command line, train: learning_rate must be above 0, got 0"),
        (["--set=learning_rat=1"], 2, "the command line, train.learning_rat: unknown key; did you mean learning_rate?"),
        (["--set=nonsense"], 2, "--set nonsense: expected KEY=VALUE, as in --set epochs=2"),
        (["--set=template='$instruction'"], 2, "the command line, train: template: expected $instruction once and"),
        (["--base", "BASE", "--out", "BASE"], 2, "holds no model of seedstream's: name another --out"),
        (["--base", "BASE", "--namespace", "none"], 2, "namespace none has no topic examples"),
        (["--base", "BASE", "--data", "pairs.jsonl"], 2, "--data holds preference pairs: give --method dpo with it"),
        (["--base", "BASE", "--rebuild", "BASE"], 2, "is no model that seedstream published"),
        (["--base", "BASE", "--dir", "none"], 2, "there is no bus here"),
    ],
)
def test_wrong_use_is_refused_in_one_line_before_anything_is_made(
    more: Sequence[str], code: int, said: str, work: Path, capsys: pytest.CaptureFixture[str]
):
    before = {path.name for path in work.iterdir()}
    asked = [str(work / "base") if word == "BASE" else word for word in more]
    assert cli.run([*command(work, settings={}, out="refused")[1:], *asked]) == code
    line = capsys.readouterr().err
    assert said in line and len(line.splitlines()) == 1
    assert {path.name for path in work.iterdir()} == before


@pytest.mark.soak
def test_two_processes_learn_what_one_does(work: Path):
    """Without a GPU, too: what accelerate shares among GPUs it shares among processes."""
    losses: list[list[float]] = []
    for gpus in (1, 2):
        done = seedstream(work, "--base", str(work / "base"), "--json", f"--set=gpus={gpus}", "--set=micro_batch=1",
                          "--set=dropout=0.0", "--set=epochs=2", out=f"gpus-{gpus}")  # fmt: skip
        assert done.returncode == 0, done.stderr
        losses.append(json.loads(done.stdout)["losses"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
