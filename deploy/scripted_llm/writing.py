"""What the model writes for a request: thoughts and text, up to a stop string or the last token. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deploy.scripted_llm.around import THOUGHTS, Around, wrapped
from deploy.scripted_llm.asked import Ask
from deploy.scripted_llm.dialects import Dialect
from deploy.scripted_llm.question import Stage
from deploy.scripted_llm.replies import GOES_ON, Shares, answer

CHARS_PER_TOKEN = 4

OPENED, CLOSED = "<think>\n", "\n</think>\n\n"

End = Literal["end", "stop", "length"]
"""The model ended itself; a stop string ended it; a limit did."""


@dataclass(frozen=True, slots=True)
class Written:
    """What there is to send."""

    thoughts: str  # beside the text; "" where they are none, or stand in it
    text: str
    end: End
    tokens: int  # paid, thoughts included


@dataclass(frozen=True, slots=True)
class Model:
    """How the model writes."""

    dialect: Dialect
    around: Sequence[Around]
    shares: Shares


def draw(ask: Ask, asked_before: int) -> int | None:
    """Return what the answer is drawn by: the seed; without one, how often the same was asked before, unless the answer
    is greedy."""
    return ask.fields.seed if ask.fields.seed is not None or ask.fields.temperature == 0 else asked_before


def write(ask: Ask, model: Model, draw: int | None, room_tokens: int | None, *, cut: bool = False) -> Written:
    """Return what the model writes within the limit of the request and the `room_tokens` left in the context. `cut`:
    only half of it, as if that were the limit."""
    dialect, around = model.dialect, model.around
    asked = ask.question
    beside = dialect.thoughts in ("reasoning_content", "reasoning", "hidden") and ask.chat
    thoughts = THOUGHTS if dialect.thoughts else ""
    text = wrapped(answer(asked, draw, model.shares), asked.begun, around)
    tuned = bool(around) or dialect.thoughts is not None
    if asked.stage is not Stage.OTHER and not tuned:
        text += GOES_ON  # a base model knows no end
    else:
        text += dialect.end_token
    front = f"{OPENED}{thoughts}{CLOSED}" if thoughts and not beside else dialect.leads
    text = front + text

    whole = thoughts + text if beside else text
    deaf = len(thoughts) if beside and not dialect.stops_in_thoughts else 0
    at, stop = _first_stop(whole, ask.stops, deaf)
    limit = len(whole) // 2 if cut else ask.max_tokens * CHARS_PER_TOKEN
    if room_tokens is not None:
        limit = min(limit, room_tokens * CHARS_PER_TOKEN)
    end: End = "end"
    if at is not None and at <= limit:
        kept, end = whole[:at], "stop"
    elif len(whole) > limit:
        kept, end = whole[:limit], "length"
    else:
        kept = whole
    beside_text = kept[: len(thoughts)] if beside else ""
    said = kept[len(thoughts) :] if beside else kept
    if end == "stop" and dialect.keeps_stop:
        said += stop
    return Written(beside_text, said, end, tokens(kept))


def _first_stop(whole: str, stops: Sequence[str], deaf: int) -> tuple[int | None, str]:
    """Return where the first stop string begins, and which it is; the first `deaf` characters are not looked at."""
    found = [(at, stop) for stop in stops if (at := whole.find(stop, deaf)) >= 0]
    return min(found, default=(None, ""))


def tokens(text: str) -> int:
    """Return the tokens of a text, as this server counts them."""
    return -(-len(text) // CHARS_PER_TOKEN)
