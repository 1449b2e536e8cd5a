"""Compaction: recent targets are compiled into the large part, so that further changes stay cheap."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from serving import metrics
from serving.delivery import POLL_SECONDS, Delivery, write_snapshot
from serving.state import State
from serving.watch import reason

if TYPE_CHECKING:
    from serving.settings import Settings

_log = logging.getLogger(__name__)


class Compaction:
    """Goes on beside requests and changes, one at a time.

    Args:
        delivery: of the workers.
        settings: say where snapshots are kept.
        lock: held by whoever changes what is in force.
        current: the state in force.
        put: puts a state with the same targets in its place.
    """

    def __init__(
        self,
        delivery: Delivery,
        settings: Settings,
        lock: asyncio.Lock,
        current: Callable[[], State],
        put: Callable[[State], None],
    ) -> None:
        self._delivery = delivery
        self._settings = settings
        self._lock = lock
        self._current = current
        self._put = put
        self._task: asyncio.Task[None] | None = None

    def begin(self, state: State) -> None:
        """Begins with the state in force, unless one is under way."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(state), name="lethe-compact")

    async def close(self) -> None:
        """Gives up what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, begun: State) -> None:
        try:
            compacted = await asyncio.to_thread(begun.compacted)
            directory = await asyncio.to_thread(write_snapshot, compacted.snapshot, self._settings)
            async with self._lock:
                await self._delivery.prepare(directory)
            while not await self._settle(compacted, begun):
                await asyncio.sleep(POLL_SECONDS)
        except Exception as error:
            metrics.REFRESH_ERRORS.inc()
            _log.error("targets could not be compacted: %s", reason(error))

    async def _settle(self, compacted: State, begun: State) -> bool:
        """Puts a compacted state into force, or gives it up if it came too late; False: not prepared yet."""
        async with self._lock:
            current = self._current()
            if not (self._delivery.arrived(current.version) and current.cheaply_on(compacted, begun)):
                return True
            snapshot = await self._delivery.compact(current.snapshot, compacted.snapshot)
            if snapshot is not None:
                self._put(await asyncio.to_thread(current.on, snapshot, compacted))
            return snapshot is not None
