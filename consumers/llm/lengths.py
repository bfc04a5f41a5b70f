"""Does a prompt fit the context? Pure. Lengths are estimated by bytes; only where that leaves it open is a server
asked to count."""

from enum import Enum
from math import ceil

from consumers.llm.render import Message

BYTES_PER_TOKEN = 3.0
"""An estimate on the safe side: code takes 3 to 4 bytes a token, prose 4 to 5."""

FEWEST_BYTES, MOST_BYTES = 1.5, 8.0
"""Bytes per token between which all but strange texts lie: rows of digits take 1, and the server then says so."""

TOKENS_PER_MESSAGE = 8
"""What a chat template puts around a message, rounded up."""


class Fit(Enum):
    """What the length in bytes tells about the length in tokens."""

    YES = "yes"
    NO = "no"
    CLOSE = "close"


def estimate(text: str) -> int:
    """Return about how many tokens a text has, rather too many than too few.

    >>> estimate("def f(x):"), estimate("€"), estimate("")
    (3, 1, 0)
    """
    return ceil(utf8_bytes(text) / BYTES_PER_TOKEN)


def estimate_chat(messages: list[Message]) -> int:
    """Return about how many tokens a conversation has."""
    return sum(estimate(message["content"]) + TOKENS_PER_MESSAGE for message in messages)


def fit(estimated_tokens: int, max_tokens: int, context: int) -> Fit:
    """Tell whether a prompt of so many estimated tokens surely fits with its reply.

    >>> [fit(n, max_tokens=100, context=1000).value for n in (450, 451, 2400, 2401)]
    ['yes', 'close', 'close', 'no']
    """
    text_bytes = estimated_tokens * BYTES_PER_TOKEN
    if text_bytes / FEWEST_BYTES + max_tokens <= context:
        return Fit.YES
    return Fit.NO if text_bytes / MOST_BYTES + max_tokens > context else Fit.CLOSE


def utf8_bytes(text: str) -> int:
    """Return the length in UTF-8. A lone surrogate, which has none, counts as one byte."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
