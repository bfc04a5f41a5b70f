"""Every program of the tables gets its verdict, in a sandbox that all share: none leaves a trace for the next.

A program that ends by itself may take many times what it needs, and one that never ends is given little: so no verdict
depends on how fast this machine is, or what else it does.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox import Limits, Sandbox, Verdict
from tests.attacks import Row, odd, table

pytestmark = pytest.mark.asyncio(loop_scope="module")

MUCH = Limits(cpu_s=10)  # filling the memory it may have takes half a second
LITTLE = Limits(cpu_s=0.5, wall_s=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(limits=MUCH) as box:
        yield box


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def little_box() -> AsyncIterator[Sandbox]:
    async with Sandbox(limits=LITTLE) as box:
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
async def test_no_program_passes_without_deserving_it(
    box: Sandbox, little_box: Sandbox, program: str | bytes, verdict: str
) -> None:
    result = await (little_box if verdict == Verdict.TIMEOUT else box).run(program)
    assert result.verdict == verdict, result


@each(table("resources"))
async def test_no_program_uses_more_than_its_share(
    box: Sandbox, little_box: Sandbox, program: str | bytes, verdict: str
) -> None:
    endless = verdict == Verdict.TIMEOUT
    result = await (little_box if endless else box).run(program)
    assert result.verdict == verdict, result
    # The kernel kills at the next whole second, however late our own supervisor is; its clock ticks 100 times a second.
    assert result.cpu_s < int((LITTLE if endless else MUCH).cpu_s) + 1.1
    assert len(result.stdout) <= 65536
    assert len(result.stderr) <= 65536
    assert len(result.detail) <= 2000


@each(odd.ROWS)
async def test_odd_text_breaks_nothing(box: Sandbox, program: str | bytes, verdict: str) -> None:
    result = await box.run(program)
    assert result.verdict == verdict, result
