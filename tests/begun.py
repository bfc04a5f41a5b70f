"""A stream that has begun and done nothing yet."""

from pathlib import Path

from deploy.planning.effective import begin
from deploy.planning.plan import Flags, plan
from deploy.streams.topics import topics_of
from stream.embedded import Embedded


async def begun(folder: Path) -> Path:
    """Begin a stream below a folder with the recipe that runs by default; return its directory."""
    config = folder / "seedstream.toml"
    config.write_text('[llm.a]\nurl = "http://x"\nmodel = "m"\n', encoding="utf-8")
    planned = plan(Flags(config=config))
    async with Embedded.open(folder / "run") as bus:
        await bus.create(topics_of(planned.recipe))
        await begin(bus, planned.effective())
    return folder / "run"
