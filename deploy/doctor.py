"""What this machine can do, and what to install where it cannot. Each check answers with one line."""

import asyncio
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rich.text import Text

from consumers.pyright_cli import PyrightCLI
from deploy.local_kafka import jars
from deploy.local_kafka.java import INSTALL_JAVA, INSTALL_MAVEN, MIN_JAVA, major_version
from deploy.serving import vllm
from sandbox import Sandbox, SandboxBroken
from stream.errors import DependencyDown
from trainer.base import PACKAGES

MIN_PYTHON = (3, 11)
LOW_DISK_BYTES = 5 << 30
NO_DISK_BYTES = 200 << 20
COMMAND_S = 30.0

State = Literal["ok", "warn", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `missing` is what a run needs and has not; `warn` is what it can do without."""

    name: str
    state: State
    found: str
    advice: str = ""


async def examine(directory: Path) -> list[Finding]:
    """Look at everything, each thing for itself."""
    return list(await asyncio.gather(*(check(directory) for check in CHECKS)))


async def _python(_: Path) -> Finding:
    found = platform.python_version()
    if sys.version_info[:2] < MIN_PYTHON:
        return Finding("python", "missing", found, "install Python 3.11 or newer")
    return Finding("python", "ok", found)


async def _platform(_: Path) -> Finding:
    found = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores"
    if platform.system() != "Linux":
        return Finding("platform", "missing", found, "run it on Linux: programs are confined by what its kernel has")
    return Finding("platform", "ok", found)


async def _sandbox(_: Path) -> Finding:
    try:
        async with Sandbox(slots=1) as box:
            return Finding("sandbox", "ok", f"{box.tier}, proved by its self-test")
    except SandboxBroken as err:
        return Finding("sandbox", "missing", str(err), "allow user namespaces: stage executions runs nothing without")


async def _type_checker(_: Path) -> Finding:
    try:
        return Finding("type checker", "ok", await PyrightCLI().check())
    except DependencyDown as err:
        return Finding("type checker", "missing", str(err), 'pip install "pyright[nodejs]"')


async def _disk(directory: Path) -> Finding:
    return await asyncio.to_thread(_free_disk, directory)


def _free_disk(directory: Path) -> Finding:
    at = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    free_bytes = shutil.disk_usage(at).free
    found = f"{free_bytes / 2**30:,.1f} GiB free at {at}"
    if free_bytes < NO_DISK_BYTES:
        return Finding("disk", "missing", found, "free some, or name another --dir")
    if free_bytes < LOW_DISK_BYTES:
        return Finding("disk", "warn", found, "a long run needs more; it waits when the disk is full")
    return Finding("disk", "ok", found)


async def _sqlite(_: Path) -> Finding:
    return Finding("sqlite", "ok", sqlite3.sqlite_version)


async def _training(_: Path) -> Finding:
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing:
        found = f"without {', '.join(missing)}"
        return Finding("training", "warn", found, "only `seedstream train` needs it: pip install 'seedstream[train]'")
    return Finding("training", "ok", ", ".join(f"{package} {version(package)}" for package in PACKAGES))


async def _git(_: Path) -> Finding:
    return await _command("git", ["git", "--version"], "install git: repository and revision are left out without")


async def _java(_: Path) -> Finding:
    advice = f"only a local Kafka needs it: {INSTALL_JAVA}"
    finding = await _command("java", ["java", "-version"], advice)
    major = major_version(finding.found)
    if finding.state == "ok" and major is not None and major < MIN_JAVA:
        return Finding("java", "warn", finding.found, advice)
    return finding


async def _maven(_: Path) -> Finding:
    return await _command(
        "maven", ["mvn", "--batch-mode", "--version"], f"only a local Kafka needs it, once: {INSTALL_MAVEN}"
    )


async def _kafka(_: Path) -> Finding:
    if jars.present():
        return Finding("local kafka", "ok", f"Apache Kafka {jars.KAFKA} in {jars.home()}")
    advice = "only `seedstream kafka start` needs it, and fetches it: 44 MB"
    return Finding("local kafka", "warn", f"Apache Kafka {jars.KAFKA} is not fetched", advice)


async def _command(name: str, command: list[str], advice: str) -> Finding:
    """Ask an optional program for its version."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError:
        return Finding(name, "warn", "not found", advice)
    try:
        async with asyncio.timeout(COMMAND_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return Finding(name, "warn", f"did not answer within {COMMAND_S:g} s", advice)
    plain = Text.from_ansi(output.decode(errors="replace")).plain  # Maven colours its version even in a pipe
    first = plain.strip().splitlines()[:1]
    if process.returncode != 0:
        return Finding(name, "warn", f"ended with {process.returncode}: {''.join(first)}", advice)
    return Finding(name, "ok", "".join(first))


async def _vllm(_: Path) -> Finding:
    try:
        return Finding("vllm", "ok", str(vllm.usable()))
    except DependencyDown as err:
        return Finding("vllm", "warn", str(err), "only a model in a directory needs it")


async def _seedstream(_: Path) -> Finding:
    return Finding("seedstream", "ok", version("seedstream"))


CHECKS: tuple[Callable[[Path], Awaitable[Finding]], ...] = (
    _seedstream,
    _python,
    _platform,
    _sqlite,
    _sandbox,
    _type_checker,
    _disk,
    _training,
    _vllm,
    _git,
    _java,
    _maven,
    _kafka,
)
