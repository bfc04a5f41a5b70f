"""A prompt as one text or as chat messages. Pure; the forms are those of `request.Prompt`."""

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


def messages(prompt: Prompt) -> list[Message]:
    """Return the prompt as a conversation that the model is to continue.

    >>> [m["role"] for m in messages(Prompt("Add.", (), "1 + 1"))]
    ['system', 'user']
    """
    shots = [
        message
        for shot in prompt.shots
        for message in ({"role": "user", "content": shot.ask}, {"role": "assistant", "content": shot.reply})
    ]
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return [*system, *shots, {"role": "user", "content": prompt.ask}]
