"""What a run leaves to be said: inputs that are dead, and why there is no example."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from deploy.streams import samples
from deploy.streams.funnel import Count
from deploy.streams.outline import outline
from stream.bus import Bus
from stream.replay import Fate

REASONS = 3  # that are named


async def open_dead(bus: Bus, stages: Collection[str] | None = None) -> Mapping[str, int]:
    """Return how many inputs are dead and were not replayed, by stage, as `seedstream dead` counts them; of all
    stages and sources of a namespace, or of `stages` alone."""
    counts: Counter[str] = Counter()
    if stages is not None and not stages:
        return counts
    for group in await samples.dead(bus, await outline(bus), None, 0):
        if group.fate is Fate.OPEN and (stages is None or group.stage in stages):
            counts[group.stage] += group.count
    return counts


def about_dead(dead: Mapping[str, int], inputs: Mapping[str, str], flags: str) -> Iterator[str]:
    """Say in lines what is dead and what to do. `inputs` are the topics that stages read, `flags` name the stream on a
    command line.

    >>> print(*about_dead({"responses": 20}, {"responses": "instructions"}, "--dir run"), sep="\\n")
    20 inputs are dead and were not replayed: responses 20. Remove the cause, replay them, and run this again:
      the errors:                seedstream dead --dir run
      replay responses:          seedstream replay responses --dead --dir run
    """
    if not dead:
        return
    total = sum(dead.values())
    many = f"{total:,} inputs are dead and were" if total > 1 else "1 input is dead and was"
    by_stage = ", ".join(f"{stage} {count:,}" for stage, count in dead.items())
    yield f"{many} not replayed: {by_stage}. Remove the cause, replay them, and run this again:"
    yield f"  the errors:                seedstream dead {flags}"
    for stage in dead:
        what = f"replay {stage}:"
        if stage not in inputs:
            yield f"  {what:26} not possible, a source sent it: remove the cause, and send it to a new namespace"
        elif "/" in inputs[stage]:  # another namespace's, to which nothing can be appended
            yield f"  {what:26} seedstream replay {stage} --into NAMESPACE {flags}"
        else:
            yield f"  {what:26} seedstream replay {stage} --dead {flags}"


def about_no_examples(counts: Sequence[Count]) -> str:
    """Say why a stream that has finished its inputs has no example: which stage emitted nothing, and for which reasons
    most was turned down. `counts` are upstream first.

    >>> seeds, rest = Count("seeds", 9, 0, 0, Counter(not_good=8), 1), Count("concepts")
    >>> about_no_examples([Count("files", 9, 0, 9), seeds, rest])
    'the dataset has 0 examples: seeds was given 9 inputs and emitted nothing (not_good 8, dead 1)'
    """
    if not counts or not counts[0].done:
        return "the dataset has 0 examples: no input has been sent; name a source with --source PATH"
    # The first stage that had inputs and emitted nothing: those below it had none.
    last = next((count for count in counts if count.done and not count.out), counts[-1])
    said = f"the dataset has 0 examples: {last.stage} was given {last.done:,} inputs and emitted nothing"
    own = _most(_losses(last))
    said += f" ({own})" if own else ""
    before = counts[: counts.index(last)]
    lost = _most(Counter({f"{c.stage} {why}": number for c in before for why, number in _losses(c).items()}))
    return f"{said}; lost before it: {lost}" if lost else said


def _losses(count: Count) -> Counter[str]:
    """Return what one stage lost, by reason."""
    return count.rejected + Counter(dead=count.dead)


def _most(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason} {number:,}" for reason, number in reasons.most_common(REASONS))
