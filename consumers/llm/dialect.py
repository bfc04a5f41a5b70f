"""The form in which an endpoint takes requests. Pure.

It begins with what `[llm.NAME]` sets. Where a server refuses a form and names a mechanical cure, `cured` gives the next
one; what the user set by hand is never changed.
"""

import re
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from consumers.llm import form as forms
from consumers.llm.endpoint import Endpoint
from consumers.llm.form import Form

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a request is written. The defaults are those of OpenAI's API as vLLM serves it."""

    max_tokens_field: MaxTokensField = "max_tokens"
    send_temperature: bool = True
    send_top_p: bool = True
    send_seed: bool = True
    max_stops: int | None = None  # stop strings sent at most; None: all
    system_role: Literal["system", "developer", "user"] = "system"  # "user": at the head of the first user message
    stream: bool = False
    stream_usage: bool = True  # a stream is asked for its token counts


@dataclass(frozen=True, slots=True)
class Cure:
    """A change of the dialect."""

    dialect: Dialect
    words: str  # what is done from now on
    setting: str  # that says so by hand


def of(endpoint: Endpoint) -> Dialect:
    """Return the dialect that the settings give."""
    return replace(Dialect(), **_by_hand(endpoint))


def cured(dialect: Dialect, refused: Form, endpoint: Endpoint) -> Cure | None:
    """Return the dialect to ask in next; None where there is no mechanical cure, where it is applied already, or where
    the user has set otherwise.

    >>> from consumers.llm.endpoint import Endpoint
    >>> end = Endpoint("http://a", "m")
    >>> cured(Dialect(), Form("temperature", ""), end).dialect.send_temperature
    False
    >>> cured(Dialect(send_temperature=False), Form("temperature", ""), end)
    """
    cure = _cure(dialect, refused)
    if cure is None or cure.dialect == dialect:
        return None
    fixed = _by_hand(endpoint)
    changed = [name for name in fixed if getattr(cure.dialect, name) != getattr(dialect, name)]
    return None if changed else cure


def advice(refused: Form, endpoint: Endpoint) -> str:
    """Return what the user can do about a refusal that the client cannot cure."""
    name = refused.parameter
    if name in endpoint.extra_body:
        return f"remove or change {name} in extra_body of [llm.NAME]"
    return _ADVICE.get(name, f"set {name} in extra_body of [llm.NAME] to what the server takes")


_ADVICE = {
    forms.MAX_TOKENS: "lower max_tokens in [stages.STAGE] or reasoning_tokens in [llm.NAME], or set max_tokens_field "
    "in [llm.NAME]",
    forms.TEMPERATURE: "set send_temperature = false in [llm.NAME], or another temperature in [stages.STAGE]",
    forms.TOP_P: "set send_top_p = false in [llm.NAME]",
    forms.SEED: "set send_seed = false in [llm.NAME]",
    forms.STOP: "set max_stops in [llm.NAME]",
    forms.STREAM: "set stream in [llm.NAME]",
    forms.STREAM_OPTIONS: "set stream_usage = false in [llm.NAME]",
    forms.SYSTEM: 'set system_role = "user" in [llm.NAME]',
    forms.TEMPLATE: 'set api = "completions" in [llm.NAME], or start the server with a chat template',
    forms.API: "set the other api in [llm.NAME]",
    forms.MODEL: "set model in [llm.NAME] to a name that the server knows",
}


def _by_hand(endpoint: Endpoint) -> dict[str, Any]:
    names = (field.name for field in fields(Dialect))
    return {name: value for name in names if (value := getattr(endpoint, name)) is not None}


def _cure(dialect: Dialect, refused: Form) -> Cure | None:
    match refused.parameter:
        case forms.MAX_TOKENS if refused.unsupported:
            field: MaxTokensField = "max_completion_tokens"
            if dialect.max_tokens_field == "max_completion_tokens":
                field = "max_tokens" if re.search(r"['\"`]max_tokens['\"`]", refused.words) else field
            return Cure(replace(dialect, max_tokens_field=field), f"sends {field}", f'max_tokens_field = "{field}"')
        case forms.TEMPERATURE if refused.unsupported:
            return Cure(
                replace(dialect, send_temperature=False),
                "leaves temperature out, so that the server samples by its own",
                "send_temperature = false",
            )
        case forms.TOP_P if refused.unsupported:
            return Cure(replace(dialect, send_top_p=False), "leaves top_p out", "send_top_p = false")
        case forms.SEED:
            return Cure(replace(dialect, send_seed=False), "leaves seed out", "send_seed = false")
        case forms.STOP if refused.stops is not None:
            return _fewer_stops(dialect, refused.stops)
        case forms.STREAM:
            return _streamed(dialect, refused)
        case forms.STREAM_OPTIONS:
            return Cure(replace(dialect, stream_usage=False), "leaves stream_options out", "stream_usage = false")
        case forms.SYSTEM:
            return Cure(
                replace(dialect, system_role="user"),
                "puts the system message at the head of the first user message",
                'system_role = "user"',
            )
        case _:
            return None


def _fewer_stops(dialect: Dialect, stops: int) -> Cure | None:
    if dialect.max_stops is not None and stops >= dialect.max_stops:
        # So many were sent, and refused again: the server takes none, whatever its words.
        stops = 0
    words = f"sends at most {stops} stop strings" if stops else "sends no stop strings"
    return Cure(replace(dialect, max_stops=stops), f"{words} and cuts replies itself", f"max_stops = {stops}")


def _streamed(dialect: Dialect, refused: Form) -> Cure | None:
    if dialect.stream:  # a server that takes no streams says so of a request that asks for one
        return Cure(replace(dialect, stream=False), "asks for whole replies", "stream = false")
    return Cure(replace(dialect, stream=True), "asks for streamed replies", "stream = true")
