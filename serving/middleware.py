"""The edge of the API server: refuses what cannot be guarded, rewrites messages, discloses what was done.

It sits inside vLLM's own middlewares, so behind the API-key check. It is the place for what needs the JSON
body; whether a request is guarded never depends on it, that is `serving.engine`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guard.errors import InputError
from guard.pipeline import Pipeline
from guard.types import Action
from serving.admin import PREFIX, error_body
from serving.check import segments_of

if TYPE_CHECKING:
    from serving.live import LiveGuard


class Unguardable(InputError):
    """The request asks for something that shows the model's unguarded probabilities."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message, param)
        self.param = param


@dataclass(slots=True)
class Exchange:
    """One HTTP request: what the edge and the engine side tell each other about it."""

    path: str
    rewritten: bool = False
    action: Action | None = None  # the strongest, where a request holds several prompts
    snapshot: str = ""
    request_id: str = ""  # of the first prompt

    def tell(self, action: Action, snapshot: str, request_id: str) -> None:
        """Notes what is done to one prompt of the request."""
        if self.action is None or action.strength > self.action.strength:
            self.action = action
        self.snapshot = snapshot
        self.request_id = self.request_id or request_id


exchange: ContextVar[Exchange | None] = ContextVar("lethe_exchange", default=None)


class GuardMiddleware:
    """Handles every POST with a JSON body, except the guard's own routes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the module's docstring."""
        if not _carries_json(scope):
            await self.app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return  # the client left
        guard: LiveGuard = scope["app"].state.lethe
        current = Exchange(scope["path"])
        try:
            body = await _prepare(body, current, guard.pipeline)
        except Unguardable as error:
            refusal = JSONResponse(error_body(400, "invalid_request_error", str(error), error.param), 400)
            await refusal(scope, receive, send)
            return
        if guard.settings.disclose:
            send = _Disclosure(send, current).send
        token = exchange.set(current)
        try:
            await self.app(_with_length(scope, len(body)), _replay(body, receive), send)
        finally:
            exchange.reset(token)


def refuse_unguardable(body: Mapping[str, Any]) -> None:
    """Passes a request that the guard can cover.

    Raises:
        Unguardable: logprobs of prompt tokens are never processed, so they spell out any text under test;
            beam search drops the arguments by which the engine knows what to forbid.
    """
    if body.get("use_beam_search"):
        raise Unguardable("beam search is not available on a guarded server", "use_beam_search")
    for name in ("prompt_logprobs", "prompt_logprob_token_ids"):
        if body.get(name) is not None:
            raise Unguardable("logprobs of the prompt are not available on a guarded server", name)
    logprobs = body.get("logprobs")
    if body.get("echo") and logprobs is not None and logprobs is not False:  # 0 asks for them, too
        raise Unguardable("echo together with logprobs is not available on a guarded server", "echo")


def rewrite_body(body: dict[str, Any], path: str, pipeline: Pipeline) -> bool:
    """Puts the in-context unlearning instruction into a conversation whose verdict is ``rewrite``.

    Bodies without a conversation stay as they are, and malformed ones too: vLLM explains what is wrong.
    """
    # Not `instructions` under Responses: that route sends them back to the client.
    name = "input" if path == "/v1/responses" else "messages"
    messages: Any = body.get(name)
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    beside = path == "/v1/messages"  # the route that keeps the system text beside the messages
    system: list[dict[str, object]] = (
        [{"role": "system", "content": body.get("system") or ""}] if beside else []
    )
    try:
        segments = segments_of([*system, *messages] if isinstance(messages, list) else messages)
    except InputError:
        return False
    verdict = pipeline.inspect(segments)
    if verdict.action is not Action.REWRITE:
        return False
    if beside:
        body["system"] = pipeline.rewrite(system, verdict)[0]["content"]
    else:
        body[name] = pipeline.rewrite(messages, verdict)
    return True


async def _prepare(raw: bytes, current: Exchange, pipeline: Pipeline) -> bytes:
    """The body to pass on. What is no JSON object is left to the route, which refuses it."""
    try:
        body = json.loads(raw)
    except ValueError:
        return raw
    if not isinstance(body, dict):
        return raw
    refuse_unguardable(body)
    if not any(target.action == "rewrite" for target in pipeline.snapshot.targets.values()):
        return raw
    current.rewritten = await asyncio.to_thread(rewrite_body, body, current.path, pipeline)
    return json.dumps(body).encode() if current.rewritten else raw


class _Disclosure:
    """Adds the guard's headers to a response.

    A stream may start before the prompt is judged, so the response waits until it is, or until it ends
    without any prompt.
    """

    def __init__(self, send: Send, current: Exchange) -> None:
        self._send = send
        self._current = current
        self._waiting: list[Message] = []
        self._started = False

    async def send(self, message: Message) -> None:
        """Takes the place of the server's `send`."""
        if self._started:
            await self._send(message)
            return
        self._waiting.append(message)
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if self._current.action is None and not last:
            return
        self._started = True
        if self._current.action is not None:
            self._waiting[0] = _disclosed(self._waiting[0], self._current)
        for held in self._waiting:
            await self._send(held)


def _disclosed(start: Message, current: Exchange) -> Message:
    given = {
        "x-lethe-action": current.action or "",
        "x-lethe-snapshot": current.snapshot,
        "x-lethe-request-id": current.request_id,
    }
    added = [(name.encode(), value.encode("latin-1", "replace")) for name, value in given.items()]
    return {**start, "headers": [*start.get("headers", ()), *added]}


def _carries_json(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST" or scope["path"].startswith(PREFIX + "/"):
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
