"""Targets in SQL, shared by the server, the command line and other servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import func, insert, text
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, delete, select, update

from guard.audit import Event
from guard.errors import TargetChanged, TargetExists, TargetNotFound
from guard.history import Revision
from guard.targets import LOCAL, Changes, Origin, canonical, require
from guard.types import ForgetTarget
from serving import history
from serving.audit_log import AuditLog
from serving.database import CounterRow, TargetRow, session_on
from serving.history import Found, Kept
from serving.notify import CHANNEL, Listener
from serving.signer import Signer

KEPT = 100  # changes that can be undone, if not said otherwise

Plan = tuple[Mapping[str, Kept], Mapping[str, Kept | None]]
"""A change, by the ids of the targets concerned: those that are there, and what all shall be; None: gone."""

Facts = Mapping[str, str | int | float | bool | None]
"""Those of an `Event`."""


class SqlTargetStore:
    """A TargetStore with a History, in a database.

    A change is one transaction: the targets, the revision that announces it, the way back, the idempotency
    key and the entries of the ledger. So none of them is ever there without the others.

    Args:
        engine: of the database.
        log: the ledger; without one, changes are not entered anywhere.
        kept: number of changes that can be undone.
    """

    def __init__(self, engine: Engine, log: AuditLog | None = None, kept: int = KEPT) -> None:
        self._engine = engine
        self._log = log
        self._kept = kept

    def add(self, *targets: ForgetTarget, origin: Origin = LOCAL) -> int:
        """See TargetStore."""

        def plan(session: Session) -> Plan:
            taken = _rows(session, [target.id for target in targets])
            last = session.exec(select(func.max(TargetRow.position))).one() or 0
            wanted: dict[str, Kept | None] = {}
            for position, target in enumerate(targets, last + 1):
                if target.id in taken or target.id in wanted:
                    raise TargetExists(f"target {target.id!r} exists; remove it first or replace it")
                wanted[target.id] = Kept(canonical(target), position)
            return {}, wanted

        return self._change("added", origin, plan)

    def replace(self, target: ForgetTarget, origin: Origin = LOCAL, expected: str | None = None) -> int:
        """See TargetStore."""

        def plan(session: Session) -> Plan:
            found = _expected(session, target.id, expected)
            return {target.id: found}, {target.id: Kept(canonical(target), found.position)}

        return self._change("replaced", origin, plan)

    def get(self, target_id: str) -> ForgetTarget:
        """See TargetStore."""
        with session_on(self._engine) as session:
            return _target(_row(session, target_id).document)

    def remove(self, target_id: str, origin: Origin = LOCAL, expected: str | None = None) -> int:
        """See TargetStore."""

        def plan(session: Session) -> Plan:
            return {target_id: _expected(session, target_id, expected)}, {target_id: None}

        return self._change("removed", origin, plan)

    def list(self) -> tuple[ForgetTarget, ...]:
        """See TargetStore."""
        with session_on(self._engine) as session:
            documents = session.exec(select(TargetRow.document).order_by(col(TargetRow.position))).all()
        return tuple(_target(document) for document in documents)

    def revision(self) -> int:
        """See TargetStore."""
        with session_on(self._engine) as session:
            return _revision(session)

    def changes(self, since: int) -> Changes:
        """See TargetStore."""
        written = select(TargetRow.document).where(col(TargetRow.revision) > since)
        with session_on(self._engine) as session:
            # The revision is read first: what is written in between is then read once more, never missed.
            revision = _revision(session)
            ids = frozenset(session.exec(select(TargetRow.id)))
            documents = session.exec(written.order_by(col(TargetRow.position))).all()
        put = tuple(_target(document) for document in documents)
        return Changes(revision, put, ids.union(target.id for target in put))

    def restore(self, revision: int, origin: Origin = LOCAL, last: int | None = None) -> int:
        """See History."""

        def plan(session: Session) -> Plan:
            before = _revision(session) - 1
            if last is not None and before != last:
                raise TargetChanged(f"revision {before} came after revision {last}; look at it first")
            then = history.targets_of(session, revision)
            now = _rows(session, list(then))
            return now, {target_id: kept for target_id, kept in then.items() if kept != now.get(target_id)}

        return self._change("restored", origin, plan, {"back_to": revision})

    def revisions(self, limit: int) -> tuple[Revision, ...]:
        """See History."""
        with session_on(self._engine) as session:
            return history.last(session, limit)

    def revision_of(self, version: str) -> int:
        """See History."""
        with session_on(self._engine) as session:
            return history.revision_of(session, version)

    def enforced(self, revision: int, version: str, targets: int, since: str | None = None) -> None:
        """See History."""
        since = since or _now()
        with session_on(self._engine) as session:
            noted = history.enforced(session, revision, version, targets, since)
            if noted and self._log is not None:
                facts: Facts = {"revision": revision, "version": version, "targets": targets}
                self._log.enter(session, Event("snapshot.enforced", since, "server", facts=facts))
            session.commit()

    def remembered(self, token: str, digest: str) -> int | None:
        """See History."""
        with session_on(self._engine) as session:
            return history.known(session, token, digest)

    def listen(self, heard: Callable[[], None]) -> Callable[[], None]:
        """See History. PostgreSQL tells of all changes, SQLite of none."""
        dialect = self._engine.dialect
        if (dialect.name, dialect.driver) != ("postgresql", "psycopg"):
            return lambda: None
        _, arguments = dialect.create_connect_args(self._engine.url)
        return Listener(arguments, heard).close

    def _change(
        self,
        change: str,
        origin: Origin,
        plan: Callable[[Session], Plan],
        facts: Facts | None = None,
    ) -> int:
        """Makes a change, or finds that it was made before; its revision."""
        with session_on(self._engine) as session:
            # The revision is raised first, because that takes the lock on the counter (SQLite: the database):
            # writers queue up, and nobody sees a revision before the change that belongs to it.
            counter = update(CounterRow).where(col(CounterRow.name) == "revision")
            session.exec(counter.values(value=CounterRow.value + 1))
            if origin.token and (known := history.known(session, origin.token, origin.digest)) is not None:
                return known  # without a commit: the counter stays as it was
            revision, (there, wanted) = _revision(session), plan(session)
            _put(session, revision, there, wanted)
            found = {target_id: there.get(target_id) for target_id in wanted}
            history.enter(session, revision, change, origin, found, self._kept)
            if self._engine.dialect.name == "postgresql":
                session.execute(text(f"SELECT pg_notify('{CHANNEL}', '{revision}')"))
            if self._log is not None:
                # Last, because the end of the ledger stays locked from here on.
                facts = {"revision": revision, **(facts or {})}
                self._log.enter(session, *_events(change, origin, found, wanted, facts, self._log.signer))
            session.commit()
            return revision


def _events(
    change: str, origin: Origin, found: Found, wanted: Found, facts: Facts, signer: Signer | None
) -> Iterator[Event]:
    """One event per target; that going back removes what came since is called so."""
    now = _now()
    for target_id, row in wanted.items():
        told, concerned = dict(facts), row or found[target_id]
        if concerned is not None:
            target = _target(concerned.document)
            told["expires"] = target.expires_at.isoformat() if target.expires_at else None
            told["seal"] = signer.seal(canonical(target)) if signer else None
        kind = change if row else "removed"
        yield Event(f"target.{kind}", now, origin.actor, target_id, told)


def _revision(session: Session) -> int:
    return session.exec(select(CounterRow.value).where(CounterRow.name == "revision")).one()


def _row(session: Session, target_id: str) -> TargetRow:
    row = session.get(TargetRow, target_id)
    if row is None:
        raise TargetNotFound(f"no target has the id {target_id!r}")
    return row


def _expected(session: Session, target_id: str, expected: str | None) -> Kept:
    row = _row(session, target_id)
    require(_target(row.document), expected)
    return Kept(row.document, row.position)


def _rows(session: Session, ids: Sequence[str]) -> dict[str, Kept]:
    """Those of the targets that are there."""
    query = select(TargetRow.id, TargetRow.document, TargetRow.position)
    found = (session.exec(query.where(col(TargetRow.id).in_(some))) for some in history.chunks(ids))
    return {target_id: Kept(document, position) for rows in found for target_id, document, position in rows}


def _put(session: Session, revision: int, there: Collection[str], wanted: Found) -> None:
    """Makes the rows of targets what is wanted."""
    now = _now()
    for some in history.chunks([target_id for target_id, kept in wanted.items() if kept is None]):
        session.exec(delete(TargetRow).where(col(TargetRow.id).in_(some)))
    put = [
        {"id": target_id, "revision": revision, "updated": now} | kept._asdict()
        for target_id, kept in wanted.items()
        if kept is not None
    ]
    if new := [row | {"created": now} for row in put if row["id"] not in there]:
        session.execute(insert(TargetRow), new)
    if changed := [row for row in put if row["id"] in there]:
        session.execute(update(TargetRow), changed)


def _target(document: str) -> ForgetTarget:
    return ForgetTarget.parse(json.loads(document))


def _now() -> str:
    return datetime.now(UTC).isoformat()
