"""An LLM server as the config names it: table `[llm.NAME]`."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from urllib.parse import urlsplit

NOT_EXTRA = {
    "model": "set model",
    "prompt": "it is the stage's",
    "messages": "it is the stage's",
    "n": "each request is one sample",
    "stream": "set stream",
    "stream_options": "set stream_usage",
}
"""What `extra_body` cannot hold, and why."""

MOST_REASONING_TOKENS = 1 << 20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One or several servers of one model. A url without a path gets `/v1`; one with a path is taken as it is, as the
    base that `/chat/completions` is appended to.

    What is None among the fields on the form of a request is found out: the usual form is sent, and changed when the
    server refuses it (see `consumers.llm.dialect`). A value given is kept to.
    """

    url: str | tuple[str, ...]
    model: str
    api: Literal["completions", "chat"] = "completions"
    key_env: str | None = None  # name of the environment variable that holds the key
    context: int | None = None  # tokens of prompt and reply together; None: as `/models` says, else the server checks
    reasoning_tokens: int = 0  # room for thoughts, added to the max_tokens of each request
    special_tokens: tuple[str, ...] = ()  # of the model's tokenizer, removed at the end of a reply
    price_in: float = 0.0  # of a million prompt tokens
    price_out: float = 0.0  # of a million completion tokens
    check_model: bool = True  # at the start, ask the server whether it offers the model
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    send_temperature: bool | None = None
    send_top_p: bool | None = None
    send_seed: bool | None = None
    max_stops: int | None = None  # stop strings sent at most; the rest are applied to the reply here
    system_role: Literal["system", "developer", "user"] | None = None  # "user": in the first user message
    stream: bool | None = None  # ask for replies in pieces
    stream_usage: bool | None = None  # ask a stream for its token counts
    # Put into the body of each request, over any field but those of NOT_EXTRA. A dict cannot be hashed.
    extra_body: dict[str, Any] = field(default_factory=dict[str, Any], hash=False)
    timeout_s: float = 600.0  # of one request, from sending it to the last byte of the reply
    concurrency: int = 96  # requests in flight at the start, on all servers together; each is adapted from its part
    concurrency_min: int = 1
    concurrency_max: int = 1024

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError("expected at least one url")
        for url in self.urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"expected a url such as http://localhost:8000, got {url!r}")
            if parts.username or parts.password:
                raise ValueError("expected a url without credentials: name the variable with the key in key_env")
            if parts.query or parts.fragment:
                raise ValueError(f"expected a url without ? and #, got {url!r}")
        if len(set(self.urls)) < len(self.urls):
            raise ValueError("expected each url once")
        if self.context is not None and self.context < 1:
            raise ValueError(f"expected context >= 1, got {self.context}")
        if not 0 <= self.reasoning_tokens <= MOST_REASONING_TOKENS:
            raise ValueError(
                f"expected reasoning_tokens from 0 to {MOST_REASONING_TOKENS:,}, got {self.reasoning_tokens:,}"
            )
        if self.max_stops is not None and self.max_stops < 0:
            raise ValueError(f"expected max_stops >= 0, got {self.max_stops}")
        if plain := [token for token in self.special_tokens if not token.strip() or token.isalnum()]:
            raise ValueError(f"expected special_tokens such as <|im_end|>, not {plain[0]!r}: an answer may end so")
        for name in self.extra_body:
            if name in NOT_EXTRA:
                raise ValueError(f"extra_body cannot hold {name}: {NOT_EXTRA[name]}")
        if (wrong := _not_json(self.extra_body, "extra_body")) is not None:
            raise ValueError(f"expected texts, finite numbers, booleans, arrays and tables, not what {wrong} is")
        if self.price_in < 0 or self.price_out < 0:
            raise ValueError("expected prices >= 0")
        if self.timeout_s <= 0:
            raise ValueError(f"expected timeout_s > 0, got {self.timeout_s}")
        if not 1 <= self.concurrency_min <= self.concurrency <= self.concurrency_max:
            raise ValueError("expected 1 <= concurrency_min <= concurrency <= concurrency_max")

    @property
    def urls(self) -> tuple[str, ...]:
        """The bases of the API.

        >>> Endpoint(("http://a:1/", "http://b/v1", "https://c/api/v2/"), "m").urls
        ('http://a:1/v1', 'http://b/v1', 'https://c/api/v2')
        """
        given = (self.url,) if isinstance(self.url, str) else self.url
        return tuple(_base(url) for url in given)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what these tokens cost, in the currency of the prices.

        >>> Endpoint("http://a", "m", price_in=2, price_out=8).cost(500_000, 250_000)
        3.0
        """
        return (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6


def _base(url: str) -> str:
    url = url.rstrip("/")
    return url if urlsplit(url).path else f"{url}/v1"


def _not_json(value: object, at: str) -> str | None:
    """Return where in a value of a TOML file something stands that JSON cannot hold: a date, a time, inf, nan, or an
    integer beyond 64 bits."""
    if isinstance(value, dict):
        table = cast("dict[str, object]", value)
        return next((bad for key, item in table.items() if (bad := _not_json(item, f"{at}.{key}"))), None)
    if isinstance(value, list):
        items = cast("list[object]", value)
        return next((bad for index, item in enumerate(items) if (bad := _not_json(item, f"{at}[{index}]"))), None)
    if isinstance(value, float):
        return None if math.isfinite(value) else at
    if isinstance(value, int):
        return None if -(1 << 63) <= value < 1 << 64 else at
    return None if isinstance(value, str) else at
