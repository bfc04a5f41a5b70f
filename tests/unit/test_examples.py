import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import examples, fences, prompt
from consumers.examples import Reason
from stream import codec
from stream.errors import Fatal
from stream.records import Example, Execution, Executions, Instruction, Rejected, Response, Step
from stream.stage import Decision
from tests.records import executions, instruction, response

STAGE = examples.stage(examples.Params(), recipe_seed=3407)
BLOCK = "```python\nx = 1\n```"


def decide(*records: Executions) -> list[Decision[Example]]:
    return list(STAGE.decide(STAGE.new(), records))


def only(*records: Executions) -> Example | tuple[str, str]:
    """The decision on the last of records: its example, or the reason and evidence of its one reject."""
    outcome = decide(*records)[-1].outcome
    if outcome.emitted:
        [accepted] = outcome.emitted
        assert not outcome.rejected
        return accepted
    [reject] = outcome.rejected
    assert reject.record_id is None, "the reject is the instruction's"
    return reject.reason, reject.evidence


def task(n: int) -> Instruction:
    return instruction(f"Write task {n}.", index=n)


def test_the_first_passing_response_becomes_the_example() -> None:
    samples = ((response(0), "timeout"), (response(2, f"A\n{BLOCK}"), "pass"), (response(3, f"B\n{BLOCK}"), "pass"))
    accepted = only(executions(task(0), *samples))
    assert accepted == Example(
        task(0),
        response(2, f"A\n{BLOCK}"),
        Execution(2, "pass", ""),
        Step("examples", examples.VERSION, verdict="2 of 3 passed"),
    )


def test_a_later_response_is_taken_where_an_earlier_passing_one_breaks_a_rule() -> None:
    samples = ((response(0, f"TODO\n{BLOCK}"), "pass"), (response(1), "pass"))
    accepted = only(executions(task(0), *samples))
    assert isinstance(accepted, Example)
    assert accepted.response.index == 1


def test_without_a_passing_response_the_evidence_lists_each_verdict() -> None:
    record = executions(task(0), (response(0), "assertion"), (response(4), "timeout"))
    failed = Execution(0, "assertion", "Traceback\n  line 3\nAssertionError: 2 != 3")
    record = Executions(record.instruction, record.responses, (failed, record.executions[1]), record.step)
    assert only(record) == (
        Reason.NO_PASSING_RESPONSE,
        "sample 0: assertion: AssertionError: 2 != 3\nsample 4: timeout",
    )


def test_a_record_without_samples_is_rejected_too() -> None:
    assert only(executions(task(0))) == (Reason.NO_PASSING_RESPONSE, "")


@pytest.mark.parametrize(
    ("sample", "fault"),
    [
        (response(text=f"# ToDo later\n{BLOCK}"), "'todo' in it"),
        (response(text=f"{BLOCK}\nYour code here"), "'your code here' in it"),
        (response(text="```python\nraise NotImplementedError\n```"), "'notimplemented' in it"),
        (response(tests="assert f()  # FIXME"), "'fixme' in it"),
        (response(text="just words"), "no Python block in the response"),
        (response(text="```\nx = 1\n```"), "no Python block in the response"),
        (response(tests=" \n"), "no tests"),
        (response(tests="print(f())"), "no assert in the tests"),
        (response(tests="import f\n\ndef test():\n    assert f()"), "the tests only define and import"),
        (response(tests='"""assert"""\nclass T: ...\nasync def g(): ...'), "the tests only define and import"),
        (response(tests="assert ("), "the tests only define and import"),
        (response(tests="assert x\0"), "the tests only define and import"),
        (response(tests="assert " + "-" * 100_000 + "1"), "the tests only define and import"),
        (response(tests="assert " + "1+" * 20_000 + "1"), "the tests only define and import"),
    ],
)
def test_a_passing_response_of_the_wrong_form_is_rejected_and_told_why(sample: Response, fault: str) -> None:
    assert only(executions(task(0), (sample, "pass"))) == (Reason.FORMAT, f"sample 0: pass, but {fault}")


@pytest.mark.parametrize(
    "tests",
    [
        "assert f() == 1",
        "def test():\n    assert f()\ntest()",
        "if __name__ == '__main__':\n    assert f()",
        "for x in range(3):\n    assert f(x)",
        r"assert f('\d')",
    ],
)
def test_tests_that_run_an_assertion_are_in_form(tests: str) -> None:
    assert isinstance(only(executions(task(0), (response(tests=tests), "pass"))), Example)


def test_an_instruction_seen_before_is_rejected_whatever_its_white_space() -> None:
    again = instruction(" Write\ttask 0 .\n", index=1)
    other = response(0, f"another\n{BLOCK}")
    first = executions(task(0), (response(), "pass"))
    assert only(first, executions(again, (other, "pass"))) == (
        Reason.SEEN_INSTRUCTION,
        "sample 0: pass, but the instruction was seen",
    )


def test_a_response_seen_before_is_passed_over_for_one_that_is_new() -> None:
    first = executions(task(0), (response(), "pass"))
    same = response(0, "So:\n\n```python\n\nx  =  1\n\n```\n")
    assert only(first, executions(task(1), (same, "pass"))) == (
        Reason.SEEN_RESPONSE,
        "sample 0: pass, but the response was seen",
    )
    accepted = only(first, executions(task(1), (same, "pass"), (response(1, f"new\n{BLOCK}"), "pass")))
    assert isinstance(accepted, Example)
    assert accepted.response.index == 1


def test_only_what_was_accepted_counts_as_seen() -> None:
    failed = executions(task(0), (response(), "timeout"))
    not_taken = executions(task(1), (response(0, f"taken\n{BLOCK}"), "pass"), (response(1, f"not\n{BLOCK}"), "pass"))
    again = executions(instruction("Write task 0.", index=2), (response(0, f"not\n{BLOCK}"), "pass"))
    assert isinstance(only(failed, not_taken, again), Example)


def test_the_reason_is_that_of_the_sample_that_came_furthest() -> None:
    first = executions(task(0), (response(), "pass"))
    record = executions(task(1), (response(0), "pass"), (response(1, "just words"), "pass"), (response(2), "timeout"))
    assert only(first, record) == (
        Reason.SEEN_RESPONSE,
        "sample 0: pass, but the response was seen\n"
        "sample 1: pass, but no Python block in the response\n"
        "sample 2: timeout",
    )


@st.composite
def streams(draw: st.DrawFn) -> list[Executions]:
    samples = st.tuples(st.sampled_from("abc"), st.sampled_from(["pass", "pass", "timeout"]))
    texts = draw(st.lists(st.tuples(st.sampled_from("tuvwxyz"), st.lists(samples, max_size=3)), max_size=15))
    return [
        executions(
            instruction(text, index=n),
            *((response(j, f"{word}\n{BLOCK}"), verdict) for j, (word, verdict) in enumerate(answers)),
        )
        for n, (text, answers) in enumerate(texts)
    ]


@given(streams(), st.data())
def test_batches_and_restarts_change_no_decision(records: list[Executions], data: st.DataObject) -> None:
    def plain(decision: Decision[Example]) -> tuple[object, ...]:
        rejected = [(reject.reason, reject.evidence) for reject in decision.outcome.rejected]
        return decision.change, decision.outcome.emitted, rejected

    whole = [plain(decision) for decision in decide(*records)]
    state, changes, cut = STAGE.new(), list[str](), list[tuple[object, ...]]()
    while len(cut) < len(records):
        if data.draw(st.booleans(), label="restart"):
            state = STAGE.new()
            STAGE.restore(state, changes)
        decisions = STAGE.decide(state, records[len(cut) :][: data.draw(st.integers(1, 4), label="batch")])
        changes += [decision.change for decision in decisions if decision.outcome.emitted]
        cut += [plain(decision) for decision in decisions]
    assert cut == whole


@given(streams())
def test_no_instruction_and_no_response_is_accepted_twice(records: list[Executions]) -> None:
    accepted = [example for decision in decide(*records) for example in decision.outcome.emitted]
    assert len({example.instruction.text for example in accepted}) == len(accepted)
    assert len({example.response.text for example in accepted}) == len(accepted)


text = st.text(st.characters(exclude_categories=("Cs",)))


@given(text, text, text)
def test_any_passing_sample_gets_a_decision_that_a_topic_can_carry(asked: str, answer: str, tests: str) -> None:
    decided = only(executions(instruction(asked), (response(0, f"{answer}\n{BLOCK}", f"{tests}\nassert x"), "pass")))
    codec.encode(decided if isinstance(decided, Example) else Rejected("id", "examples", *decided))


def test_a_state_that_cannot_be_read_stops_the_stage() -> None:
    with pytest.raises(Fatal, match=r"examples\.state cannot be read"):
        STAGE.restore(STAGE.new(), ["garbage"])


def test_each_built_in_example_would_be_accepted() -> None:
    for name, worked in prompt.worked_examples(prompt.find("selfcodealign"), "responses").items():
        assert isinstance(worked, prompt.Worked)
        assert fences.python(fences.blocks(worked.response))
        assert examples.format_fault(response(text=worked.response, tests=worked.tests)) is None, name
