"""`make demo`: the whole stream on real files, with a scripted model that needs no download, key or GPU.

What comes out has the form of a dataset and went through every stage, but its tasks and answers are put together from
parts: it shows the stream, not a model.
"""

import asyncio
import sys
import sysconfig
from pathlib import Path

from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.server import ScriptedLLM, Service

FILES = 300
DIRECTORY = Path("demo/run")
DATASET = Path("demo/dataset")
SEEDSTREAM = str(Path(sys.executable).with_name("seedstream"))


async def main() -> int:
    library = sysconfig.get_path("stdlib")
    shares = Shares(hanging=0.001)  # a program that never ends costs its whole CPU limit of 10 s
    async with ScriptedLLM(service=Service(mean_s=0.1), shares=shares) as server:
        print(f"a scripted model answers at {server.url}; sources: {FILES} files of {library}\n", flush=True)
        code = await seedstream(
            "up", "--source", library, "--limit", str(FILES), "--dir", str(DIRECTORY),
            "--llm", server.url, "--model", "scripted", "--until-idle",
        )  # fmt: skip
    if code == 0:
        code = await seedstream("export", str(DATASET), "--dir", str(DIRECTORY))
    return code


async def seedstream(*arguments: str) -> int:
    """Run a command as a user would, on this terminal, and return its exit code."""
    print("$ seedstream", *arguments, flush=True)
    process = await asyncio.create_subprocess_exec(SEEDSTREAM, *arguments)
    return await process.wait()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
