"""The lab model's corpus: it is what the recipe asks, and nothing that is kept for measuring."""

import ast
import itertools
from functools import cache

import pytest

from consumers import prompt
from consumers.llm.render import completion_text
from consumers.llm.request import Prompt, Shot
from deploy.lab import corpus, judging
from deploy.lab.concepts import CONCEPTS, label
from deploy.lab.corpus import Corpus
from deploy.lab.functions import Function, files, standard_library


@cache
def functions() -> list[Function]:
    return standard_library("held out")[:200]  # any will do for the form, and these are fewer


def text(document: list[corpus.Piece]) -> str:
    return "".join(piece.text for piece in document)


@pytest.mark.parametrize("stage", corpus.STAGES)
def test_a_document_is_a_prompt_of_the_recipe_with_its_answer(stage: str) -> None:
    few_shot = prompt.load("lab", stage)
    for document in itertools.islice(_documents(stage), 20):
        shots = [
            Shot(ask.text.removesuffix("\n"), f"{prefill.text}{answer.text}")
            for ask, prefill, answer in _examples(document)
        ]
        *before, last = shots
        asked = Prompt(few_shot.system, tuple(before), last.ask, few_shot.prefill)
        assert text(document) == completion_text(asked) + last.reply.removeprefix(few_shot.prefill)


def _documents(stage: str):
    drawn = Corpus(1, functions())
    while True:
        yield drawn.document(stage)


def _examples(document: list[corpus.Piece]):
    for at in range(1, len(document), 4):
        yield document[at + 1], document[at + 2], document[at + 3]


def test_equal_seeds_give_equal_corpora() -> None:
    one, other, third = (list(itertools.islice(iter(Corpus(seed, functions())), 50)) for seed in (1, 1, 2))
    assert one == other
    assert one != third


def test_what_the_judge_is_measured_with_is_not_what_it_was_taught() -> None:
    assert not {docstring for docstring in judging.TRIVIAL if docstring} & set(corpus.TRIVIAL)


def test_files_that_are_held_out_are_in_no_corpus() -> None:
    read, held_out = set(files("corpus")), set(files("held out"))
    assert read and held_out and not read & held_out
    assert 0.05 < len(held_out) / len(read | held_out) < 0.15


def test_a_function_is_python_with_its_own_docstring_and_with_any_other() -> None:
    for function in functions():
        docstring = '"""Other."""'
        for code in (function.code, function.compact, function.with_docstring(docstring)):
            node = next(n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.FunctionDef))
            assert ast.get_docstring(node)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return sorted(x)", ("sorting", "function calls")),
        ("return f(x)", ("recursion", "function calls")),
        ("return re.sub('a', 'b', x)", ("regular expressions", "attribute access")),
        ("return {k: v for k, v in x}", ("dictionary comprehension", "function calls")),
        ("return x & 1", ("bit manipulation", "function calls")),
        ("return '%s' % x", ("string formatting", "function calls")),
        ("return x % 2", ("modulo arithmetic", "function calls")),
        ("return os.environ['A']", ("environment variables", "dictionary lookup")),
        ("return x.y.z", ("attribute access", "function calls")),
        ("for a in x:\n        for b in a: pass", ("nested loops", "iteration")),
        (
            "a, b = x\n    return [c for c in a if c in b]",
            ("list comprehension", "tuple unpacking", "membership testing"),
        ),
    ],
)
def test_concepts_are_read_off_the_syntax_tree(body: str, expected: tuple[str, ...]) -> None:
    [node] = ast.parse(f"def f(x):\n    {body}").body
    assert isinstance(node, ast.FunctionDef)
    assert label(node)[: len(expected)] == expected


def test_a_label_has_two_to_five_concepts_that_are_known() -> None:
    for function in functions():
        assert 2 <= len(function.concepts) <= 5
        assert set(function.concepts) <= set(CONCEPTS)


def test_weights_count_answers_more_than_what_is_shown() -> None:
    for document in itertools.islice(iter(Corpus(4, functions())), 30):
        assert all(piece.weight > 0 for piece in document)
    [judged] = itertools.islice(_documents("seeds"), 1)
    assert {piece.weight for piece in judged if piece.text in ("yes", "no")} == {corpus.VERDICT}
