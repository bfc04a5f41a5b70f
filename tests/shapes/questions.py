"""What `/models` and `/tokenize` answer."""

from dataclasses import dataclass, field
from typing import Any, Literal

from tests.shapes.rows import Raised, Sent


@dataclass(frozen=True, slots=True)
class Listed:
    """An answer of `/models` to who wants `model`; `right` is None where it passes the check."""

    name: str
    source: str
    sent: Sent
    right: Raised | None = None
    model: str = "scripted"
    endpoint: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Counted:
    """An answer of `/tokenize` to a prompt near the limit, of which the estimate says that it fits, or that it does
    not. The prompt is sent, or it is too long."""

    name: str
    source: str
    sent: Sent
    right: Literal["sent", "too long"]
    estimate: Literal["fits", "too long"] = "fits"


def listed(*names: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


# fmt: off
MODELS = [
    Listed("a list", "OpenAI's API", Sent(listed("other", "scripted"))),
    Listed("a bare array", "together-python", Sent([{"id": "other"}, {"id": "scripted"}])),
    Listed("a bare array of names", "ours", Sent(["other", "scripted"])),
    Listed("data is null", "ollama/ollama", Sent({"object": "list", "data": None})),
    Listed("data is empty", "ours", Sent({"object": "list", "data": []})),
    Listed("any name", "litellm#13643", Sent(listed("*"))),
    Listed("any name of a provider", "litellm#14125", Sent(listed("openai/*")), model="openai/gpt-5"),
    Listed("llama.cpp's two lists", "ktransformers#123",
           Sent({"models": [{"name": "scripted"}], **listed("scripted")})),
    Listed("no list", "ollama#3050", Sent(text="404 page not found", status=404)),
    Listed("no list, and 405", "ours", Sent({"detail": "Method Not Allowed"}, status=405)),
    Listed("no list, and 501", "ours", Sent({"error": "not implemented"}, status=501)),
    Listed("one object", "ours", Sent({"data": {"id": "scripted"}})),
    Listed("models by name", "ours", Sent({"data": {"scripted": {"owned_by": "me"}}})),
    Listed("a byte order mark", "ours", Sent(text='\ufeff{"data": [{"id": "scripted"}]}')),
    Listed("no list, and 400", "ours", Sent({"error": {"message": "unknown route"}}, status=400)),
    Listed("no list, and 406", "ours", Sent({"detail": "Not Acceptable"}, status=406)),
    Listed("no list, and nothing", "ours", Sent(text="")),
    Listed("no list, and 204", "ours", Sent(text="", status=204)),
    Listed("other names", "OpenAI's API", Sent(listed("one", "two")),
           Raised("WrongConfig", "check_model = false")),
    Listed("other names, and no check", "aider#672", Sent(listed("one", "two")), endpoint={"check_model": False}),
    Listed("a page, and no check", "ours", Sent(text="<html>"), endpoint={"check_model": False}),
    Listed("a page, of who speaks the API", "ours", Sent(text="<html>Models</html>")),
]

TOKENIZERS = [
    Counted("a count", "vLLM's API", Sent({"count": 11, "max_model_len": 1000}), "sent", "too long"),
    Counted("a count that is too much", "vLLM's API", Sent({"count": 900, "max_model_len": 1000}), "too long"),
    Counted("none", "ours", Sent({"detail": "Not Found"}, 404), "sent"),
    Counted("none, and a prompt that is too long", "ours", Sent({"detail": "Not Found"}, 404), "too long", "too long"),
    Counted("not allowed", "ours", Sent({"detail": "Method Not Allowed"}, 405), "sent"),
    Counted("TGI's", "TGI's router",
            Sent(text="Failed to deserialize the JSON body into the target type: missing field `inputs` at line 1 "
                      "column 51", status=422), "sent"),
    Counted("TGI's, and a prompt that is too long", "TGI's router",
            Sent(text="missing field `inputs`", status=422), "too long", "too long"),
    Counted("a proxy's 502", "ours", Sent(text="<h1>Bad gateway</h1>", status=502), "sent"),
    Counted("a server's 500", "ours", Sent({"error": "no tokenizer"}, 500), "sent"),
    Counted("llama.cpp's", "llama.cpp's server", Sent({"tokens": []}), "too long", "too long"),
    Counted("a page", "ours", Sent(text="<html>It works!</html>"), "sent"),
    Counted("a count of another kind", "ours", Sent({"count": -1}), "sent"),
    Counted("too long by its own words", "vllm#20409",
            Sent({"error": {"message": "This model's maximum context length is 1000 tokens. However, you requested "
                            "1200 tokens.", "type": "BadRequestError", "code": 400}}, 400), "too long"),
]
# fmt: on
