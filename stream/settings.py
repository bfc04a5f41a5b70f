"""How a runner works: the keys of the config's [runner] table, and what may be set for one stage alone."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace

SCORES = "scores"
"""The evaluation: it is no stage, and its requests are retried as a stage's are."""


def _check(values: Mapping[str, float]) -> None:
    """Raises:  ValueError for a value out of its range."""
    for name, value in values.items():
        if name in ("commit_records", "attempts", "flood_window") and value < 1:
            raise ValueError(f"{name} must be at least 1")
        if value < 0:
            raise ValueError(f"{name} must not be negative")
    if values.get("call_deadline_s") == 0:
        raise ValueError("call_deadline_s = 0 would let no call end: leave it out, or give it hours")
    if values.get("flood_share", 0) > 1:
        raise ValueError("flood_share must be from 0 to 1")


@dataclass(frozen=True, slots=True)
class StageSettings:
    """Table [runner.stages.NAME]: what is set goes over [runner] for that stage."""

    attempts: int | None = None
    retry_base_s: float | None = None
    retry_cap_s: float | None = None
    call_deadline_s: float | None = None

    def __post_init__(self) -> None:
        _check(self._set())

    def _set(self) -> dict[str, float]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    def over(self, settings: "Settings") -> "Settings":
        """Return the settings with what is set here in the place of their own."""
        return replace(settings, **self._set())


@dataclass(frozen=True, slots=True)
class Settings:
    """Table [runner]."""

    commit_interval_s: float = 0.2  # a finished record waits this long for others to share its commit
    commit_records: int = 2_000  # finished records that cause a commit at once; intake pauses at twice as many
    attempts: int = 5  # at one record, when each one ends in a Transient
    retry_base_s: float = 0.5  # before the second attempt; doubled for each further one
    retry_cap_s: float = 30.0  # between two attempts at most
    call_deadline_s: float = 3_600.0  # one call of a stage; past it the call is cancelled and counts as a Transient
    drain_s: float = 10.0  # what records in flight are given to finish once told to stop
    flood_in_a_row: int = 20  # dead letters of a stage in a row that pause it, or end it with --until-idle; 0: none do
    flood_share: float = 0.5  # of the last `flood_window` records of a stage: as many dead letters do too; 0: none do
    flood_window: int = 200  # records
    stages: dict[str, StageSettings] = field(default_factory=dict[str, StageSettings])  # by stage

    def __post_init__(self) -> None:
        _check({name: getattr(self, name) for name in self.__slots__ if name != "stages"})

    def of(self, stage: str) -> "Settings":
        """Return the settings of one stage."""
        own = self.stages.get(stage)
        return self if own is None else own.over(self)

    def unknown(self, stages: Collection[str]) -> str | None:
        """Return a name in the table `stages` that is none of these, nor the evaluation's; None when all are known."""
        return next((name for name in self.stages if name not in stages and name != SCORES), None)


DEFAULTS = Settings()
