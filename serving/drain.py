"""How a server goes: it takes nothing new, answers what it has begun, and only then stops its engine.

vLLM's own sequence stays as it is. On a stop signal it first stops the engine client, then closes the HTTP
server, and that ends the application, which writes the audit records that are still queued. `Drain.before`
puts the wait for running requests in front of the first of these steps, while the engine is whole: a request
that is still being judged gets its answer too, and targets can still be changed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from serving.admin import PREFIX, error_body

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

STOP_SECONDS = 20.0
"""What the engine gets to end its processes before they are killed; an idle one took 7 s on two cores."""
RETRY_AFTER = 1
"""Seconds; short, because what a client should do is ask again, through the load balancer."""
RESTARTING = 1012
"""WebSocket close code: service restart."""
POLL_SECONDS = 0.02
READY = PREFIX + "/ready"

_READING = ("GET", "HEAD", "OPTIONS")
_log = logging.getLogger(__name__)


class Drain:
    """Whether this server is going, and how many requests it is still answering."""

    def __init__(self) -> None:
        self.draining = False
        self.running = 0  # changed by the event loop's thread only

    def before(self, stop: Callable[..., None]) -> Callable[..., None]:
        """The engine client's `shutdown`, made to wait for the running requests first.

        The limit is the timeout that vLLM passes to it, its ``--shutdown-timeout``.
        """

        def drained(timeout: float | None = None) -> None:
            if self.draining or _in_event_loop():
                # Stopped before, or by something that went wrong: the loop that would answer stands still.
                self.draining = True
                stop(timeout=timeout)
                return
            self.wait(timeout or 0.0)
            stop(timeout=STOP_SECONDS)

        return drained

    def wait(self, seconds: float) -> int:
        """Refuses new requests from now on; returns the number still running when it is 0 or time is up."""
        self.draining = True
        started = time.monotonic()
        _log.info("stopping: %d running requests get up to %.0f s", self.running, seconds)
        while self.running and time.monotonic() < started + seconds:
            time.sleep(POLL_SECONDS)
        left = self.running
        if left:
            _log.warning("stopping: %d requests are cut off after %.0f s", left, seconds)
        else:
            _log.info("stopping: every request was answered after %.1f s", time.monotonic() - started)
        return left


class DrainMiddleware:
    """Counts running requests; once the server is going, refuses new ones and says it is not ready."""

    def __init__(self, app: App, drain: Drain) -> None:
        self.app = app
        self.drain = drain

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """See the class; the admin routes stay open, so that a target can be registered until the end."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        reading = scope["type"] == "http" and scope["method"] in _READING
        path = _path(scope)
        closed = path == READY or not (reading or path.startswith(PREFIX + "/"))
        if self.drain.draining and closed:
            await _refuse(scope, receive, send)
        elif reading:
            await self.app(scope, receive, send)
        else:
            self.drain.running += 1
            try:
                await self.app(scope, receive, send)
            finally:
                self.drain.running -= 1


async def _refuse(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": RESTARTING})
        return
    while (await receive()).get("more_body", False):
        pass  # a client that is still sending would see a broken connection instead of the answer
    kind = "not_ready_error" if _path(scope) == READY else "service_unavailable_error"
    body = json.dumps(error_body(503, kind, "the server is stopping; send the request again")).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "retry-after": str(RETRY_AFTER),
        "connection": "close",  # so that the next attempt can reach another server
    }
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 503, "headers": pairs})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _path(scope: Message) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
