"""How the admin routes fail: every error as one object, whatever handlers the application has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from guard.errors import (
    GuardInactive,
    InputError,
    LetheError,
    RevisionGone,
    TargetChanged,
    TargetError,
    TargetExists,
    TargetNotFound,
    TokenReused,
)
from serving.auth import Forbidden, Unauthorized
from serving.database import StoreError
from serving.keyring import KeyNotFound
from serving.live import NotEnforced

INTERNAL = (500, "internal_error")


class NotJson(InputError):
    """The body cannot be parsed at all."""


class TooLarge(InputError):
    """The body is longer than any that makes sense."""


STATUS: dict[type[LetheError], tuple[int, str]] = {
    NotJson: (400, "invalid_request_error"),
    Unauthorized: (401, "authentication_error"),
    Forbidden: (403, "permission_error"),
    TargetNotFound: (404, "not_found_error"),
    KeyNotFound: (404, "not_found_error"),
    RevisionGone: (404, "not_found_error"),
    TargetExists: (409, "conflict_error"),
    TargetChanged: (412, "precondition_error"),
    TooLarge: (413, "too_large_error"),
    TokenReused: (422, "idempotency_error"),
    TargetError: (422, "invalid_request_error"),
    InputError: (422, "invalid_request_error"),
    StoreError: (503, "store_error"),
    NotEnforced: (503, "not_enforced_error"),
    GuardInactive: (503, "not_ready_error"),
}
"""HTTP status and error type of each of our errors and of what is derived from it; anything else is a 500."""

_PLACES = {"query": "query parameter", "path": "path parameter", "header": "header"}
_log = logging.getLogger(__name__)


def error_body(status: int, kind: str, message: str, param: str | None = None) -> dict[str, Any]:
    """An error in the form that OpenAI clients read."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


class ErrorRoute(APIRoute):
    """Answers errors as objects, and lets nobody store an answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                response = await handle(request)
            except Exception as error:
                response = _answer(error, request.url.path)
            # Targets are what somebody wants forgotten: no proxy and no browser shall keep them.
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return answer


def _answer(error: Exception, path: str) -> Response:
    if isinstance(error, LetheError):
        status, kind = next((STATUS[c] for c in type(error).__mro__ if c in STATUS), INTERNAL)
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        return JSONResponse(error_body(status, kind, str(error)), status, headers)
    if isinstance(error, RequestValidationError):
        message, param = _described(error)
        return JSONResponse(error_body(422, "invalid_request_error", message, param), 422)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # nobody reads it
    # Not left to the application: its handlers show the message, which may quote a target.
    _log.error("%s failed (%s)", path, type(error).__name__)
    status, kind = INTERNAL
    return JSONResponse(error_body(status, kind, f"internal error ({type(error).__name__})"), status)


def _described(error: RequestValidationError) -> tuple[str, str | None]:
    """What is wrong with parameters, never with what values, and the first one's name."""
    parts, names = [], []
    for item in error.errors():
        place, *name = item["loc"]
        names.append(".".join(map(str, name)))
        said = item["msg"].removeprefix("Value error, ")
        parts.append(f"{_PLACES.get(place, place)} {names[-1]!r}: {said}")
    return "; ".join(parts), names[0] if names else None
