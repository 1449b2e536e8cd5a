"""The end of the ledger's chain in SQL: entries are linked, signed and added there, one writer at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import event, func, insert, text
from sqlmodel import Session, col, select, update

from guard.audit import AuditRecord, Event
from guard.errors import InputError
from serving.database import AuditRow, CounterRow
from serving.head import HeadFile
from serving.ledger import BEGAN, MISSING, Entry, Head, Signer, link

COUNTER = "ledger"  # the row whose lock is the lock on the end of the chain; its value counts the entries

# Two that begin at once: the second waits for the first and then adds nothing.
_BEGIN = text(
    "INSERT INTO counters (name, value) VALUES (:name, 0) ON CONFLICT (name) DO NOTHING"
).bindparams(name=COUNTER)
_COLUMNS = tuple(field.name for field in fields(Entry))
_OURS = col(CounterRow.name) == COUNTER


class End(NamedTuple):
    """The end of the chain as it was found: the id and hash to go on from."""

    entry: int
    hash: str
    before: int = 0  # entries from before the ledger, at its very beginning


class Chain:
    """Adds entries at the end, in the transactions of its callers.

    Args:
        signer: signs the entries; None: they are chained only.
        head: file that follows the end.
    """

    def __init__(self, signer: Signer | None, head: Path | None) -> None:
        self._signer = signer
        self._head = HeadFile(head) if head else None

    def extend(self, session: Session, entries: Sequence[Entry]) -> None:
        """Adds entries, whose ids and hashes are given here. The end stays locked until the commit."""
        if not entries:
            return
        end = _locked(session)
        if end.before:
            entries = [_began(end.before), *entries]
        follows = self._follows(session, end)
        rows = []
        count, previous = end.entry, end.hash
        for entry in entries:
            count += 1
            placed = self._signed(replace(entry, id=count), previous)
            previous = placed.hash
            rows.append({name: getattr(placed, name) for name in _COLUMNS})
        session.execute(insert(AuditRow), rows)
        session.execute(update(CounterRow).where(_OURS).values(value=count))
        if follows:
            self._note(session, Head(count, previous))

    def _signed(self, entry: Entry, previous: str) -> Entry:
        linked = link(previous, entry)
        if self._signer is None:
            return replace(entry, hash=linked)
        return replace(entry, hash=linked, signature=self._signer.sign(linked), signer=self._signer.id)

    def _follows(self, session: Session, end: End) -> bool:
        """Whether the head file may move on: it stays at what it knew if that is no longer in the ledger."""
        if self._head is None:
            return False
        try:
            known = self._head.read()
        except InputError as error:
            self._head.complain(str(error))
            return False
        if known is None or known == end[:2]:
            return True
        found = session.exec(select(AuditRow.hash).where(AuditRow.id == known.entry)).first()
        if found == known.hash:
            return True
        self._head.complain(
            f"the ledger does not contain its earlier head {known}: entries were removed or rewritten; "
            "see 'lethe audit verify'"
        )
        return False

    def _note(self, session: Session, head: Head) -> None:
        """Moves the head file once the session commits; a rolled back head is forgotten."""
        if COUNTER not in session.info:
            event.listen(session, "after_commit", self._committed)
            event.listen(session, "after_rollback", _rolled_back)
        session.info[COUNTER] = head

    def _committed(self, session: Session) -> None:
        head = session.info[COUNTER]
        session.info[COUNTER] = None
        if head is not None and self._head is not None:
            self._head.move(head)


def _rolled_back(session: Session) -> None:
    session.info[COUNTER] = None


def _locked(session: Session) -> End:
    """The end of the chain, locked.

    Neither the counter nor the table is trusted: whatever others removed or inserted, entries still find a
    place, and a verification tells what happened before them. Only a table without any hash begins a chain.
    """
    lock = update(CounterRow).where(_OURS).values(value=CounterRow.value).returning(col(CounterRow.value))
    value = session.execute(lock).scalar()
    if value is None:
        session.execute(_BEGIN)
        value = session.execute(lock).scalar_one()
    last = session.exec(select(AuditRow.id, AuditRow.hash).order_by(col(AuditRow.id).desc()).limit(1)).first()
    if last is None:
        return End(value, MISSING if value else "")
    found, linked = last
    count = max(value, found or 0)
    if linked and found == count:
        return End(count, linked)
    if value or session.exec(select(AuditRow.id).where(AuditRow.hash != "").limit(1)).first():
        return End(count, MISSING)
    return End(count, "", session.exec(select(func.count(col(AuditRow.id)))).one())


def _began(before: int) -> Entry:
    now = datetime.now(UTC).isoformat()
    return of_event(Event(BEGAN, now, "server", facts={"before": before}))


def of_event(event: Event) -> Entry:
    """The entry of an event, without a place yet."""
    return Entry(0, event.kind, event.target_id, "", event.time, "", "", json.dumps(event.to_json()))


def of_record(record: AuditRecord) -> Entry:
    """The entry of a request, without a place yet."""
    document = json.dumps(record.to_json())
    return Entry(0, "request", None, record.request_id, record.time, record.action, record.snapshot, document)
