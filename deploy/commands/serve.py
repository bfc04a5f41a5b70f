"""`seedstream serve-model`: vLLM on a model in a directory, with the flags that work."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from deploy.options import run_async, say

app = typer.Typer()

PORT = 8000

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A model as transformers saves it.")]
Host = Annotated[str, typer.Option("--host", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")]
Log = Annotated[Path | None, typer.Option("--log", metavar="FILE", help="vLLM's own log. [a temporary file]")]


@app.command(
    "serve-model",
    epilog="Example: seedstream serve-model checkpoints/7b --port 8001 -- --tensor-parallel-size 2",
)
def serve_model(
    directory: Directory,
    more: Annotated[list[str], typer.Argument(metavar="-- FLAGS…", help="Flags for vLLM itself.")] = [],  # noqa: B006
    host: Host = "127.0.0.1",
    port: Port = PORT,
    log: Log = None,
) -> None:
    """Serve a model with vLLM until Ctrl-C, and start it again when it dies. Prints the url once it answers.

    On a GPU it takes vLLM's own build, without one the CPU's. Nothing of it outlives this command, however it ends.
    """
    from deploy.serving.serve import serve
    from deploy.serving.server import Place
    from stream import logs

    logs.start("console", [])
    if log is None:
        with tempfile.NamedTemporaryFile(prefix="seedstream-vllm-", suffix=".log", delete=False) as file:
            log = Path(file.name)
    place = Place(log, host, port)

    def ready(url: str, model: str) -> None:
        print(url, flush=True)
        say(f"ask it with: --llm {url} --model {model}")

    raise typer.Exit(run_async(serve(directory, place, more, ready)))
