"""An LLM server as the config names it: table `[llm.NAME]`."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One or several servers of one model. A url without a path gets `/v1`; one with a path is taken as it is, as the
    base that `/chat/completions` is appended to."""

    url: str | tuple[str, ...]
    model: str
    api: Literal["completions", "chat"] = "completions"
    key_env: str | None = None  # name of the environment variable that holds the key
    context: int | None = None  # tokens of prompt and reply together; None: leave the check to the server
    price_in: float = 0.0  # of a million prompt tokens
    price_out: float = 0.0  # of a million completion tokens
    send_seed: bool = True
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
