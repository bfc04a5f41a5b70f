"""Drop functions that are near-duplicates of one kept before. Reads `typed`, writes `unique`. A Fold: first come,
first kept, in the order of the log.

Source: SelfCodeAlign (arXiv:2410.24198), seed collection: 5-grams, Jaccard .5. Deviations: every candidate is verified
exactly, and the order is the log's; figures in recipe `selfcodealign`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from consumers.near_duplicates import NearDuplicates, dump
from stream.errors import Fatal
from stream.records import Seed, Step
from stream.stage import Decision, Fold, Outcome, Reject

VERSION = 1


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of stage `unique`."""

    threshold: float  # Jaccard similarity from which on a function is dropped
    ngram: int  # tokens of a shingle
    num_perm: int  # permutations of a MinHash
    bands: int
    rows: int  # of a band; bands * rows <= num_perm

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"expected 0 < threshold <= 1, got {self.threshold}")
        if min(self.ngram, self.bands, self.rows) < 1 or self.bands * self.rows > self.num_perm:
            raise ValueError("expected ngram, bands and rows >= 1, and bands * rows <= num_perm")


class Reason(StrEnum):
    """Why a function is not unique."""

    NEAR_DUPLICATE = "near_duplicate"


def decide(kept: NearDuplicates, seed: Seed) -> Decision[Seed]:
    """Keep a seed unless one kept before is near."""
    sketch = kept.sketch(seed.code)
    near = kept.nearest(sketch)
    if near is not None:
        evidence = f"Jaccard similarity {near.similarity:.3f} to {near.id}"
        return Decision(Outcome.of(Reject(Reason.NEAR_DUPLICATE, evidence)))
    kept.add(seed.seed_id, sketch)
    passed = replace(seed, steps=(*seed.steps, Step("unique", VERSION, verdict="no near-duplicate")))
    return Decision(Outcome.of(passed), dump(seed.seed_id, sketch))


def stage(params: Params, recipe_seed: int) -> Fold[Seed, Seed, NearDuplicates]:
    """Return the stage."""

    def new() -> NearDuplicates:
        return NearDuplicates(params.threshold, params.ngram, params.num_perm, params.bands, params.rows)

    def decide_all(kept: NearDuplicates, seeds: Sequence[Seed]) -> Sequence[Decision[Seed]]:
        return [decide(kept, seed) for seed in seeds]

    def restore(kept: NearDuplicates, changes: Sequence[str]) -> None:
        try:
            for change in changes:
                kept.restore(change)
        except ValueError as err:
            raise Fatal(f"unique.state cannot be read: {err}") from err

    return Fold(new, decide_all, restore)
