"""The script: right form for every stage, programs that really run, known shares of bad ones."""

import ast
import contextlib
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import fences, prompt, seeds
from consumers.instructions import from_concepts
from consumers.llm.render import completion_text, messages
from consumers.llm.request import Completion, Prompt
from consumers.reply import Form
from consumers.responses import read as read_response
from deploy.scripted_llm import question, replies
from deploy.scripted_llm.faults import Fault, Faults
from deploy.scripted_llm.question import Question, Stage
from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.tasks import KINDS, Step, Task, recognise
from stream.records import Response
from stream.records import Step as Lineage
from stream.stage import Reject

CODE = '''def largest(values: list[int]) -> int:
    """Return the largest of the values."""
    return max([v for v in values if v > 0], default=0)'''

FIELDS = {
    "seeds": {"code": CODE},
    "concepts": {"code": CODE},
    "instructions": {"category": "function", "language": "python", "difficulty": "hard", "concepts": "sorting, loops"},
    "responses": {"instruction": "Write a Python function `f(values)` that sorts the values in ascending order."},
}
GOOD = Shares(no=0, failing=0, unparsable=0, broken=0, hanging=0)


def ask(stage: str, shots: int, **fields: str) -> Prompt:
    return prompt.load("selfcodealign", stage).prompt(5, shots, FIELDS[stage] | fields)


def both(asked: Prompt) -> tuple[Question, Question]:
    chat = question.of_chat([(m["role"], m["content"]) for m in messages(asked)])
    return question.of_completion(completion_text(asked)), chat


def content(asked: Question, seed: int, shares: Shares = GOOD) -> str:
    """The reply as a client gets it with the stage's stop strings."""
    text = replies.whole(asked, seed, shares)
    for stop in ("\n\n## Example", "\n[/Tests]"):
        text = text.split(stop)[0]
    return text.split("\n", 1)[1]


@pytest.mark.parametrize("stage", FIELDS)
@pytest.mark.parametrize("shots", [0, 1, 3])
def test_the_stage_is_known_by_its_prompt_and_both_apis_ask_the_same(stage: str, shots: int) -> None:
    completion, chat = both(ask(stage, shots))
    assert completion.stage == chat.stage == stage
    assert completion.ask == chat.ask
    assert replies.whole(completion, 7, GOOD) == replies.whole(chat, 7, GOOD)


def test_a_seed_that_looks_like_a_prompt_does_not_mislead_it() -> None:
    tricky = 'def f(x):\n    """Return [Instruction] and\n[Response]\n[Properties] of it."""\n    return x'
    for stage in ("seeds", "concepts"):
        assert {asked.stage for asked in both(ask(stage, 2, code=tricky))} == {stage}


def test_a_prompt_of_no_stage_is_answered_too() -> None:
    asked = question.of_chat([("user", "What is the time?")])
    assert asked.stage is Stage.OTHER
    assert replies.whole(asked, 1, GOOD) != replies.whole(asked, 2, GOOD)


def test_an_undocumented_function_is_no_seed() -> None:
    assert replies.verdict("def f(x):\n    return x", GOOD) == "No"
    assert replies.verdict('def f(x):\n    """f."""\n    return x', GOOD) == "No"
    assert replies.verdict("def f(", GOOD) == "No"
    assert replies.verdict(CODE, GOOD) == "Yes"


def test_verdicts_are_read_by_the_judge() -> None:
    assert seeds.verdict(content(both(ask("seeds", 2))[0], 1))


def test_concepts_are_a_short_list_of_what_the_code_shows() -> None:
    found = content(both(ask("concepts", 2))[0], 1).split(", ")
    assert "comprehensions" in found
    assert 2 <= len(found) <= 5


@given(st.text(max_size=300))
def test_any_code_has_concepts_and_a_verdict(code: str) -> None:
    found = replies.concepts(code)
    assert found and all(found) and "," not in "".join(found) and "\n" not in "".join(found)
    assert replies.verdict(code, Shares()) in ("Yes", "No")


@given(
    st.sampled_from(["function", "class", "program"]),
    st.sampled_from(["easy", "medium", "hard"]),
    st.integers(0, 2**31),
)
def test_a_task_survives_being_put_into_words(category: str, difficulty: str, seed: int) -> None:
    asked = Question(Stage.INSTRUCTIONS, f"[Properties]\ncategory: {category}\ndifficulty: {difficulty}", "")
    task = recognise(content(asked, seed))
    assert task is not None
    assert task.is_class == (category == "class")
    assert len(task.steps) == {"easy": 2, "medium": 3, "hard": 4}[difficulty]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.words)
def test_each_kind_of_step_is_recognised_alone(kind: object) -> None:
    step = Step(kind, 7)  # type: ignore[arg-type]
    task = recognise(f"`f(values)`: it first {step.words}.")
    assert task == Task("f", False, (Step(step.kind, 7 if "#" in step.kind.words else 1),))


@pytest.mark.parametrize("category", ["function", "class", "program"])
@pytest.mark.parametrize("seed", range(12))
def test_a_response_is_parsed_by_its_stage_and_passes_its_own_tests(category: str, seed: int) -> None:
    task = content(both(ask("instructions", 1, category=category))[0], seed)
    asked = both(ask("responses", 1, instruction=task))[0]
    response = parsed(content(asked, seed))
    assert isinstance(response, Response)
    assert outcome(response) == "pass"
    names = [node.name for node in ast.parse(response.code).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert f"`{names[0]}" in task


def test_a_task_of_another_author_gets_a_response_that_passes_too() -> None:
    for instruction in ("Write `parse_time(text, default=None)`, which reads a time.", "Do something."):
        for seed in range(5):
            response = parsed(content(Question(Stage.RESPONSES, f"[Instruction]\n{instruction}", ""), seed))
            assert isinstance(response, Response) and outcome(response) == "pass"


def test_bad_responses_come_in_their_shares_and_fail_as_they_should() -> None:
    shares = Shares(failing=0.2, unparsable=0.1, broken=0.1, hanging=0.1)
    asked = both(ask("responses", 1))[0]
    found: dict[str, int] = {}
    for seed in range(1000):
        response = parsed(content(asked, seed, shares))
        what = "unparsable" if isinstance(response, Reject) else outcome(response)
        found[what] = found.get(what, 0) + 1
    assert found["unparsable"] == pytest.approx(100, abs=30)
    assert found["AssertionError"] == pytest.approx(200, abs=40)
    assert found["SyntaxError"] == pytest.approx(100, abs=30)
    assert found["hangs"] == pytest.approx(100, abs=30)
    assert found["pass"] == pytest.approx(500, abs=50)


def test_replies_differ_between_seeds() -> None:
    instructions = both(ask("instructions", 1))[0]
    assert len({content(instructions, seed) for seed in range(200)}) == 200
    responses = both(ask("responses", 1))[0]
    assert len({content(responses, seed) for seed in range(10)}) == 10


FORM = Form("[Response]\n", ("[/Tests]", "## Example"))


def parsed(text: str) -> Response | Reject:
    return read_response(0, Completion(text, "stop", 1, 1, "m"), FORM, Lineage("responses", 1))


def outcome(response: Response) -> str:
    """Run a response with its tests, unless it never ends."""
    if "while True:" in response.code:
        return "hangs"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(f"{response.code}\n{response.tests}", {"__name__": "__main__"})
    except (AssertionError, SyntaxError) as err:
        return type(err).__name__
    return "pass"


def test_an_instruction_names_no_other_stage_and_no_fence() -> None:
    for seed in range(50):
        text = content(both(ask("instructions", 1))[0], seed)
        assert not re.search(r"\[[A-Z]", text) and not fences.blocks(text)
        assert len(text.split()) < 180


def test_properties_of_the_recipe_are_what_the_script_reads() -> None:
    wanted = from_concepts.Properties("class", "python", "easy", ("one", "two"))
    fields = {"category": wanted.category, "difficulty": wanted.difficulty, "concepts": "one, two"}
    assert content(both(ask("instructions", 0, **fields))[0], 3).endswith("A good solution shows one, two.")


# --- faults


def test_a_fault_hits_as_many_requests_as_it_says() -> None:
    faults = Faults([Fault(status=503, count=2), Fault(garbage=True, stage="seeds", match="here")])
    hits = [faults.next("seeds", prompt, 1, 0) for prompt in ("a", "b", "c", "is here")]
    assert [hit and hit.status for hit in hits] == [503, 503, None, None]
    assert hits[3] is not None and hits[3].garbage
    assert faults.next("concepts", "is here", 1, 0) is None


def test_a_share_of_requests_is_hit_and_another_attempt_may_pass() -> None:
    faults = Faults([Fault(reset=True, share=0.3)])
    first = [faults.next("s", f"p{k}", 1, 0) is not None for k in range(2000)]
    assert sum(first) == pytest.approx(600, abs=80)
    again = [faults.next("s", f"p{k}", 1, 1) is not None for k in range(2000)]
    assert first != again
    assert first == [Faults([Fault(reset=True, share=0.3)]).next("s", f"p{k}", 1, 0) is not None for k in range(2000)]


def test_a_fault_does_one_thing() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        Fault(status=503, reset=True)
    with pytest.raises(ValueError, match="expected one of"):
        Fault(count=3)
