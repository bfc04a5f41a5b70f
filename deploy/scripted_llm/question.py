"""What a prompt asks: which stage, and the part that matters. Pure. A prompt is known by its own headings, so the
server needs to be told nothing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Who asks."""

    SEEDS = "seeds"
    CONCEPTS = "concepts"
    INSTRUCTIONS = "instructions"
    RESPONSES = "responses"
    OTHER = "other"


HEADINGS = {
    Stage.SEEDS: "[Verdict]",
    Stage.CONCEPTS: "[Concepts]",
    Stage.INSTRUCTIONS: "[Instruction]",
    Stage.RESPONSES: "[Response]",
}
"""How the reply to each stage begins."""

_EXAMPLE = re.compile(r"^## Example \d+$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Question:
    """The last question of a prompt. `ask` is the same by either API."""

    stage: Stage
    ask: str
    begun: str  # what of the reply stands in the prompt already


def of_completion(prompt: str) -> Question:
    """Read the prompt of a completion: its last example is the question.

    >>> of_completion("Judge.\\n\\n## Example 1\\n[Code]\\nx\\n[Verdict]\\n")
    Question(stage=<Stage.SEEDS: 'seeds'>, ask='[Code]\\nx', begun='[Verdict]\\n')
    """
    *_, last = _EXAMPLE.split(prompt)
    last = last.lstrip("\n")
    for stage, heading in HEADINGS.items():
        begun = f"{heading}\n"
        if last.endswith(f"\n{begun}"):
            return Question(stage, last.removesuffix(f"\n{begun}"), begun)
    return Question(_by_ask(last), last, "")


def of_chat(messages: Sequence[tuple[str, str]]) -> Question:
    """Read a conversation of (role, content): the last user message is the question, replies to earlier ones show the
    form."""
    ask = next((content for role, content in reversed(messages) if role == "user"), "")
    for role, content in reversed(messages):
        for stage, heading in HEADINGS.items():
            if role == "assistant" and content.startswith(heading):
                return Question(stage, ask, "")
    return Question(_by_ask(ask), ask, "")


def _by_ask(ask: str) -> Stage:
    """Tell a question without examples by its own words."""
    words = _FENCED.sub("", ask)
    if ask.startswith("[Properties]"):
        return Stage.INSTRUCTIONS
    if ask.startswith("[Instruction]"):
        return Stage.RESPONSES
    if "docstring" in words:
        return Stage.SEEDS
    return Stage.CONCEPTS if ask.startswith("[Code]") else Stage.OTHER


def code_of(ask: str) -> str:
    """Return what stands in the first fence; all of it without one."""
    fenced = re.search(r"^```\w*\n(.*?)^```", ask, re.MULTILINE | re.DOTALL)
    return fenced.group(1) if fenced else ask
