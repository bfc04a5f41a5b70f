"""What the tests of whole streams share."""

from deploy.planning import recipe
from deploy.planning.stages import Clients
from stream.outcomes import StageSpec

CONFIG = """
[sandbox]
slots = 2

[stages.executions]
cpu_s = 2
"""


def folds() -> list[StageSpec]:
    """The Folds of the main recipe, ready to decide."""
    plan = recipe.load("selfcodealign")
    clients = Clients(seed=plan.seed, llm={}, prompts={}, decontamination=None, pool=None, box=None)  # type: ignore[arg-type]
    return [
        StageSpec(stage.name, stage.reads, stage.writes, stage.kind.build(stage.params, clients))
        for stage in plan.stages
        if stage.kind.fold
    ]
