"""What may happen to the leases of a stage: scripts of it, for the runner's rules."""

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from stream.errors import LeaseLost, Unavailable
from tests.stream_fakes import MemoryBus

Action = tuple[str, Any]

happenings: st.SearchStrategy[Action] = st.one_of(
    st.tuples(st.just("ticks"), st.integers(0, 40)),
    st.tuples(st.sampled_from(["want", "lose", "turn", "unwritten", "written", "away", "unknown", "deaf"]), st.none()),
    st.tuples(st.just("slow"), st.integers(0, 20)),
)


async def ticks(count: int) -> None:
    """Let the others run for a while."""
    for _ in range(count):
        await asyncio.sleep(0)


def everything(_: int) -> bool:
    return True


class Group:
    """Processes with one member each in the group of a stage. `turned` counts how often partitions changed hands."""

    def __init__(self, first: MemoryBus, stage: str, topic: str, members: int) -> None:
        self.buses = [first, *(MemoryBus(first.disk, partitions=first.partitions) for _ in range(members - 1))]
        self.turned = members
        self._group = first.group(stage, topic)

    async def happen(self, action: str, value: Any) -> None:
        """ticks: time passes; want: every lease is wanted back; lose: is lost; turn: falls to the next member.
        slow: from now on a commit takes a while; and of the next commit: unwritten, written: the lease is lost in it,
        away, unknown: the broker does not answer, before or after it is written. deaf: the next fetch fails."""
        match action:
            case "ticks":
                await ticks(value)
            case "want":
                self._group.rebalance()
            case "lose":
                self._group.rebalance(lost=everything)
            case "turn":
                self.turned += 1
                self._group.turn += 1
                self._group.rebalance()
            case "slow":
                for bus in self.buses:
                    bus.before_commit = lambda: ticks(value)
            case "unwritten" | "away":
                for bus in self.buses:
                    bus.commit_fault = once(self._lost if action == "unwritten" else away)
            case "written" | "unknown":
                for bus in self.buses:
                    bus.told_fault = once(self._lost if action == "written" else away)
            case "deaf":
                for bus in self.buses:
                    bus.fetch_fault = once(away)
            case _:
                raise AssertionError(action)
        await ticks(1)

    def _lost(self) -> None:
        self._group.rebalance(lost=everything)
        raise LeaseLost("taken over in the middle of a commit")


def once(what: Callable[[], None]) -> Callable[[], None]:
    """A fault that strikes once."""
    struck = False

    def fault() -> None:
        nonlocal struck
        if not struck:
            struck = True
            what()

    return fault


def away() -> None:
    raise Unavailable("the broker is away")
