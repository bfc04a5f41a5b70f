"""Where a stream is: the one place that opens its bus, from `--bus`, `--dir` and the config file."""

import dataclasses
import re
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from deploy.options import NAMESPACE
from deploy.planning import settings
from deploy.planning.settings import Config
from stream.bus import Bus
from stream.embedded import Embedded
from stream.errors import BusMissing, WrongConfig
from stream.kafka.security import KafkaConfig

EXPECTED = "expected embedded:PATH or kafka://HOST:PORT[,HOST:PORT…]"


@dataclass(frozen=True, slots=True)
class Where:
    """A namespace of a bus, and the folder on this machine for what stands beside the bus: logs, checkpoints."""

    bus: Path | str  # the directory of an embedded bus, or HOST:PORT[,HOST:PORT…] of Apache Kafka
    folder: Path
    namespace: str = NAMESPACE
    partitions: int = 1  # of the topics that may have several, on an embedded bus; Kafka's are in `kafka`
    kafka: KafkaConfig = dataclasses.field(default_factory=KafkaConfig)
    config: Path | None = None  # the file that says how to reach it

    def open(self, *, create: bool = False) -> AbstractAsyncContextManager[Bus]:
        """Open the bus. Where `create` is not set an embedded one must be there.

        Raises (on entering):  WrongConfig, BusMissing among them; NewerSchema; DependencyDown for a broker that does
        not answer.
        """
        if isinstance(self.bus, Path):
            return Embedded.open(self.bus, self.namespace, partitions=self.partitions, create=create)
        from stream.kafka.bus import Kafka  # here: aiokafka is loaded by those alone who use it

        return Kafka.open(f"kafka://{self.bus}", self.namespace, config=self.kafka)

    async def enter(self, stack: AsyncExitStack) -> Bus | None:
        """Open the bus, to be closed with `stack`; None where it is embedded and not made yet: what may still be
        refused is to be looked at before it is. Raises as `open`."""
        try:
            return await stack.enter_async_context(self.open())
        except BusMissing:
            return None

    @property
    def copies(self) -> Path | None:
        """The folder for copies of state logs: where the bus is elsewhere, and a folder for this stream was named."""
        return self.folder / "state" if isinstance(self.bus, str) and self.folder != Path() else None

    def of(self, namespace: str) -> "Where":
        """Return another namespace of the same bus."""
        return dataclasses.replace(self, namespace=namespace)

    def flags(self) -> str:
        """Return what names it on a command line.

        >>> Where(Path("run"), Path("run")).flags()
        '--dir run'
        >>> Where("a:9092", Path("run"), "v2").flags()
        '--bus kafka://a:9092 --dir run --namespace v2'
        """
        if isinstance(self.bus, Path):
            parts = [f"--dir {self.bus}"]
        else:
            parts = [f"--bus kafka://{self.bus}"]
            parts += [f"--dir {self.folder}"] if self.folder != Path() else []
            parts += [f"--config {self.config}"] if self.config and self.kafka != KafkaConfig() else []
        return " ".join(parts + ([f"--namespace {self.namespace}"] if self.namespace != NAMESPACE else []))


def find(directory: Path | None, bus: str | None, namespace: str, config: Path | Config | None = None) -> Where:
    """Return where the stream is that `--dir`, `--bus` and the config file name; a flag goes before the file.

    An embedded bus is in its folder. Beside Kafka `--dir` is the folder for what stands on this machine: without it,
    that in which the command runs.
    Raises:  WrongConfig when nothing or two places are named, or the file is wrong.
    """
    file = config if isinstance(config, Path) else None
    read = config if isinstance(config, Config) else settings.read(file)[0]
    named, said = (f"--bus {bus}", bus) if bus else (f"bus = {read.bus!r}", read.bus)
    if said is None:
        if directory is None:
            raise WrongConfig("name the stream's directory: --dir DIR, or its bus: --bus kafka://HOST:PORT")
        return Where(directory, directory, namespace, read.partitions, read.kafka, file)
    if said.startswith("kafka:"):
        address = kafka_address(said, named)
        return Where(address, directory or Path(), namespace, read.partitions, read.kafka, file)
    kind, _, rest = said.partition(":")
    if kind != "embedded" or not rest:
        raise WrongConfig(f"{named}: {EXPECTED}")
    if directory is not None and directory != Path(rest):
        raise WrongConfig(f"{named} and --dir {directory} name two places: give one of them")
    return Where(Path(rest), Path(rest), namespace, read.partitions, read.kafka, file)


def kafka_address(url: str, named: str) -> str:
    """Return HOST:PORT[,HOST:PORT…] of a url; `named` is how a refusal calls it.

    >>> kafka_address("kafka://a:9092,b:9093", "--bus")
    'a:9092,b:9093'
    """
    hosts = url.removeprefix("kafka://")
    for host in hosts.split(","):
        found = re.fullmatch(r"(?:[\w.-]+|\[[0-9A-Fa-f:]+\]):(\d{1,5})", host)
        if hosts == url or found is None or not 1 <= int(found[1]) <= 65535:
            raise WrongConfig(f"{named}: {EXPECTED}")
    return hosts
