"""Audit records in SQL, and the sink whose thread writes them."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlmodel import Session, col, select

from guard.audit import AuditRecord
from serving.database import AuditRow, session_on
from serving.metrics import AUDIT_BACKLOG, AUDIT_BLOCKED, AUDIT_LOST, STORE_ERRORS

_log = logging.getLogger(__name__)


class AuditLog:
    """The audit table: append and read, nothing else."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Adds records in one transaction."""
        rows = [
            AuditRow(
                request_id=record.request_id,
                time=record.time,
                action=record.action,
                snapshot=record.snapshot,
                document=json.dumps(record.to_json()),
            )
            for record in records
        ]
        with Session(self._engine) as session:
            session.add_all(rows)
            session.commit()

    def read(self, limit: int, after: int | None = None) -> list[dict[str, Any]]:
        """Up to ``limit`` records with their ``id``, oldest first: those after ``after``, else the last."""
        query = select(AuditRow.id, AuditRow.document).limit(limit)
        if after is None:
            query = query.order_by(col(AuditRow.id).desc())
        else:
            query = query.where(col(AuditRow.id) > after).order_by(col(AuditRow.id))
        with session_on(self._engine) as session:
            rows = session.exec(query).all()
        return [{"id": key} | json.loads(document) for key, document in sorted(rows)]


class SqlAuditSink:
    """An AuditSink whose thread writes batches, so that no request waits for a disk.

    Records are kept and retried while the database is away; a full queue makes requests wait. Only what is
    still unwritten when `close` gives up is lost, and that is counted and logged.
    """

    def __init__(self, log: AuditLog, capacity: int = 4096, batch: int = 256) -> None:
        self._log = log
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

    def read(self, limit: int, after: int | None = None) -> list[dict[str, Any]]:
        """Records that are in the database, as `AuditLog.read`."""
        return self._log.read(limit, after)

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
                self._log.append(records)
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
