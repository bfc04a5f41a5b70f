"""The progress of a training: a bar with loss and time left on a terminal, a plain line now and then elsewhere. On
stderr."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from deploy.options import say
from trainer.events import Said

PLAIN_EVERY_S = 5.0


class View:
    """Called with each thing a training says. `put` takes the plain lines."""

    def __init__(self, put: Callable[[str], None] = say, console: Console | None = None) -> None:
        self._put = put
        console = console or Console(stderr=True, highlight=False)
        self._bar = _bar(console) if console.is_terminal else None
        self._task: TaskID | None = None
        self._said = ""
        self._pace = Pace()
        self._shown_s = 0.0

    @contextmanager
    def shown(self) -> Generator[None]:
        """Show the bar inside, where there is a terminal."""
        if self._bar is None:
            yield
            return
        with self._bar:
            yield

    def __call__(self, said: Said) -> None:
        if not said.what:
            return
        if self._bar is None:
            self._line(said)
            return
        if said.loss is None and said.what not in ("training", self._said):
            self._bar.console.print(said.what)
            self._said = said.what
        if said.steps:
            if self._task is None:
                self._task = self._bar.add_task("training", total=said.steps, completed=said.step, loss="")
            self._bar.update(self._task, completed=said.step)
            if said.loss is not None:
                self._bar.update(self._task, loss=f"loss {said.loss:.4f}")

    def _line(self, said: Said) -> None:
        now_s = time.monotonic()
        left = self._pace.left_s(now_s, said.step, said.steps)
        if said.loss is None or now_s - self._shown_s >= PLAIN_EVERY_S or said.step == said.steps:
            self._shown_s = now_s
            self._put(line(said, left))


class Pace:
    """How long a training still takes, by the steps since its beginning here. Time is passed in.

    >>> pace = Pace(); [pace.left_s(t, step, 10) for t, step in ((0, 4), (3, 5), (6, 6))]
    [None, 15.0, 12.0]
    """

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None

    def left_s(self, now_s: float, step: int, steps: int) -> float | None:
        if not steps:
            return None
        if self._began is None or step <= self._began[1]:  # another training than before
            self._began = (now_s, step)
        began_s, first = self._began
        return (steps - step) * (now_s - began_s) / (step - first) if step > first else None


def line(said: Said, left_s: float | None) -> str:
    """Return one line of progress.

    >>> line(Said("training", 12, 480, 1.23456), 190)
    'training: step 12 of 480, loss 1.2346, 3:10 left'
    """
    parts = [f"step {said.step:,} of {said.steps:,}"] if said.steps else []
    if said.loss is not None:
        parts.append(f"loss {said.loss:.4f}")
    if left_s is not None and said.step < said.steps:
        minutes, seconds = divmod(round(left_s), 60)
        hours, minutes = divmod(minutes, 60)
        parts.append(f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left")
    return f"{said.what}: {', '.join(parts)}" if parts else said.what


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(), console=console,
    )  # fmt: skip
