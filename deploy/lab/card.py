"""The model card of the lab model: what it is, what it is not, and its figures."""

from dataclasses import asdict
from string import Template

from deploy.lab.training import Report, Settings

_CARD = Template("""---
license: apache-2.0
language: [en]
tags: [code, python, seedstream]
---

# seedstream-lab

A Starcoder2 of $parameters parameters, made from scratch in $cpu_min CPU-minutes by `python -m deploy.lab make`. It
answers the four prompts of seedstream's recipe `lab` in their form, so that the whole stream runs on a laptop, served
by the same vLLM that serves a real model. **It is no coder**: it sets and solves one kind of task, two of 53 operations
on lists, numbers and words in a row, with the mistakes that it was taught.

| stage        | what it does                                                                                 |
| ------------ | -------------------------------------------------------------------------------------------- |
| seeds        | tells docstrings that say nothing (empty, TODO, a word); not whether one fits its function    |
| concepts     | names two to five of 53 concepts that a syntax tree shows, little better than the common ones |
| instructions | a task that has to do with the concepts, where there is one                                  |
| responses    | code and tests; both may be wrong, which is what the later stages are for                    |

## Figures

$figures

Which tasks and responses are truly correct is known by an oracle, which reads the task back from its words
(`deploy/lab/oracle.py`). A benchmark of $problems tasks, in HumanEval's format, holds pairs of operations that no text
of the corpus joins: `benchmark.jsonl`.

## How it was made

$tokens tokens: prompts of the recipe over $functions functions of Python $python's standard library (one file in ten
was held out), labelled by a walk of their syntax trees, and over generated tasks. $settings
Muon on matrices, AdamW on the rest; warm-up, stable, linear decay. Fixed seed; the weights are equal only on equal
hardware and versions.
""")


def card(
    settings: Settings, report: Report, functions: int, problems: int, python: str, figures: dict[str, str]
) -> str:
    """Write the card."""
    rows = "\n".join(f"- {name}: {value}" for name, value in figures.items())
    said = ", ".join(f"{name} {value}" for name, value in asdict(settings).items())
    return _CARD.substitute(
        parameters=f"{report.parameters:,}",
        cpu_min=f"{report.cpu_s / 60:.0f}",
        figures=rows,
        problems=problems,
        tokens=f"{report.tokens:,}",
        functions=f"{functions:,}",
        python=python,
        settings=f"Settings: {said}.",
    )
