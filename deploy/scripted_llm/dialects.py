"""The servers that this one can play, as a table: what each refuses and in which words, and how it shapes its replies.

Pure descriptions, from public reports and the servers' own sources; a row says which. What is not named is as OpenAI's
API has it. `refusals` acts on what stands here about requests, `bodies` on what stands here about answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from deploy.scripted_llm.around import END_TOKEN

Errors = Literal["openai", "vllm", "tgi", "llamacpp", "litellm"]
"""How an error is written down: see `bodies.error`."""

Tokenizer = Literal["count", "tokens", "inputs"]
"""What answers `/tokenize`: vLLM's count; llama.cpp's tokens, none for a body without `content`; TGI's, which wants
`inputs` and refuses all else."""

Thoughts = Literal["inline", "reasoning_content", "reasoning", "hidden"]
"""Where the thoughts of a reasoning model go: into the text, into one of two fields of a chat reply, or nowhere."""

Models = Literal["list", "tagged", "wildcard", "base", "array"]
"""What `/models` lists: the model; it with a tag behind its name; `*`; models of which it is a deployment; the model,
in an array that nothing is around."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A parameter that is refused: always, or unless it has the one value allowed, or when it is longer than `most`.

    `words` may name {value}, and {count} of a list.
    """

    parameter: str
    words: str
    status: int = 400
    code: str | None = None
    only: Any = None
    needed: bool = False  # what is left out is refused too
    most: int | None = None

    def broken_by(self, sent: Mapping[str, Any]) -> bool:
        """Tell whether a request breaks the rule."""
        if self.parameter not in sent:
            return self.needed
        if self.most is not None:
            return count(sent[self.parameter]) > self.most
        return self.only is None or sent[self.parameter] != self.only


def count(value: Any) -> int:
    """Return how many there are in a list; 1 for anything else."""
    return len(cast("list[Any]", value)) if isinstance(value, list) else 1


@dataclass(frozen=True, slots=True)
class TooLong:
    """How a server says that prompt and reply do not fit. `words` may name {prompt}, {reply}, {total} and {context}."""

    words: str
    status: int = 400
    code: str | None = None
    kind: str | None = None
    with_reply: bool = True  # else only the prompt has to fit, and the reply is cut off where the context ends


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server."""

    base: str = "/v1"  # the path that all others are under
    errors: Errors = "openai"
    completions: Rule | None = None  # refuses all of that API
    rules: tuple[Rule, ...] = ()
    system: Rule | None = None  # refuses a conversation with a system message
    any_model: bool = False  # the name of the model is not looked at
    too_long: TooLong | None = None  # None: the beginning of the prompt is left out without a word
    models: Models = "list"
    tokenizer: Tokenizer | None = None

    thoughts: Thoughts | None = None
    stops_in_thoughts: bool = True  # stop strings end thoughts too
    leads: str = ""  # white space that begins each text
    end_token: str = ""  # left at the end of a text that the model ended itself
    keeps_stop: bool = False  # the stop string stands at the end of the text
    finish: dict[str, str | None] = field(default_factory=dict[str, str | None])  # other words for end, stop, length
    usage: bool = True
    parts: bool = False  # content is a list of parts
    filters: float = 0.0  # share of prompts that a content filter refuses; of as many others it withholds the reply


FOUR_STOPS = Rule(
    "stop",
    "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length {count} "
    "instead.",
    code="array_above_max_length",
    most=4,
)
"""continuedev/continue#2461."""

CHAT_ONLY = Rule(
    "prompt",
    "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use v1/chat/completions?",
    status=404,
)
"""RomanHotsiy/commitgpt#43."""

OPENAI_TOO_LONG = TooLong(
    "This model's maximum context length is {context} tokens. However, you requested {total} tokens ({prompt} in the "
    "messages, {reply} in the completion). Please reduce the length of the messages or completion.",
    code="context_length_exceeded",
)
"""mckaywrigley/chatbot-ui#102."""

NO_SYSTEM = Rule("messages", "System role not supported")
"""vllm-project/guidellm#67: the template of Gemma 2."""

DIALECTS: dict[str, Dialect] = {
    # OpenAI's API without a limit of any kind, as the other tests want it.
    "plain": Dialect(
        errors="openai",
        too_long=OPENAI_TOO_LONG,
        tokenizer="count",
    ),
    # A reasoning model, with --reasoning-parser: vllm#14550 (stops), vllm#42474 (too long), docs on reasoning outputs.
    "vllm": Dialect(
        errors="vllm",
        too_long=TooLong(
            "This model's maximum context length is {context} tokens. However, you requested {reply} output tokens and "
            "your prompt contains at least {prompt} input tokens, for a total of at least {total} tokens."
        ),
        tokenizer="count",
        thoughts="reasoning_content",
        stops_in_thoughts=False,
        leads="\n\n",
    ),
    # The same with a model whose template knows no system role, and no thoughts.
    "vllm-gemma": Dialect(
        errors="vllm",
        system=NO_SYSTEM,
        too_long=TooLong(
            "This model's maximum context length is {context} tokens. However, you requested {total} tokens ({prompt} "
            "in the messages, {reply} in the completion). Please reduce the length of the messages or completion."
        ),
        tokenizer="count",
    ),
    # TGI#628 (too long), #2584 (stops), #2344 (finish reasons, before it), #1724 (stop strings stay), router/src.
    "tgi": Dialect(
        errors="tgi",
        rules=(
            Rule(
                "stop",
                "Input validation error: `stop` supports up to 4 stop sequences. Given: {count}",
                status=422,
                most=4,
            ),
        ),
        any_model=True,
        too_long=TooLong(
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= {context}. Given: {prompt} `inputs` "
            "tokens and {reply} `max_new_tokens`",
            status=422,
        ),
        tokenizer="inputs",
        keeps_stop=True,
        finish={"end": "eos_token", "stop": "stop_sequence"},
    ),
    # llama.cpp#15780 and #17284 (too long), tools/server/README.md (tokenize); thoughts as with --reasoning-format none
    # (llama.cpp#11861), a template that leaves its token.
    "llamacpp": Dialect(
        errors="llamacpp",
        any_model=True,
        too_long=TooLong(
            "request ({prompt} tokens) exceeds the available context size ({context} tokens), try increasing it",
            kind="exceed_context_size_error",
            with_reply=False,
        ),
        tokenizer="tokens",
        thoughts="inline",
        end_token=END_TOKEN,
    ),
    # ollama#15288 (thoughts), #7661 (the prompt is cut without a word); names have a tag, chatboxai/chatbox#2300.
    "ollama": Dialect(models="tagged", thoughts="reasoning"),
    # litellm#13643 (models), #33738 (parameters), OpenHands#5350 (too long); codes are strings.
    "litellm": Dialect(
        errors="litellm",
        rules=(
            Rule(
                "seed",
                "litellm.UnsupportedParamsError: anthropic does not support parameters: ['seed'], for model=scripted. "
                "To drop these, set `litellm.drop_params=True` or for proxy:\n\n`litellm_settings:\n drop_params: "
                "true`\n",
            ),
        ),
        too_long=TooLong(
            "litellm.BadRequestError: litellm.ContextWindowExceededError: AnthropicError - prompt is too long: "
            "{total} tokens > {context} maximum. Received Model Group=scripted"
        ),
        models="wildcard",
    ),
    # ComfyUI-Griptape#312 (limit), gabrii/Cursor-Azure-GPT-5#33 (temperature), smolagents#1671 (stop); thoughts are
    # paid and not shown (langchain#32477).
    "openai-reasoning": Dialect(
        completions=CHAT_ONLY,
        rules=(
            Rule(
                "max_tokens",
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
                "instead.",
                code="unsupported_parameter",
            ),
            Rule(
                "temperature",
                "Unsupported value: 'temperature' does not support {value} with this model. Only the default (1) value "
                "is supported.",
                code="unsupported_value",
                only=1,
            ),
            Rule(
                "stop",
                "Unsupported parameter: 'stop' is not supported with this model.",
                code="unsupported_parameter",
            ),
        ),
        too_long=OPENAI_TOO_LONG,
        thoughts="hidden",
    ),
    # openai-python#800 (completions), #331 (filter); /models lists base models, not deployments (aider#672).
    "azure": Dialect(
        base="/openai/v1",
        completions=Rule(
            "prompt",
            "The completion operation does not work with the specified model, scripted. Please choose different model "
            "and try again.",
            code="OperationNotSupported",
        ),
        rules=(FOUR_STOPS,),
        too_long=OPENAI_TOO_LONG,
        models="base",
        filters=0.04,
    ),
    # Alibaba's QwQ: ragflow#5912.
    "dashscope": Dialect(
        completions=CHAT_ONLY,
        rules=(
            Rule(
                "stream",
                "This model only support stream mode, please enable the stream parameter to access the model. ",
                code="invalid_parameter_error",
                only=True,
                needed=True,
            ),
        ),
        too_long=OPENAI_TOO_LONG,
        thoughts="reasoning_content",
    ),
    # What small gateways leave out or write in another way: litellm#16493 (usage), hermes-agent#4748 (parts),
    # ragas#1548 (eos).
    "gateway": Dialect(
        too_long=OPENAI_TOO_LONG,
        models="array",
        usage=False,
        parts=True,
        finish={"end": "eos", "stop": None},
    ),
}
