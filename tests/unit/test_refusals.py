import pytest

from consumers.refusals import refuses
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
        "As an air traffic controller you cannot see all planes. Write a function that …",
        "I'm sorry, but I can't. " + "x" * 2_000,
    ],
)
def test_a_text_that_only_sounds_like_one_is_none(text: str) -> None:
    assert not refuses(text)


def test_a_refusal_behind_a_preamble_is_found_where_the_preamble_is_taken_away() -> None:
    assert refuses(without_preamble("Okay.\nI'm sorry, I can't help with that."))
