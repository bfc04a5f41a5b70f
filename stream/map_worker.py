"""Running a Map on one input partition: many calls in flight, finished in any order, committed together."""

import asyncio
from collections.abc import Sequence

from stream.bus import Lease, Message
from stream.ending import Ending
from stream.map_calls import Calls, Finished, Job
from stream.map_tenure import Tenure


class MapWorker:
    """One Map on one input partition, from its first lease to its last. Calls outlive a lease, so that none is made
    twice when the partition comes back."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._calls = Calls(job, self._take, self._fail, self._wake, self._refusal)
        self._tenure: Tenure | None = None
        self._lease: Lease | None = None  # the current one, or the last
        self._left: list[Finished] = []  # between leases: what has finished and is not committed
        self._fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._counted = 0  # records of ours in `stats.in_flight`

    @property
    def busy(self) -> bool:
        """Whether there are results that are not committed, or may still be."""
        return bool(self._tenure or self._left or self._calls.running)

    async def run(self, lease: Lease, ending: Ending) -> None:
        """Work under a lease until it is wanted or lost, or until the end begins, and release it.

        Raises:  Fatal, after what is finished was committed; also one that a call raised since the last lease.
        """
        self._lease = lease
        tenure = Tenure(self._job, lease, self._calls, self._left, self._fatal, self._count)
        self._tenure, self._left = tenure, []
        self._count()  # what was committed after all is no longer held
        try:
            await tenure.run(ending)
        finally:
            self._tenure, self._left = None, tenure.left
            self._count()
            lease.release()

    async def close(self) -> None:
        """End the calls. What they were for is left to whoever is given the partition next, so is what was fatal."""
        await self._calls.cancel()
        self._left = []
        self._count()
        if self._fatal.done():
            self._fatal.exception()  # told, as far as asyncio is concerned

    def _refusal(self, message: Message) -> str | None:
        return self._lease.refusal(message) if self._lease is not None else None

    def _take(self, finished: Sequence[Finished]) -> None:
        if self._tenure is not None:
            self._tenure.take(finished)
        else:
            self._left += finished

    def _fail(self, error: Exception) -> None:
        if not self._fatal.done():
            self._fatal.set_exception(error)

    def _wake(self) -> None:
        self._count()  # a call that failed or was cancelled gives up its records
        if self._tenure is not None:
            self._tenure.wake()

    def _count(self) -> None:
        """Bring `stats.in_flight` up to date."""
        held = self._tenure.held if self._tenure is not None else len(self._calls.running) + len(self._left)
        self._job.stats.in_flight += held - self._counted
        self._counted = held
