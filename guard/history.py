"""What a target store remembers of its changes: each revision, and the way back to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from guard.errors import InputError
from guard.targets import LOCAL, Origin


@dataclass(frozen=True, slots=True)
class Revision:
    """One change of a store's targets.

    Attributes:
        revision: its number.
        time: when, as ISO 8601 in UTC.
        actor: id of the API key that asked for it; "local" is the command line.
        change: "added", "replaced", "removed" or "restored"; "found" is where the history begins.
        count: number of targets concerned.
        version: of the snapshot that first enforced exactly this revision; None if none did so far.
        targets: number of targets in that snapshot.
        enforced: since when, as ``time``.
    """

    revision: int
    time: str
    actor: str
    change: str
    count: int
    version: str | None = None
    targets: int | None = None
    enforced: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


@runtime_checkable
class History(Protocol):
    """What a store offers beyond TargetStore if it remembers its changes."""

    def restore(self, revision: int, origin: Origin = LOCAL, last: int | None = None) -> int:
        """Brings back the targets as they were after a revision; the new revision.

        Args:
            revision: where to go back to.
            origin: as with other changes.
            last: the revision the caller takes for the last one; later changes would be undone unseen.

        Raises:
            RevisionGone: the revision is unknown or too old.
            TargetChanged: ``last`` is not the last one.
        """

    def revisions(self, limit: int) -> tuple[Revision, ...]:
        """The last changes that can be gone back to, newest first."""

    def revision_of(self, version: str) -> int:
        """The last revision a snapshot version was in force for. Raises RevisionGone."""

    def enforced(self, revision: int, version: str, targets: int, since: str | None = None) -> None:
        """Notes which snapshot brought a revision into force, if none did before; ``since``: when, now."""

    def remembered(self, token: str, digest: str) -> int | None:
        """The revision that a token stands for, None for an unknown one. Raises TokenReused."""

    def listen(self, heard: Callable[[], None]) -> Callable[[], None]:
        """Calls ``heard``, in another thread, when anybody changed the targets; returns what ends that.

        Not every database can tell, and not every change is told: it spares waiting, not looking.
        """


def history_of(store: object) -> History:
    """The store itself, as far as it remembers its changes. Raises InputError."""
    if not isinstance(store, History):
        raise InputError(f"the target store {type(store).__name__} keeps no history; use a database")
    return store
