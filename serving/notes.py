"""Noting in the store which snapshots came into force, and when."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from guard.history import History
from guard.targets import TargetStore
from serving.state import State
from serving.watch import reason

_log = logging.getLogger(__name__)


class Notes:
    """Notes of one server. They are written beside everything else; a failed one is written again later."""

    def __init__(self, store: TargetStore) -> None:
        self._history = store if isinstance(store, History) else None
        self._last: int | None = None
        self._unwritten: dict[int, tuple[str, int, str]] = {}  # by revision: version, targets, since
        self._writing: asyncio.Task[None] | None = None

    def take(self, state: State) -> None:
        """Takes the state in force, and begins to write whatever is not written yet."""
        if self._history is None:
            return
        if state.revision != self._last:
            self._last = state.revision
            since = datetime.now(UTC).isoformat()
            self._unwritten[state.revision] = (state.version, len(state.snapshot.records), since)
        if self._unwritten and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write(self._history), name="lethe-notes")

    async def close(self) -> None:
        """Returns when nothing is being written any more."""
        if self._writing is not None:
            await self._writing

    async def _write(self, history: History) -> None:
        while self._unwritten:
            revision, note = next(iter(self._unwritten.items()))
            try:
                await asyncio.to_thread(history.enforced, revision, *note)
            except Exception as error:
                _log.error("the snapshot in force could not be noted, trying again: %s", reason(error))
                return
            del self._unwritten[revision]
