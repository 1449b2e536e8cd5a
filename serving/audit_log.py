"""The ledger in SQL: requests and events, and the sink whose thread writes the requests."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from sqlalchemy import func
from sqlalchemy.engine import Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlmodel import Session, col, or_, select

from guard.audit import AuditRecord, Event
from serving.chain import Chain, of_event, of_record
from serving.database import AuditRow, session_on
from serving.head import HEAD_FILE
from serving.ledger import Entry, Head, Signer
from serving.metrics import AUDIT_BACKLOG, AUDIT_BLOCKED, AUDIT_LOST, STORE_ERRORS
from serving.moment import moment

if TYPE_CHECKING:
    from serving.settings import Settings

PAGE = 1000  # entries read at a time

_log = logging.getLogger(__name__)


class Filters(TypedDict, total=False):
    """What to read of the ledger; everything by default.

    Attributes:
        kind: "request", or that of an event.
        action: carried out on a request.
        target_id: of events about this target, and of requests that matched it.
        since: first moment, with its time zone; text is ISO 8601.
        until: the moment after the last.
    """

    kind: str | None
    action: str | None
    target_id: str | None
    since: datetime | str | None
    until: datetime | str | None


class AuditLog:
    """The ledger's table: entries are appended and read, nothing else.

    Entries are chained under a lock, so any number of servers and commands append to one database.

    Args:
        engine: of the database.
        signer: signs the entries; without one they are chained only, and do not verify.
        head: file that follows the end of the ledger.
    """

    def __init__(self, engine: Engine, signer: Signer | None = None, head: Path | None = None) -> None:
        self.signer = signer
        self._engine = engine
        self._chain = Chain(signer, head)

    @classmethod
    def of(cls, engine: Engine, settings: Settings) -> AuditLog:
        """The ledger with the key and the head file of the settings. Raises InputError for a bad key."""
        return cls(engine, Signer.of(settings), settings.home / HEAD_FILE)

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Adds requests in one transaction."""
        entries = [of_record(record) for record in records]
        with Session(self._engine) as session:
            self._chain.extend(session, entries)
            session.commit()

    def record(self, *events: Event) -> None:
        """Adds events in one transaction. Raises StoreError."""
        with session_on(self._engine) as session:
            self.enter(session, *events)
            session.commit()

    def enter(self, session: Session, *events: Event) -> None:
        """Adds events in the transaction of a session, so that they are there exactly if it commits.

        Call it last: the end of the ledger stays locked until the transaction is over.
        """
        self._chain.extend(session, [of_event(event) for event in events])

    def read(self, limit: int, after: int | None = None, **filters: Unpack[Filters]) -> list[dict[str, Any]]:
        """Up to ``limit`` entries with id and kind, oldest first: those after ``after``, else the last.

        Raises:
            InputError: a moment is malformed.
            StoreError: the database failed.
        """
        query = select(AuditRow.id, AuditRow.kind, AuditRow.document).limit(limit)
        query = query.where(*self._conditions(filters))
        if after is None:
            query = query.order_by(col(AuditRow.id).desc())
        else:
            query = query.where(col(AuditRow.id) > after).order_by(col(AuditRow.id))
        with session_on(self._engine) as session:
            rows = sorted(session.exec(query).all())
        return [{"id": key, "kind": kind} | json.loads(document) for key, kind, document in rows]

    def entries(self, after: int | None = None) -> Iterator[Entry]:
        """All entries, or those after an id, in order, read page by page. Raises StoreError."""
        while True:
            query = select(AuditRow).order_by(col(AuditRow.id)).limit(PAGE)
            if after is not None:
                query = query.where(col(AuditRow.id) > after)
            with session_on(self._engine) as session:
                rows = [Entry(**row) for row in session.connection().execute(query).mappings()]
            yield from rows
            if len(rows) < PAGE:
                return
            after = rows[-1].id

    def head(self) -> Head:
        """Where the ledger ends; (0, "") when it is empty. Raises StoreError."""
        query = select(AuditRow.id, AuditRow.hash).order_by(col(AuditRow.id).desc()).limit(1)
        with session_on(self._engine) as session:
            last = session.exec(query).first()
        return Head(last[0] or 0, last[1]) if last else Head(0, "")

    def _conditions(self, filters: Filters) -> list[Any]:
        sqlite = self._engine.dialect.name == "sqlite"
        found: list[Any] = []
        if (kind := filters.get("kind")) is not None:
            found.append(AuditRow.kind == kind)
        if (action := filters.get("action")) is not None:
            found.append(AuditRow.action == action)
        if (target_id := filters.get("target_id")) is not None:
            # LIKE would take '_' for any character and, on SQLite, capitals for small letters.
            place = func.instr if sqlite else func.strpos
            evidence = f'"target_id": {json.dumps(target_id)}'
            found.append(or_(AuditRow.target_id == target_id, place(AuditRow.document, evidence) > 0))
        # Moments are compared as text, byte by byte.
        time = col(AuditRow.time).collate("BINARY" if sqlite else "C")
        if (since := filters.get("since")) is not None:
            found.append(time >= moment("since", since).isoformat())
        if (until := filters.get("until")) is not None:
            found.append(time < moment("until", until).isoformat())
        return found


class SqlAuditSink:
    """An AuditSink whose thread writes batches, so that no request waits for a disk.

    Records are kept and retried while the database is away; a full queue makes requests wait. Only what is
    still unwritten when `close` gives up is lost, and that is counted and logged.
    """

    def __init__(self, log: AuditLog, capacity: int = 4096, batch: int = 256) -> None:
        self.log = log
        self._batch = batch
        self._queue: queue.Queue[AuditRecord | None] = queue.Queue(capacity)
        self._give_up = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="lethe-audit", daemon=True)
        self._thread.start()

    def write(self, record: AuditRecord) -> None:
        """See AuditSink."""
        if self._closed:
            raise RuntimeError("the audit sink is closed; no request may be served any more")
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            AUDIT_BLOCKED.inc()
            self._queue.put(record)
        AUDIT_BACKLOG.set(self._queue.qsize())

    def read(self, limit: int, after: int | None = None, **filters: Unpack[Filters]) -> list[dict[str, Any]]:
        """Entries that are in the database, as `AuditLog.read`."""
        return self.log.read(limit, after, **filters)

    def flush(self) -> None:
        """Returns when everything written so far is in the database or counted as lost."""
        self._queue.join()

    def close(self, seconds: float = 10.0) -> None:
        """Writes what is left, for at most about ``seconds`` when the database is away."""
        if self._closed:
            return
        self._closed = True
        timer = threading.Timer(seconds, self._give_up.set)
        timer.daemon = True
        timer.start()
        self._queue.put(None)
        self._thread.join()
        timer.cancel()

    def _run(self) -> None:
        while True:
            items = [self._queue.get()]
            while len(items) < self._batch and items[-1] is not None:
                try:
                    items.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            records = [item for item in items if item is not None]
            if records:
                self._store(records)
            AUDIT_BACKLOG.set(self._queue.qsize())
            for _ in items:
                self._queue.task_done()
            if items[-1] is None:
                return

    def _store(self, records: Sequence[AuditRecord]) -> None:
        pause = 0.05
        while True:
            try:
                self.log.append(records)
                return
            except (OperationalError, InterfaceError) as error:
                # The database is away or locked: wait for it.
                STORE_ERRORS.inc()
                _log.warning(
                    "audit log not writable (%s), %d records wait", type(error).__name__, len(records)
                )
                if self._give_up.wait(pause):
                    self._lose(records, error)
                    return
                pause = min(2 * pause, 5.0)
            except Exception as error:
                # A record the database will never take must not keep the others out.
                STORE_ERRORS.inc()
                if len(records) == 1:
                    self._lose(records, error)
                    return
                for record in records:
                    self._store([record])
                return

    def _lose(self, records: Sequence[AuditRecord], error: Exception) -> None:
        AUDIT_LOST.inc(len(records))
        _log.error("%d audit records lost (%s)", len(records), type(error).__name__)
