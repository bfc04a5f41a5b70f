"""The progress of a training: a bar with loss and time left on a terminal, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

from deploy.training import view as training_view
from deploy.training.view import Pace, View, line
from trainer.events import Said, decode, encode, error

STEPS = [Said("training", step, 3, 2.0 - step / 2) for step in (1, 2, 3)]


def test_on_a_terminal_a_bar_shows_step_loss_and_time_left():
    out = io.StringIO()
    view = View(console=Console(file=out, force_terminal=True, width=100))
    with view.shown():
        for said in (Said("loading the base model"), Said("training", 0, 3), *STEPS, Said("")):
            view(said)
    assert "loading the base model" in out.getvalue()
    assert "3/3" in out.getvalue() and "loss 0.5000" in out.getvalue() and "0:00:00" in out.getvalue()


def test_elsewhere_a_line_comes_now_and_then_and_at_the_last_step(monkeypatch: pytest.MonkeyPatch):
    now_s = iter([0.0, 1.0, 2.0, 3.0, 9.0])
    monkeypatch.setattr(training_view.time, "monotonic", lambda: next(now_s))
    lines: list[str] = []
    view = View(lines.append, Console(file=io.StringIO()))
    with view.shown():
        for said in (Said("tokenizing"), Said("training", 0, 9), *(Said("training", n, 9, 1.0) for n in (1, 2, 8))):
            view(said)
    assert lines == ["tokenizing", "training: step 0 of 9", "training: step 8 of 9, loss 1.0000, 0:01 left"]


@pytest.mark.parametrize(
    ("left_s", "text"), [(None, "loss 1.0000"), (59.6, "loss 1.0000, 1:00 left"), (7_325, "loss 1.0000, 2:02:05 left")]
)
def test_time_left_is_said_in_minutes_and_hours(left_s: float | None, text: str):
    assert line(Said("training", 1, 9, 1.0), left_s) == f"training: step 1 of 9, {text}"


def test_a_second_training_has_a_pace_of_its_own():
    pace = Pace()
    assert [pace.left_s(t, step, 4) for t, step in ((0, 0), (2, 1), (100, 0), (101, 1))] == [None, 6, None, 3]


def test_what_a_training_says_comes_through_a_pipe_and_a_librarys_chatter_does_not():
    assert [decode(encode(said)) for said in STEPS] == STEPS
    assert decode(b"Loading weights: 100%\n") is None
    assert [type(error(Said("no", failed=code))).__name__ for code in (1, 2, 3)] == [
        "TrainingFailed", "WrongConfig", "DependencyDown",
    ]  # fmt: skip
