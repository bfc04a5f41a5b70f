"""`python -m deploy.scripted_llm`: prints its url and serves until interrupted."""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from deploy.scripted_llm.faults import Fault
from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.server import ScriptedLLM, Service, serve


def main(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    model: Annotated[str, typer.Option(help="The name it serves.")] = "scripted",
    faults: Annotated[str, typer.Option(help='A JSON list, such as [{"status": 503, "share": 0.1}].')] = "[]",
    calls: Annotated[Path | None, typer.Option(help="File that gets one line per call, as it arrives.")] = None,
    slots: Annotated[int, typer.Option(help="Requests served at a time.")] = 64,
    service_s: Annotated[float, typer.Option(help="Mean time of one.")] = 0.0,
    sigma: Annotated[float, typer.Option(help="Deviation of the logarithm of that time.")] = 1.0,
    context: Annotated[int | None, typer.Option(help="Tokens of prompt and reply together.")] = None,
    failing: Annotated[float, typer.Option(help="Share of responses that fail their tests.")] = Shares().failing,
    hanging: Annotated[float, typer.Option(help="Share of responses that never end.")] = Shares().hanging,
) -> None:
    """A scripted LLM server: both APIs, deterministic in (prompt, seed). Nothing is understood, nothing is learnt.

    GET /_calls lists what was asked; POST /_faults replaces the faults.
    """
    try:
        switched_on = msgspec.json.decode(faults, type=list[Fault])
    except msgspec.DecodeError as err:
        raise typer.BadParameter(str(err), param_hint="--faults") from err
    with asyncio.Runner() as runner:
        runner.run(
            serve(
                _server(port, model, switched_on, calls, Service(slots, service_s, sigma), context, failing, hanging),
                lambda url: print(url, flush=True),
            )
        )


def _server(
    port: int,
    model: str,
    faults: list[Fault],
    calls: Path | None,
    service: Service,
    context: int | None,
    failing: float,
    hanging: float,
) -> ScriptedLLM:
    shares = Shares(failing=failing, hanging=hanging)
    return ScriptedLLM(
        faults, model=model, port=port, service=service, context=context, shares=shares, calls_file=calls
    )


if __name__ == "__main__":
    typer.run(main)
