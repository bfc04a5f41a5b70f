"""What becomes of one candidate's bytes: a SourceFile, or a reject with a reason. Pure; the same for every source."""

from collections.abc import Collection
from dataclasses import dataclass

from producers import generated, licence, spdx
from producers.head import head
from producers.repository import Repository
from producers.rules import Rules
from producers.source import Found, Reason
from producers.text import decode
from stream.records import File, FileId, SourceFile, file_id
from stream.stage import Reject


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a candidate comes from, and what its surroundings say of it."""

    source: str
    path: str  # relative to the source, "/" between parts
    language: str
    repository: Repository
    licence: str  # of the nearest LICENSE; a licence in the file's own head outweighs it


def take(origin: Origin, content: bytes, rules: Rules, known: Collection[FileId]) -> Found | None:
    """Apply the rules to a file's bytes, at most `rules.max_file_bytes` of them. None: it is known, under the id that
    it would be emitted with."""
    identity = file_id(origin.source, origin.path, content)
    if identity in known:
        return None
    judged = _judge(identity, origin, content, rules)
    if isinstance(judged, Reject):
        return Found.rejected(origin.source, origin.path, content, judged)
    return Found.emitted(judged)


def _judge(identity: FileId, origin: Origin, content: bytes, rules: Rules) -> SourceFile | Reject:
    text = decode(content)
    if isinstance(text, Reject):
        return text
    top = head(text)
    mark = generated.evidence(origin.path, top)
    if mark is not None:
        return Reject(Reason.GENERATED, mark)
    own = licence.of_head(top) or origin.licence
    if not spdx.permits(rules.licences, own):
        return Reject(Reason.LICENCE, own)
    file = File(
        file_id=identity,
        source=origin.source,
        path=origin.path,
        language=origin.language,
        repository=origin.repository.url,
        revision=origin.repository.revision,
        licence=own,
    )
    return SourceFile(file, text)
