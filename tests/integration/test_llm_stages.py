"""The four LLM stages of recipe `selfcodealign` through the real client, against the scripted server."""

from collections.abc import Sequence

import pytest

from consumers import concepts, prompt, responses, seeds
from consumers.instructions import from_concepts
from consumers.llm.client import LLMClient
from consumers.llm.endpoint import Endpoint
from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.server import ScriptedLLM
from stream.records import File, FileId, Seed, digest, seed_id
from stream.stage import Out, Outcome

CODE = '''def running_share(amounts):
    """Return the share of each amount in the total up to and including it."""
    total, shares = 0, []
    for amount in amounts:
        total += amount
        shares.append(amount / total)
    return shares'''

FILE = File(FileId(digest("f")), "test", "f.py", "python", None, None, "MIT")
SEED = Seed(seed_id(FILE.file_id, 0), FILE, 0, 1, "function", "running_share", CODE, digest(CODE), (), ())


def emitted(outcomes: Sequence[Outcome[Out]]) -> tuple[Out, ...]:
    [outcome] = outcomes
    assert outcome.rejected == ()
    return outcome.emitted


@pytest.mark.parametrize("api", ["completions", "chat"])
async def test_a_seed_becomes_responses_by_either_api(api: str) -> None:
    prompts = {name: prompt.load("selfcodealign", name) for name in ("seeds", "concepts", "instructions", "responses")}
    shares = Shares(no=0.0, unparsable=0.0)
    endpoint = {"model": "scripted", "api": api, "context": 16_000}
    async with ScriptedLLM(shares=shares) as server, LLMClient(Endpoint(server.url, **endpoint)) as client:  # type: ignore[arg-type]
        llms = {name: client.for_stage(name, depth) for depth, name in enumerate(prompts)}
        judge = seeds.stage(seeds.Params(3, 0.0, 5, 16_380), llms["seeds"], prompts["seeds"], 1)
        name = concepts.stage(concepts.Params(8, 0.7, 200), llms["concepts"], prompts["concepts"], 1)
        wanted = from_concepts.Params(8, 0.7, 500, ("function", "class"), ("easy", "hard"))
        write = from_concepts.stage(wanted, llms["instructions"], prompts["instructions"], 1)
        answer = responses.stage(responses.Params(10, 1, 0.7, 1_536), llms["responses"], prompts["responses"], 1)

        [judged] = emitted(await judge.call([SEED]))
        [named] = emitted(await name.call([judged]))
        assert "loops" in named.concepts
        [task] = emitted(await write.call([named]))
        [answered] = emitted(await answer.call([task]))
        assert len(answered.responses) == 10
        assert server.calls.counts.total() == 13
        assert {call.stage for call in server.calls.counts} == set(prompts)
        assert all(usage.too_long == usage.failed == usage.estimated == 0 for usage in client.usage().values())
