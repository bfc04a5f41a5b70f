"""Stage `executions`, and the sandbox alone behind `seedstream exec`."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import executions
from consumers.executions import Params, Reason, without_main
from deploy import exec as alone
from sandbox import Limits, Result, Sandbox, SandboxBroken, SandboxRefused, Tier, Verdict
from stream.codec import decode, encode
from stream.errors import Transient, Unavailable
from stream.records import Executions, Response, Responses
from stream.stage import Outcome
from tests.records import instruction, response

PARAMS = Params(cpu_s=2, memory_bytes=1 << 30)


def result(verdict: Verdict = Verdict.PASS, detail: str = "", stdout: str = "") -> Result:
    return Result(verdict, 0.001, 0.002, stdout, "", detail, Tier.NAMESPACES)


class FakeBox:
    """A sandbox that says what `answer` says; an exception is raised. Knows how many runs were in it at once."""

    def __init__(self, answer: Callable[[str], Result | Exception], slots: int = 4) -> None:
        self._answer = answer
        self._slots = asyncio.Semaphore(slots)
        self.asked: list[str] = []
        self.waiting = 0
        self.most_waiting = 0

    async def run(self, program: str | bytes) -> Result:
        assert isinstance(program, str)
        self.asked.append(program)
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            async with self._slots:
                for _ in range(1 + len(program) % 7):  # runs do not end in the order they began
                    await asyncio.sleep(0)
                answer = self._answer(program)
        finally:
            self.waiting -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer


def sample(index: int, code: str = "x = 1", tests: str = "assert x == 1") -> Response:
    return replace(response(index), code=code, tests=tests)


async def execute(box: executions.Box, *samples: Response) -> Outcome[Executions]:
    stage = executions.stage(PARAMS, box)
    [outcome] = await stage.call([Responses(instruction(), samples)])
    return outcome


async def test_each_sample_gets_its_own_verdict_in_order() -> None:
    box = FakeBox(lambda program: result(Verdict.PASS if "x = 1" in program else Verdict.ASSERTION, "d"))
    outcome = await execute(box, sample(0), sample(3, "x = 2"), sample(7))
    [record] = outcome.emitted
    assert [(e.index, e.verdict) for e in record.executions] == [(0, "pass"), (3, "assertion"), (7, "pass")]
    assert record.step.verdict == "2 of 3 passed"
    assert record.responses == (sample(0), sample(3, "x = 2"), sample(7))
    assert box.asked[0] == "x = 1\n\nassert x == 1\n"
    assert box.most_waiting == 3, "the samples of one instruction run together"


async def test_equal_records_give_equal_bytes_whatever_the_time_they_took() -> None:
    first, second = (FakeBox(lambda _, s=s: replace(result(), cpu_s=s, wall_s=s, stdout=str(s))) for s in (1.0, 2.0))
    [one], [two] = (await execute(first, sample(0))).emitted, (await execute(second, sample(0))).emitted
    assert encode(one) == encode(two)


async def test_an_instruction_without_responses_is_rejected_and_the_sandbox_not_asked() -> None:
    box = FakeBox(lambda _: result())
    outcome = await execute(box)
    assert not outcome.emitted
    assert [reject.reason for reject in outcome.rejected] == [Reason.NOTHING_TO_RUN]
    assert not box.asked


async def test_a_lost_run_is_transient_and_no_verdict() -> None:
    box = FakeBox(lambda program: SandboxBroken("killed from outside") if "x = 2" in program else result())
    with pytest.raises(Transient, match="lost a run: killed from outside"):
        await execute(box, sample(0), sample(1, "x = 2"))


async def test_a_sandbox_that_cannot_start_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="CAP_SYS_ADMIN"):
        await execute(FakeBox(lambda _: SandboxRefused("give it CAP_SYS_ADMIN")), sample(0))


async def test_a_defect_is_not_taken_for_a_lost_run() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await execute(FakeBox(lambda _: KeyError("defect")), sample(0))
    assert raised.group_contains(KeyError)


async def test_a_cancelled_stage_leaves_no_run_behind() -> None:
    box = FakeBox(lambda _: result(), slots=0)
    call = asyncio.create_task(execute(box, sample(0), sample(1)))
    while box.waiting < 2:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert box.waiting == 0


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(): return 1\nif __name__ == '__main__':\n    print(input())\n", "def f(): return 1\n"),
        ("if '__main__' == __name__:\n    input()\nelse:\n    pass\ny = 2", "y = 2"),
        ("if __name__ == '__main__': input(\n'?'\n)\ny = 2", "y = 2"),
        ("x = input\nif __name__ == '__main__':\n    a\n\n\nif __name__ == '__main__':\n    b\n", "x = input\n\n\n"),
        ("s = '''\nif __name__ == '__main__':\n'''\ninput()", None),
        ("def f():\n    if __name__ == '__main__':\n        input()", None),
        ("if __name__ == '__main__':\n    main()", None),
        ("# input\nif __name__ == '__main__':\n    main()", None),
        ("if name == '__main__':\n    input()", None),
        ("if __name__:\n    input()", None),
        ("input(\x00", None),
        ("input(\ud800", None),
        ("input" + "(" * 3000, None),
    ],
)
def test_code_that_reads_input_loses_what_is_behind_its_guard_and_other_code_nothing(
    code: str, expected: str | None
) -> None:
    assert without_main(code) == (code if expected is None else expected)


@given(st.text(alphabet=st.sampled_from("if __name__=='main':\n\r\x0c\u2028()input#\\ \t\ud800\0"), max_size=60))
def test_no_text_breaks_the_program_that_is_made_of_it(text: str) -> None:
    for code in (text, f"{text}\nif __name__ == '__main__':\n    input()\n"):
        assert set(without_main(code)) <= set(code)


@pytest.mark.parametrize(("field", "bad"), [("cpu_s", 0), ("memory_bytes", 1), ("concurrency", 0)])
def test_parameters_out_of_range_are_refused(field: str, bad: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        replace(PARAMS, **{field: bad})


def test_the_limits_follow_the_parameters() -> None:
    assert Params(cpu_s=10, memory_bytes=4 << 30).limits == Limits(cpu_s=10, address_space_bytes=4 << 30)


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(slots=2, limits=PARAMS.limits) as box:
        yield box


async def test_what_a_model_wrote_goes_through_the_real_sandbox_and_onto_the_bus(box: Sandbox) -> None:
    samples = (
        sample(0, "def f(x):\n    return x + 1", "assert f(1) == 2"),
        sample(1, "def f(x):\n    return x", "assert f(1) == 2, object()"),
        sample(2, "def f(x):\n    return 1\n\nif __name__ == '__main__':\n    print(f(input()))", "assert f(1) == 1"),
        sample(3, "x = '\ud800'", "assert x"),
        sample(4, "x = 1\0", "assert x"),
        sample(5, "", ""),
        sample(6, "raise ValueError('\\ud800 \\0 x')", "assert True"),
    )
    [record] = (await execute(box, *samples)).emitted
    verdicts = ["pass", "assertion", "pass", "syntax_error", "syntax_error", "no_tests", "exception"]
    assert [e.verdict for e in record.executions] == verdicts
    assert record.executions[1].detail.endswith("AssertionError: <object object at 0x…>")
    for execution in record.executions:
        assert len(execution.detail) <= 2000
    readable = replace(record, responses=())  # the codec's own tests are about surrogates in responses
    assert decode(encode(readable), Executions) == readable


def lines(*programs: object) -> Iterator[bytes]:
    for number, program in enumerate(programs):
        yield program if isinstance(program, bytes) else json.dumps({"id": number, "program": program}).encode()


def written(out: io.BytesIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


async def test_verdicts_are_written_in_input_order_and_programs_run_together() -> None:
    box, out = FakeBox(lambda program: result(stdout=program)), io.BytesIO()
    programs = ["x" * (n % 7) for n in range(300)]
    assert await alone.execute(lines(*programs), out, box) == (300, 0)
    assert [(line["id"], line["stdout"]) for line in written(out)] == list(enumerate(programs))
    assert 1 < box.most_waiting <= alone.WAITING + 2, "a bounded window of them"
    assert list(written(out)[0]) == ["id", "verdict", "cpu_s", "wall_s", "stdout", "stderr", "detail"]


async def test_a_bad_line_is_named_by_its_number_and_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    bad = [b"not JSON", b'{"id": 1}', b'{"program": "x"}', b'{"id": 1, "program": 2}', b"[]", b"\xff", b'{"id":1,"pro']
    bad.append(b'{"id": 1, "program": "\\ud800"}')
    good = b'{"id": "a", "program": "assert True", "more": [1]}'
    out = io.BytesIO()
    mixed = [good, b"", *(part for line in bad for part in (line, good))]
    assert await alone.execute(mixed, out, FakeBox(lambda _: result())) == (len(bad) + 1, len(bad))
    named = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert named == [f"line {number}" for number in range(3, 3 + 2 * len(bad), 2)]
    assert [line["id"] for line in written(out)] == ["a"] * (len(bad) + 1)


async def test_no_lines_are_no_verdicts() -> None:
    out = io.BytesIO()
    assert await alone.execute([], out, FakeBox(lambda _: result())) == (0, 0)
    assert out.getvalue() == b""


async def test_a_broken_sandbox_ends_it_with_its_own_error() -> None:
    box = FakeBox(lambda program: SandboxBroken("gone") if program == "b" else result())
    out = io.BytesIO()
    with pytest.raises(SandboxBroken, match="gone"):
        await alone.execute(lines("a", "b", *"c" * 100), out, box)
    assert [line["id"] for line in written(out)][:1] in ([], [0])


async def test_the_sandbox_alone_runs_real_programs(box: Sandbox) -> None:
    out = io.BytesIO()
    assert await alone.execute(lines("assert True", "assert 1 == 2", "print('é')\nassert 1", "f("), out, box) == (4, 0)
    assert [line["verdict"] for line in written(out)] == ["pass", "assertion", "pass", "syntax_error"]
    assert written(out)[2]["stdout"] == "é\n"
