"""Whether an error refuses the form of a request: what would be refused for every record, and not for this one. Pure.

The parameter is taken from the fields of the error where it has such fields, else from its words. A server may repeat
the prompt in its words, and the text of a record must not stop a stage: words that the request itself holds count for
nothing, and an error whose `param` names the prompt is the record's.

Sources of the words: public reports on OpenAI, Azure, Anthropic, Gemini, Mistral, Groq, xAI, DashScope, Moonshot and
Zhipu behind their OpenAI APIs, and on vLLM, SGLang, TGI, llama.cpp and LiteLLM.
"""

import functools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from consumers.llm.said import Said

MAX_TOKENS, TEMPERATURE, TOP_P, SEED, STOP = "max_tokens", "temperature", "top_p", "seed", "stop"
STREAM, STREAM_OPTIONS, SYSTEM, TEMPLATE, MODEL, API = (
    "stream", "stream_options", "system role", "chat template", "model", "api",
)  # fmt: skip

_ALIASES: Mapping[str, str] = {
    "max_tokens": MAX_TOKENS,
    "max_completion_tokens": MAX_TOKENS,
    "max_new_tokens": MAX_TOKENS,
    "max_output_tokens": MAX_TOKENS,
    "maxoutputtokens": MAX_TOKENS,
    "temperature": TEMPERATURE,
    "top_p": TOP_P,
    "topp": TOP_P,
    "seed": SEED,
    "random_seed": SEED,
    "stop": STOP,
    "stop_sequences": STOP,
    "stopsequences": STOP,
    "stop_words": STOP,
    "stop words": STOP,
    "stop strings": STOP,
    "stop sequences": STOP,
    "stop tokens": STOP,
    "stream": STREAM,
    "stream_options": STREAM_OPTIONS,
    "model": MODEL,
}

_OF_THE_RECORD = ("messages", "prompt", "input", "inputs", "contents", "content")

_CODES_OF_A_FORM = {
    "unsupported_parameter",
    "unsupported_value",
    "unknown_parameter",
    "unknown_field",
    "unrecognized_parameter",
    "array_above_max_length",
    "integer_above_max_value",
    "integer_below_min_value",
    "decimal_above_max_value",
    "decimal_below_min_value",
    "missing_required_parameter",
}

_STREAM_ONLY = re.compile(
    r"only (?:supports? )?stream(?:ing)?\b|stream(?:ing)? mode only|streaming[- ]only|streaming is required"
    r"|non[- ]stream(?:ing)? (?:\w+ )?(?:calls?|requests?|mode|responses?|is|are)\b|only streaming"
    r"|stream['\"`]? (?:must|should|needs to|has to) be (?:set to )?['\"`]?true"
    r"|requires? (?:stream\s?=\s?true|streaming)"
    r"|stream ?= ?false['\"`]? is not|stream to (?:be )?true"
    r"|use (?:the )?stream(?:ing)?\b|must (?:be streamed|use stream)"
    r"|set ['\"`]?stream['\"`]? ?(?:=|to) ?['\"`]?true|support\w* when ['\"`]?stream ?= ?false",
    re.IGNORECASE,
)
_NO_SYSTEM = re.compile(
    r"system (?:role|message|prompt|instruction)s? ?(?:is|are)? ?(?:not (?:supported|allowed|enabled)|unsupported)"
    r"|(?:not|n't) support (?:the )?['\"`]?system['\"`]? ?(?:role|message|prompt|instruction)"
    r"|developer instruction is not enabled|messages\[0\]\.role|roles must alternate"
    r"|only (?:the )?['\"`]?user['\"`]?,? (?:and|or|and/or) ['\"`]?(?:assistant|model)['\"`]? roles"
    r"|(?:unsupported|invalid|unknown|unexpected) role:? ?['\"`]?system|role ['\"`]?system['\"`]? is not"
    r"|['\"`]system['\"`] is not (?:one of|a valid|an allowed)"
    r"|first message (?:must|should|to) be (?:from )?(?:the )?['\"`]?user",
    re.IGNORECASE,
)
_NO_TEMPLATE = re.compile(
    r"(?:no|without a?|missing|must provide a|not define a|have a|need a) ?(?:default )?chat[_ ]template"
    r"|chat[_ ]template (?:is|was|has|not|could|found)[^.;]{0,40}(?:not|no longer|missing|none|found|set)"
    r"|template error: template not found",
    re.IGNORECASE,
)
_OF_MESSAGES = ((_NO_SYSTEM, SYSTEM), (_NO_TEMPLATE, TEMPLATE))
_OTHER_API = re.compile(
    r"not a chat model|is a chat model|not supported in the v1/|only supported in v1/"
    r"|does not support (?:chat|generate)\b"
    r"|(?:chat ?completion|completion)s? operation does not work|use v1/(?:chat/)?completions",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model_not_found|invalid model(?: name)?\b|model not exist|model not found|unknown model|no such model"
    r"|no models? (?:is |are )?loaded"
    r"|the model ['\"`][^'\"`]{1,200}['\"`] does not exist",
    re.IGNORECASE,
)
_NOT_BOTH = re.compile(r"temperature['\"`]? and ['\"`]?top_p['\"`]? cannot both", re.IGNORECASE)
_TOO_MANY_STOPS = re.compile(
    r"(?:number|length) of ['\"`]?stop|too many stop|len\(stop\)"
    r"|stop[^.;]{0,60}(?:too long|too many|at most|up to|maximum)"
    r"|only (?:one|a single|two|three|four|\d{1,2}) stop|['\"`]\$?\.?stop['\"`] is invalid|stop.{0,3}最大",
    re.IGNORECASE,
)
_STOPS_TAKEN = re.compile(
    r"(?:maximum length|up to|at most|maximum of|more than|len\(stop\) ?>|max(?:imum)?|最大只能有|only)"
    r" ?(?:of )?(\d{1,3}|one|a single|two|three|four)(?![a-z0-9])",
    re.IGNORECASE,
)
_NUMBERS: Mapping[str, int] = {"one": 1, "a single": 1, "two": 2, "three": 3, "four": 4}
_UNSUPPORTED = re.compile(
    r"unsupported|not support|n't support|unknown|unrecogni[sz]ed|unexpected|extra (?:inputs|fields|parameter)"
    r"|extra_forbidden|not (?:permitted|allowed|accepted|recogni[sz]ed|implemented|available|expected|known|enabled)"
    r"|deprecated|cannot find|not find|unpermitted|disallowed|cannot both|only the default"
    r"|only \S{1,12} is (?:allowed|supported)|may only be|no longer|could not be validated|additional propert"
    r"|in place of|instead of ['\"`]?max_|has to be a strictly positive|不支持|不允许",
    re.IGNORECASE,
)

_QUOTES = r"['\"`\s.$\[\](){}]*"
_FILLING = (
    r"(?:(?:the|a|an|request|input|body|parameters?|params?|arguments?|args?|fields?|values?|names?|keys?"
    r"|propert(?:y|ies)|keywords?|options?|settings?|supplied|provided|received|given|for|of|in|on|with|this|model|named|called)\b"
    r"(?:\(s\))?[\s:,=]*"
    r"['\"`\s.$\[{(]*)*"
)
_BEFORE = (
    r"(?:unsupported|unknown|unrecogni[sz]ed|unexpected|invalid|illegal|unpermitted|extra|extraneous|disallowed"
    r"|not support(?:ed|ing)?|n't support|not (?:accept|allow|recogni[sz]e)(?:ed)?|n't (?:accept|allow|recogni[sz]e)"
    r"|cannot find|not permitted|not allowed|remove|drop|additional|in place of|instead of"
    r"|不支持|不允许|未知|无效)(?:的)?(?:参数|字段)?[\s:,=：]*"
)
_AFTER = (
    r"(?:\(?=\s?[\w.+-]{1,20}\)?\s*)?"
    r"(?:parameter|value|field|argument|option|specified|in|of|the|request|for|this|model|,|\s|['\"`])*:?\s*(?:"
    r"(?:is|are|was|were) (?:not|un|in|no longer|only|too|out of|deprecated|disallowed|forbidden|required)"
    r"|(?:is|are) (?:greater|larger|less)"
    r"|(?:does|do|did) not|(?:does|do)n't|(?:must|should|has to|have to|needs to)\b"
    r"|(?:can|may|cannot|can't|could not) |present\b|only |supports? |too (?:long|many|large|high|low)\b|array too long"
    r"|extra (?:inputs|fields)|extra_forbidden|cannot find field|not (?:supported|permitted|allowed)|unsupported"
    r"|unknown|unexpected"
    r"|input should|exceeds?\b|\d+ ?>|(?:of \S+ )?but\b|each\b|最大|(?:参数|字段)?(?:不支持|不被支持|不允许|无效|未知))"
)


_RUN = 6
"""Letters before or behind a name that tell whether it is a part of the prompt."""


@dataclass(frozen=True, slots=True)
class Form:
    """What of a request's form is refused."""

    parameter: str  # as the request names it, or one of the constants above
    words: str  # the server's
    unsupported: bool = True  # the parameter as such; else the value that it has
    stops: int | None = None  # how many stop strings the server takes at most, where it refuses their number


def refused(said: Said, sent: bytes, extra: Collection[str] = ()) -> Form | None:
    """Return what of the form of a request an error refuses; None where it may be about its prompt. `sent` is the body
    of the request, `extra` names what `extra_body` added to it."""
    named = _named(said, sent, extra)
    if named is None:
        return None
    if named == STOP:
        return Form(STOP, said.words, stops=_stops(said, sent))
    return Form(named, said.words, _is_unsupported(said))


def _named(said: Said, sent: bytes, extra: Collection[str]) -> str | None:
    if _found(_STREAM_ONLY, said, sent):
        return STREAM
    about = _of_field(said.param, said, extra) if said.param else None
    if about in _OF_THE_RECORD:
        return next((name for pattern, name in _OF_MESSAGES if _found(pattern, said, sent)), None)
    if about:
        return about
    places = [_of_field(violation.field, said, extra) for violation in said.violations]
    for about in places:
        if about and about not in _OF_THE_RECORD:
            return about
    if any(places):
        return None
    for pattern, parameter in (*_OF_MESSAGES, (_OTHER_API, API)):
        if _found(pattern, said, sent):
            return parameter
    if _found(_NOT_BOTH, said, sent):
        return TOP_P
    if _found(_TOO_MANY_STOPS, said, sent):
        return STOP
    if (name := _in_words(said, sent, extra)) is not None:
        return _ALIASES.get(name.lower(), name)
    if "model_not_found" in said.codes or _found(_NO_MODEL, said, sent):
        return MODEL
    return None


def _in_words(said: Said, sent: bytes, extra: Collection[str]) -> str | None:
    """Return the parameter that the words refuse."""
    for match in _words(tuple(extra)).finditer(said.words):
        group = 1 if match[1] else 2
        start, end = match.span(group)
        # "Invalid input: temperature is…" may be the prompt from there on, or up to there.
        most = len(_letters(match[group])) + _RUN
        runs = (_letters(said.words[:end])[-most:], _letters(said.words[start:])[:most])
        if not holds(sent, match[0]) and not any(holds(sent, run) for run in runs if len(run) == most):
            return match[group]
    return None


def _of_field(field: str, said: Said, extra: Collection[str]) -> str | None:
    """Return what a field of an error names: a parameter, or a part of the prompt; None where it says nothing.

    >>> _of_field("messages[0].role", Said(""), ()), _of_field("messages.[2].content", Said(""), ())
    ('system role', 'messages')
    >>> _of_field("$.stop", Said(""), ()), _of_field("request_id", Said(""), ())
    ('stop', None)
    """
    path = [part for part in re.split(r"[.\[\]$/]+", field.removeprefix("body.")) if part]
    if not path:
        return None
    if path[0] in _OF_THE_RECORD:
        return SYSTEM if path[-1] == "role" else path[0]
    if path[0] in extra:
        return path[0]
    known = _ALIASES.get(path[0].lower())
    if known is None and _CODES_OF_A_FORM.intersection(said.codes):
        return path[0]
    return known


@functools.lru_cache(maxsize=16)
def _words(extra: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of a parameter that is refused in words, with its name in the first group that matched."""
    names = "|".join(re.escape(name) for name in sorted({*_ALIASES, *extra} - {"model"}, key=len, reverse=True))
    return re.compile(
        # Not \b: a name may stand amid Chinese, whose characters are letters too.
        rf"{_BEFORE}{_FILLING}{_QUOTES}(?<![a-z0-9_])({names})(?![a-z0-9_])|(?<![a-z0-9_])({names})(?![a-z0-9_]){_QUOTES}{_AFTER}",
        re.IGNORECASE,
    )


def _is_unsupported(said: Said) -> bool:
    if {"unsupported_parameter", "unknown_parameter", "unsupported_value", "unsupportedparamserror"}.intersection(
        said.codes
    ):
        return True
    return bool(_UNSUPPORTED.search(said.words)) or any(v.kind == "extra_forbidden" for v in said.violations)


def _stops(said: Said, sent: bytes) -> int:
    """Return how many stop strings the server takes: the number that it names, 4 where it only says that there are too
    many (the limit of OpenAI's API, which others took over), 0 where it takes none."""
    if not (_found(_TOO_MANY_STOPS, said, sent) or "array_above_max_length" in said.codes):
        return 0
    taken = _STOPS_TAKEN.search(said.words)
    return _NUMBERS.get(taken[1].lower()) or int(taken[1]) if taken else 4


def _found(pattern: re.Pattern[str], said: Said, sent: bytes) -> re.Match[str] | None:
    """Return the first match that the request does not hold itself."""
    return next((match for match in pattern.finditer(said.words) if not holds(sent, match[0])), None)


def holds(sent: bytes, words: str) -> bool:
    r"""Whether a request holds these words, however a server spells them when it repeats it.

    >>> holds(b'{"prompt": "Is \\"seed\\" an\\nunknown parameter?"}', 'an\\nUnknown Parameter')
    True
    >>> holds(b'{"prompt": "an unknown word", "seed": 1}', "unknown parameter: seed")
    False
    """
    return _letters(words) in _letters(sent.decode(errors="replace"))


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", re.sub(r"\\+[nrtbf]", " ", text)).lower()
