"""Targets in SQL, shared by the server, the command line and other servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import func
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, delete, select, update

from guard.errors import TargetExists, TargetNotFound
from guard.targets import Changes
from guard.types import ForgetTarget
from serving.database import CounterRow, TargetRow, session_on


class SqlTargetStore:
    """A TargetStore in a database. Every change and the revision that announces it are one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, *targets: ForgetTarget) -> int:
        """See TargetStore."""
        with self._change() as (session, revision):
            ids = [target.id for target in targets]
            taken = set(session.exec(select(TargetRow.id).where(col(TargetRow.id).in_(ids))))
            position = session.exec(select(func.max(TargetRow.position))).one() or 0
            now = _now()
            for target in targets:
                if target.id in taken:
                    raise TargetExists(f"target {target.id!r} exists; remove it first or replace it")
                taken.add(target.id)
                position += 1
                session.add(
                    TargetRow(
                        id=target.id,
                        document=_document(target),
                        position=position,
                        revision=revision,
                        created=now,
                        updated=now,
                    )
                )
            return revision

    def replace(self, target: ForgetTarget) -> int:
        """See TargetStore."""
        with self._change() as (session, revision):
            row = _row(session, target.id)
            row.document, row.revision, row.updated = _document(target), revision, _now()
            session.add(row)
            return revision

    def get(self, target_id: str) -> ForgetTarget:
        """See TargetStore."""
        with session_on(self._engine) as session:
            return _target(_row(session, target_id).document)

    def remove(self, target_id: str) -> int:
        """See TargetStore."""
        with self._change() as (session, revision):
            _row(session, target_id)
            session.exec(delete(TargetRow).where(col(TargetRow.id) == target_id))
            return revision

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

    @contextmanager
    def _change(self) -> Iterator[tuple[Session, int]]:
        """A transaction that raises the revision first.

        First, because it takes the lock on the counter (SQLite: the database), so writers queue up and
        nobody sees a revision before the change that belongs to it.
        """
        with session_on(self._engine) as session:
            counter = update(CounterRow).where(col(CounterRow.name) == "revision")
            session.exec(counter.values(value=CounterRow.value + 1))
            yield session, _revision(session)
            session.commit()


def _revision(session: Session) -> int:
    return session.exec(select(CounterRow.value).where(CounterRow.name == "revision")).one()


def _row(session: Session, target_id: str) -> TargetRow:
    row = session.get(TargetRow, target_id)
    if row is None:
        raise TargetNotFound(f"no target has the id {target_id!r}")
    return row


def _document(target: ForgetTarget) -> str:
    return json.dumps(target.to_json())


def _target(document: str) -> ForgetTarget:
    return ForgetTarget.parse(json.loads(document))


def _now() -> str:
    return datetime.now(UTC).isoformat()
