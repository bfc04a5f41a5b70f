"""The contract of what makes an answer of a reply: nothing around an answer stays, and nothing of an answer goes."""

import ast
import functools
import random
import sysconfig
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumers.llm.request import Completion, Prompt
from consumers.reply import Form, answer, clean

RESPONSE = Form("[Response]\n", ("[/Tests]", "## Example"))
TASK = Form("[Instruction]\n", ("## Example", "[Response]"))
CONCEPTS = Form("[Concepts]\n", ("\n", "## Example"))
VERDICT = Form("[Verdict]\n", ("\n",))
CHAT = Form()
FORMS = (RESPONSE, TASK, CONCEPTS, VERDICT, CHAT, Form("", ("\ndef ", "\nclass "), continues=True))

CODE = "```python\ndef double(x):\n    return 2 * x\n```"
ANSWERS = (
    (RESPONSE, f"We double.\n\n{CODE}\n\n[Tests]\n```python\nassert double(2) == 4\n```"),
    (RESPONSE, f"{CODE}\n\n[Tests]\n{CODE}"),
    (TASK, "Write `f(x)`.\n\n### Example\n\nf(1) == 2"),
    (TASK, "Write a parser for lines such as\n\n```\nkey = value\n```\n\nand return a dictionary."),
    (CONCEPTS, "list comprehension, recursion"),
    (VERDICT, "Yes"),
    (CHAT, CODE),
    (CHAT, f"So:\n\n{CODE}\n\nIt doubles."),
)

INI = f"Parse this:\n\n```ini\n[Response]\nx = 1\n```\n\n{CODE}"

THOUGHTS = (
    "<think>\nA list? No, a {draft}.\n</think>\n\n",
    "<think></think>",
    "<THINKING>\r\nLet me see.\r\n</THINKING>\r\n",
    "Is it this: {draft}? No.\n</think>\n\n",
    "<thought>hm</thought>\n",
    "[THINK]hm\n[/THINK]",
    "◁think▷hm◁/think▷",
    "<seed:think>hm</seed:think>",
    "<|START_THINKING|>hm<|END_THINKING|>",
    "<|begin_of_thought|>\n{draft}\n<|end_of_thought|>\n\n",
    "<think>first</think>\n<think>then</think>\n",
    "<think>They wrote <think> here.</think> And so on.</think>\n",
    "<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant<|channel|>final<|message|>",
    "analysisThe user wants it.assistantfinal",
)
DRAFTS = (
    "draft",
    "```python\nwrong = 1\n```",
    "[Response]\n[Tests]\nno",
    "## Example 2\n[Verdict]\nno",
    "[Verdict]\nNo",
)
PREAMBLES = (
    "Sure! Here is what you asked for:\n\n",
    "Certainly. Below is the answer.\n",
    "Of course!\r\n\r\n",
    "Here's the result as requested:\n\n",
    "I read the question twice and I think that this is what is wanted.\nIt is not long.\n\n",
    "**Answer**\n\n",
)
HEADINGS = ("{h}\n", "{h} ", "**{h}**\n", "### {h}\n", "{h}:\n", "{h}\n{h}\n", "\n\n{h}\n", "{lower}\n")
TOKENS = (
    "<|im_end|>",
    "<|endoftext|>",
    "</s>",
    "<|eot_id|>\n",
    "<end_of_turn>\n",
    "<｜end▁of▁sentence｜>",
    "[EOS]",
    "<|im_end",
)
ROLES = (
    "<|im_start|>assistant\n",
    "<s> ",
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "assistant\n\n",
    "\ufeff",
)
OPEN = ("```\n", "```markdown\n", "~~~text\n", "<answer>\n")
CLOSE = {"```\n": "\n```", "```markdown\n": "\n```", "~~~text\n": "\n~~~", "<answer>\n": "\n</answer>"}
FAREWELLS = ("\n\nLet me know if you need anything else!", "\n\nI hope this helps!", "\nFeel free to ask for more.")


@st.composite
def wrapped(draw: st.DrawFn) -> tuple[Form, str, str]:
    """An answer, and a reply that holds it."""
    form, wanted = draw(st.sampled_from(ANSWERS))
    heading, reply = form.prefill.strip(), wanted
    if draw(st.booleans()):
        reply += draw(st.sampled_from(FAREWELLS))
    if heading and draw(st.booleans()):
        named = draw(st.sampled_from(HEADINGS)).format(h=heading, lower=heading.lower())
        reply = draw(st.sampled_from(("", *PREAMBLES))) + named + reply
    # A bare fence around bare fences is no fence around them: what closes what, nobody can tell.
    opened = draw(st.sampled_from(("", *(mark for mark in OPEN if "```markdown" in mark or "\n```\n\n" not in reply))))
    if opened:
        reply = opened + reply + CLOSE[opened]
    if draw(st.booleans()):
        reply = draw(st.sampled_from(THOUGHTS)).format(draft=draw(st.sampled_from(DRAFTS))) + reply
    if draw(st.booleans()):
        reply = draw(st.sampled_from(ROLES)) + reply
    if draw(st.booleans()):
        reply += draw(st.sampled_from(TOKENS))
    reply = draw(st.sampled_from(("", "\n", "\n\n", " \t\n"))) + reply + draw(st.sampled_from(("", "\n", "\n\n \n")))
    if draw(st.booleans()):
        reply = reply.replace("\r\n", "\n").replace("\n", draw(st.sampled_from(("\r\n", "\r"))))
    return form, wanted, reply


@given(wrapped())
def test_nothing_that_a_model_wraps_around_an_answer_changes_it(case: tuple[Form, str, str]) -> None:
    form, wanted, reply = case
    assert clean(reply, form).text == wanted


MARKS = (
    *THOUGHTS, *DRAFTS, *PREAMBLES, *TOKENS, *ROLES, *OPEN, *CLOSE.values(), *FAREWELLS, "[Response]", "[Concepts]",
    "[Instruction]\n", "[/Response]", "\n", "\r", " ", "x", "yes", "</think>", "<think>", "## Example 3\n",
    "[/Tests]\n", "assistantfinal", "analysis", "```python\n", "\n```\n", "~~~\n", "<answer>", "</answer>", "'",
    '"', "\0", "\ud800",
)  # fmt: skip


@example("<think>", RESPONSE)
@example("</s></s> </s>\n" * 1000, CHAT)
@example("```\n" * 5000, CHAT)
@example("[Response]\n" * 5000, RESPONSE)
@example("<think></think>" * 5000, CHAT)
@example("\n" * 100_000 + "x", VERDICT)
@given(st.one_of(st.text(), st.lists(st.sampled_from(MARKS), max_size=12).map("".join)), st.sampled_from(FORMS))
def test_an_answer_is_its_own_answer(text: str, form: Form) -> None:
    once = clean(text, form)
    again = clean(once.text, form)
    assert (again.text, again.open_thoughts) == (once.text, False)
    assert len(once.text) <= len(text)


@functools.cache
def functions(count: int) -> tuple[str, ...]:
    """Return so many functions of the standard library and of what is installed beside us."""
    paths = sysconfig.get_paths()
    files = sorted({path for root in ("stdlib", "purelib") for path in Path(paths[root]).rglob("*.py")})
    random.Random(3407).shuffle(files)
    found: list[str] = []
    for path in files:
        found += _functions(path)
        if len(found) >= count:
            break
    assert len(found) >= count
    return tuple(found[:count])


def _functions(path: Path) -> Iterator[str]:
    try:
        with tokenize.open(path) as file:
            source = file.read()
        tree = ast.parse(source)
    except (SyntaxError, UnicodeError, ValueError, RecursionError, OSError):
        return  # made so, to test parsers
    lines = source.split("\n")
    for node in tree.body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        for member in members:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                code = textwrap.dedent("\n".join(lines[member.lineno - 1 : member.end_lineno])).strip()
                if len(code) < 20_000:
                    yield code


def test_a_real_function_as_an_answer_is_never_shortened() -> None:
    """20,000 of them, bare, in a fence, and as a response with tests."""
    for code in functions(20_000):
        mark = "`" * (3 + max((len(line) - len(line.lstrip("`")) for line in code.split("\n")), default=0))
        fenced = f"{mark}python\n{code}\n{mark}"
        for text, form in (
            (code, CHAT),
            (fenced, CHAT),
            (f"So:\n\n{fenced}\n\nThat is all.", CHAT),
            (f"So:\n\n{fenced}\n\n[Tests]\n{fenced}", RESPONSE),
        ):
            if form is RESPONSE and ("\n[/Tests]" in code or "\n## Example" in code):
                continue  # a stop string of the recipe, which ends an answer wherever a line begins with it
            found = clean(text, form)
            assert found.text == text, code
            assert not found.open_thoughts


@pytest.mark.parametrize(
    ("form", "reply", "wanted"),
    [
        (VERDICT, "Yes\n\n## Example 2\n[Code]\nx\n[Verdict]\nNo", "Yes"),
        (CONCEPTS, "loops, slices\n\n## Example 9\n[Concepts]\nother", "loops, slices"),
        (TASK, "Write f.\n[Response]\nNo.", "Write f."),
        (TASK, "[Instruction]\nWrite f.\n[/Instruction]", "Write f."),
        (TASK, "Sure! Here is a task:\n\nWrite f.", "Write f."),
        (CHAT, "Here is the code:\n\n```python\nx = 1\n```", "Here is the code:\n\n```python\nx = 1\n```"),
        (CHAT, "x = s.split('</think>')[1]", "x = s.split('</think>')[1]"),
        (CHAT, "# removes <think>…</think>\nx = 1", "# removes <think>…</think>\nx = 1"),
        (CHAT, "def f():\n    return '<|im_end|>'", "def f():\n    return '<|im_end|>'"),
        (CHAT, "yes\n<think>was that right?</think>", "yes"),
        (RESPONSE, INI, INI),
    ],
)  # fmt: skip
def test_what_is_the_answer(form: Form, reply: str, wanted: str) -> None:
    assert clean(reply, form).text == wanted


@pytest.mark.parametrize(
    "text",
    [
        "Great circle distance.\nWrite a function for it.",
        "OK codes are 200 to 299.\nCount them.",
        "All right triangles with whole sides.\nList them.",
        "Thanks to caching it is fast.\n\nWrite the cache.",
        "This is a task about graphs:\nimplement BFS.",
        "Let's build a bank:\n- deposit\n- withdraw",
        "The following rules apply to the game:\n- a\n- b",
        "Read the rows.\n\nIf you have any empty rows, skip them.",
        "Read it twice.\n\nIf you need more than one pass, raise ValueError.",
        "A model ends every text with <eos>",
        "Write a function that removes everything up to the </think> tag and returns the rest.",
        "# drop </think> here\nx = 1",
    ],
)
def test_a_text_that_only_looks_wrapped_is_left_as_it_is(text: str) -> None:
    assert clean(text, TASK).text == text


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("<reason>hm</reason>\nWrite f.", "Write f."),
        ("<think >hm</think>Write f.", "Write f."),
        ("<antThinking>hm</antThinking>\nWrite f.", "Write f."),
        ("```thinking\nhm\n```\nWrite f.", "Write f."),
        ("Thinking...\nhm\n...done thinking.\n\nWrite f.", "Write f."),
        ("<|channel>thought\nhm<channel|>Write f.", "Write f."),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|message|>Write f.", "Write f."),
        ("Instruction: Write f.", "Write f."),
        ("## Instruction\nWrite f.", "Write f."),
        ("**Instruction:**\nWrite f.", "Write f."),
        ("<instruction>Write f.</instruction>", "Write f."),
        ("<answer>Write f.", "Write f."),
        ("Write f.\n[/Instruction]", "Write f."),
        ("Assistant: Write f.", "Write f."),
        ("Gerne! Hier ist eine Aufgabe:\n\nWrite f.", "Write f."),
        ("Based on the given properties, here is the task:\n\nWrite f.", "Write f."),
        ("I've written a task for you:\nWrite f.", "Write f."),
    ],
)
def test_other_ways_to_wrap_a_task(reply: str, wanted: str) -> None:
    assert clean(reply, TASK).text == wanted


def test_the_tokenizers_own_tokens_are_taken_from_the_end() -> None:
    assert clean("yes<STOP>\n", CHAT).text == "yes<STOP>"
    assert clean("yes<STOP>\n", CHAT, ("<STOP>", "<PAD>")).text == "yes"


def test_a_reply_that_ends_in_its_thoughts_has_no_answer() -> None:
    for text in ("<think>Yes", "\n<think>\nYes\n", "<|channel|>analysis<|message|>Yes", "[THINK]Yes", "<s><think>Yes"):
        assert clean(text, VERDICT) == ("", False, True)


def test_a_reply_that_a_stop_string_ended_here_is_finished() -> None:
    reply = Completion("Yes\nbecause", "length", 1, 5, "m")
    assert (answer(reply, VERDICT).text, answer(reply, VERDICT).finish_reason) == ("Yes", "stop")


def test_the_form_of_a_text_to_continue_keeps_white_space() -> None:
    form = Form.of(Prompt("", (), "", "def f():\n"), ("\ndef",))
    assert clean("    return 1\n\ndef g(): pass", form).text == "    return 1\n"
