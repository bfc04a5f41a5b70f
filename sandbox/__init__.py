"""Runs programs nobody trusts. Standard library only; Linux.

    async with Sandbox(slots=4, limits=Limits()) as box:
        result = await box.run("assert 1 + 1 == 2")

Which file holds what: `limits` (what a run may use), `verdict` (what its ending means), `host` (slots, retry, the
self-test), `launch` (one process per program); and in the sandboxed interpreter `child`, `namespaces`, `supervise`,
`program`, `canary`, `describe`.
"""

from sandbox.host import Sandbox
from sandbox.limits import Limits
from sandbox.verdict import Result, SandboxBroken, SandboxRefused, Tier, Verdict

__all__ = ["Limits", "Result", "Sandbox", "SandboxBroken", "SandboxRefused", "Tier", "Verdict"]
