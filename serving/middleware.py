"""The edge of the API server: passes only what it knows, refuses what cannot be guarded, rewrites messages.

It sits inside vLLM's own middlewares, so behind the API-key check. It is the place for what needs the JSON
body; whether a prompt is judged never depends on it, that is `serving.engine`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guard.pipeline import Mode
from serving import metrics, tracing
from serving.admin import PREFIX, error_body
from serving.auth import identity_of
from serving.disclosure import Disclosure
from serving.exchange import Exchange, exchange
from serving.identity import Role
from serving.rewriting import rewrite_body, rewrites
from serving.surfaces import Unguardable, refuse_fields, route_filter

if TYPE_CHECKING:
    from serving.live import LiveGuard

MODE = "lethe_mode"
"""Key in a request's ``vllm_xargs`` by which a client with the role `control` asks for a mode."""


class GuardMiddleware:
    """Looks at every request, and into the body of every POST that carries JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._known: Callable[[str, str], bool] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the module's docstring."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http" or not self._knows(scope):
            await _refuse_route(scope, receive, send)
        elif _carries_json(scope):
            await self._guard(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        if self._known is None:
            guard: LiveGuard = scope["app"].state.lethe
            self._known = route_filter(guard.settings.open_surfaces, PREFIX)
        return self._known(scope["method"], _path(scope))

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        if body is None:
            return  # the client left
        guard: LiveGuard = scope["app"].state.lethe
        current = Exchange(_path(scope))
        try:
            with tracing.Stage("edge"):
                body = await _prepare(body, current, guard, Headers(scope=scope))
        except Unguardable as error:
            metrics.CLOSED.labels(error.param).inc()
            refusal = JSONResponse(error_body(400, "invalid_request_error", str(error), error.param), 400)
            await refusal(scope, receive, send)
            return
        if guard.settings.disclose:
            send = Disclosure(send, current, guard.settings).send
        token = exchange.set(current)
        try:
            with tracing.Request(current.path, scope["headers"]) as span:
                await self.app(_with_length(scope, len(body)), _replay(body, receive), send)
                if current.action is not None:
                    span.note({"lethe.action": current.action.value, "lethe.snapshot": current.snapshot})
        finally:
            exchange.reset(token)


async def _prepare(raw: bytes, current: Exchange, guard: LiveGuard, headers: Headers) -> bytes:
    """The body to pass on. What is no JSON object is left to the route, which refuses it."""
    try:
        body = json.loads(raw)
    except ValueError:
        return raw
    if not isinstance(body, dict):
        return raw
    refuse_fields(body, guard.settings.open_surfaces)
    current.mode = await _mode(body.get("vllm_xargs"), guard, headers)
    mode, pipeline = current.mode or guard.settings.mode, guard.pipeline
    if mode == "observe" or not rewrites(pipeline):
        return raw
    config = guard.settings.in_context
    injected = await asyncio.to_thread(rewrite_body, body, current.path, pipeline, config)
    if injected is None:
        return raw
    current.rewritten, current.injected = True, injected.strings
    return json.dumps(body).encode()


async def _mode(arguments: Any, guard: LiveGuard, headers: Headers) -> Mode | None:
    """The mode that a client asks for, if its key has the role for it; the engine side drops the argument.

    Raises:
        Unguardable: there is no such mode.
    """
    if not isinstance(arguments, dict) or MODE not in arguments:
        return None
    identity = await asyncio.to_thread(identity_of, headers, guard.keyring)
    if identity is None or not identity.has(Role.CONTROL):
        return None
    asked: Mode = arguments[MODE]
    if asked not in get_args(Mode):
        raise Unguardable(f"vllm_xargs.{MODE} must be one of {', '.join(get_args(Mode))}", MODE)
    return asked


async def _refuse_route(scope: Scope, receive: Receive, send: Send) -> None:
    metrics.CLOSED.labels("route").inc()
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": "not available on a guarded server"})
        return
    # 404 as for a route that does not exist: which of them vLLM has is nobody's business.
    message = "this route is not available on a guarded server; its operator can open it by name"
    await JSONResponse(error_body(404, "not_found_error", message), 404)(scope, receive, send)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _carries_json(scope: Scope) -> bool:
    if scope["method"] != "POST" or _path(scope).startswith(PREFIX + "/"):
        return False
    kind: bytes = dict(scope["headers"]).get(b"content-type", b"")
    return not kind.startswith(b"multipart/")  # audio uploads: no JSON to look at


async def _read(receive: Receive) -> bytes | None:
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once and then waits for the client as before."""
    pending = [body]

    async def replayed() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replayed


def _with_length(scope: Scope, length: int) -> Scope:
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}
