"""The audit trail: one record per request, whatever was decided. Ids, counts and hashes, never text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What happened to one request."""

    request_id: str
    time: str  # ISO 8601, UTC, when the request ended
    route: str  # HTTP path, or the engine method where no HTTP request is known
    verdict: dict[str, Any]  # Verdict.to_json()
    action: str  # the action carried out
    snapshot: str  # version that judged the request
    prompt_sha256: str
    prompt_tokens: int
    response_tokens: int
    finish_reason: str | None  # None when the client left or the engine failed
    filtered: bool  # the response filter cut the answer
    seconds: float  # from admission to the last token

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        # dataclasses.asdict copies all that is inside, which cost a third of writing a record.
        return {name: getattr(self, name) for name in _RECORD}


@dataclass(frozen=True, slots=True)
class Event:
    """Something other than a request that belongs into the record, such as a change of the targets.

    Attributes:
        kind: subject and verb, such as ``target.added``, ``snapshot.enforced``, ``key.revoked``.
        time: ISO 8601, UTC.
        actor: who: id of an API key, "local" for the command line, "server" for the server itself.
        target_id: of an event about one target.
        facts: further plain values; never text of a target.
    """

    kind: str
    time: str
    actor: str
    target_id: str | None = None
    facts: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {name: getattr(self, name) for name in _EVENT} | {"facts": dict(self.facts)}


_RECORD, _EVENT = (tuple(each.name for each in fields(kind)) for kind in (AuditRecord, Event))


class AuditSink(Protocol):
    """Keeps audit records."""

    def write(self, record: AuditRecord) -> None:
        """Stores a record; must not lose it silently."""


class MemoryAuditSink:
    """Keeps records in a list."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []

    def write(self, record: AuditRecord) -> None:
        """See AuditSink."""
        self.records.append(record)


def prompt_hash(segments: tuple[str, ...] | list[str]) -> str:
    """SHA-256 over the prompt's segments, to tell repeated prompts without keeping them."""
    return hashlib.sha256("\x00".join(segments).encode("utf-8", "surrogatepass")).hexdigest()
