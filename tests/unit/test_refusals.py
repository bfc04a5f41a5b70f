import pytest

from consumers.refusals import is_no_content, refuses
from consumers.wrapping import without_preamble


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that request.",
        "I’m sorry, I can’t help with that.",
        "I'm sorry.",
        "Sorry, I can't do that.",
        "I am unable to provide that.",
        "I cannot help with this, as it may be harmful.\n\nHere is what I can do: …",
        "As an AI language model, I cannot write code that harms.",
        "Unfortunately, I am not able to assist.",
        "I apologize, but I cannot continue.",
        "**I'm sorry, but I must decline.**",
        "I won't help with this.",
        "I'm afraid I can't help with that.",
        "I must respectfully decline.",
        "I regret that I cannot help.",
        "Sorry, but no.",
        "I don't feel comfortable with this.",
        "This request violates our policy.",
        "My guidelines prevent me from answering.",
        "As Claude, I can't do this.",
        "As a language model, I cannot do this.",
        "Hmm, I'm sorry, I can't do this.",
        "> I'm sorry, I can't.",
        "# I'm sorry",
        "Request declined.",
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Lo siento, pero no puedo ayudar con eso.",
        "Je suis désolé, je ne peux pas vous aider.",
        "抱歉,我无法帮助您。",
        "申し訳ありませんが、お手伝いできません。",
        "К сожалению, я не могу помочь.",
    ],
)
def test_a_refusal_is_known_by_how_it_begins(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "Sorry state machine: write a class that …",
        "sorting, merging",
        "I can write this in one line:\n\n```python\nx = 1\n```",
        "I'm sorry for the length of it:\n\n```python\nx = 1\n```",
        "A bakery cannot help itself and counts its loaves. Write f.",
        "Yes",
        "",
        "I cannot determine the types, so:\n\n```\nx = 1\n```",
        "As an air traffic controller you cannot see all planes. Write a function that …",
        "I'm sorry, but I can't. " + "x" * 2_000,
    ],
)
def test_a_text_that_only_sounds_like_one_is_none(text: str) -> None:
    assert not refuses(text)


def test_a_refusal_behind_a_preamble_is_found_where_the_preamble_is_taken_away() -> None:
    assert refuses(without_preamble("Okay.\nI'm sorry, I can't help with that."))


@pytest.mark.parametrize(
    "text",
    [
        "null", "None", "N/A", "TODO", "{}", "[]", "...", "Internal server error", "Error: rate limit exceeded",
        "<html><body>502 Bad Gateway</body></html>", '{"instruction": "Write f."}', "[TOOL_CALLS][{}]", "<tool_call>{}",
        "Please provide the code that you want me to use.", "Hello! How can I assist you today?", "",
        "Could you please clarify the request?",
    ],
)  # fmt: skip
def test_what_stands_in_the_place_of_an_answer_is_none(text: str) -> None:
    assert is_no_content(text)


@pytest.mark.parametrize(
    "text",
    ["Return null for an empty list.", "Error handling in parsers: write f.", "Hidden paths", "null objects", "C++"],
)
def test_an_answer_about_such_things_is_one(text: str) -> None:
    assert not is_no_content(text)
