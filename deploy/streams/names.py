"""Names that a user writes, held against those that a stream has: a misspelt one is refused, not found empty."""

from collections.abc import Collection

from deploy.streams import samples
from deploy.streams.outline import reasons
from stream.bus import Bus
from stream.config import suggestion
from stream.errors import WrongConfig


def check_stage(bus: Bus, stage: str, known: Collection[str]) -> None:
    """See that a stage is one of those of a namespace.

    Raises:  WrongConfig with the nearest one, or all.
    """
    if stage not in known:
        raise WrongConfig(f"namespace {bus.namespace} has no stage {stage}; {suggestion(stage, list(known))}")


async def check_names(bus: Bus, stage: str | None, reason: str | None = None) -> None:
    """See that a namespace has a stage, the sources among them, and that this one rejects for a reason; None is any.

    A reason that stands on record is one, though no stage gives it any more.
    Raises:  WrongConfig with the nearest name there is, or all.
    """
    known = await reasons(bus)
    if stage is not None:
        check_stage(bus, stage, known)
    if reason is None:
        return
    given = {one for name, some in known.items() if stage in (None, name) for one in some}
    if reason not in given and not await samples.rejects(bus, stage, reason, 0):
        who = "no stage rejects" if stage is None else f"stage {stage} does not reject"
        raise WrongConfig(f"{who} for {reason}; {suggestion(reason, sorted(given))}")
