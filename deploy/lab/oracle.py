"""Which responses to lab tasks are truly correct: the oracle knows the task in each instruction, whoever wrote it.

Own tests prove little, since the model writes them with the same mistakes; here a response is held against what the
task means.
"""

import asyncio
from collections.abc import Sequence

from deploy.lab import concepts, operations, programs, tasks
from sandbox import Sandbox, Verdict
from stream.records import Executions, Response, digest

MOST_CONCEPTS = 6
DRAWN = 3  # responses of an instruction that stand for all of them
KNOWN_CONCEPTS = operations.CONCEPTS | set(concepts.CONCEPTS)


def valid_concepts(named: Sequence[str]) -> bool:
    """Tell whether these are one to six different concepts that the model was taught.

    >>> valid_concepts(["sorting", "slicing"]), valid_concepts(["sorting", "sorting"]), valid_concepts(["soup"])
    (True, False, False)
    """
    return 1 <= len(named) <= MOST_CONCEPTS and len(set(named)) == len(named) and KNOWN_CONCEPTS.issuperset(named)


async def correct(box: Sandbox, instruction: str, responses: Sequence[Response]) -> list[bool]:
    """Tell of each response whether it does what the instruction asks. Where the instruction is no lab task nothing
    is right.

    Raises:  SandboxBroken.
    """
    task = tasks.read(instruction)
    if task is None:
        return [False] * len(responses)
    truths = programs.truths(task)
    results = await asyncio.gather(*(box.run(f"{response.code}\n\n{truths}\n") for response in responses))
    return [result.verdict is Verdict.PASS for result in results]


def drawn(record: Executions) -> list[Response]:
    """Return some of a record's responses by chance, whatever their verdicts: the same ones each time."""
    return sorted(record.responses, key=lambda response: digest("drawn", record.key, response.index))[:DRAWN]
