"""The history of the targets in SQL: revisions, the way back to each, and idempotency keys.

A revision can be gone back to while its row is there: then all later changes can still be undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import insert
from sqlmodel import Session, col, delete, select, update

from guard.errors import RevisionGone
from guard.history import Revision
from guard.targets import Origin, same_request
from serving.database import RevisionRow, TokenRow, UndoRow

REMEMBERED = timedelta(days=1)  # how long an idempotency key stands for its change
CHUNK = 5000  # values of one IN (...): databases take at most some 30,000


class Kept(NamedTuple):
    """A target as its row keeps it."""

    document: str
    position: int


Found = Mapping[str, Kept | None]
"""Targets by id; None: not there."""


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids in portions that a query takes."""
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))


def enter(session: Session, revision: int, change: str, origin: Origin, found: Found, kept: int) -> None:
    """Adds a change to the history, and drops what is too old.

    Args:
        session: with the transaction of the change.
        revision: its number.
        change: what it did, as in `Revision`.
        origin: where it came from.
        found: the targets concerned as they were before.
        kept: number of changes that can be undone.
    """
    now = datetime.now(UTC)
    session.add(
        RevisionRow(
            revision=revision, time=now.isoformat(), actor=origin.actor, change=change, count=len(found)
        )
    )
    undo = [
        {"revision": revision, "target_id": target_id, "document": document, "position": position}
        for target_id, (document, position) in ((i, row or (None, None)) for i, row in found.items())
    ]
    if undo:
        session.execute(insert(UndoRow), undo)
    if origin.token:
        token = TokenRow(token=origin.token, digest=origin.digest, revision=revision, created=now.isoformat())
        session.add(token)
        session.exec(delete(TokenRow).where(col(TokenRow.created) < (now - REMEMBERED).isoformat()))
    if revision > kept:
        session.exec(delete(RevisionRow).where(col(RevisionRow.revision) < revision - kept))
        session.exec(delete(UndoRow).where(col(UndoRow.revision) <= revision - kept))


def known(session: Session, token: str, digest: str) -> int | None:
    """The revision a token stands for, None for an unknown one. Raises TokenReused."""
    row = session.get(TokenRow, token)
    if row is None:
        return None
    same_request(row.digest, digest)
    return row.revision


def targets_of(session: Session, revision: int) -> Found:
    """The targets that were changed after a revision, as they were then.

    Raises:
        RevisionGone: the revision is unknown or too old.
    """
    if session.get(RevisionRow, revision) is None:
        raise RevisionGone(f"there is no revision {revision} to go back to: it is unknown or too old")
    # Of several changes of one target the first counts, so it comes last.
    query = select(UndoRow).where(col(UndoRow.revision) > revision).order_by(col(UndoRow.revision).desc())
    found: dict[str, Kept | None] = {}
    for row in session.exec(query):
        if row.document is None or row.position is None:
            found[row.target_id] = None
        else:
            found[row.target_id] = Kept(row.document, row.position)
    return found


def last(session: Session, limit: int) -> tuple[Revision, ...]:
    """The last revisions, newest first."""
    rows = session.exec(select(RevisionRow).order_by(col(RevisionRow.revision).desc()).limit(limit))
    return tuple(Revision(**row.model_dump()) for row in rows)


def revision_of(session: Session, version: str) -> int:
    """The last revision that a snapshot version was in force for. Raises RevisionGone."""
    query = select(RevisionRow.revision).where(RevisionRow.version == version)
    found = session.exec(query.order_by(col(RevisionRow.revision).desc()).limit(1)).first()
    if found is None:
        raise RevisionGone(f"no revision that can be gone back to was in force as snapshot {version!r}")
    return found


def enforced(session: Session, revision: int, version: str, targets: int, since: str) -> bool:
    """Notes the snapshot that enforces a revision; False if another one is noted, or the revision is gone."""
    open_ = (col(RevisionRow.revision) == revision) & col(RevisionRow.version).is_(None)
    noted = update(RevisionRow).where(open_).values(version=version, targets=targets, enforced=since)
    return session.execute(noted.returning(col(RevisionRow.revision))).first() is not None
