"""How servers put a reply: fields that are missing, null or of another kind; errors inside a reply."""

from dataclasses import dataclass
from typing import Any

from tests.shapes.rows import PAID, Api, Raised, Rejected, chat, completion

TASK = "Write a function `total(values)`."
PARTS = [{"type": "text", "text": "Write a function "}, {"type": "text", "text": "`total(values)`."}]


@dataclass(frozen=True, slots=True)
class Replied:
    """A body with status 200, and what comes of it: the text of a task, a reject, or an error of the client."""

    name: str
    source: str
    body: Any  # JSON, or the bytes as text
    right: str | Rejected | Raised
    api: Api = "chat"
    paid: tuple[int, int] | None = None  # prompt and completion tokens that are counted; None: an estimate
    content_type: str = "application/json"


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in chat(TASK).items() if name not in names}


def events(*data: str) -> str:
    return "".join(f"data: {line}\n\n" for line in data)


COUNTED = (PAID["prompt_tokens"], PAID["completion_tokens"])
WAITS = Raised("Refused")

# fmt: off
REPLIES = [
    # --- usage
    Replied("usage is null", "litellm#16493", chat(TASK, usage=None), TASK),
    Replied("usage is missing", "vercel/ai#20102", without("usage"), TASK),
    Replied("usage is empty", "vercel/ai#20102", chat(TASK, usage={}), TASK),
    Replied("tokens are null", "openai-agents-python#1179",
            chat(TASK, usage={"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}), TASK),
    Replied("details of usage are null", "fenic#380",
            chat(TASK, usage={**PAID, "completion_tokens_details": None, "prompt_tokens_details": None}), TASK,
            paid=COUNTED),
    Replied("tokens of thoughts are told", "langchain#32477",
            chat(TASK, usage={**PAID, "completion_tokens_details": {"reasoning_tokens": 5}}), TASK, paid=COUNTED),
    # --- other fields
    Replied("id, object and created are missing", "ours", without("id", "object", "created"), TASK, paid=COUNTED),
    Replied("the model is null", "ours", chat(TASK, model=None), TASK, paid=COUNTED),
    Replied("fields that nobody knows", "Azure's API", chat(
        TASK, prompt_filter_results=[{"prompt_index": 0, "content_filter_results": {}}], system_fingerprint=None),
        TASK, paid=COUNTED),
    Replied("a message without a role", "ours",
            {"choices": [{"message": {"content": TASK}, "finish_reason": "stop"}], "usage": PAID}, TASK, paid=COUNTED),
    Replied("another content type", "ours", chat(TASK), TASK, paid=COUNTED, content_type="text/plain; charset=utf-8"),
    Replied("a message in a completion", "ours", {"choices": chat(TASK)["choices"], "usage": PAID}, TASK,
            api="completions", paid=COUNTED),
    # --- content
    Replied("content is a list of parts", "hermes-agent#4748", chat({"content": PARTS}), TASK, paid=COUNTED),
    Replied("content is a list of strings", "ours", chat({"content": ["Write a function ", "`total(values)`."]}), TASK,
            paid=COUNTED),
    # --- finish reasons
    *(Replied(f"finish_reason is {reason!r}", source, chat(TASK, reason), TASK, paid=COUNTED)
      for reason, source in [("eos", "ragas#1548"), ("eos_token", "TGI#2344"), ("end_turn", "ragas#2831"),
                             ("STOP", "qwen-code#9884"), ("stop_sequence", "TGI#1724"), ("", "together-python#239"),
                             (None, "tabbyAPI#83"), ("stop", "OpenAI's API")]),
    Replied("finish_reason is missing", "tabbyAPI#83",
            {"choices": [{"index": 0, "message": {"role": "assistant", "content": TASK}}], "usage": PAID}, TASK,
            paid=COUNTED),
    Replied("finish_reason is null in a completion", "tabbyAPI#83", completion(TASK, None), TASK, "completions",
            COUNTED),
    *(Replied(f"finish_reason is {reason!r}", source, chat(TASK, reason), Rejected.by("stopped_for_length"),
              paid=COUNTED)
      for reason, source in [("length", "OpenAI's API"), ("MAX_TOKENS", "qwen-code#9884"),
                             ("max_tokens", "Portkey-AI/gateway#1200")]),
    Replied("no content for want of room", "qwen-code#9884",
            {"choices": [{"message": {"role": "assistant"}, "finish_reason": "MAX_TOKENS", "index": 0}], "usage": PAID},
            Rejected.by("stopped_for_length"), paid=COUNTED),
    *(Replied(f"finish_reason is {reason!r}", source, chat("", reason), Rejected.by("filtered"), paid=COUNTED)
      for reason, source in [("content_filter", "OpenAI's API"), ("SAFETY", "genkit#5736"),
                             ("PROHIBITED_CONTENT", "genkit#5736")]),
    Replied("a tool is called", "OpenAI's API",
            chat({"content": None, "tool_calls": [{"id": "1", "type": "function"}]}, "tool_calls"),
            Rejected.by("not_finished", "no_instruction"), paid=COUNTED),
    # --- a stream though none was asked for
    Replied("a stream", "ours", events(
        '{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}',
        '{"choices":[{"index":0,"delta":{"content":"Write a function "}}]}',
        '{"choices":[{"index":0,"delta":{"content":"`total(values)`."},"finish_reason":"stop"}]}',
        '{"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7}}',
        "[DONE]"), TASK, paid=COUNTED, content_type="text/event-stream"),
    # --- errors inside a reply
    Replied("an error 429", "litellm#8448",
            {"error": {"message": "Provider returned error", "code": 429}}, WAITS),
    Replied("an error 429 beside an empty choice", "litellm#8448",
            chat(None, error={"message": "Provider returned error", "code": 429}), WAITS),
    Replied("an error 429 as text", "litellm#8448", {"error": {"message": "slow down", "code": "429"}}, WAITS),
    Replied("an error 503", "open-webui/computer#293", {"error": {"message": "no instance", "code": 503}}, WAITS),
    Replied("an error in a choice", "pydantic-ai#2844",
            {"choices": [{"index": 0, "finish_reason": "error", "message": {"role": "assistant", "content": "Wri"},
                          "error": {"code": 502, "message": "upstream"}}], "usage": PAID}, WAITS),
    Replied("an error about the length", "lmstudio-bug-tracker#2322",
            {"error": {"message": "The model is loaded with context length of only 4096 tokens, which is not enough.",
                       "code": 400}}, Rejected.by("prompt_too_long")),
    Replied("an error about the key", "ours", {"error": {"message": "no such key", "code": 401}},
            Raised("WrongConfig", "no such key")),
    Replied("an error of one word", "ours", {"error": "overloaded"}, WAITS),
    Replied("an error of one other word", "ours", {"error": "broken"}, Raised("BadReply", "broken")),
    # --- what is paid and cannot be read
    Replied("no choices", "9router#2727", {"choices": None, "usage": PAID}, Raised("BadReply"), paid=COUNTED),
    Replied("an empty list of choices", "Azure's API", {"choices": [], "usage": PAID}, Raised("BadReply"),
            paid=COUNTED),
    Replied("a choice without text", "ours", {"choices": [{"finish_reason": "stop"}], "usage": PAID},
            Raised("BadReply"), paid=COUNTED),
    Replied("a page", "ours", "<html>It works!</html>", Raised("BadReply"), content_type="text/html"),
]
# fmt: on
