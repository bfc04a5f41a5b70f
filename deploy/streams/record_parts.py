"""What a record carries of those it was made from, whatever its type: its file, its texts, its steps. Pure."""

from stream.records import (
    Concepts,
    Example,
    Executions,
    File,
    Instruction,
    Record,
    Response,
    Responses,
    Seed,
    SourceFile,
    Step,
)


def file_of(record: Record) -> File | None:
    """Return the file that a record goes back to; None for one that goes back to none."""
    if isinstance(record, SourceFile):
        return record.file
    seed = seed_of(record)
    return seed.file if seed else None


def seed_of(record: Record) -> Seed | None:
    """Return the seed that a record goes back to."""
    if isinstance(record, Seed):
        return record
    if isinstance(record, Concepts):
        return record.seed
    instruction = instruction_of(record)
    return instruction.concepts.seed if instruction else None


def instruction_of(record: Record) -> Instruction | None:
    """Return the instruction that a record is or goes back to."""
    if isinstance(record, Instruction):
        return record
    return record.instruction if isinstance(record, Responses | Executions | Example) else None


def responses_of(record: Record) -> tuple[Response, ...]:
    """Return the answers in a record."""
    if isinstance(record, Example):
        return (record.response,)
    return record.responses if isinstance(record, Responses | Executions) else ()


def texts_of(record: Record) -> tuple[tuple[str, str], ...]:
    """Return the texts by which two records are alike, each with what it is: seed, instruction or response."""
    seed, instruction = seed_of(record), instruction_of(record)
    texts = [("file", record.text)] if isinstance(record, SourceFile) else []
    texts += [("seed", seed.code)] if seed else []
    texts += [("instruction", instruction.text)] if instruction else []
    return (*texts, *(("response", response.text) for response in responses_of(record)))


def steps_of(record: Record) -> tuple[Step, ...]:
    """Return every step that led to a record, in the order of the stream."""
    seed, instruction = seed_of(record), instruction_of(record)
    concepts = record if isinstance(record, Concepts) else instruction.concepts if instruction else None
    steps = list(seed.steps) if seed else []
    steps += [concepts.step] if concepts else []
    steps += [instruction.step] if instruction else []
    steps += [response.step for response in responses_of(record)]
    return (*steps, record.step) if isinstance(record, Executions | Example) else tuple(steps)
