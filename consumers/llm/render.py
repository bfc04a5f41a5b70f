"""A prompt as one text or as chat messages. Pure; the forms are those of `request.Prompt`."""

from typing import Literal

from consumers.llm.request import Prompt

Message = dict[str, str]


def completion_text(prompt: Prompt) -> str:
    """Return the prompt that a completion goes on from: it ends with the prefill.

    >>> print(completion_text(Prompt("Add.", (), "1 + 1", "= ")) + "2")
    Add.
    <BLANKLINE>
    ## Example 1
    1 + 1
    = 2
    >>> completion_text(Prompt("", (), "", "def add(a, b):\\n"))
    'def add(a, b):\\n'
    """
    if not (prompt.system or prompt.shots or prompt.ask):
        return prompt.prefill
    parts = [f"{shot.ask}\n{shot.reply}" for shot in prompt.shots] + [f"{prompt.ask}\n{prompt.prefill}"]
    examples = [f"## Example {number}\n{part}" for number, part in enumerate(parts, 1)]
    return "\n\n".join([prompt.system, *examples] if prompt.system else examples)


def messages(prompt: Prompt, system_role: Literal["system", "developer", "user"] = "system") -> list[Message]:
    """Return the prompt as a conversation that the model is to continue. With the system role "user", what the system
    says stands at the head of the first message.

    >>> [m["role"] for m in messages(Prompt("Add.", (), "1 + 1"))]
    ['system', 'user']
    >>> messages(Prompt("Add.", (), "1 + 1"), "user")
    [{'role': 'user', 'content': 'Add.\\n\\n1 + 1'}]
    """
    shots = [
        message
        for shot in prompt.shots
        for message in ({"role": "user", "content": shot.ask}, {"role": "assistant", "content": shot.reply})
    ]
    spoken = [*shots, {"role": "user", "content": prompt.ask}]
    if not prompt.system:
        return spoken
    if system_role == "user":
        return [{"role": "user", "content": f"{prompt.system}\n\n{spoken[0]['content']}"}, *spoken[1:]]
    return [{"role": system_role, "content": prompt.system}, *spoken]
