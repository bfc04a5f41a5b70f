"""`python -m deploy.scripted_llm`: prints its url and serves until interrupted."""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from deploy.scripted_llm.around import KINDS, Around
from deploy.scripted_llm.dialects import DIALECTS, Dialect
from deploy.scripted_llm.faults import Fault
from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.server import ScriptedLLM, Service, serve


def main(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    model: Annotated[str, typer.Option(help="The name it serves.")] = "scripted",
    dialect: Annotated[str, typer.Option(help=f"The server that it plays: {', '.join(DIALECTS)}.")] = "plain",
    around: Annotated[
        str, typer.Option(help=f"What the model writes around each answer, with commas: {', '.join(KINDS)}.")
    ] = "",
    key: Annotated[str | None, typer.Option(help="The key that each request must carry.")] = None,
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
    server = ScriptedLLM(
        switched_on,
        dialect=_dialect(dialect),
        around=_around(around),
        model=model,
        port=port,
        service=Service(slots, service_s, sigma),
        context=context,
        shares=Shares(failing=failing, hanging=hanging),
        key=key,
        calls_file=calls,
    )
    with asyncio.Runner() as runner:
        runner.run(serve(server, lambda url: print(url, flush=True)))


def _dialect(name: str) -> Dialect:
    if name not in DIALECTS:
        raise typer.BadParameter(f"expected one of {', '.join(DIALECTS)}, got {name}", param_hint="--dialect")
    return DIALECTS[name]


def _around(names: str) -> list[Around]:
    kinds: dict[str, Around] = {kind: kind for kind in KINDS}
    wanted = [name for name in names.split(",") if name]
    for name in wanted:
        if name not in kinds:
            raise typer.BadParameter(f"expected some of {', '.join(KINDS)}, got {name}", param_hint="--around")
    return [kinds[name] for name in wanted]


if __name__ == "__main__":
    typer.run(main)
