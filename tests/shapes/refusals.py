"""How servers refuse a request: the prompt is too long or filtered, the server is busy, or its form is not taken."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.shapes.rows import Again, Api, Raised, Rejected

LONG = Rejected.by("prompt_too_long")
FILTERED = Rejected.by("filtered")
WAITS = Raised("Refused")


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer to the first request, and what is right; a second request gets a good reply."""

    name: str
    source: str
    status: int
    body: Any  # JSON, or the bytes as text
    right: Rejected | Raised | Again
    api: Api = "chat"
    endpoint: Mapping[str, Any] = field(default_factory=dict[str, Any])  # more keys of [llm.NAME]


def error(message: str, code: Any = None, param: str | None = None, kind: str = "invalid_request_error") -> Any:
    """As OpenAI puts it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def flat(message: str) -> Any:
    """As vLLM did until 0.10, and SGLang does."""
    return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400}


def tgi(message: str) -> Any:
    return {"error": f"Input validation error: {message}", "error_type": "validation"}


MAX_TOKENS = error(
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    "unsupported_parameter",
    "max_tokens",
)
FOLDED = Again({"roles": ("user",)})

# fmt: off
REFUSALS = [
    # --- too long
    Refused("TGI", "TGI#628", 422,
            tgi("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 3900 `inputs` tokens and 400 "
                "`max_new_tokens`"), LONG),
    Refused("TGI, the prompt alone", "TGI#937", 422,
            tgi("`inputs` must have less than 1024 tokens. Given: 1872"), LONG),
    Refused("llama.cpp", "llama.cpp#15780", 400,
            {"error": {"code": 400, "message": "request (9412 tokens) exceeds the available context size (8192 tokens),"
                       " try increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 9412,
                       "n_ctx": 8192}}, LONG),
    Refused("llama.cpp with 500", "llama.cpp#15780", 500,
            {"error": {"code": 500, "message": "the request exceeds the available context size. try increasing the "
                       "context size or enable context shift", "type": "exceed_context_size_error"}}, LONG),
    Refused("llama-cpp-python", "logdetective-website#193", 500,
            error("Requested tokens (2285) exceed context window of 2048"), LONG),
    Refused("vLLM", "vllm#42474", 400,
            {"error": {"message": "This model's maximum context length is 128000 tokens. However, you requested 65535 "
                       "output tokens and your prompt contains at least 62466 input tokens, for a total of at least "
                       "128001 tokens.", "type": "BadRequestError", "param": None, "code": 400}}, LONG),
    Refused("vLLM, older", "vllm#20409", 400,
            flat("This model's maximum context length is 16384 tokens. However, you requested 19591 tokens (9591 in "
                 "the messages, 10000 in the completion). Please reduce the length of the messages or completion."),
            LONG),
    Refused("vLLM about the limit and the prompt", "claude-code-best#272", 400,
            error("'max_tokens' or 'max_completion_tokens' is too large: 64000. This model's maximum context length is "
                  "64001 tokens and your request has 24235 input tokens (64000 > 64001 - 24235)."), LONG),
    Refused("SGLang", "Qwen3#1321", 400,
            flat("The input (61709 tokens) is longer than the model's context length (40960 tokens)."), LONG),
    Refused("OpenAI, Azure", "chatbot-ui#102", 400,
            error("This model's maximum context length is 4097 tokens. However, you requested 4120 tokens.",
                  "context_length_exceeded", "messages"), LONG),
    Refused("a code alone", "OpenAI's API", 400, error("Too much.", "context_length_exceeded"), LONG),
    Refused("Ollama", "nano-brain#208", 400, {"error": "the input length exceeds the context length"}, LONG),
    Refused("LiteLLM", "OpenHands#5350", 400,
            error("litellm.BadRequestError: litellm.ContextWindowExceededError: AnthropicError - prompt is too long: "
                  "209303 tokens > 200000 maximum", "400"), LONG),
    Refused("GitHub Copilot", "openhuman#2074", 400,
            error("token count 203783 exceeds model max context 202752"), LONG),
    Refused("Gemini", "gemini-cli#6678", 400,
            [error("The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).", 400)],
            LONG),
    Refused("LM Studio", "lmstudio-bug-tracker#546", 400,
            {"error": "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded "
                      "with context length of only 32768 tokens, which is not enough."}, LONG),
    Refused("TensorRT-LLM", "tensorrtllm_backend#565", 400,
            error("Encountered an error when fetching new request: Prompt length (200) exceeds maximum input length "
                  "(128)"), LONG),
    Refused("xAI", "xAI's API", 400,
            error("This model's maximum prompt length is 131072 but the request contains 537812 tokens."), LONG),
    Refused("mlx-serve", "mlx-serve#66", 400, error("Prompt exceeds maximum context length"), LONG),
    Refused("too long with 413", "ours", 413, error("This model's maximum context length is 8192 tokens."), LONG),
    Refused("more tokens than a minute allows", "ha-groq-cloud-api#27", 413,
            error("Request too large for model on tokens per minute (TPM): Limit 6000, Requested 12328, please reduce "
                  "your message size and try again.", "rate_limit_exceeded", kind="tokens"), LONG),
    Refused("more tokens than a minute allows, OpenAI", "vanna-flask#11", 429,
            error("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 342389. The input or "
                  "output tokens must be reduced in order to run successfully.", "rate_limit_exceeded", kind="tokens"),
            LONG),
    # --- filtered
    Refused("Azure's filter", "openai-python#331", 400,
            {"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
                       "management policy. Please modify your prompt and retry.", "type": None, "param": "prompt",
                       "code": "content_filter", "status": 400,
                       "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, FILTERED),
    Refused("the filter behind LiteLLM", "litellm#16231", 400,
            error("litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException - The response was "
                  "filtered due to the prompt triggering Azure OpenAI's content management policy.", "400"), FILTERED),
    Refused("DashScope's filter", "camel-ai/owl#432", 400,
            error("Input data may contain inappropriate content.", "data_inspection_failed",
                  kind="data_inspection_failed"), FILTERED),
    Refused("OpenAI's filter", "codex#7250", 400,
            error("Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again "
                  "with a different prompt.", "invalid_prompt"), FILTERED),
    # --- busy
    Refused("the tokens of a minute are used", "elizaOS/eliza#4040", 429,
            error("Rate limit reached for model on tokens per minute (TPM): Limit 6000, Used 5034, Requested 1443. "
                  "Please try again in 4.77s.", "rate_limit_exceeded", kind="tokens"), WAITS),
    Refused("TGI is overloaded", "TGI's router", 429, {"error": "Model is overloaded", "error_type": "overloaded"},
            WAITS),
    Refused("llama.cpp loads its model", "llama.cpp's server", 503,
            {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, WAITS),
    Refused("LiteLLM has no deployment left", "litellm's router", 429,
            error("No deployments available for selected model, Try again in 60 seconds.", "429"), WAITS),
    # --- the form, with a cure that the server names
    Refused("max_completion_tokens instead", "ComfyUI-Griptape#312", 400, MAX_TOKENS,
            Again({"max_completion_tokens": 200}, lacks=("max_tokens",))),
    Refused("max_completion_tokens instead, in other fields", "copilot-api#164", 400,
            {"error": {"message": MAX_TOKENS["error"]["message"], "code": "invalid_request_body"}},
            Again({"max_completion_tokens": 200}, lacks=("max_tokens",))),
    Refused("only the default temperature", "llmcomp#69", 400,
            error("Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value "
                  "is supported.", "unsupported_value", "temperature"), Again(lacks=("temperature",))),
    Refused("LiteLLM about a temperature", "litellm#33738", 400,
            error("litellm.UnsupportedParamsError: gpt-5-nano doesn't support temperature=0.7 while reasoning is "
                  "active. Only temperature=1 is supported.", "400"), Again(lacks=("temperature",))),
    Refused("no stop strings", "smolagents#1671", 400,
            error("Unsupported parameter: 'stop' is not supported with this model.", "unsupported_parameter", "stop"),
            Again(lacks=("stop",))),
    Refused("four stop strings", "continue#2461", 400,
            error("Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with "
                  "length 6 instead.", "array_above_max_length", "stop"), Again({"stops": 4})),
    Refused("four stop strings, TGI", "TGI#2584", 422, tgi("`stop` supports up to 4 stop sequences. Given: 6"),
            Again({"stops": 4})),
    Refused("no seed", "langchain-azure#82", 422,
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted",
                         "input": 1}]}, Again(lacks=("seed",))),
    Refused("no seed, LiteLLM", "RouteLLM#72", 400,
            error("litellm.UnsupportedParamsError: anthropic does not support parameters: ['seed'], for model=x. To "
                  "drop these, set `litellm.drop_params=True`", "400"), Again(lacks=("seed",))),
    Refused("no seed, by its name alone", "llm_wiki#336", 400, error("Unrecognized request argument supplied: seed"),
            Again(lacks=("seed",))),
    Refused("no top_p", "lobehub#7747", 400,
            error("Unsupported parameter: 'top_p' is not supported with this model.", "unsupported_parameter", "top_p"),
            Again(lacks=("top_p",))),
    Refused("no system role", "guidellm#67", 400, flat("System role not supported"), FOLDED),
    Refused("no system role, with 500", "sglang#892", 500, error("System role not supported"), FOLDED),
    Refused("no system role, OpenAI", "openai4j#62", 400,
            error("Unsupported value: 'messages[0].role' does not support 'system' with this model.",
                  "unsupported_value", "messages[0].role"), FOLDED),
    Refused("roles must alternate", "autogen#1037", 400,
            flat("Conversation roles must alternate user/assistant/user/assistant/..."), FOLDED),
    Refused("only user and assistant", "node-llama-cpp#263", 400,
            error("Only user and assistant roles are supported!"), FOLDED),
    Refused("streams only", "ragflow#5912", 400,
            error("This model only support stream mode, please enable the stream parameter to access the model. ",
                  "invalid_parameter_error"), Again({"stream": True})),
    # --- the form, without a cure: the stage stops, and no record dies
    Refused("an own parameter", "llm_wiki#336", 400, error("Unrecognized request argument supplied: top_k"),
            Raised("WrongConfig", "extra_body"), endpoint={"extra_body": {"top_k": 40}}),
    Refused("a limit below our own", "NextChat#3195", 400,
            error("max_tokens is too large: 200. This model supports at most 100 completion tokens, whereas you "
                  "provided 200.", None, "max_tokens"), Raised("WrongConfig", "max_tokens")),
    Refused("no completions", "commitgpt#43", 404,
            error("This is a chat model and not supported in the v1/completions endpoint. Did you mean to use "
                  "v1/chat/completions?", None, "model"), Raised("WrongConfig", "api"), api="completions"),
    Refused("no completions, Azure", "openai-python#800", 400,
            {"error": {"code": "OperationNotSupported", "message": "The completion operation does not work with the "
                       "specified model, gpt-4o. Please choose different model and try again."}},
            Raised("WrongConfig", "api"), api="completions"),
    Refused("no chat", "llama_index#1332", 404,
            error("This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean "
                  "to use v1/completions?", None, "model"), Raised("WrongConfig", "api")),
    Refused("no chat template", "TGI's router", 422,
            {"error": "Template error: template not found", "error_type": "template_error"},
            Raised("WrongConfig", "emplate")),
    Refused("no such deployment", "chatbox#861", 404,
            {"error": {"code": "DeploymentNotFound",
                       "message": "The API deployment for this resource does not exist."}},
            Raised("WrongConfig", "deployment")),
    Refused("a wrong key", "OpenAI's API", 401, error("Incorrect API key provided"), Raised("WrongConfig", "key")),
]
# fmt: on
