"""How a runner works, whatever the stage."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it may be set in the config's [runner] table."""

    commit_interval_s: float = 0.2  # a finished record waits this long for others to share its commit
    commit_records: int = 2_000  # finished records that cause a commit at once; intake pauses at twice as many
    attempts: int = 5  # at one record, when each one ends in a Transient
    retry_base_s: float = 0.5
    retry_cap_s: float = 30.0
    call_deadline_s: float = 3_600.0  # one call of a stage; past it the call is cancelled and counts as a Transient
    drain_s: float = 10.0  # what records in flight are given to finish once told to stop

    def __post_init__(self) -> None:
        for name in ("commit_interval_s", "retry_base_s", "retry_cap_s", "call_deadline_s", "drain_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if not self.call_deadline_s:
            raise ValueError("call_deadline_s = 0 would let no call end: leave it out, or give it hours")
        for name in ("commit_records", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
