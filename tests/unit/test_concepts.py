import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import concepts, prompt
from consumers.concepts import Reason
from consumers.llm.request import Completion, Filtered, TooLong
from consumers.reply import Form
from stream import codec
from stream.records import Concepts, Rejected, Step, derived_id, sampling_seed
from stream.stage import Outcome, Reject
from tests.fakes import Answer, FakeLLM, as_served, completion
from tests.records import CODE, seed

PARAMS = concepts.Params(shots=8, temperature=0.7, max_tokens=1536)
STEP = Step("concepts", concepts.VERSION, "sha", sampling_seed=1)
FORM = Form("[Concepts]\n", ("\n", "## Example"))


async def name(answer: Answer) -> tuple[Outcome[Concepts], FakeLLM]:
    llm = FakeLLM(answer, model="m")
    [outcome] = await concepts.stage(PARAMS, llm, prompt.load("selfcodealign", "concepts"), 3407).call([seed()])
    return outcome, llm


async def test_concepts_are_split_at_commas() -> None:
    outcome, llm = await name(lambda _: " string slicing, , regular expressions ,\trecursion\n")
    [named] = outcome.emitted
    assert named.concepts == ("string slicing", "regular expressions", "recursion")
    assert named.seed == seed()
    [request] = llm.asked
    assert named.concepts_id == request.request_id == derived_id(seed().seed_id, "concepts", 0)
    sha256 = prompt.load("selfcodealign", "concepts").sha256
    number, tokens = sampling_seed(request.request_id, 3407), {"prompt_tokens": 100, "completion_tokens": 7}
    assert named.step == Step("concepts", concepts.VERSION, sha256, "m", number, **tokens)
    assert request.seed == named.step.sampling_seed


async def test_the_question_shows_the_code_after_eight_examples() -> None:
    _, llm = await name(lambda _: "recursion")
    [request] = llm.asked
    assert CODE in request.prompt.ask
    assert len(set(request.prompt.shots)) == 8
    assert (request.sampling.temperature, request.sampling.max_tokens) == (0.7, 1536)
    assert "\n" in request.sampling.stop


@pytest.mark.parametrize(
    ("answer", "reason", "evidence"),
    [
        ("", Reason.NO_CONCEPT, ""),
        (" , ,, ", Reason.NO_CONCEPT, " , ,, "),
        (completion("recursion, ite", "length"), Reason.STOPPED_FOR_LENGTH, "recursion, ite"),
        (completion("half", "abort"), Reason.NOT_FINISHED, "finish reason abort\nhalf"),
        ("[Concepts]", Reason.NO_CONCEPT, "[Concepts]"),
        ("```", Reason.NO_CONCEPT, "```"),
        ("```python\nx = 1\n```", Reason.NO_CONCEPT, "```python\nx = 1\n```"),
        ("The function sorts a list.", Reason.NO_CONCEPT, "The function sorts a list."),
        ("This code shows recursion, loops", Reason.NO_CONCEPT, "This code shows recursion, loops"),
        ("recursion, [Verdict]", Reason.NO_CONCEPT, "recursion, [Verdict]"),
        ("12, 7", Reason.NO_CONCEPT, "12, 7"),
        ("None", Reason.NO_CONCEPT, "None"),
        ("Internal server error", Reason.NO_CONCEPT, "Internal server error"),
        ("Topics: recursion", Reason.NO_CONCEPT, "Topics: recursion"),
        ("I'm sorry, I can't help with that.", Reason.REFUSED, "I'm sorry, I can't help with that."),
        ("<think>loops, recursion", Reason.UNFINISHED_REASONING, "<think>loops, recursion"),
        (Completion("", "length", 1, 9, "m", reasoning="loops"), Reason.UNFINISHED_REASONING, "loops"),
        (Filtered("hate: high"), Reason.FILTERED, "hate: high"),
        ("nul\0", Reason.NOT_TEXT, "nul\0"),
        ("lone \ud800", Reason.NOT_TEXT, "lone \\ud800"),
        (TooLong(9000, 4096), Reason.PROMPT_TOO_LONG, "9000 tokens and the reply exceed a context of 4096"),
    ],
)
async def test_a_reply_that_names_no_concept_is_rejected_with_the_whole_reply(
    answer: str | Completion | TooLong | Filtered, reason: Reason, evidence: str
) -> None:
    outcome, _ = await name(lambda _: answer)
    [reject] = outcome.rejected
    assert (reject.reason, reject.evidence, reject.record_id, outcome.emitted) == (reason, evidence, None, ())


@pytest.mark.parametrize(
    "reply",
    [
        "1. string slicing, recursion.",
        "1. string slicing\n2. recursion\n",
        "- string slicing\n- recursion\n\nThese are the concepts.",
        "Concepts: string slicing, recursion",
        "Concepts\nstring slicing, recursion",
        "**string slicing**, `recursion`",
        "```\nstring slicing, recursion\n```",
        "Sure! Here are the concepts:\n\n[Concepts]\nstring slicing, recursion\n\n## Example 9\n[Code]",
        "\n\nstring slicing, recursion<|im_end|>",
        "<think>I'd say loops\n</think>\n\n[Concepts] string slicing, recursion\r\n",
    ],
)
async def test_what_stands_around_the_concepts_is_none(reply: str) -> None:
    outcome, _ = await name(lambda _: reply)
    assert [named.concepts for named in outcome.emitted] == [("string slicing", "recursion")]


@given(st.text(st.characters()), st.sampled_from(["stop", "length", "", "abort"]))
def test_any_reply_becomes_concepts_or_a_reject_that_a_topic_can_carry(text: str, finish_reason: str) -> None:
    read = concepts.read(seed(), completion(text, finish_reason), FORM, STEP)
    if isinstance(read, Reject):
        codec.encode(Rejected("id", "concepts", read.reason, read.evidence))
    else:
        assert all(concept == concept.strip() != "" for concept in read.concepts)
        codec.encode(read)


def test_each_built_in_example_is_read_back_as_its_own_concepts() -> None:
    few_shot = prompt.load("selfcodealign", "concepts")
    for file, example in prompt.worked_examples(prompt.find("selfcodealign"), "concepts").items():
        assert isinstance(example, prompt.Worked)
        text = as_served(few_shot.pool[file].reply, few_shot.prefill, few_shot.stop)
        read = concepts.read(seed(), completion(text), FORM, STEP)
        assert isinstance(read, Concepts)
        assert read.concepts == example.concepts, file
