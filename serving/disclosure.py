"""How a response says what the guard did: by headers, or by an error where a refusal shall be one."""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import Message, Send

from guard.types import Action
from serving.admin import error_body
from serving.exchange import Exchange
from serving.settings import Settings


class Disclosure:
    """Takes the place of the server's `send` for one response.

    A stream may start before the prompt is judged, so the response waits until it is, or until it ends
    without any prompt.
    """

    def __init__(self, send: Send, current: Exchange, settings: Settings) -> None:
        self._send = send
        self._current = current
        self._settings = settings
        self._waiting: list[Message] = []
        self._started = False
        self._replaced = False

    async def send(self, message: Message) -> None:
        """Takes one message of the application."""
        if self._replaced:
            return
        if self._started:
            await self._send(message)
            return
        self._waiting.append(message)
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        action = self._current.action
        if action is None and not last:
            return
        self._started = True
        if action is Action.REFUSE and self._settings.refusal_status == 400:
            self._replaced = True
            self._waiting = self._refusal()
        if action is not None:
            self._waiting[0] = _disclosed(self._waiting[0], self._current)
        for held in self._waiting:
            await self._send(held)

    def _refusal(self) -> list[Message]:
        """An error in place of the response."""
        body: dict[str, object] = error_body(400, "content_filter", self._settings.refusal)
        if self._current.path == "/v1/messages":
            body = {"type": "error", **body}
        response = JSONResponse(body, 400)
        start = {"type": "http.response.start", "status": 400, "headers": response.raw_headers}
        return [start, {"type": "http.response.body", "body": response.body, "more_body": False}]


def _disclosed(start: Message, current: Exchange) -> Message:
    given = {
        "x-lethe-action": current.action or "",
        "x-lethe-snapshot": current.snapshot,
        "x-lethe-request-id": current.request_id,
    }
    added = [(name.encode(), value.encode("latin-1", "replace")) for name, value in given.items()]
    return {**start, "headers": [*start.get("headers", ()), *added]}
