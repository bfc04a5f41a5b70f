"""The one place that builds clients, and starts the server of a model that is in a directory. A pipeline is the stages
to be run, each with its clients; a client that none of them needs is not built, so that looking at files asks for no
model and no sandbox."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from consumers import decontamination
from consumers.llm.client import LLMClient
from consumers.llm.endpoint import Endpoint
from consumers.llm.usage import Snapshot, Usage
from consumers.pool import Pool
from consumers.pyright_cli import PyrightCLI
from deploy.planning.effective import NAME_A_MODEL
from deploy.planning.plan import Plan
from deploy.planning.recipe import StagePlan
from deploy.planning.stages import Clients
from deploy.serving.serve import vllm_server
from deploy.serving.server import Place, Server
from sandbox import Sandbox, SandboxRefused
from stream.errors import DependencyDown, Unavailable, WrongConfig
from stream.outcomes import StageSpec

PROBE_S = 0.5
VLLM_LOG = "vllm.log"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages that can be run, and what they have used."""

    specs: tuple[StageSpec, ...]
    endpoints: Mapping[str, LLMClient]  # by name
    local: Server | None  # to be watched while the stages run

    def used(self) -> Mapping[str, Usage]:
        """Return what each stage has asked models for since the start."""
        used: dict[str, Usage] = {}
        for client in self.endpoints.values():
            used |= client.usage()
        return used

    def snapshots(self) -> Mapping[str, Snapshot]:
        """Return the state of each endpoint, by name."""
        return {name: client.snapshot() for name, client in self.endpoints.items()}


@asynccontextmanager
async def build(plan: Plan, stages: Sequence[StagePlan], directory: Path) -> AsyncGenerator[Pipeline]:
    """Build `stages` of a plan, and their clients for as long as the context lasts. What is served writes its log into
    `directory`.

    Raises:  WrongConfig, also for a model that its server does not offer; DependencyDown when a server cannot be
             reached within the budget, or no sandbox starts here.
    """
    async with AsyncExitStack() as stack:
        local = await _local(plan, stages, directory, stack)
        if local is not None:
            served = {name: dataclasses.replace(end, url=local.url) for name, end in plan.endpoints.items()}
            plan = dataclasses.replace(plan, endpoints=served)
        servers = await _servers(plan, stages, stack)
        known = decontamination.load(tuple(plan.decontamination))
        if any(stage.kind.decontaminates for stage in stages):
            log.info("%s", known)
        order = [stage.name for stage in plan.recipe.stages]
        clients = Clients(
            seed=plan.recipe.seed,
            llm={name: servers[plan.endpoints[name]].for_stage(name, order.index(name)) for name in _asking(stages)},
            prompts=plan.prompts,
            decontamination=known,
            pool=await _pool(plan, stages, stack),
            checker=await _checker(stages),
            box=await _sandbox(plan, stages, stack),
        )
        specs = tuple(StageSpec(s.name, s.reads, s.writes, s.kind.build(s.params, clients)) for s in stages)
        names = {plan.endpoints[stage]: plan.endpoint_names[stage] for stage in _asking(stages)}
        yield Pipeline(specs, {names[end]: client for end, client in servers.items()}, local)


def _asking(stages: Sequence[StagePlan]) -> list[str]:
    return [stage.name for stage in stages if stage.kind.asks]


async def _pool(plan: Plan, stages: Sequence[StagePlan], stack: AsyncExitStack) -> Pool | None:
    if not any(stage.kind.pool for stage in stages):
        return None
    return await stack.enter_async_context(Pool(plan.config.processes))


async def _checker(stages: Sequence[StagePlan]) -> PyrightCLI | None:
    if not any(stage.kind.checker for stage in stages):
        return None
    checker = PyrightCLI()
    await checker.check()
    return checker


async def _sandbox(plan: Plan, stages: Sequence[StagePlan], stack: AsyncExitStack) -> Sandbox | None:
    limits = [stage.params.limits for stage in stages if stage.kind.box]
    if not limits:
        return None
    try:
        return await stack.enter_async_context(Sandbox(plan.config.sandbox.slots, limits[0]))
    except SandboxRefused as err:
        raise DependencyDown(f"no program can be run: {err}; see `seedstream doctor`") from err


async def _local(plan: Plan, stages: Sequence[StagePlan], directory: Path, stack: AsyncExitStack) -> Server | None:
    """Start the server of the model that is in a directory, where a stage asks it."""
    if plan.local is None or not _asking(stages):
        return None
    server = vllm_server(plan.local, Place(directory / VLLM_LOG))
    try:
        # A new bus comes into it only when the server answers.
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    except OSError as err:
        raise WrongConfig(f"{directory}: cannot be made: {err.strerror}") from err
    return await stack.enter_async_context(server)


async def _servers(plan: Plan, stages: Sequence[StagePlan], stack: AsyncExitStack) -> dict[Endpoint, LLMClient]:
    """Build a client for each endpoint, shared by the stages that ask it, and see that each one answers."""
    asking = _asking(stages)
    unnamed = [name for name in asking if name not in plan.endpoints]
    if unnamed:
        raise WrongConfig(f"recipe {plan.recipe.name} asks a model in {', '.join(unnamed)}: {NAME_A_MODEL}")
    servers: dict[Endpoint, LLMClient] = {}
    for name in asking:
        end = plan.endpoints[name]
        if end not in servers:
            servers[end] = await stack.enter_async_context(LLMClient(end))
    for server in servers.values():
        await reach(server.check, plan.config.start_budget_s)
    for stage in stages:
        if stage.kind.asks:
            servers[plan.endpoints[stage.name]].check_room(stage.name, stage.params.max_tokens)
    return servers


async def reach(check: Callable[[], Awaitable[None]], budget_s: float) -> None:
    """Call `check` until it does not raise Unavailable.

    Raises:  DependencyDown after `budget_s`; whatever else `check` raises.
    """
    deadline_s = time.monotonic() + budget_s
    while True:
        try:
            return await check()
        except Unavailable as err:
            if time.monotonic() + PROBE_S > deadline_s:
                raise DependencyDown(f"{err} (for {budget_s:g} s)") from err
        await asyncio.sleep(PROBE_S)
