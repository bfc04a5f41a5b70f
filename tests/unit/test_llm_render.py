"""The forms of a prompt that `request.Prompt` promises, to the letter."""

import orjson

from consumers.llm.apis import body, prompt_field
from consumers.llm.endpoint import Endpoint
from consumers.llm.render import completion_text, messages
from consumers.llm.request import Prompt, Request, Sampling, Shot

PROMPT = Prompt(
    system="You judge.",
    shots=(Shot("[Code]\nf", "[Verdict]\nYes"), Shot("[Code]\ng", "[Verdict]\nNo")),
    ask="[Code]\nh",
    prefill="[Verdict]\n",
)
REQUEST = Request("id", PROMPT, Sampling(0.5, max_tokens=5, stop=("\n", "## Example"), top_p=0.9), seed=11)


def endpoint(api: str, **more: object) -> Endpoint:
    return Endpoint("http://localhost:1", "coder", api=api, **more)  # type: ignore[arg-type]


def test_a_completion_prompt_ends_where_the_model_goes_on() -> None:
    assert completion_text(PROMPT) == (
        "You judge.\n\n"
        "## Example 1\n[Code]\nf\n[Verdict]\nYes\n\n"
        "## Example 2\n[Code]\ng\n[Verdict]\nNo\n\n"
        "## Example 3\n[Code]\nh\n[Verdict]\n"
    )


def test_chat_has_a_message_for_each_part_and_no_prefill() -> None:
    assert messages(PROMPT) == [
        {"role": "system", "content": "You judge."},
        {"role": "user", "content": "[Code]\nf"},
        {"role": "assistant", "content": "[Verdict]\nYes"},
        {"role": "user", "content": "[Code]\ng"},
        {"role": "assistant", "content": "[Verdict]\nNo"},
        {"role": "user", "content": "[Code]\nh"},
    ]


def test_a_completion_body_has_the_sampling_and_nothing_of_its_own() -> None:
    at = endpoint("completions")
    assert orjson.loads(body(at, REQUEST, prompt_field(at, PROMPT))) == {
        "model": "coder",
        "prompt": completion_text(PROMPT),
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["\n", "\n## Example"],
        "seed": 11,
    }


def test_a_chat_body_leaves_room_for_the_prefill_and_sends_no_stop_that_would_end_it() -> None:
    at = endpoint("chat", send_seed=False)
    assert orjson.loads(body(at, REQUEST, prompt_field(at, PROMPT))) == {
        "model": "coder",
        "messages": messages(PROMPT),
        "max_tokens": 5 + len("[Verdict]\n"),
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["\n## Example"],
    }
