from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumers import prompt, responses
from consumers.llm.request import Completion, Request, TooLong
from consumers.reply import Form
from consumers.responses import Reason
from stream import codec
from stream.errors import RequestTimedOut
from stream.records import Rejected, Response, Responses, Step, derived_id, sampling_seed
from stream.stage import Map, Outcome, Reject
from tests.fakes import Answer, FakeLLM, as_served, completion
from tests.records import instruction

PARAMS = responses.Params(samples=10, shots=1, temperature=0.7, max_tokens=1536)
STEP = Step("responses", responses.VERSION, "sha", sampling_seed=1)
FORM = Form("[Response]\n", ("[/Tests]", "## Example"))
GOOD = """\
We double.

```python
def f(x):
    return 2 * x
```

[Tests]
```python
assert f(2) == 4
```
"""


def read(text: str, finish_reason: str = "stop") -> Response | Reject:
    return responses.read(0, completion(text, finish_reason), FORM, STEP)


def reason(text: str) -> str:
    part = read(text)
    assert isinstance(part, Reject)
    assert part.evidence == text, "the evidence is the whole reply"
    return part.reason


def built_in(llm: FakeLLM, params: responses.Params = PARAMS) -> Map[responses.Instruction, Responses]:
    return responses.stage(params, llm, prompt.load("selfcodealign", "responses"), 3407)


async def answer(reply: Answer, params: responses.Params = PARAMS) -> tuple[Outcome[Responses], FakeLLM]:
    llm = FakeLLM(reply, model="m")
    [outcome] = await built_in(llm, params).call([instruction()])
    return outcome, llm


def by_seed(replies: list[str | Completion | TooLong]) -> Answer:
    """Answer sample j with the j-th reply."""
    order = [derived_id(instruction().instruction_id, "responses", j) for j in range(len(replies))]
    return lambda request: replies[order.index(request.request_id)]


async def test_ten_samples_of_one_prompt_go_out_with_seeds_of_their_own() -> None:
    outcome, llm = await answer(lambda _: GOOD)
    assert len(llm.asked) == 10
    assert len({request.request_id for request in llm.asked}) == 10
    assert len({request.seed for request in llm.asked}) == 10
    assert len({request.prompt for request in llm.asked}) == 1
    [record] = outcome.emitted
    assert record.instruction == instruction()
    assert [sample.index for sample in record.responses] == list(range(10))
    for sample, request in zip(record.responses, llm.asked, strict=True):
        assert sample.step.sampling_seed == request.seed == sampling_seed(request.request_id, 3407)
        assert (sample.step.model, sample.step.stage) == ("m", "responses")


async def test_all_requests_go_out_in_one_call() -> None:
    calls: list[int] = []

    class Counting(FakeLLM):
        async def complete(self, record_id: str, requests: Sequence[Request]) -> Sequence[Completion | TooLong]:
            calls.append(len(requests))
            return await super().complete(record_id, requests)

    await built_in(Counting(lambda _: GOOD)).call([instruction()])
    assert calls == [10]


async def test_a_sample_is_split_into_text_code_and_tests() -> None:
    outcome, _ = await answer(lambda _: completion(GOOD, prompt_tokens=321))
    sample = outcome.emitted[0].responses[0]
    assert sample.text == "We double.\n\n```python\ndef f(x):\n    return 2 * x\n```"
    assert (sample.code, sample.tests) == ("def f(x):\n    return 2 * x", "assert f(2) == 4")
    assert (sample.finish_reason, sample.prompt_tokens) == ("stop", 321)


async def test_unparsable_samples_are_rejected_by_their_own_ids_and_the_rest_go_on_in_one_record() -> None:
    replies: list[str | Completion | TooLong] = [GOOD] * 10
    replies[3], replies[7] = "no tests", completion(GOOD, "length")
    outcome, _ = await answer(by_seed(replies))
    [record] = outcome.emitted
    assert [sample.index for sample in record.responses] == [0, 1, 2, 4, 5, 6, 8, 9]
    assert [(reject.record_id, reject.reason, reject.evidence) for reject in outcome.rejected] == [
        (derived_id(instruction().instruction_id, "responses", 3), Reason.PARTS, "no tests"),
        (derived_id(instruction().instruction_id, "responses", 7), Reason.STOPPED_FOR_LENGTH, GOOD),
    ]


async def test_without_a_parsable_sample_there_are_rejects_alone() -> None:
    outcome, _ = await answer(lambda _: TooLong(9000, 4096))
    assert outcome.emitted == ()
    assert {reject.reason for reject in outcome.rejected} == {Reason.PROMPT_TOO_LONG}
    assert len({reject.record_id for reject in outcome.rejected}) == 10


async def test_a_retry_after_one_failed_sample_pays_for_that_one_alone() -> None:
    failing = derived_id(instruction().instruction_id, "responses", 4)
    failures = [RequestTimedOut("slow")]

    def once(request: Request) -> str | Exception:
        return failures.pop() if request.request_id == failing and failures else GOOD

    llm = FakeLLM(once)
    stage = built_in(llm)
    with pytest.raises(RequestTimedOut):
        await stage.call([instruction()])
    [outcome] = await stage.call([instruction()])
    assert len(outcome.emitted[0].responses) == 10
    assert [request.request_id for request in llm.asked].count(failing) == 2
    assert len(llm.asked) == 11


def test_params_without_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="samples from 1 to 1,000"):
        responses.Params(0, 1, 0.7, 1536)


def part(code: str, tests: str) -> str:
    return f"So:\n\n{code}\n\n[Tests]\n{tests}\n"


PY = "```python\nx = 1\n```"


@pytest.mark.parametrize(
    ("reply", "code", "tests"),
    [
        (part("```python\na = 1\n```\nthen\n```python\nb = 2\n```", PY), "a = 1\nb = 2", "x = 1"),
        (part(PY, "```python\nassert a\n```\nand\n```python\nassert b\n```"), "x = 1", "assert a\nassert b"),
        (part("```py\na\n```", "```Python3 title=t\nb\n```"), "a", "b"),
        (part("~~~python\na\n```\n~~~", PY), "a\n```", "x = 1"),
        (part("````python\ns = '''\n```\n'''\n````", PY), "s = '''\n```\n'''", "x = 1"),
        (part("````markdown\n```python\nno\n```\n````\n" + PY, PY), "x = 1", "x = 1"),
        (part("1. first\n   ```python\n   def f():\n       pass\n   ```", PY), "def f():\n    pass", "x = 1"),
        (part("```\nprinted\n```\n" + PY, PY), "x = 1", "x = 1"),
        (part("```python\n\tif a:\n\t\tb\n```", PY), "\tif a:\n\t\tb", "x = 1"),
        (part('```python\ns = """\n[Tests]\n"""\n```', PY), 's = """\n[Tests]\n"""', "x = 1"),
        (part(PY, PY).replace("\n", "\r\n"), "x = 1", "x = 1"),
        (part(PY, PY) + "[/Tests]\n", "x = 1", "x = 1"),
        (part(PY, "```python\nassert unclosed"), "x = 1", "assert unclosed"),
        ("[Tests] come below.\n" + part(PY, PY), "x = 1", "x = 1"),
        ("[Response]\n" + part(PY, PY), "x = 1", "x = 1"),
        (part(PY, PY).replace("[Tests]", "**[Tests]**"), "x = 1", "x = 1"),
        (part(PY, PY).replace("[Tests]", "## [Tests]:"), "x = 1", "x = 1"),
        (part(PY, PY) + "[/Tests]\nand more", "x = 1", "x = 1"),
        (
            part('```python\ndef f():\n    """Run:\n\n    ```\n    f()\n    ```\n    """\n```', PY),
            'def f():\n    """Run:\n\n    ```\n    f()\n    ```\n    """',
            "x = 1",
        ),
        (part("```py3\na\n```", "```python3.11\nb\n```"), "a", "b"),
        (part("```python:main.py\na\n```", "```{python}\nb\n```"), "a", "b"),
        (part("1. First:\n\n    ```python\n    a\n    ```", '```Python title="x"\nb\n```'), "a", "b"),
        (f"```markdown\n{part(PY, PY)}```", "x = 1", "x = 1"),
        ("<think>\n" + part("```python\nwrong\n```", PY) + "</think>\n" + part(PY, PY), "x = 1", "x = 1"),
    ],
)
def test_code_and_tests_are_the_python_blocks_of_their_parts(reply: str, code: str, tests: str) -> None:
    found = read(reply)
    assert isinstance(found, Response), found
    assert (found.code, found.tests) == (code, tests)
    assert "\r" not in found.text


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("", Reason.PARTS),
        (PY, Reason.PARTS),
        (part(PY, PY) + "[Tests]\n" + PY, Reason.PARTS),
        ("I'm sorry, but I can't write that.", Reason.REFUSED),
        (f"Use <|im_end|>.\n{part(PY, PY)}", Reason.MARKERS),
        ("<think>" + part(PY, PY), Reason.UNFINISHED_REASONING),
        (part(PY, PY).replace("[Tests]", "[/Tests]"), Reason.PARTS),
        (part("```python\nunclosed", PY), Reason.PARTS),
        (part("no code", PY), Reason.NO_CODE),
        (part("```\nx = 1\n```", PY), Reason.NO_CODE),
        (part("```python\n \n```", PY), Reason.NO_CODE),
        (part("```javascript\nlet x\n```", PY), Reason.NO_CODE),
        (part(PY, "none"), Reason.NO_TESTS),
        (part(PY, "```\nassert x\n```"), Reason.NO_TESTS),
        (part(PY, PY) + "\0", Reason.NOT_TEXT),
    ],
)
def test_a_sample_without_exactly_one_response_and_one_tests_part_is_rejected(reply: str, expected: Reason) -> None:
    assert reason(reply) == expected


FENCES = ("```", "```python\n", "\n```\n", "````", "~~~", "`")
TAGS = ("[Tests]", "[/Tests]", "[Response]", "<think>", "</think>", "<|im_end|>", "Sure!\n", "## Example 2\n")
ODD = ("\n", "\r\n", "\r", "\t", "    ", "x = 1", "\0", "\ud800", "é", "> ", "- ", "\u2028", "\x0c", "\\", "<script>")


@example("[Tests]\n" * 12_500, "stop")
@example(("```python\n" + "x\n" * 5) * 5_000, "stop")
@example("`" * 100_000, "stop")
@example("> " * 50_000, "stop")
@given(
    st.one_of(st.text(st.characters()), st.lists(st.sampled_from(FENCES + TAGS + ODD), max_size=30).map("".join)),
    st.sampled_from(["stop", "stop", "stop", "length", "error"]),
)
def test_any_reply_becomes_a_response_or_a_reject_that_a_topic_can_carry(text: str, finish_reason: str) -> None:
    found = read(text, finish_reason)
    if isinstance(found, Reject):
        codec.encode(Rejected("id", "responses", found.reason, found.evidence))
    else:
        assert found.code.strip()
        assert found.tests.strip()
        codec.encode(Responses(instruction(), (found,)))


@given(st.lists(st.text("ab =\n`~\t[]T", min_size=1), min_size=1, max_size=3), st.text("ab =\n", min_size=1))
def test_code_in_long_enough_fences_comes_back_unchanged(blocks: list[str], tests: str) -> None:
    blocks = [block.strip("\n") or "x" for block in blocks]
    reply = "".join(f"{'`' * 99}python\n{block}\n{'`' * 99}\n" for block in blocks)
    found = read(f"{reply}\n[Tests]\n```python\n{tests}\n```\n")
    if isinstance(found, Response):
        assert found.code == "\n".join(block for block in blocks if block.strip())
        assert found.tests == tests.strip("\n")
    else:
        assert not any(block.strip() for block in blocks) or not tests.strip()


def test_each_built_in_example_is_read_back_as_its_own_response_and_tests() -> None:
    few_shot = prompt.load("selfcodealign", "responses")
    for file, worked in prompt.worked_examples(prompt.find("selfcodealign"), "responses").items():
        shot, fields = few_shot.pool[file], prompt.fields(worked)
        for text in (
            as_served(shot.reply, few_shot.prefill, few_shot.stop),
            as_served(shot.reply, few_shot.prefill, ()),
        ):
            found = read(text)
            assert isinstance(found, Response), file
            assert (found.text, found.tests) == (fields["response"].strip(), fields["tests"]), file
