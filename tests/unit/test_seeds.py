import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import prompt, seeds
from consumers.llm.request import Completion, Filtered, TooLong
from consumers.reply import Form
from stream import codec
from stream.errors import EndpointDown, WrongConfig
from stream.records import Rejected, Seed, Step, derived_id, sampling_seed
from stream.stage import Outcome, Reject
from tests.fakes import FakeLLM, as_served, completion
from tests.records import CODE, seed

PARAMS = seeds.Params(shots=7, temperature=0.0, max_tokens=5, max_prompt_tokens=16_380)
STEP = Step("seeds", seeds.VERSION, "sha", sampling_seed=1)
FORM = Form("[Verdict]\n", ("\n",))


async def judge(llm: FakeLLM, record: Seed, params: seeds.Params = PARAMS) -> Outcome[Seed]:
    [outcome] = await seeds.stage(params, llm, prompt.load("selfcodealign", "seeds"), 3407).call([record])
    return outcome


async def test_a_good_docstring_passes_with_a_step_that_says_how_it_was_judged() -> None:
    outcome = await judge(FakeLLM(lambda _: "yes", model="m"), seed())
    [passed] = outcome.emitted
    request_id = derived_id(seed().seed_id, "seeds", 0)
    few_shot = prompt.load("selfcodealign", "seeds")
    step = Step("seeds", seeds.VERSION, few_shot.sha256, "m", sampling_seed(request_id, 3407), "yes", 100, 1)
    assert passed.steps == (*seed().steps, step)
    assert (passed.code, passed.seed_id, outcome.rejected) == (CODE, seed().seed_id, ())


async def test_the_judge_is_asked_once_with_all_examples_and_greedy() -> None:
    llm = FakeLLM(lambda _: "yes")
    await judge(llm, seed())
    [request] = llm.asked
    few_shot = prompt.load("selfcodealign", "seeds")
    assert (request.sampling.temperature, request.sampling.max_tokens, request.sampling.stop) == (0.0, 5, ("\n",))
    assert sorted(request.prompt.shots, key=repr) == sorted(few_shot.pool.values(), key=repr)
    assert CODE in request.prompt.ask
    assert request.prompt.prefill == few_shot.prefill


async def test_examples_are_shuffled_anew_for_each_function() -> None:
    llm = FakeLLM(lambda _: "yes")
    for index in range(5):
        await judge(llm, seed(index=index))
    assert len({request.prompt.shots for request in llm.asked}) > 1


@pytest.mark.parametrize(
    "reply", ["no", "yes, no", "No. Yes!", "\n\nNo", "Sure!\n[Verdict]\nno", "<think>yes</think>no"]
)
async def test_a_tie_is_no_and_the_whole_reply_is_the_evidence(reply: str) -> None:
    outcome = await judge(FakeLLM(lambda _: reply), seed())
    [reject] = outcome.rejected
    assert (reject.reason, reject.evidence, reject.record_id) == (seeds.Reason.NOT_GOOD, reply, None)


@pytest.mark.parametrize(
    ("reply", "evidence"),
    [
        ("", ""),
        ("maybe", "maybe"),
        ("yesterday", "yesterday"),
        (completion("<think>Yes, I think", "length"), "<think>Yes, I think"),
        (Completion("", "length", 1, 5, "m", reasoning="Yes or"), "Yes or"),
    ],
)
async def test_a_reply_that_says_neither_is_no_verdict_and_not_a_no(reply: str | Completion, evidence: str) -> None:
    [reject] = (await judge(FakeLLM(lambda _: reply), seed())).rejected
    assert (reject.reason, reject.evidence) == (seeds.Reason.NO_VERDICT, evidence)


@pytest.mark.parametrize(
    ("reply", "reason", "evidence"),
    [
        ("I'm sorry, but I can't help with that.", seeds.Reason.REFUSED, "I'm sorry, but I can't help with that."),
        (completion("No.", "refusal"), seeds.Reason.REFUSED, "No."),
        (Filtered("violence"), seeds.Reason.FILTERED, "violence"),
    ],
)
async def test_a_refusal_is_a_reject_of_its_own(reply: str | Completion, reason: seeds.Reason, evidence: str) -> None:
    [reject] = (await judge(FakeLLM(lambda _: reply), seed())).rejected
    assert (reject.reason, reject.evidence) == (reason, evidence)


async def test_a_verdict_cut_off_at_its_token_limit_counts() -> None:
    outcome = await judge(FakeLLM(lambda _: completion("Yes, because the", "length")), seed())
    assert len(outcome.emitted) == 1


@pytest.mark.parametrize(
    ("answer", "evidence"),
    [
        (TooLong(5000, 4096), "5000 tokens and the reply exceed a context of 4096"),
        (completion("yes", prompt_tokens=16_381), "16381 tokens, the limit is 16380"),
    ],
)
async def test_a_prompt_over_the_limit_is_rejected_whatever_the_context(answer: Completion, evidence: str) -> None:
    [reject] = (await judge(FakeLLM(lambda _: answer), seed())).rejected
    assert (reject.reason, reject.evidence) == (seeds.Reason.PROMPT_TOO_LONG, evidence)


async def test_a_prompt_of_just_the_limit_is_judged() -> None:
    outcome = await judge(FakeLLM(lambda _: completion("yes", prompt_tokens=16_380)), seed())
    assert len(outcome.emitted) == 1


async def test_an_endpoint_that_is_down_is_left_to_the_runner() -> None:
    with pytest.raises(EndpointDown):
        await judge(FakeLLM(lambda _: EndpointDown("away")), seed())


def test_a_prompt_without_enough_examples_is_refused_at_start() -> None:
    few_shot = prompt.load("selfcodealign", "seeds")
    params = seeds.Params(len(few_shot.pool) + 1, 0.0, 5, 16_380)
    with pytest.raises(WrongConfig, match="worked examples"):
        seeds.stage(params, FakeLLM(lambda _: "yes"), few_shot, 3407)


@given(st.text(st.characters()))
def test_any_reply_becomes_a_seed_or_a_reject_that_a_topic_can_carry(text: str) -> None:
    read = seeds.read(seed(), completion(text), FORM, 16_380, STEP)
    codec.encode(Rejected("id", "seeds", read.reason, read.evidence) if isinstance(read, Reject) else read)


def test_each_built_in_example_is_read_back_as_its_own_verdict() -> None:
    few_shot = prompt.load("selfcodealign", "seeds")
    examples = prompt.worked_examples(prompt.find("selfcodealign"), "seeds")
    for name, example in examples.items():
        assert isinstance(example, prompt.Judged)
        text = as_served(few_shot.pool[name].reply, few_shot.prefill, few_shot.stop)
        read = seeds.read(seed(), completion(text), FORM, 16_380, STEP)
        assert ("no" if isinstance(read, Reject) else "yes") == example.verdict, name
    assert {example.verdict for example in examples.values() if isinstance(example, prompt.Judged)} == {"yes", "no"}
