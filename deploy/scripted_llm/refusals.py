"""Which requests a dialect refuses, and what it answers then. Pure."""

from dataclasses import dataclass
from typing import Any

from deploy.scripted_llm import bodies
from deploy.scripted_llm.asked import Ask
from deploy.scripted_llm.dialects import Dialect, Rule, count
from deploy.scripted_llm.dice import Dice

FILTERED = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify "
    "your prompt and retry."
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no reply."""

    status: int
    body: dict[str, Any]


def of_form(dialect: Dialect, ask: Ask) -> Refusal | None:
    """Return the answer to a request whose form is refused, whatever its prompt."""
    if dialect.completions and not ask.chat:
        return _broken(dialect, dialect.completions, ask)
    if dialect.system and any(message.role == "system" for message in ask.fields.messages or ()):
        return _broken(dialect, dialect.system, ask)
    for rule in dialect.rules:
        if rule.broken_by(ask.sent):
            return _broken(dialect, rule, ask)
    return None


def _broken(dialect: Dialect, rule: Rule, ask: Ask) -> Refusal:
    value = ask.sent.get(rule.parameter)
    words = rule.words.format(value=value, count=count(value))
    return Refusal(rule.status, bodies.error(dialect.errors, rule.status, words, rule.parameter, rule.code))


def of_length(dialect: Dialect, prompt_tokens: int, reply_tokens: int, context: int | None) -> Refusal | None:
    """Return the answer to a prompt that does not fit."""
    too_long = dialect.too_long
    if context is None or too_long is None:
        return None
    total = prompt_tokens + reply_tokens
    if (total if too_long.with_reply else prompt_tokens) <= context:
        return None
    words = too_long.words.format(prompt=prompt_tokens, reply=reply_tokens, total=total, context=context)
    body = bodies.error(dialect.errors, too_long.status, words, "messages", too_long.code, too_long.kind)
    if dialect.errors == "llamacpp":
        body["error"] |= {"n_prompt_tokens": prompt_tokens, "n_ctx": context}
    return Refusal(too_long.status, body)


def of_filter(dialect: Dialect, ask: Ask) -> Refusal | None:
    """Return the answer to a prompt that a content filter refuses: drawn by the prompt, so the same each time."""
    if Dice("filter", ask.text).share() >= dialect.filters:
        return None
    body = bodies.error(dialect.errors, 400, FILTERED, "prompt", "content_filter")
    body["error"] |= {"status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}
    return Refusal(400, body)


def withheld(dialect: Dialect, ask: Ask) -> bool:
    """Tell whether the filter withholds the reply."""
    return Dice("withheld", ask.text, ask.fields.seed).share() < dialect.filters
