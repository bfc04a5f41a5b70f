"""Records to test with: valid in every field, with what a test is about given by name."""

from stream.records import (
    Category,
    Concepts,
    ConceptsId,
    Difficulty,
    Execution,
    Executions,
    File,
    Instruction,
    InstructionId,
    Response,
    Seed,
    Step,
    derived_id,
    digest,
    file_id,
    seed_id,
)

CODE = '''def double(x):
    """Return twice x."""
    return 2 * x
'''


def seed(code: str = CODE, index: int = 0) -> Seed:
    """Return the `index`-th function of a file."""
    file = File(file_id("src", "a.py", b""), "src", "a.py", "python", None, None, "MIT")
    return Seed(
        seed_id(file.file_id, index), file, index, 1, "function", "f", code, digest(code), (), (Step("functions", 1),)
    )


def concepts(*names: str, index: int = 0) -> Concepts:
    """Return the concepts of a seed."""
    parent = seed(index=index)
    return Concepts(
        ConceptsId(derived_id(parent.seed_id, "concepts", 0)), parent, names or ("recursion",), Step("concepts", 1)
    )


def instruction(
    text: str = "Write f.", category: Category = "function", difficulty: Difficulty = "easy", index: int = 0
) -> Instruction:
    """Return an instruction, another one for each `index`."""
    parent = concepts(index=index)
    instruction_id = InstructionId(derived_id(parent.concepts_id, "instructions", 0))
    return Instruction(instruction_id, parent, category, difficulty, "python", text, Step("instructions", 1))


def response(index: int = 0, text: str = "So:\n\n```python\nx = 1\n```", tests: str = "assert x == 1") -> Response:
    """Return one sample, well-formed unless said otherwise."""
    return Response(index, text, "x = 1", tests, "stop", 100, 20, Step("responses", 1))


def executions(parent: Instruction, *samples: tuple[Response, str]) -> Executions:
    """Return an instruction's samples, each with its verdict."""
    return Executions(
        parent,
        tuple(sample for sample, _ in samples),
        tuple(Execution(sample.index, verdict, "") for sample, verdict in samples),
        Step("executions", 1),
    )
