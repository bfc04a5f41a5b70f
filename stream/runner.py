"""Running a stage: one worker for each input partition that falls to us. The runner alone decides, by the class of an
error, what a failure means (`stream.errors`)."""

import asyncio

from stream.bus import Bus, Gone, Lease
from stream.fold_worker import FoldWorker
from stream.map_worker import MapWorker
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.retry import Gates
from stream.settings import Settings
from stream.stage import Fold
from stream.tasks import cancelled


async def run_stage(bus: Bus, spec: StageSpec, settings: Settings, stats: StageStats, stop: asyncio.Event) -> None:
    """Run a stage until `stop` is set, then let what is in flight finish within `settings.drain_s` and commit it.

    Raises:  Fatal, after everything finished was committed.
    """
    gates = Gates(stats)
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work(lease: Lease) -> None:
        try:
            if isinstance(spec.shape, Fold):
                await FoldWorker(bus, spec, spec.shape, lease, stats, gates).run(stop)
            else:
                await MapWorker(spec, spec.shape, lease, settings, stats, gates).run(stop)
        except Exception as err:  # noqa: BLE001 - handed to the waiter below, which raises it
            if not failed.done():
                failed.set_exception(err)

    workers: set[asyncio.Task[None]] = set()

    async def join() -> None:
        try:
            async for lease in bus.leases(spec.name, spec.input.name):
                if isinstance(lease, Gone):
                    continue
                workers.add(asyncio.create_task(work(lease), name=f"{spec.name}-{lease.partition}"))
        except Exception as err:  # noqa: BLE001 - as above
            if not failed.done():
                failed.set_exception(err)

    member = asyncio.create_task(join(), name=f"{spec.name}-group")
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            stop.set()  # the other partitions of the stage end in good order too
        if workers:
            await asyncio.wait({*workers})
    finally:
        await cancelled(*workers, member, stopped)
    if failed.done():
        failed.result()
