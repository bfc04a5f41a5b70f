"""Checkpoints to resume from: one counts once all of it is on the disk, and the one before it goes only then.

transformers writes a checkpoint file by file into its place, and finds the newest one by its name: a kill, or a full
disk, in the middle would leave one that cannot be loaded, with those before it already deleted.
"""

from pathlib import Path

from trainer import files

WHOLE = "whole"
"""The file that says so, in the checkpoint's folder."""


def complete(folder: Path, step: int) -> None:
    """Note that the checkpoint of `step` is whole, and remove all others.

    Raises:  CannotWrite.
    """
    here = folder / f"checkpoint-{step}"
    with files.writing(here):
        files.sync(here)
        files.write(here / WHOLE, b"")
    for other in folder.glob("checkpoint-*"):
        if other != here:
            files.remove(other)


def newest(folder: Path) -> Path | None:
    """Return the whole checkpoint of the highest step, or None; remove those that are not whole."""
    found: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        step = path.name.removeprefix("checkpoint-")
        if step.isdigit() and (path / WHOLE).is_file():
            found[int(step)] = path
        else:
            files.remove(path)
    return found[max(found)] if found else None
