"""A namespace branched from another one at a stage: that stage and all below it run anew, with another recipe.

The first of them reads the parent's own topic, from the first record that still stands there; everything it and the
others write is the new namespace's. Pure, but for what reads the recipes on record.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from deploy.planning.recipe import Recipe
from stream.config import suggestion
from stream.errors import WrongConfig
from stream.records import RecipeText
from stream.topics import TOPICS, Topic, full_name


def below(first: str, reads: Mapping[str, str]) -> list[str]:
    """Return a stage and all that live on what it makes; `reads` is each stage's input, upstream first.

    >>> below("b", {"a": "files", "b": "a", "c": "a", "d": "b", "e": "d"})
    ['b', 'd', 'e']
    """
    found = [first]
    found += [stage for stage, topic in reads.items() if stage != first and _leads(topic, first, reads)]
    return found


def _leads(topic: str, first: str, reads: Mapping[str, str]) -> bool:
    while topic != first and topic in reads:
        topic = reads[topic]
    return topic == first


def topic_of(name: str) -> Topic:
    """Return the topic of that name, which may be another namespace's.

    >>> topic_of("main/typed").name, topic_of("main/typed").partitions
    ('main/typed', 1)
    """
    return dataclasses.replace(TOPICS[name.rpartition("/")[2]], name=name)


def within(recipe: Recipe, stored: RecipeText) -> Recipe:
    """Return the recipe as the namespace of that record runs it: whole, or from the stage it was branched at."""
    if stored.first is None or stored.reads is None:
        return recipe
    names = below(stored.first, {stage.name: stage.reads.name for stage in recipe.stages})
    stages = [
        dataclasses.replace(stage, reads=topic_of(stored.reads)) if stage.name == stored.first else stage
        for stage in recipe.stages
        if stage.name in names
    ]
    return dataclasses.replace(recipe, stages=tuple(stages))


def parents_topic(parent: str, stored: RecipeText, own: Collection[str], name: str) -> str:
    """Return the topic `name` as a child of `parent` names it; `own` are the topics that `parent` itself fills.

    Raises:  WrongConfig when the parent has no such topic.
    """
    if name in own:
        return f"{parent}/{name}"
    if stored.reads is not None and stored.reads.rpartition("/")[2] == name:
        return stored.reads  # the parent reads it from its own parent, and so does the child
    above = f"; it was branched from {stored.parent} at {stored.first}" if stored.parent else ""
    raise WrongConfig(f"namespace {parent} has no topic {name}{above}: {suggestion(name, sorted(own))}")


def check_stages(stored: RecipeText, running: Sequence[str], asked: Sequence[str], namespace: str) -> None:
    """See that stages asked for by name run in this namespace.

    Raises:  WrongConfig.
    """
    elsewhere = [name for name in asked if name not in running]
    if elsewhere:
        raise WrongConfig(
            f"namespace {namespace} begins with stage {stored.first}, which reads "
            f"{full_name(namespace, stored.reads or '')}: {', '.join(elsewhere)} runs in namespace {stored.parent}"
        )
