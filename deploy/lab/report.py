"""How the lab model did in a stream, by what the oracle knows: read from the topics alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from consumers.examples import VERIFIED
from deploy.lab import oracle, tasks
from sandbox import Sandbox
from stream.bus import Bus
from stream.codec import decode
from stream.records import Concepts, Example, Executions, Instruction, Record, Rejected
from stream.topics import REJECTS, TOPICS

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        return self.part / self.whole if self.whole else 0.0

    def __str__(self) -> str:
        return f"{self.part:,} of {self.whole:,} ({self.value:.0%})"

    @classmethod
    def of(cls, flags: Sequence[bool]) -> "Share":
        return cls(sum(flags), len(flags))


@dataclass(frozen=True, slots=True)
class Report:
    """What the model did. `finished` counts responses with code and tests, `sampled` those asked for."""

    concepts_valid: Share
    instructions_valid: Share
    well_formed: Share  # finished of sampled
    own_tests_pass: Share  # of sampled
    kept: Share  # examples of instructions
    kept_correct: Share  # of examples
    drawn_correct: Share  # of finished responses drawn by chance, as many of each instruction
    seeds: int  # that an example came of
    files: int


async def report(bus: Bus, box: Sandbox) -> Report:
    """Read a stream and hold it against the oracle.

    Raises:  SandboxBroken.
    """
    concepts = await _all(bus, "concepts", Concepts)
    instructions = await _all(bus, "instructions", Instruction)
    executions = await _all(bus, "executions", Executions)
    examples = await _all(bus, "examples", Example)
    rejects = await _rejects(bus)
    verdicts = [execution.verdict == VERIFIED for record in executions for execution in record.executions]
    sampled = len(verdicts) + rejects.get("responses", 0)
    kept = [(await oracle.correct(box, e.instruction.text, [e.response]))[0] for e in examples]
    by_chance = [
        right
        for record in executions
        for right in await oracle.correct(box, record.instruction.text, oracle.drawn(record))
    ]
    seeds = {example.instruction.concepts.seed.seed_id: example.instruction.concepts.seed for example in examples}
    named = [oracle.valid_concepts(record.concepts) for record in concepts]
    return Report(
        concepts_valid=Share(sum(named), len(named) + rejects.get("concepts", 0)),
        instructions_valid=Share(
            sum(tasks.read(record.text) is not None for record in instructions),
            len(instructions) + rejects.get("instructions", 0),
        ),
        well_formed=Share(len(verdicts), sampled),
        own_tests_pass=Share(sum(verdicts), sampled),
        kept=Share(len(examples), len(instructions)),
        kept_correct=Share.of(kept),
        drawn_correct=Share.of(by_chance),
        seeds=len(seeds),
        files=len({seed.file.file_id for seed in seeds.values()}),
    )


async def _all(bus: Bus, topic: str, kind: type[R]) -> list[R]:
    found: dict[str, R] = {}
    async for batch in bus.read(TOPICS[topic].name):
        for stored in batch:
            found[stored.key] = decode(stored.value, kind)
    return list(found.values())


async def _rejects(bus: Bus) -> Mapping[str, int]:
    """Count the rejects of each stage."""
    counts: dict[str, int] = {}
    async for batch in bus.read(REJECTS.name):
        for stored in batch:
            stage = decode(stored.value, Rejected).stage
            counts[stage] = counts.get(stage, 0) + 1
    return counts


def lines(found: Report) -> list[str]:
    """Say it to a person."""
    return [
        f"truly correct, by the oracle: {found.kept_correct} of the accepted examples,",
        f"                              {found.drawn_correct} of finished responses drawn by chance",
        f"own tests passed by {found.own_tests_pass} responses; concepts in form {found.concepts_valid}, "
        f"tasks in form {found.instructions_valid}",
        f"the examples came of {found.seeds:,} functions in {found.files:,} files",
    ]
