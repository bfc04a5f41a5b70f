"""The prompt template: what is prompt, what is response, and what is no template."""

import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.template import PUBLISHED, Template, parse

jinja: Any = importlib.import_module("jinja2.sandbox")


def rendered(template: Template, messages: list[dict[str, str]], bos: str = "") -> str:
    environment = jinja.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)  # as transformers has it
    return environment.from_string(template.chat(bos)).render(messages=messages, eos_token="<eos>")


def test_everything_before_the_response_is_prompt():
    prompt = parse(PUBLISHED).prompt("Add $1 and {2}.")
    assert prompt.startswith("You are an exceptionally intelligent coding assistant")
    assert prompt.endswith("\n\n### Instruction\nAdd $1 and {2}.\n\n### Response\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$instruction", "expected \\$instruction once and \\$response once"),
        ("$instruction\n$response", "no response marker"),
        ("$instruction$response", "no response marker"),
        ("### Response\n$response", "expected \\$instruction once"),
        ("### Response\n$response\n$instruction", "expected \\$response behind \\$instruction"),
        ("$instruction ### $response $response", "once"),
        ("$instruction ### $response\n### End", "nothing may follow \\$response, got '\\\\n### End'"),
        ("$instruction costs $ ### $response", "write \\$\\$ for a dollar sign"),
        ("$task ### $response", "unknown field \\$task"),
        ("", "expected \\$instruction once"),
    ],
)
def test_a_template_without_instruction_marker_and_response_at_its_end_is_refused(text: str, message: str):
    with pytest.raises(ValueError, match=f"^template: .*{message}"):
        parse(text)


@given(head=st.text(), marker=st.text().filter(lambda t: bool(t.strip())), instruction=st.text())
def test_head_and_marker_stand_in_the_prompt_to_the_letter(head: str, marker: str, instruction: str):
    text = f"{head.replace('$', '$$')}${{instruction}}{marker.replace('$', '$$')}${{response}}"
    if "\0" not in head + marker:
        assert parse(text).prompt(instruction) == f"{head.lstrip(chr(10))}{instruction}{marker}"


@given(head=st.text(), marker=st.text(), instruction=st.text())
def test_the_chat_template_renders_one_message_to_the_prompt(head: str, marker: str, instruction: str):
    template = Template(head, marker)
    asked = [{"role": "user", "content": instruction}]
    assert rendered(template, asked, "<bos>") == "<bos>" + template.prompt(instruction)
    answered = [*asked, {"role": "assistant", "content": "42"}]
    assert rendered(template, answered) == template.prompt(instruction) + "42<eos>"
