"""The prompt template: how an instruction is put before the response that is trained on. Pure.

A template names `$instruction`, then, behind a marker that says where the response begins, `$response` at its end:
everything before the response is prompt, and carries no loss. A dollar sign is written `$$`.
"""

from dataclasses import dataclass
from string import Template as Dollars

PUBLISHED = """You are an exceptionally intelligent coding assistant that consistently delivers accurate and reliable \
responses to user instructions.

### Instruction
$instruction

### Response
$response"""
"""StarCoder2-Instruct's."""

_FIELDS = ("instruction", "response")


@dataclass(frozen=True, slots=True)
class Template:
    """A checked template: the text before the instruction, and the response marker behind it."""

    head: str
    marker: str

    def prompt(self, instruction: str) -> str:
        """Return what stands before the response."""
        return f"{self.head}{instruction}{self.marker}"

    def chat(self, bos: str) -> str:
        """Return the chat template, in Jinja, that renders one user message to the same prompt. `bos` is the special
        token that the tokenizer puts before a text; a chat template has to write it itself."""
        head, marker, start = _quoted(self.head), _quoted(self.marker), _quoted(bos)
        return (
            f"{{{{ {start} }}}}"
            "{% for message in messages %}"
            f"{{% if message['role'] == 'user' %}}{{{{ {head} + message['content'] + {marker} }}}}"
            "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
            "{% else %}{{ raise_exception('expected messages of user and assistant') }}{% endif %}"
            "{% endfor %}"
        )


def parse(text: str) -> Template:
    """Read a template.

    Raises:  ValueError, in words that go on after «template», when it is none.

    >>> parse("Q: $instruction\\nA: $response")
    Template(head='Q: ', marker='\\nA: ')
    """
    text = text.strip("\n")
    dollars = Dollars(text)
    if not dollars.is_valid():
        raise ValueError("template: a $ stands before no field: write $$ for a dollar sign")
    for name in dollars.get_identifiers():
        if name not in _FIELDS:
            raise ValueError(f"template: unknown field ${name}; expected $instruction and $response")
    marks = {name: f"\0{name}\0" for name in _FIELDS}
    rendered = dollars.substitute(marks)
    if [rendered.count(mark) for mark in marks.values()] != [1, 1]:
        raise ValueError("template: expected $instruction once and $response once")
    head, behind = rendered.split(marks["instruction"])
    marker, found, rest = behind.partition(marks["response"])
    if not found:
        raise ValueError("template: expected $response behind $instruction")
    if rest:
        raise ValueError(f"template: nothing may follow $response, got {rest[:40]!r}: the response ends the text")
    if not marker.strip():
        raise ValueError(
            "template: no response marker: some text between $instruction and $response must say where it begins"
        )
    return Template(head, marker)


def _quoted(text: str) -> str:
    """Return a string literal of Jinja.

    >>> print(_quoted("it's\\n{{"))
    'it\\'s\\n{{'
    """
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"
