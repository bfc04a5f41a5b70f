"""Commands beside the stream: doctor, exec."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.options import CpuS, Dir, Json, put_json, run_async, say

app = typer.Typer()


@app.command(epilog="Example: seedstream doctor --dir run")
def doctor(directory: Dir = None, as_json: Json = False) -> None:
    """Say what this machine can do, and what to install. Exit 1 when something that a run needs is missing."""
    from deploy.doctor import examine

    findings = run_async(examine(directory or Path()))
    if as_json:
        put_json(findings)
    else:
        for finding in findings:
            advice = f" ({finding.advice})" if finding.advice else ""
            print(f"{finding.state:7}  {finding.name:12}  {finding.found}{advice}")
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)


Slots = Annotated[int | None, typer.Option("--slots", min=1, help="Programs that run at once. [one for each core]")]
Memory = Annotated[int, typer.Option("--memory-mib", min=64, max=1 << 26, help="MiB of address space it may take.")]


@app.command("exec", epilog='Example: echo \'{"id": 1, "program": "assert 1 + 1 == 2"}\' | seedstream exec')
def exec_(slots: Slots = None, cpu_s: CpuS = 2.0, memory_mib: Memory = 1024) -> None:
    """Run programs in the sandbox: JSON lines {"id", "program"} in, verdicts out, in the order of the input.

    Exit 1 when a line could not be read; each is named on stderr by its number, and ends nothing.
    """
    from deploy.commands.executing import execute_stdin

    bad = run_async(execute_stdin(slots, cpu_s, memory_mib))
    if bad:
        say(f"{bad:,} lines could not be read")
        raise typer.Exit(1)
