from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import prompt
from consumers.instructions import from_concepts as instructions
from consumers.instructions.from_concepts import Reason
from consumers.llm.request import Completion, Filtered, TooLong
from consumers.reply import Form
from stream import codec
from stream.records import Instruction, Rejected, Step, derived_id
from stream.stage import Outcome, Reject
from tests.fakes import Answer, FakeLLM, as_served, completion
from tests.records import concepts

PARAMS = instructions.Params(
    shots=8,
    temperature=0.7,
    max_tokens=1536,
    categories=("function", "function", "class", "program"),
    difficulties=("easy", "medium", "hard"),
)
STEP = Step("instructions", instructions.VERSION, "sha", sampling_seed=1)
FORM = Form("[Instruction]\n", ("## Example", "[Response]"))


async def write(answer: Answer, params: instructions.Params = PARAMS) -> tuple[Outcome[Instruction], FakeLLM]:
    llm = FakeLLM(answer, model="m")
    few_shot = prompt.load("selfcodealign", "instructions")
    [outcome] = await instructions.stage(params, llm, few_shot, 3407).call([concepts("recursion", "trees")])
    return outcome, llm


async def test_the_reply_without_white_space_around_it_is_the_instruction() -> None:
    outcome, llm = await write(lambda _: "\n Write a tree.\r\n\r\nWalk it. \n")
    [written] = outcome.emitted
    parent = concepts("recursion", "trees")
    assert written.text == "Write a tree.\n\nWalk it."
    assert written.concepts == parent
    assert written.instruction_id == llm.asked[0].request_id == derived_id(parent.concepts_id, "instructions", 0)
    assert (written.step.model, written.step.sampling_seed) == ("m", llm.asked[0].seed)


async def test_the_question_asks_for_the_properties_that_the_record_keeps() -> None:
    outcome, llm = await write(lambda _: "Write a tree.")
    [written], [request] = outcome.emitted, llm.asked
    assert f"category: {written.category}\n" in request.prompt.ask
    assert f"difficulty: {written.difficulty}\n" in request.prompt.ask
    assert "language: python\n" in request.prompt.ask
    assert "concepts: recursion, trees" in request.prompt.ask
    assert len(set(request.prompt.shots)) == 8


async def test_a_heading_of_the_task_does_not_end_it_and_one_of_ours_does() -> None:
    task = "Write f.\n\n### Example\n\nf(1) == 2"
    outcome, _ = await write(lambda _: f"{task}\n\n## Example 9\n[Properties]")
    assert [written.text for written in outcome.emitted] == [task]


async def test_a_second_attempt_asks_for_the_same() -> None:
    assert (await write(lambda _: "a"))[1].asked == (await write(lambda _: "b"))[1].asked


def test_properties_are_drawn_in_the_stated_shares_and_independently() -> None:
    drawn = [instructions.properties(concepts(), PARAMS, number) for number in range(4000)]
    categories = Counter(wanted.category for wanted in drawn)
    assert categories["function"] == pytest.approx(2000, abs=100)
    assert categories["class"] == pytest.approx(1000, abs=100)
    assert categories["program"] == pytest.approx(1000, abs=100)
    pairs = Counter((wanted.category, wanted.difficulty) for wanted in drawn)
    assert len(pairs) == 9
    assert all(pairs[category, level] == pytest.approx(categories[category] / 3, abs=90) for category, level in pairs)


async def test_a_recipe_of_functions_alone_gets_functions_alone() -> None:
    params = instructions.Params(8, 0.7, 1536, ("function",), ("hard",))
    outcome, _ = await write(lambda _: "Write f.", params)
    assert (outcome.emitted[0].category, outcome.emitted[0].difficulty) == ("function", "hard")


def test_params_without_a_category_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one category"):
        instructions.Params(8, 0.7, 1536, (), ("easy",))


@pytest.mark.parametrize(
    ("answer", "reason", "evidence"),
    [
        ("", Reason.NO_INSTRUCTION, ""),
        (" \n\t", Reason.NO_INSTRUCTION, " \n\t"),
        (completion("Write a", "length"), Reason.STOPPED_FOR_LENGTH, "Write a"),
        (completion("Write", "content_filter"), Reason.NOT_FINISHED, "finish reason content_filter\nWrite"),
        ("Sorry, I can't do that.", Reason.REFUSED, "Sorry, I can't do that."),
        ("<think>A tree?", Reason.UNFINISHED_REASONING, "<think>A tree?"),
        ("Print <|im_end|> twice.", Reason.MARKERS, "Print <|im_end|> twice."),
        (Filtered("self_harm"), Reason.FILTERED, "self_harm"),
        ("Hello! How can I assist you today?", Reason.NO_INSTRUCTION, "Hello! How can I assist you today?"),
        ('{"instruction": "Write f."}', Reason.NO_INSTRUCTION, '{"instruction": "Write f."}'),
        ("\udfff", Reason.NOT_TEXT, "\\udfff"),
        (TooLong(9000, 4096), Reason.PROMPT_TOO_LONG, "9000 tokens and the reply exceed a context of 4096"),
    ],
)
async def test_a_reply_that_is_no_task_is_rejected_with_the_whole_reply(
    answer: str | Completion | TooLong | Filtered, reason: Reason, evidence: str
) -> None:
    outcome, _ = await write(lambda _: answer)
    [reject] = outcome.rejected
    assert (reject.reason, reject.evidence, outcome.emitted) == (reason, evidence, ())


@given(st.text(st.characters()), st.sampled_from(["stop", "length", "abort"]))
def test_any_reply_becomes_an_instruction_or_a_reject_that_a_topic_can_carry(text: str, finish_reason: str) -> None:
    wanted = instructions.properties(concepts(), PARAMS, 1)
    read = instructions.read(concepts(), wanted, completion(text, finish_reason), FORM, STEP)
    codec.encode(Rejected("id", "instructions", read.reason, read.evidence) if isinstance(read, Reject) else read)


def test_each_built_in_example_is_read_back_as_its_own_instruction() -> None:
    few_shot = prompt.load("selfcodealign", "instructions")
    wanted = instructions.properties(concepts(), PARAMS, 1)
    for file, example in prompt.worked_examples(prompt.find("selfcodealign"), "instructions").items():
        text = as_served(few_shot.pool[file].reply, few_shot.prefill, few_shot.stop)
        read = instructions.read(concepts(), wanted, completion(text), FORM, STEP)
        assert isinstance(read, Instruction)
        assert read.text == prompt.fields(example)["instruction"].strip(), file
