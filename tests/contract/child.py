"""Another process on the same bus: `python -m tests.contract.child ADDRESS VERB [ARGUMENT]`.

It writes a line once it is where the test wants it, and then does what its verb says until it is told or killed.
"""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable

from stream.bus import Bus, Message
from stream.errors import Unavailable
from stream.metrics import StageStats
from stream.progress import Window
from stream.retry import Gate
from tests.contract.buses import Address
from tests.contract.steps import INPUT, OUTPUT, append, fetched, inputs, leased, process


def say(line: object) -> None:
    print(line, flush=True)


async def told() -> None:
    """Wait for a line, or the end, of what the test says."""
    await asyncio.to_thread(sys.stdin.readline)


async def send(bus: Bus, argument: str) -> None:
    """Append records, as told."""
    say("ready")
    await told()
    await append(bus, inputs(int(argument)))
    say("sent")
    await told()


async def hold(bus: Bus, _: str) -> None:
    """Own the stage."""
    async with leased(bus):
        say("held")
        await told()


async def steps(bus: Bus, argument: str) -> None:
    """Commit steps of several messages each, one after the other and out of order, until killed."""
    dice = random.Random(int(argument))

    async def feed() -> None:
        async with bus.appender("source") as appender:
            while True:
                await appender.append(inputs(dice.randint(1, 20), first=dice.randrange(1_000_000)))

    async with asyncio.TaskGroup() as group, leased(bus) as leases, asyncio.timeout(None):
        group.create_task(feed())
        for lease in leases:
            group.create_task(work(lease, random.Random(dice.random())))
        say("working")
        await asyncio.Event().wait()


async def work(lease, dice: random.Random) -> None:
    window = Window(lease.progress)
    in_flight = []
    while True:
        new = await lease.fetch(dice.randint(1, 20))
        window.deliver(stored.offset for stored in new)
        in_flight += new
        dice.shuffle(in_flight)
        cut = dice.randrange(len(in_flight) + 1) if len(in_flight) < 500 else len(in_flight)
        step, in_flight = in_flight[:cut], in_flight[cut:]
        if step:
            await process(lease, window, step, n=dice.randint(1, 4))


async def take(bus: Bus, argument: str) -> None:
    """Process `argument` inputs, then wait to be killed."""
    async with leased(bus) as [lease, *_]:
        window = Window(lease.progress)
        for stored in await fetched(lease, int(argument)):
            window.deliver([stored.offset])
            await process(lease, window, [stored])
        say("taken")
        await told()


async def fill(bus: Bus, _: str) -> None:
    """Append until the disk is full; then wait for room, and say how many there are."""
    sent = 0
    async with bus.appender("source") as appender:

        async def one() -> None:
            await appender.append([Message(topic, f"k{sent}", bytes(100_000)) for topic in (INPUT, OUTPUT)])

        try:
            while True:
                await one()
                sent += 1
        except Unavailable as err:
            say(f"{type(err).__name__} after {sent}: {err}")
        stats = StageStats("source")
        waiting = asyncio.create_task(Gate(stats).call(one))
        while stats.waiting is None:
            await asyncio.sleep(0)
        say("waiting")
        await waiting
        sent += 1
    say(sent)


VERBS: dict[str, Callable[[Bus, str], Awaitable[None]]] = {
    verb.__name__: verb for verb in (send, hold, steps, take, fill)
}


async def main(address: str, verb: str, argument: str = "") -> None:
    async with Address.from_json(address).open() as bus:
        await VERBS[verb](bus, argument)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
