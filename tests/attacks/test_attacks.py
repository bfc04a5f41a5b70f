"""Every program of the tables gets its verdict, in a sandbox that all share: none leaves a trace for the next."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox import Limits, Sandbox
from tests.attacks import Row, odd, table

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = Limits(cpu_s=1.5, wall_s=4)  # filling the memory it may have takes half a second


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(limits=Limits()) as box:
        yield box


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small_box() -> AsyncIterator[Sandbox]:
    async with Sandbox(limits=SMALL) as box:
        yield box


def each(rows: list[Row]) -> pytest.MarkDecorator:
    assert len({name for name, _, _ in rows}) == len(rows), "two rows have one name"
    return pytest.mark.parametrize(("program", "verdict"), [row[1:] for row in rows], ids=[row[0] for row in rows])


@each(table("honest"))
async def test_honest_programs_get_the_verdict_they_deserve(box: Sandbox, program: str | bytes, verdict: str) -> None:
    result = await box.run(program)
    assert result.verdict == verdict, result


@each(table("escapes"))
async def test_programs_reach_nothing_that_is_not_theirs(box: Sandbox, program: str | bytes, verdict: str) -> None:
    result = await box.run(program)
    assert result.verdict == verdict, result


@each(table("forged"))
async def test_no_program_passes_without_deserving_it(small_box: Sandbox, program: str | bytes, verdict: str) -> None:
    result = await small_box.run(program)
    assert result.verdict == verdict, result


@each(table("resources"))
async def test_no_program_uses_more_than_its_share(small_box: Sandbox, program: str | bytes, verdict: str) -> None:
    result = await small_box.run(program)
    assert result.verdict == verdict, result
    assert result.cpu_s < SMALL.cpu_s + 1, f"the CPU limit is {SMALL.cpu_s} s"
    assert len(result.stdout) <= 65536
    assert len(result.stderr) <= 65536
    assert len(result.detail) <= 2000


@each(odd.ROWS)
async def test_odd_text_breaks_nothing(box: Sandbox, program: str | bytes, verdict: str) -> None:
    result = await box.run(program)
    assert result.verdict == verdict, result
