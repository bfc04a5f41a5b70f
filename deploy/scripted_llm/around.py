"""What models write around an answer. Pure. Each kind is named on the command line, and several go together."""

from collections.abc import Sequence
from typing import Literal, get_args

Around = Literal[
    "thoughts",  # <think>…</think> in front
    "tail-thoughts",  # the same without its opening tag, which the chat template wrote
    "channels",  # the analysis and final channels of gpt-oss
    "preamble",  # "Sure! Here is …"
    "prefill",  # the beginning of the reply, although the prompt ends with it
    "fence",  # a fence around the whole
    "token",  # a special token at the end
    "crlf",  # line ends of another system
    "blank",  # empty lines and spaces at both ends
]

KINDS: tuple[Around, ...] = get_args(Around)

THOUGHTS = (
    "The form is like that of ## Example 1, so I look at it again.\n\n"
    "## Example 2 shows another case. A first draft:\n\n"
    "```python\ndef draft(values):\n    raise NotImplementedError\n```\n\n"
    "[Tests] come later. Is that no? No. Yes, it is good enough, so I write it down."
)
"""Thoughts as models have them: with our own headings, a draft in a fence, and words that could be a verdict."""

PREAMBLE = "Sure! Here is what you asked for:\n\n"
END_TOKEN = "<|im_end|>"  # noqa: S105 - no secret


def wrapped(answer: str, begun: str, around: Sequence[Around]) -> str:
    r"""Return what the model writes: `answer` without what the prompt has `begun`, and with `around` around it.

    >>> wrapped("[Verdict]\nyes", "[Verdict]\n", [])
    'yes'
    >>> wrapped("[Verdict]\nyes", "", ["preamble", "token"])
    'Sure! Here is what you asked for:\n\n[Verdict]\nyes<|im_end|>'
    >>> wrapped("[Verdict]\nyes", "[Verdict]\n", ["prefill", "fence", "crlf"])
    '```\r\n[Verdict]\r\nyes\r\n```'
    """
    # Whoever writes something in front of the answer begins it with the heading again.
    again = {"prefill", "preamble"} & set(around)
    text = answer if again else answer.removeprefix(begun)
    if "fence" in around:
        text = fenced(text)
    if "preamble" in around:
        text = f"{PREAMBLE}{text}"
    if "thoughts" in around:
        text = f"<think>\n{THOUGHTS}\n</think>\n\n{text}"
    if "tail-thoughts" in around:
        text = f"{THOUGHTS}\n</think>\n\n{text}"
    if "channels" in around:
        text = f"<|channel|>analysis<|message|>{THOUGHTS}<|end|><|start|>assistant<|channel|>final<|message|>{text}"
    if "blank" in around:
        text = f"\n\n{text} \n"
    if "token" in around:
        text = f"{text}{END_TOKEN}"
    return text.replace("\n", "\r\n") if "crlf" in around else text


def fenced(text: str) -> str:
    """Return a text in a fence that is longer than any inside it."""
    longest = max((len(line) - len(line.lstrip("`")) for line in text.split("\n")), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
