"""Fakes that tests share: small honest implementations of the promises of our protocols."""

from collections.abc import Callable, Sequence

from consumers.llm import stops
from consumers.llm.request import Completion, Filtered, Request, Result, TooLong

Answer = Callable[[Request], str | Result | Exception]


class FakeLLM:
    """An endpoint that answers with `answer(request)`: a text stands for a whole reply, an exception is raised.

    Keeps the promises of `consumers.llm.request.LLM`: every request of a call is asked, also when another one fails;
    what finished is kept under its request id until a call succeeds whole, so a retry asks for the failed ones alone.
    `asked` lists every request that was answered or failed, in order: what a real endpoint would have been paid for.
    """

    def __init__(self, answer: Answer, model: str = "fake-model") -> None:
        self._answer = answer
        self._model = model
        self._finished: dict[str, Result] = {}
        self.asked: list[Request] = []

    @property
    def model(self) -> str:
        return self._model

    async def complete(self, record_id: str, requests: Sequence[Request]) -> Sequence[Result]:
        failures: list[Exception] = []
        for request in requests:
            if request.request_id in self._finished:
                continue
            answer = self._answer(request)
            if not isinstance(answer, TooLong | Filtered):
                self.asked.append(request)
            if isinstance(answer, Exception):
                failures.append(answer)
            else:
                self._finished[request.request_id] = self._completion(answer)
        if failures:
            raise failures[0]
        return [self._finished.pop(request.request_id) for request in requests]

    def _completion(self, answer: str | Result) -> Result:
        if not isinstance(answer, str):
            return answer
        return completion(answer, model=self._model)


def completion(
    text: str, finish_reason: str = "stop", *, prompt_tokens: int = 100, model: str = "fake-model"
) -> Completion:
    """Return a reply with plausible token counts."""
    return Completion(text, finish_reason, prompt_tokens, completion_tokens=len(text.split()), model=model)


def as_served(reply: str, prefill: str, stop: Sequence[str]) -> str:
    """Return what a server sends when its model writes `reply` after `prefill`: up to the first stop string."""
    return stops.cut(reply.removeprefix(prefill), stop)[0]
