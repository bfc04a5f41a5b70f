"""Preference pairs: of two responses to one instruction, the one that is better. Pure but for the reading of a file.

From execution: a response that passed its tests against one that failed its own. The tests are the samples' own, so a
right response with a wrong test can stand on the losing side. From a file of the user's: the usual columns `prompt`,
`chosen` and `rejected`, each as text, or as the messages of a conversation of one turn.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson

from sandbox import Verdict
from stream.errors import WrongConfig
from stream.records import Executions, Response, digest

COLUMNS = ("prompt", "chosen", "rejected")
UNPROVED = (Verdict.PASS, Verdict.NO_TESTS)
"""Verdicts that are no failure: without tests nothing was shown."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to one instruction."""

    pair_id: str  # of the instruction, or of the content where it came from a file
    prompt: str  # the instruction alone; the template is put around it when it is trained on
    chosen: str
    rejected: str
    licence: str  # SPDX expression of the seed's file, or unknown

    def row(self) -> dict[str, str]:
        """Return the pair as a line of a file holds it."""
        return {
            "id": self.pair_id, "prompt": self.prompt, "chosen": self.chosen, "rejected": self.rejected,
            "licence": self.licence,
        }  # fmt: skip


def pair(executions: Executions) -> Pair | None:
    """Return the first response that passed against the first that failed and reads otherwise; None without both."""
    verdicts = {execution.index: execution.verdict for execution in executions.executions}
    passed = _first(executions.responses, [i for i, verdict in verdicts.items() if verdict == Verdict.PASS], "")
    if passed is None:
        return None
    failed = _first(executions.responses, [i for i, verdict in verdicts.items() if verdict not in UNPROVED], passed)
    if failed is None:
        return None
    instruction = executions.instruction
    licence = instruction.concepts.seed.file.licence
    return Pair(instruction.instruction_id, instruction.text, passed, failed, licence)


def _first(responses: Sequence[Response], among: Sequence[int], unlike: str) -> str | None:
    """Return the text of the lowest sample among these indices that differs from `unlike`."""
    texts = [r.text for r in sorted(responses, key=lambda r: r.index) if r.index in among and r.text != unlike]
    return texts[0] if texts else None


def read(path: Path) -> Iterator[Pair]:
    """Read the pairs of a JSONL file, each once.

    Raises:  WrongConfig naming the line, for one that is no pair.
    """
    seen: set[str] = set()
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    found = _parsed(line, f"{path}, line {number}")
                    if found.pair_id not in seen:
                        seen.add(found.pair_id)
                        yield found
    except OSError as err:
        raise WrongConfig(f"{path} cannot be read: {err.strerror}") from err


def _parsed(line: bytes, where: str) -> Pair:
    try:
        value: Any = orjson.loads(line)
    except orjson.JSONDecodeError as err:
        raise WrongConfig(f"{where} is not JSON: {err}") from err
    if not isinstance(value, dict):
        raise WrongConfig(f"{where}: expected an object with {', '.join(COLUMNS)}")
    row = cast("Mapping[str, Any]", value)
    missing = [column for column in COLUMNS[1:] if column not in row]
    if missing:
        raise WrongConfig(f"{where}: no column {missing[0]}; expected {', '.join(COLUMNS)}")
    try:
        asked, chosen = _turn(row.get("prompt"), row["chosen"])
        also_asked, rejected = _turn(row.get("prompt"), row["rejected"])
        if asked != also_asked:
            raise ValueError("chosen and rejected answer different prompts")
        if chosen == rejected:
            raise ValueError("chosen and rejected are the same")
    except ValueError as err:
        raise WrongConfig(f"{where}: {err}") from err
    licence = row.get("licence", row.get("license"))
    return Pair(
        digest(asked, chosen, rejected), asked, chosen, rejected, licence if isinstance(licence, str) else "unknown"
    )


def _turn(prompt: object, answer: object) -> tuple[str, str]:
    """Return one side of a pair as prompt and response. A prompt may be left out where the answer's messages begin
    with it, as in the published sets that trl calls implicit."""
    if isinstance(prompt, str) and isinstance(answer, str):
        return prompt, answer
    if not isinstance(answer, list) or not isinstance(prompt, list | str | None):
        raise ValueError("expected prompt, chosen and rejected as texts, or as lists of messages")
    messages = [_message(m) for m in cast("Sequence[object]", answer)]
    if isinstance(prompt, list):
        messages = [*(_message(m) for m in cast("Sequence[object]", prompt)), *messages]
    elif isinstance(prompt, str) and (not messages or messages[0][0] != "user"):
        messages = [("user", prompt), *messages]
    roles = [role for role, _ in messages]
    if roles != ["user", "assistant"]:
        raise ValueError(f"expected one message of user, then one of assistant, got {', '.join(roles) or 'none'}")
    return messages[0][1], messages[1][1]


def _message(value: object) -> tuple[str, str]:
    fields: Mapping[str, object] = cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
    role, content = fields.get("role"), fields.get("content")
    if not isinstance(role, str) or not isinstance(content, str):
        raise ValueError('expected each message as {"role": …, "content": …}, both texts')
    return role, content
