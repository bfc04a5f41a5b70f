"""What can be made to go wrong, and for which requests. One fault does one thing to the requests it matches.

{"status": 503, "count": 5, "retry_after_s": 2}     the next five get 503
{"status": 429, "share": 0.1}                       one in ten, drawn by (prompt, seed, number of the call)
{"hang_s": 60, "stage": "responses"}                no answer for a minute
{"reset": true, "match": "def slow"}                the connection breaks where the prompt has this text
{"garbage": true} {"length": true} {"slow_s": 2}    no JSON; cut off after half; later than usual
{"down_s": 3}                                       nobody listens for 3 s, connections that are open break
{"raw": {"status": 200, "body": {"error": {"code": 429}}}}      any answer, as it is
{"raw": {"status": 422, "text": "no"}, "at": "tokenize"}        the same for /tokenize or /models
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from deploy.scripted_llm.dice import Dice

At = Literal["completions", "models", "tokenize"]
"""What is asked: a completion by either API, which models there are, how many tokens a text has."""


class Raw(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer as it is sent."""

    status: int = 200
    headers: dict[str, str] = {}
    body: Any = None  # JSON
    text: str | None = None  # sent instead of `body`, whatever it holds

    @property
    def content(self) -> bytes:
        return msgspec.json.encode(self.body) if self.text is None else self.text.encode()


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens, then whom it happens to."""

    status: int | None = None
    retry_after_s: float | None = None  # sent with `status`
    message: str = "a fault was switched on"  # sent with `status`
    reset: bool = False
    hang_s: float | None = None
    garbage: bool = False
    length: bool = False
    slow_s: float | None = None
    down_s: float | None = None
    raw: Raw | None = None

    at: At = "completions"
    count: int | None = None  # so many requests, then no more
    share: float = 1.0  # of the requests
    stage: str = ""  # only this one
    match: str = ""  # only prompts with this text

    def __post_init__(self) -> None:
        effects = (self.status, self.hang_s, self.slow_s, self.down_s, self.raw)
        if sum(e is not None for e in effects) + self.reset + self.garbage + self.length != 1:
            raise ValueError("expected one of status, reset, hang_s, garbage, length, slow_s, down_s, raw")
        if self.at != "completions" and (self.length or self.stage or self.match):
            raise ValueError(f"{self.at} is asked by no stage: leave out length, stage and match")


class Faults:
    """The faults that are switched on, in order: the first that matches a request happens."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._left: list[tuple[Fault, int | None]] = [(fault, fault.count) for fault in faults]

    def next(self, stage: str, prompt: str, seed: int | None, call: int, at: At = "completions") -> Fault | None:
        """Return what happens to this request; `call` counts the calls of the same prompt and seed."""
        for index, (fault, left) in enumerate(self._left):
            if left == 0 or fault.at != at or (fault.stage and fault.stage != stage) or fault.match not in prompt:
                continue
            if Dice("fault", index, prompt, seed, call).share() < fault.share:
                self._left[index] = fault, left - 1 if left is not None else None
                return fault
        return None
