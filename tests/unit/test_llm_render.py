"""The forms of a prompt that `request.Prompt` promises, to the letter."""

import orjson

from consumers.llm.apis import body, prompt_field
from consumers.llm.dialect import Dialect, of
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


def written(at: Endpoint, dialect: Dialect | None = None) -> bytes:
    spoken = dialect or of(at)
    return body(at, spoken, REQUEST, prompt_field(at, spoken, PROMPT))


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
    assert orjson.loads(written(at)) == {
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
    assert orjson.loads(written(at)) == {
        "model": "coder",
        "messages": messages(PROMPT),
        "max_tokens": 5 + len("[Verdict]\n"),
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["\n## Example"],
    }


def test_each_choice_of_the_dialect_changes_its_own_field_alone() -> None:
    at = endpoint("chat")
    usual = orjson.loads(written(at))
    changes: list[tuple[Dialect, dict[str, object]]] = [
        (Dialect(max_tokens_field="max_completion_tokens"), {"max_completion_tokens": 15, "max_tokens": None}),
        (Dialect(send_temperature=False), {"temperature": None}),
        (Dialect(send_top_p=False), {"top_p": None}),
        (Dialect(send_seed=False), {"seed": None}),
        (Dialect(max_stops=0), {"stop": None}),
        (Dialect(stream=True), {"stream": True, "stream_options": {"include_usage": True}}),
        (Dialect(stream=True, stream_usage=False), {"stream": True}),
        (Dialect(system_role="developer"), {"messages": messages(PROMPT, "developer")}),
    ]
    for dialect, changed in changes:
        expected = {name: value for name, value in {**usual, **changed}.items() if value is not None}
        assert orjson.loads(written(at, dialect)) == expected


def test_without_a_system_role_its_text_is_at_the_head_of_the_first_message() -> None:
    folded = messages(PROMPT, "user")
    assert folded[0] == {"role": "user", "content": "You judge.\n\n[Code]\nf"}
    assert folded[1:] == messages(PROMPT)[2:]


def test_the_settings_of_the_endpoint_are_the_first_dialect_and_the_extra_body_is_over_all() -> None:
    at = endpoint("completions", max_stops=1, send_seed=False, extra_body={"top_k": 20, "temperature": 0.1})
    found = orjson.loads(written(at))
    assert found["stop"] == ["\n"] and "seed" not in found
    assert (found["top_k"], found["temperature"]) == (20, 0.1)


def test_room_for_thoughts_is_added_and_no_stop_string_ends_them() -> None:
    found = orjson.loads(written(endpoint("chat", reasoning_tokens=4_096)))
    assert found["max_tokens"] == 5 + len("[Verdict]\n") + 4_096
    assert "stop" not in found
