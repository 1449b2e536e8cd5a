"""Watching the target store for changes made by others, and for targets that expire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from guard.errors import LetheError
from guard.history import History
from guard.targets import TargetStore

RETRY_SECONDS = 1.0  # after a failure, if the next look would be later
CLOSE_SECONDS = 5.0  # that a refresh under way gets to end by itself

_log = logging.getLogger(__name__)


class Watch:
    """Refreshes as soon as the store tells of a change, and otherwise by polling.

    Args:
        store: what to watch.
        refresh: brings the store's targets into force; may raise.
        pause: seconds until the next look is due.
    """

    def __init__(
        self, store: TargetStore, refresh: Callable[[], Awaitable[object]], pause: Callable[[], float]
    ) -> None:
        self._store = store
        self._refresh = refresh
        self._pause = pause
        self._told = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._deafen: Callable[[], None] = _nothing

    def start(self) -> None:
        """Begins, in the running event loop."""
        loop = asyncio.get_running_loop()

        def heard() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._told.set)

        if isinstance(self._store, History):
            self._deafen = self._store.listen(heard)
        self._task = asyncio.create_task(self._run(), name="lethe-watch")

    async def close(self) -> None:
        """Ends. A refresh under way may end by itself, so that no thread is left with the database."""
        self._closing = True
        self._told.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._deafen)

    async def _run(self) -> None:
        failed = False
        while True:
            pause = min(self._pause(), RETRY_SECONDS) if failed else self._pause()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), pause)
            if self._closing:
                return
            self._told.clear()
            try:
                await self._refresh()
                failed = False
            except Exception as error:
                failed = True
                _log.error("targets could not be brought into force, trying again: %s", reason(error))


def reason(error: Exception) -> str:
    """The message of our own errors only: a driver's may quote a row."""
    return str(error) if isinstance(error, LetheError) else type(error).__name__


def _nothing() -> None:
    pass
