"""Failures that only the LLM client knows. The others are `stream.errors`."""

from dataclasses import dataclass

from stream.errors import EndpointDown, Transient


@dataclass(frozen=True, slots=True)
class Paid:
    """Tokens that a reply took, as the server counts them; None where it does not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class BadReply(Transient):
    """The server answered with an internal error, or with something that is no reply of its API.

    `paid` is what a reply took that cannot be used; None where there was none.
    """

    def __init__(self, message: str, *, paid: Paid | None = None) -> None:
        super().__init__(message)
        self.paid = paid


class Refused(EndpointDown):
    """The server is there and takes no more: 402, 429, 503 and their like."""
