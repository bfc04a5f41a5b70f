"""What the lab model has read: the prompts of recipe `lab` with their answers, over real functions and lab tasks.

A document is one prompt with several examples, rendered by the recipe's own templates, so that what is trained is what
is asked. It is cut into pieces with weights: what the model is asked to write counts, what it is only shown counts
little.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from consumers import prompt
from consumers.prompt import FewShot, Judged, Worked
from deploy.lab import programs, tasks
from deploy.lab.functions import Function
from deploy.lab.programs import HUMAN
from deploy.lab.related import RELATED, chains
from stream.records import Difficulty

PROMPTS = "lab"
STAGES = ("seeds", "concepts", "instructions", "responses")
DIFFICULTIES: tuple[Difficulty, ...] = ("easy", "medium", "hard")

MAX_LINES = 60  # of a function: recipe `lab` takes no longer ones
MAX_CHARS = 4_500  # of a document: some 1,500 tokens
MAX_EXAMPLES = 8
COMPACT_CHARS = 1_500  # above it a docstring is more often cut than not

SHOWN, GIVEN, ANSWER, VERDICT, CONCEPT = 0.3, 0.3, 1.0, 6.0, 2.0
"""Weights: of code that is shown, of headings, and of the answers; a verdict is one token, concepts are few."""

TRIVIAL = ("", "TODO", "FIXME", "None", "See above.", "Docstring", "Helper.", "...", "Internal.", "Not documented.")
"""Docstrings that say nothing, as the corpus has them. Others, of the gates', are not in it."""

# Shares of the corpus by characters, and about how long a document of each kind is.
_SHARE = {"responses": 0.36, "instructions": 0.12, "concepts": 0.29, "seeds": 0.19, "code": 0.04}
_CHARS = {"responses": 2_000, "instructions": 1_800, "concepts": 2_200, "seeds": 2_200, "code": 700}
_LAB_CODE = 0.25  # share of lab functions among the code that is shown


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a document, and how much of the loss on it counts."""

    text: str
    weight: float


class Corpus:
    """Documents without end, the same for the same seed and functions."""

    def __init__(self, seed: int, functions: Sequence[Function]) -> None:
        self._rng = random.Random(seed)
        self._functions = [function for function in functions if function.lines <= MAX_LINES]
        self._queues: dict[str, list[Function]] = {"seeds": [], "concepts": []}
        self._prompts: Mapping[str, FewShot] = {stage: prompt.load(PROMPTS, stage) for stage in STAGES}
        self._weights = {
            "seeds": (SHOWN, VERDICT),
            "concepts": (SHOWN, CONCEPT),
            "instructions": (ANSWER, ANSWER),
            "responses": (ANSWER, ANSWER),
        }

    def __iter__(self) -> Iterator[list[Piece]]:
        kinds = list(_SHARE)
        weights = [_SHARE[kind] / _CHARS[kind] for kind in kinds]
        while True:
            [kind] = self._rng.choices(kinds, weights)
            yield self._code() if kind == "code" else self.document(kind)

    def document(self, stage: str) -> list[Piece]:
        """Write the prompt of a stage, with several examples and their answers."""
        few_shot = self._prompts[stage]
        shown, answered = self._weights[stage]
        limit = MAX_CHARS * self._rng.uniform(0.25, 1.0)
        pieces, size = [Piece(few_shot.system, 0.1)], len(few_shot.system)
        for number in range(1, MAX_EXAMPLES + 1):
            shot = prompt.shot(few_shot.ask, few_shot.reply, self._example(stage))
            size += len(shot.ask) + len(shot.reply)
            if number > 1 and size > limit:
                break
            pieces += [
                Piece(f"\n\n## Example {number}\n", GIVEN),
                Piece(f"{shot.ask}\n", shown),
                Piece(few_shot.prefill, GIVEN),
                Piece(shot.reply.removeprefix(few_shot.prefill), answered),
            ]
        return pieces

    def _code(self) -> list[Piece]:
        drawn = [tasks.draw(self._rng) for _ in range(self._rng.randint(1, 6))]
        return [Piece("\n\n\n".join(programs.code(self._rng, task, HUMAN, docstring=True) for task in drawn), 1.0)]

    def _example(self, stage: str) -> Worked | Judged:
        match stage:
            case "seeds":
                return self._judged()
            case "concepts":
                return self._worked(*self._shown())
            case "instructions":
                return self._task_for(self._rng.choice(self._functions).concepts)
            case _:
                task = tasks.draw(self._rng)
                return self._worked("", (), task)

    def _judged(self) -> Judged:
        rng = self._rng
        if rng.random() < _LAB_CODE:
            task = tasks.draw(rng, category="function")
            bare = programs.code(rng, task)
            first, rest = bare.split("\n", 1)
            good = f'"""{tasks.summary(rng, task)}"""'
            function = Function("", (), first, good, rest, ())
        else:
            function = self._next("seeds")
        if rng.random() < 0.5:
            return Judged(self._seen(function), "yes")
        return Judged(function.with_docstring(f'"""{self._trivial(function)}"""'), "no")

    def _trivial(self, function: Function) -> str:
        """Return a docstring that says nothing, or no more than its first words."""
        words = function.summary.split()
        return self._rng.choice([*TRIVIAL, self._rng.choice(words).strip("\\"), words[0], " ".join(words[:2])])

    def _shown(self) -> tuple[str, tuple[str, ...]]:
        rng = self._rng
        if rng.random() < _LAB_CODE:
            task = tasks.draw(rng)
            return programs.code(rng, task, HUMAN, docstring=rng.random() < 0.8), tasks.concepts(rng, task)
        function = self._next("concepts")
        return self._seen(function), function.concepts

    def _seen(self, function: Function) -> str:
        """Return a function as a seed shows it, or with a short docstring, where the long one would take the room."""
        compact = self._rng.random() < (0.7 if len(function.code) > COMPACT_CHARS else 0.3)
        return function.compact if compact else function.code

    def _task_for(self, concepts: tuple[str, ...]) -> Worked:
        """Set a task to concepts: of real code, or the task's own."""
        rng = self._rng
        if rng.random() < 0.4:
            task = tasks.draw(rng)
            return self._worked("", tasks.concepts(rng, task), task)
        related = [name for concept in concepts[:3] for name in RELATED.get(concept, ())]
        chain: tasks.Chain | None = None
        if related and rng.random() < 0.8:
            name = rng.choice(related)
            longer = chains(name)
            chain = rng.choice(longer) if longer and rng.random() < 0.8 else (name,)
        return self._worked("", concepts, tasks.draw(rng, chain))

    def _worked(self, code: str, concepts: tuple[str, ...], task: tasks.Task | None = None) -> Worked:
        rng = self._rng
        task = task or tasks.draw(rng)
        return Worked(
            category=task.category,
            language="python",
            difficulty=rng.choice(DIFFICULTIES),
            concepts=concepts,
            code=code,
            instruction=tasks.instruction(rng, task),
            response=programs.response(rng, task, HUMAN),
            tests=programs.tests(rng, task, HUMAN),
        )

    def _next(self, queue: str) -> Function:
        """Take the next function: each once, in a new order each time."""
        waiting = self._queues[queue]
        if not waiting:
            waiting.extend(self._rng.sample(self._functions, len(self._functions)))
        return waiting.pop()
