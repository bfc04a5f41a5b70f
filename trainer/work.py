"""The folder of one training, beside the one it publishes to: all it takes to go on after a kill.

    .NAME.training/job.json      what is to be done, and on which state of the namespace it began
                   rows.jsonl    the snapshot, with its keys and licences
                   checkpoints/  to resume from
                   log.txt       what the libraries say
                   result.json   what came of it, once the weights in model/ are whole
                   model/        what will be published

It is gone once the training is published.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from stream.codec import UNREADABLE
from stream.embedded.locks import Lock
from stream.errors import WrongConfig
from stream.records import Manifest
from trainer import files
from trainer.hyperparameters import Train

T = TypeVar("T")

RECORD = "seedstream.json"
"""In a published folder: the record of its model. A folder without it is not ours to replace."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training."""

    train: Train
    manifest: Manifest
    predecessor: str | None  # the newest model when the snapshot was taken
    retracted: tuple[str, ...] = ()  # rows of the manifest it was rebuilt from
    rebuilt: bool = False  # from the manifest of another model: no progress of the trainer, so no record of its own
    rebuilt_from: str | None = None  # the hash of that manifest's rows, None in jobs from before it was noted

    @property
    def base(self) -> str:
        assert self.train.base is not None
        return self.train.base


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a training."""

    base_sha256: str
    weights_sha256: str
    parameters: int
    trained: int  # rows
    left_out: tuple[str, ...]  # ids of the rows that are longer than the context
    steps: int
    losses: tuple[float, ...]  # of each step
    held_out_losses: tuple[float, ...]
    tokens: int  # that carried loss or context, over all epochs
    versions: dict[str, str]  # of the libraries


class Work:
    """The paths of one training that publishes to `out`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        whole = Path(os.path.abspath(out))  # noqa: PTH100 - unlike resolve, it takes a link for what it is
        self.folder = whole.parent / f".{whole.name}.training"
        self.checkpoints = self.folder / "checkpoints"
        self.log = self.folder / "log.txt"
        self.model = self.folder / "model"

    @contextmanager
    def mine(self) -> Generator[None]:
        """Own the folder while inside, and see that `out` may be written.

        Raises:  InUse; WrongConfig when `out` is there and was not published by seedstream.
        """
        try:
            if self.out.exists() and not (self.out / RECORD).is_file() and not _is_empty(self.out):
                raise WrongConfig(f"{self.out} is there and holds no model of seedstream's: name another --out")
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise WrongConfig(f"{err.filename or self.folder} cannot be made: {err.strerror}") from err
        lock = Lock(self.folder / "lock", f"{self.out}")
        try:
            yield
        finally:
            if not self.begun():
                files.remove(self.folder)
            lock.release()

    def begun(self) -> bool:
        """Whether a training is under way here."""
        return (self.folder / "job.json").is_file()

    def begin(self, job: Job) -> None:
        """Write down what is to be done; the snapshot stands already."""
        with files.writing(self.folder):
            files.write(self.folder / "job.json", msgspec.json.encode(job))

    def job(self) -> Job:
        """Return what is to be done."""
        return self._read("job.json", Job)

    def finish(self, result: Result) -> None:
        """Write down what came of it; the weights stand already."""
        with files.writing(self.folder):
            files.write(self.folder / "result.json", msgspec.json.encode(result))

    def result(self) -> Result | None:
        """Return what came of it, or None while there is something left to do."""
        return self._read("result.json", Result) if (self.folder / "result.json").is_file() else None

    def clear(self) -> None:
        """Forget the training: the next one begins anew. The job goes first, so that a crash leaves none half there."""
        (self.folder / "job.json").unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if path.is_dir():
                files.remove(path)
            elif path.name != "lock":
                path.unlink()

    def _read(self, name: str, kind: type[T]) -> T:
        path = self.folder / name
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except (OSError, *UNREADABLE) as err:
            raise WrongConfig(f"{path} cannot be read ({err}): begin again with --restart") from err


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
