"""What the admin routes answer, as their OpenAPI document says it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from guard.types import Action, ForgetTarget, TargetId
from serving.identity import Role


class Answer(BaseModel):
    """A JSON object with no more than its fields."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Answer):
    """What went wrong. Never quotes a target or a prompt."""

    message: str
    type: str
    param: str | None = Field(description="the parameter that is wrong, where it is one")
    code: int = Field(description="the HTTP status")


class Failure(Answer):
    """An error."""

    error: ErrorDetail


class Targets(Answer):
    """Targets, in the order of their registration."""

    targets: list[ForgetTarget]
    next: TargetId | None = Field(None, description="give it as `after` for the next page; null: no more")


class Change(Answer):
    """A change that is enforced."""

    snapshot: str = Field(description="version that contains the change")
    seconds: float = Field(
        description="from the request to its enforcement: workers first, then the classifier"
    )


class TargetChange(Change):
    """A change of one target."""

    target: ForgetTarget


class Import(Change):
    """Several targets that were registered."""

    imported: int


class Removal(Change):
    """A target that was removed."""

    id: TargetId
    deleted: bool


class Preview(Answer):
    """What a target would forbid."""

    id: TargetId
    action: Action
    lexical: list[str] = Field(description="strings that prompts are searched for")
    extracted: list[str] = Field(description="strings found in the examples' responses")
    forbidden: list[str] = Field(description="kept out of answers to prompts that concern the target")
    always: list[str] = Field(description="kept out of every answer")
    encoded: list[str] = Field(description="further forms of the forbidden ones")
    examples: int
    neighbors: int
    notes: list[str]


class Evidence(Answer):
    """A detector's reason to take a prompt for one that concerns a target."""

    target_id: TargetId
    detector: str
    score: float
    threshold: float


class Checked(Answer):
    """The verdict on a prompt."""

    id: str | int
    action: Action
    matches: list[Evidence]
    released: str | None = Field(None, description="what a client would get of the given response")


class Concerned(Answer):
    """A recent request that a target would have concerned."""

    request_id: str
    time: str
    action: str = Field(description="carried out then")
    detectors: list[str]
    restricted: bool = Field(description="the client would have received another answer")
    covered: list[TargetId] = Field(description="registered targets that match its prompt now")


class BlastRadius(Answer):
    """What a target would have done to recent requests."""

    id: TargetId
    action: Action
    requests: int = Field(description="looked at")
    affected: int = Field(description="concerned by the target, in prompt or answer")
    prompts: dict[str, int] = Field(description="prompts that match, by detector")
    responses: int = Field(description="answers that would have been others")
    uncovered: int = Field(description="affected ones that no registered target matches")
    covered: dict[TargetId, int] = Field(description="affected ones that registered targets match")
    examples: list[Concerned] = Field(description="the latest 20")
    notes: list[str]


class DryRun(Answer):
    """What targets would have done, each by itself, to the recent requests of this server process."""

    requests: int
    since: str | None = Field(description="when the oldest of them ended")
    targets: list[BlastRadius]


class InForce(Answer):
    """The snapshot in force."""

    version: str
    targets: int
    compiled_at: str


class Revision(Answer):
    """One change of the targets that can be gone back to."""

    revision: int
    version: str | None = Field(description="of the snapshot that first enforced it; null: none did yet")
    active: bool = Field(description="it is what this server enforces")
    time: str
    actor: str = Field(description='id of the key that asked for it; "local" is the command line')
    change: str
    count: int = Field(description="targets concerned")
    targets: int | None = Field(description="targets in the snapshot")
    enforced: str | None


class Revisions(Answer):
    """Changes of the targets, newest first."""

    snapshots: list[Revision]


class Records(Answer):
    """Entries of the ledger, oldest first."""

    records: list[dict[str, Any]]
    next: int | None = Field(description="give it as `after` for what follows; null: nothing was found")


class LedgerProblem(Answer):
    """Something that is wrong with the ledger."""

    entry: int
    problem: str


class Verified(Answer):
    """What a walk over the whole ledger found."""

    valid: bool
    entries: int
    before: int = Field(description="entries from before the ledger began, which nothing protects")
    head: str = Field(description="where the ledger ends, as COUNT:HASH: keep it elsewhere")
    problems: list[LedgerProblem]


class Key(Answer):
    """An API key, without its secret."""

    id: str
    name: str
    roles: list[Role]
    created: str
    expires: str | None
    revoked: str | None


class Keys(Answer):
    """All API keys."""

    keys: list[Key]


class NewKey(Answer):
    """A key that was made."""

    key: Key
    token: str = Field(description="what to send; it is shown this once")


class Ready(Answer):
    """Whether this server can serve."""

    ready: bool
    engine: bool = Field(description="the engine runs and took the targets")
    snapshot: bool = Field(description="targets are in force")
    store: bool = Field(description="the database answered last time")


def fails(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documents errors of a route."""
    return {status: {"model": Failure, "description": HTTPStatus(status).phrase} for status in statuses}


COMMON = fails(401, 403, 422, 500, 503)
"""What every route with a key may answer."""
