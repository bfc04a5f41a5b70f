"""Flags, config file and recipe put together, in this order of precedence, and checked, before anything starts."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from consumers import prompt
from consumers.llm.endpoint import Endpoint
from consumers.prompt import FewShot
from deploy.planning import recipe as recipes
from deploy.planning import settings
from deploy.planning.effective import NAME_A_MODEL, Asked, effective
from deploy.planning.recipe import Recipe
from deploy.planning.settings import DEFAULT_LLM, Config
from deploy.serving import checkpoint
from deploy.serving.checkpoint import Checkpoint
from stream.config import Document, refuse, suggestion
from stream.errors import WrongConfig

NOT_SERVED_YET = "http://127.0.0.1"
"""The url of a model in a directory, until its server has a port."""


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says over config file and recipe."""

    recipe: str | None = None
    config: Path | None = None
    llm: str | None = None
    model: str | None = None
    api: Literal["completions", "chat"] | None = None
    start_budget_s: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before a client is built."""

    recipe: Recipe
    config: Config
    prompts: Mapping[str, FewShot]  # of each stage that asks a model
    endpoints: Mapping[str, Endpoint]  # of each stage whose model is named
    endpoint_names: Mapping[str, str]  # of the same stages: what metrics and the live view call their endpoint
    local: Checkpoint | None  # to be served for as long as the stages run; until then its endpoints have no true url
    decontamination: Mapping[Path, str]  # files, and the hash of their content

    def effective(self) -> dict[str, Any]:
        """Return all that decides what the records look like (see `deploy.planning.effective`)."""
        asked = {stage: _asked(few_shot, self.endpoints.get(stage)) for stage, few_shot in self.prompts.items()}
        return effective(self.recipe, asked, {path.name: sha256 for path, sha256 in self.decontamination.items()})


def _asked(few_shot: FewShot, end: Endpoint | None) -> Asked:
    if end is None:
        return Asked(few_shot.sha256)
    return Asked(few_shot.sha256, end.model, end.api, end.reasoning_tokens, end.extra_body)


def plan(flags: Flags) -> Plan:
    """Read and check everything that flags name.

    Raises:  WrongConfig.
    """
    config, document = settings.read(flags.config)
    if flags.start_budget_s is not None:
        config = dataclasses.replace(config, start_budget_s=flags.start_budget_s)
    recipe = recipes.load(flags.recipe or config.recipe, document)
    asking = [stage for stage in recipe.stages if stage.kind.asks]
    local = _local(flags, config, recipe)
    prompts = {stage.name: prompt.load(recipe.prompts, stage.name) for stage in asking}
    endpoints = {
        stage.name: end
        for stage in asking
        if (end := _local_endpoint(local, flags) or _endpoint(stage.llm, stage.name, flags, config, document))
    }
    names = {stage: _endpoint_name(end, flags, config) for stage, end in endpoints.items()}
    base = flags.config.parent if flags.config else Path()
    decontamination = {base / name: _sha256(base / name) for name in config.decontamination}
    return Plan(recipe, config, prompts, endpoints, names, local, decontamination)


def _local(flags: Flags, config: Config, recipe: Recipe) -> Checkpoint | None:
    """Return the model to serve: in the directory that --model names, else the recipe's own where no server is named.
    None where a server is asked."""
    if flags.llm is not None:
        return None
    if flags.model is not None:
        path = Path(flags.model).expanduser()
        return checkpoint.read(path) if path.is_dir() or flags.model.startswith((".", "/", "~")) else None
    return checkpoint.read(checkpoint.find(recipe.model)) if recipe.model and not config.llm else None


def _local_endpoint(local: Checkpoint | None, flags: Flags) -> Endpoint | None:
    if local is None:
        return None
    api = flags.api or "completions"
    return Endpoint(
        NOT_SERVED_YET,
        local.name,
        api,
        context=local.context,
        special_tokens=checkpoint.special_tokens(local.directory),
    )


def _endpoint(
    named: str | None, stage: str, flags: Flags, config: Config, document: Document | None
) -> Endpoint | None:
    """Return the endpoint of a stage: that of the flags, else the one it names, else `main`, else the only one there
    is."""
    if flags.llm is not None:
        if flags.model is None:
            raise WrongConfig(f"--llm {flags.llm}: name the model too, with --model")
        try:
            return Endpoint(flags.llm, flags.model, flags.api or "completions")
        except ValueError as err:
            raise WrongConfig(f"--llm {flags.llm}: {err}") from err
    if named is not None and named not in config.llm:
        cure = f"; {suggestion(named, list(config.llm))}" if config.llm else f": {NAME_A_MODEL.replace('NAME', named)}"
        message = f"no endpoint [llm.{named}] is there{cure}"
        if document is None:
            raise WrongConfig(f"stage {stage}: {message}")
        refuse(message, [document], ("stages", stage, "llm"))
    if named is None and not config.llm:
        return None
    end = config.llm[named] if named is not None else config.default_llm
    if end is None:
        raise WrongConfig(
            f"stage {stage} names no endpoint, and none of {', '.join(config.llm)} is the default: set llm in "
            f"[stages.{stage}], or name one of them {DEFAULT_LLM}"
        )
    return _with_flags(end, flags)


def _with_flags(end: Endpoint, flags: Flags) -> Endpoint:
    return dataclasses.replace(end, model=flags.model or end.model, api=flags.api or end.api)


def _endpoint_name(end: Endpoint, flags: Flags, config: Config) -> str:
    """Return NAME of [llm.NAME], the first where two say the same, which are then one endpoint; else the last part of
    the model's name. Endpoints that differ have different names: flags give one for all stages."""
    named = {} if flags.llm is not None else config.llm
    names = [name for name, told in named.items() if _with_flags(told, flags) == end]
    return names[0] if names else end.model.rstrip("/").rpartition("/")[-1]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as err:
        raise WrongConfig(f"decontamination: {path} cannot be read: {err.strerror}") from err
