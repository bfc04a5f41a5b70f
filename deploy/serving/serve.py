"""A model in a directory, served by vLLM: what `seedstream serve-model` does, from its start to a signal."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.serving import checkpoint, vllm
from deploy.serving.checkpoint import Checkpoint
from deploy.serving.server import Place, Server
from deploy.signals import EXIT_INTERRUPTED

log = logging.getLogger(__name__)


async def serve(directory: Path, place: Place, more: Sequence[str], ready: Callable[[str, str], None]) -> int:
    """Serve a model until SIGINT or SIGTERM; `ready` is told url and name once it answers. Return the exit code.

    Raises:  WrongConfig for what is wrong with directory or port; DependencyDown.
    """
    model = checkpoint.read(directory)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with vllm_server(model, place, more) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        ready(server.url, model.name)
        await server.watch(stop)
    return EXIT_INTERRUPTED


def vllm_server(model: Checkpoint, place: Place, more: Sequence[str] = ()) -> Server:
    """Return a server of a model, not yet started, by the vLLM that is installed; `more` are flags of its own.

    Raises:  DependencyDown when none can serve it here.
    """
    build = vllm.usable()
    if build.cpu and vllm.has_gpu():
        log.warning("%s is installed, so the GPU here is not used; for that: %s", build, vllm.INSTALL_GPU)
    vllm.check_memory(build, model, vllm.free_memory_here())

    def command(host: str, port: int) -> list[str]:
        return vllm.command(build, model, host, port, more)

    return Server(model.name, place, command, vllm.environment(build, os.environ))
