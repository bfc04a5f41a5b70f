"""The worked examples of recipe `selfcodealign`: each holds what it shows, or every record made after it is worse."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from string import Template
from typing import Any

import pytest

from consumers import functions, prompt
from stream.records import File, Seed, SourceFile, file_id
from tests.patience import LONG_S, PATIENCE_S

PROMPTS = prompt.find("selfcodealign")


def files(pattern: str) -> dict[str, dict[str, Any]]:
    return {path.stem: tomllib.loads(path.read_text()) for path in sorted(PROMPTS.glob(pattern))}


EXAMPLES, JUDGED, TEMPLATES = files("examples/*.toml"), files("judge/*.toml"), files("*.toml")
FENCE = re.compile(r"^```python\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
HEADINGS = ("Code", "Verdict", "Concepts", "Properties", "Instruction", "Response", "Tests", "/Tests")
RESERVED = ("## Example", *(f"[{heading}]" for heading in HEADINGS))
FORBIDDEN = ("todo", "fixme", "bug", "your code here", "notimplemented")  # what the filters of seeds and selection drop
MAX_REPLY_CHARS = 5_400  # about 1,536 tokens, the room that the recipe gives a reply: no example may teach a longer one

each_example = pytest.mark.parametrize("name", EXAMPLES)


def implementation(name: str) -> str:
    [code] = FENCE.findall(EXAMPLES[name]["response"])
    return code


def definitions(code: str) -> list[ast.FunctionDef | ast.ClassDef]:
    return [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def hollow(code: str) -> str:
    """Replace every top-level function and class by a function that returns None."""
    tree = ast.parse(code)
    [stub] = ast.parse("def stub(*args, **kwargs): return None").body
    assert isinstance(stub, ast.FunctionDef)
    tree.body = [
        ast.FunctionDef(node.name, stub.args, stub.body, [])
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        else node
        for node in tree.body
    ]
    return ast.unparse(ast.fix_missing_locations(tree))


@each_example
def test_an_example_has_exactly_its_fields_and_each_is_plain_text(name: str) -> None:
    example = EXAMPLES[name]
    assert set(example) == {
        *("category", "language", "difficulty", "concepts", "code", "instruction", "response", "tests")
    }
    assert all(text == text.strip() and text.isascii() for text in example.values() if isinstance(text, str))
    assert not [token for token in RESERVED for text in example.values() if token in text]


@each_example
def test_concepts_are_two_to_five_short_phrases_that_survive_being_joined_by_commas(name: str) -> None:
    concepts = EXAMPLES[name]["concepts"]
    assert 2 <= len(concepts) <= 5
    assert len(set(concepts)) == len(concepts)
    assert all(1 <= len(concept.split()) <= 4 and "," not in concept for concept in concepts)


@each_example
def test_a_seed_is_one_documented_function_with_arguments_and_a_result(name: str) -> None:
    tree = ast.parse(EXAMPLES[name]["code"])
    *imports, function = tree.body
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in imports)
    assert isinstance(function, ast.FunctionDef)
    assert ast.get_docstring(function)
    assert function.args.args
    assert any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(function))
    assert 5 <= len(EXAMPLES[name]["code"].splitlines()) <= 40


@each_example
def test_a_seed_would_pass_the_filters_that_real_code_has_to_pass(name: str) -> None:
    code = EXAMPLES[name]["code"]
    file = File(file_id("examples", name, code.encode()), "examples", name, "python", None, None, "Apache-2.0")
    [cut] = functions.cut(SourceFile(file, code), functions.Params())
    assert isinstance(cut, Seed)
    assert cut.code.strip() == code


@each_example
def test_an_instruction_is_of_readable_length_and_names_what_the_tests_call(name: str) -> None:
    example = EXAMPLES[name]
    assert 40 <= len(example["instruction"].split()) <= 180
    assert "```" not in example["instruction"]
    called = {node.id for node in ast.walk(ast.parse(example["tests"])) if isinstance(node, ast.Name)}
    asked_for = {node.name for node in definitions(implementation(name))} & called
    assert len(asked_for) == 1
    assert asked_for.pop() in example["instruction"]


@each_example
def test_a_response_is_prose_one_python_block_and_prose(name: str) -> None:
    response = EXAMPLES[name]["response"]
    before, _, after = FENCE.split(response)
    assert response.count("```") == 2
    assert 1 <= len(re.findall(r"[.:](?:\s|$)", before)) <= 4
    assert 1 <= len(re.findall(r"\.(?:\s|$)", after)) <= 4
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(implementation(name))) if isinstance(node, ast.Call)}
    assert not calls & {"print", "input", "open", "exec", "eval"}


@each_example
def test_a_reply_fits_the_tokens_a_sample_may_have(name: str) -> None:
    reply = Template(TEMPLATES["responses"]["reply"]).substitute(EXAMPLES[name])
    assert len(reply) <= MAX_REPLY_CHARS


@each_example
def test_the_response_passes_its_tests(name: str) -> None:
    done = run(f"{implementation(name)}\n\n{EXAMPLES[name]['tests']}\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@each_example
def test_the_tests_fail_for_an_implementation_that_does_nothing(name: str) -> None:
    done = run(f"{hollow(implementation(name))}\n\n{EXAMPLES[name]['tests']}\n")
    error = done.stderr.splitlines()[-1].partition(":")[0]
    assert (done.returncode, error) in [(1, error) for error in ("AssertionError", "AttributeError", "TypeError")]


@each_example
def test_the_tests_are_asserts_at_module_level(name: str) -> None:
    tests = EXAMPLES[name]["tests"]
    assert "```" not in tests
    assert sum(isinstance(node, ast.Assert) for node in ast.parse(tests).body) >= 4


@each_example
def test_an_example_has_no_word_that_the_filters_drop(name: str) -> None:
    example = EXAMPLES[name]
    text = "\n".join(example[field] for field in ("code", "instruction", "response", "tests")).lower()
    assert [word for word in FORBIDDEN if word in text] == []


def test_seeds_and_responses_are_clean_under_pyright(tmp_path: Path) -> None:
    for name, example in EXAMPLES.items():
        (tmp_path / f"{name}-seed.py").write_text(example["code"] + "\n")
        (tmp_path / f"{name}-response.py").write_text(implementation(name) + "\n")
    command = [sys.executable, "-m", "pyright", "--pythonversion", "3.11", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LONG_S, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "0 errors, 0 warnings, 0 informations")


def test_names_and_instructions_are_pairwise_different() -> None:
    code = [text for name, example in EXAMPLES.items() for text in (example["code"], implementation(name))]
    names = Counter(node.name for text in code for node in definitions(text))
    assert [name for name, times in names.items() if times > 1] == []
    assert len({example["instruction"] for example in EXAMPLES.values()}) == len(EXAMPLES)
    concepts = Counter(tuple(sorted(example["concepts"])) for example in EXAMPLES.values())
    assert max(concepts.values()) == 1


def test_categories_are_two_to_one_to_one_and_difficulties_uniform() -> None:
    assert len(EXAMPLES) == 21
    categories = Counter(example["category"] for example in EXAMPLES.values())
    assert set(categories) == {"function", "class", "program"}
    assert categories["function"] in (10, 11)
    assert min(categories.values()) >= 5
    assert Counter(example["difficulty"] for example in EXAMPLES.values()) == {"easy": 7, "medium": 7, "hard": 7}
    assert {example["language"] for example in EXAMPLES.values()} == {"python"}


@each_example
def test_an_example_is_of_its_category(name: str) -> None:
    example = EXAMPLES[name]
    called = {node.id for node in ast.walk(ast.parse(example["tests"])) if isinstance(node, ast.Name)}
    [entry] = [node for node in definitions(implementation(name)) if node.name in called]
    assert isinstance(entry, ast.ClassDef) == (example["category"] == "class")
    if example["category"] == "program":
        assert len(definitions(implementation(name))) >= 3


@pytest.mark.parametrize("name", JUDGED)
def test_a_judged_function_is_one_function_with_a_docstring_and_a_verdict(name: str) -> None:
    judged = JUDGED[name]
    assert set(judged) == {"code", "verdict"}
    *imports, function = ast.parse(judged["code"]).body
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in imports)
    assert isinstance(function, ast.FunctionDef)
    assert ast.get_docstring(function)
    assert judged["verdict"] in ("yes", "no")
    assert not [token for token in (*RESERVED, "```") if token in judged["code"]]


def test_verdicts_are_nearly_even_and_judged_functions_are_no_seeds() -> None:
    assert sorted(Counter(judged["verdict"] for judged in JUDGED.values()).values()) == [3, 4]
    judged_names = {node.name for judged in JUDGED.values() for node in definitions(judged["code"])}
    seed_names = {node.name for example in EXAMPLES.values() for node in definitions(example["code"])}
    assert len(judged_names) == 7
    assert not judged_names & seed_names


@pytest.mark.parametrize("stage", TEMPLATES)
def test_a_template_has_its_keys_and_its_reply_begins_with_the_prefill(stage: str) -> None:
    template = TEMPLATES[stage]
    assert set(template) == {"system", "ask", "reply", "prefill", "stop"}
    assert template["reply"].startswith(template["prefill"])
    assert template["prefill"].endswith("]\n")
    assert "$" not in template["system"]
    assert not [token for token in RESERVED if token in template["system"]]


@pytest.mark.parametrize(
    ("stage", "ask", "reply"),
    [
        (
            "seeds",
            r"\[Code\]\n```python\nCODE\n```\n\nIs the docstring of this function good\? .+",
            "[Verdict]\nVERDICT",
        ),
        ("concepts", r"\[Code\]\n```python\nCODE\n```", "[Concepts]\nCONCEPTS"),
        (
            "instructions",
            r"\[Properties\]\ncategory: CATEGORY\nlanguage: LANGUAGE\ndifficulty: DIFFICULTY\nconcepts: CONCEPTS",
            "[Instruction]\nINSTRUCTION",
        ),
        (
            "responses",
            r"\[Instruction\]\nINSTRUCTION",
            "[Response]\nRESPONSE\n\n[Tests]\n```python\nTESTS\n```\n[/Tests]",
        ),
    ],
)
def test_templates_render_in_the_form_that_the_stages_read(stage: str, ask: str, reply: str) -> None:
    fields = ("category", "language", "difficulty", "concepts", "code", "instruction", "response", "tests", "verdict")
    values = {field: field.upper() for field in fields}
    assert re.fullmatch(ask, Template(TEMPLATES[stage]["ask"]).substitute(values))
    assert Template(TEMPLATES[stage]["reply"]).substitute(values) == reply


@each_example
def test_no_stop_string_cuts_an_example_short(name: str) -> None:
    values = EXAMPLES[name] | {"concepts": ", ".join(EXAMPLES[name]["concepts"])}
    for stage in ("concepts", "instructions", "responses"):
        template = TEMPLATES[stage]
        reply = Template(template["reply"]).substitute(values).removeprefix(template["prefill"])
        cuts = [reply.index(stop) for stop in template["stop"] if stop in reply]
        assert all(reply[cut:] == "[/Tests]" for cut in cuts)
