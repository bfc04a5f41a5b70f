"""What each stage has done since this process started: plain counters, read by the live view and by Prometheus."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stream.errors import WrongConfig
from stream.topics import DEAD


@dataclass(slots=True)
class StageStats:
    """Counters of one stage. They rise with each commit; `in_flight`, `lag` and `waiting` are as of now."""

    stage: str
    read: int = 0  # inputs with a committed outcome
    emitted: int = 0
    rejected: Counter[str] = field(default_factory=Counter[str])  # by reason
    dead: int = 0
    retried: int = 0  # attempts after a Transient
    commits: int = 0
    in_flight: int = 0  # records read and not committed
    lag: int | None = None  # inputs not finished, when somebody last looked
    waits: dict[object, str] = field(default_factory=dict[object, str])  # why intake is paused, by what paused it

    @property
    def waiting(self) -> str | None:
        """Why intake is paused, as the last of those says who paused it; None when it is not."""
        return next(reversed(self.waits.values()), None)

    def committed(self, inputs: int, written: Mapping[str, int], output: str, reasons: Iterable[str]) -> None:
        """Add one commit: `written` counts its messages by topic, `output` is the stage's own."""
        self.commits += 1
        self.read += inputs
        self.emitted += written.get(output, 0)
        self.dead += written.get(DEAD.name, 0)
        self.rejected.update(reasons)


class Exporter(Collector):
    """StageStats in Prometheus' form. A help says what to do when its metric moves."""

    def __init__(self, stats: Iterable[StageStats]) -> None:
        self._stats = list(stats)

    def collect(self) -> Iterator[Metric]:
        records = CounterMetricFamily(
            "seedstream_outcomes",
            "Outcomes committed, by stage and kind. If `dead` rises, look at `seedstream dead` and mend our defect.",
            labels=["stage", "kind"],
        )
        rejects = CounterMetricFamily(
            "seedstream_rejects",
            "Rejected parts by reason. If one reason jumps, look at `seedstream rejects` for what the source or the "
            "model started to do.",
            labels=["stage", "reason"],
        )
        read = CounterMetricFamily(
            "seedstream_inputs", "Inputs with a committed outcome. If it stands still, see waiting.", labels=["stage"]
        )
        retried = CounterMetricFamily(
            "seedstream_retries",
            "Attempts made again. If it rises, the server or the sandbox is ill.",
            labels=["stage"],
        )
        in_flight = GaugeMetricFamily(
            "seedstream_in_flight_records",
            "Records read, not committed. At its bound: add workers.",
            labels=["stage"],
        )
        waiting = GaugeMetricFamily(
            "seedstream_waiting",
            "1 while intake is paused: a dependency is away, or too many records died. The log names the cause.",
            labels=["stage"],
        )
        lag = GaugeMetricFamily(
            "seedstream_lag_records", "Inputs not finished. If it grows for ever, scale the stage.", labels=["stage"]
        )
        for s in self._stats:
            records.add_metric([s.stage, "emitted"], s.emitted)
            records.add_metric([s.stage, "rejected"], s.rejected.total())
            records.add_metric([s.stage, "dead"], s.dead)
            for reason, count in list(s.rejected.items()):  # a thread of its own looks here
                rejects.add_metric([s.stage, reason], count)
            read.add_metric([s.stage], s.read)
            retried.add_metric([s.stage], s.retried)
            in_flight.add_metric([s.stage], s.in_flight)
            waiting.add_metric([s.stage], 0 if s.waiting is None else 1)
            if s.lag is not None:
                lag.add_metric([s.stage], s.lag)
        yield from (records, rejects, read, retried, in_flight, waiting, lag)


def serve(port: int, *collectors: Collector) -> None:
    """Serve what the collectors find as Prometheus text on `port`, from a thread of its own, for the rest of the
    process.

    Raises:  WrongConfig when the port is taken, or is none.
    """
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    try:
        start_http_server(port, registry=registry)
    except (OSError, OverflowError) as err:
        why = err.strerror if isinstance(err, OSError) else err
        raise WrongConfig(f"--metrics-port {port}: cannot be opened: {why}") from err
