"""Training in a process of its own: the event loop of this one stays free, and a kill leaves nothing behind."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable

from trainer import events
from trainer.events import Said, TrainingFailed
from trainer.files import writing
from trainer.work import Work

LOG_LINE_CHARS = 300


async def train(work: Work, tell: Callable[[Said], None]) -> None:
    """Do the job of `work` in a process of its own, and pass on what it says. Cancelled, the process is killed: what it
    saved last stands, to go on from.

    Raises:  WrongConfig, DependencyDown, TrainingFailed and CannotWrite, as the process found them.
    """
    failed: Said | None = None
    with writing(work.log), work.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "trainer", str(work.out),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log, start_new_session=True,
            env=_environment(work.job().train.gpus),
        )  # fmt: skip
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            said = events.decode(line)
            if said is not None and said.failed is not None:
                failed = said
            elif said is not None:
                tell(said)
        code = await process.wait()
    finally:
        if process.returncode is None:  # else its number may be another's by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the whole session: of a launcher, its processes too
            await process.wait()
    if failed is not None:
        raise events.error(failed)
    if code != 0 or work.result() is None:
        raise TrainingFailed(f"the training process {_ending(code)}; {_last_line(work)} (all of it: {work.log})")


def _environment(gpus: int) -> dict[str, str]:
    """Return the environment of the process. What it imports is ours, whatever lies in the working directory.
    transformers spreads one process over all GPUs that it sees, so one that is to use one GPU sees one."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    if gpus == 1:
        environment["CUDA_VISIBLE_DEVICES"] = environment.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    return environment


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with {code}"


def _last_line(work: Work) -> str:
    lines = work.log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return last[:LOG_LINE_CHARS]
