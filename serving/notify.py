"""Word of changes from PostgreSQL (LISTEN and NOTIFY), so that servers need not wait for their next look."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

CHANNEL = "lethe"  # the store notifies it in the transaction of each change
NAME = "lethe-listen"  # of the connection, for whoever looks at the database's sessions
PAUSES = (0.1, 30.0)  # seconds between two attempts to connect: the first, the longest
# A connection that died in silence is noticed within a minute; until then changes are found by polling.
PATIENCE = {"connect_timeout": 5, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}

_log = logging.getLogger(__name__)


class Listener:
    """A thread that calls ``heard`` at every notification, and whenever it has connected.

    Args:
        arguments: those of `psycopg.connect`.
        heard: called in the thread; returns at once and does not raise.
    """

    def __init__(self, arguments: Mapping[str, Any], heard: Callable[[], None]) -> None:
        self._arguments = {**PATIENCE, **arguments, "application_name": NAME, "autocommit": True}
        self._heard = heard
        self._stop, self._stopped = socket.socketpair()  # the second is readable once the thread shall end
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and its connection; does nothing a second time."""
        if self._thread.is_alive():
            self._stop.send(b".")
            self._thread.join()
        self._stop.close()
        self._stopped.close()

    def _run(self) -> None:
        import psycopg

        pause, longest = PAUSES
        while True:
            try:
                with psycopg.connect(**self._arguments) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    pause = PAUSES[0]
                    self._heard()  # what was told while nobody listened
                    self._follow(connection)
                    return
            except (psycopg.Error, OSError) as error:
                kind = type(error).__name__
                _log.warning("no word of changes from the database (%s), they are polled for", kind)
            if self._stopped in _readable(self._stopped, seconds=pause):
                return
            pause = min(2 * pause, longest)

    def _follow(self, connection: Connection[Any]) -> None:
        """Passes on notifications until the thread shall end."""
        while self._stopped not in _readable(self._stopped, connection):
            if list(connection.notifies(timeout=0)):
                self._heard()


def _readable(*sources: Any, seconds: float | None = None) -> list[Any]:
    """Those of some sockets or connections that have something to read, once one has."""
    # Not select(): that knows no file numbers above 1023.
    with selectors.DefaultSelector() as selector:
        for source in sources:
            selector.register(source, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(seconds)]
