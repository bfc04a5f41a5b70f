"""What the process that trains says to the one that started it: a line of JSON each, on its stdout."""

from dataclasses import dataclass

import msgspec

from stream.codec import UNREADABLE
from stream.errors import DependencyDown, Fatal, WrongConfig


class TrainingFailed(Fatal):
    """The training ended without a checkpoint to publish; what it saved on its way stands, to go on from."""


@dataclass(frozen=True, slots=True)
class Said:
    """Where a training is."""

    what: str  # one line for a person
    step: int = 0
    steps: int = 0  # 0 before they are known
    loss: float | None = None  # of the step
    failed: int | None = None  # the exit code, where `what` is an error


def encode(said: Said) -> bytes:
    return msgspec.json.encode(said) + b"\n"


def decode(line: bytes) -> Said | None:
    """Return what a line says; None where some library wrote it."""
    try:
        return msgspec.json.decode(line, type=Said)
    except UNREADABLE:
        return None


def error(said: Said) -> Fatal:
    """Return what failed in the other process as an error of this one."""
    kinds: dict[int | None, type[Fatal]] = {2: WrongConfig, 3: DependencyDown}
    return kinds.get(said.failed, TrainingFailed)(said.what)
