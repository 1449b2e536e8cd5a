"""The admin REST routes: targets, preview, check, snapshot, audit, readiness."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast, runtime_checkable

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute

from guard.errors import GuardInactive, InputError, LetheError, TargetError, TargetExists, TargetNotFound
from guard.targets import parse_jsonl
from guard.types import ForgetTarget
from serving.auth import Unauthorized, require_admin
from serving.check import CheckRow, check_row
from serving.database import StoreError
from serving.live import Change, LiveGuard, NotEnforced
from serving.preview import preview

PREFIX = "/lethe/v1"
JSONL = "application/x-ndjson"
AUDIT_LIMIT = 1000


class NotJson(InputError):
    """The body cannot be parsed at all."""


STATUS: dict[type[LetheError], tuple[int, str]] = {
    NotJson: (400, "invalid_request_error"),
    Unauthorized: (401, "authentication_error"),
    TargetNotFound: (404, "not_found_error"),
    TargetExists: (409, "conflict_error"),
    TargetError: (422, "invalid_request_error"),
    InputError: (422, "invalid_request_error"),
    StoreError: (503, "store_error"),
    NotEnforced: (503, "not_enforced_error"),
    GuardInactive: (503, "not_ready_error"),
}
"""HTTP status and error type of each of our errors; anything else is a 500."""

_log = logging.getLogger(__name__)


@runtime_checkable
class AuditReader(Protocol):
    """A sink that can also be read."""

    def read(self, limit: int, after: int | None = None) -> list[dict[str, Any]]:
        """Records with their ``id``, oldest first."""


def error_body(status: int, kind: str, message: str, param: str | None = None) -> dict[str, Any]:
    """An error in the form that OpenAI clients read."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


class ErrorRoute(APIRoute):
    """Answers our own errors as OpenAI-style objects, whatever handlers the application has."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except LetheError as error:
                status, kind = STATUS.get(type(error), (500, "internal_error"))
                headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
                return JSONResponse(error_body(status, kind, str(error)), status, headers)
            except Exception as error:
                # Not left to the application: its handlers show the message, which may quote a target.
                _log.error("%s failed (%s)", request.url.path, type(error).__name__)
                message = f"internal error ({type(error).__name__})"
                return JSONResponse(error_body(500, "internal_error", message), 500)

        return answer


# Readiness is asked for by load balancers, which hold no key; it says nothing about targets.
public = APIRouter(prefix=PREFIX, route_class=ErrorRoute, tags=["lethe"])
admin = APIRouter(
    prefix=PREFIX, route_class=ErrorRoute, tags=["lethe"], dependencies=[Depends(require_admin)]
)


@public.get("/ready")
async def ready(request: Request) -> Response:
    """200 once a snapshot is in force and the store answers, else 503."""
    _ = _guard(request).pipeline
    await asyncio.to_thread(_guard(request).store.revision)
    return JSONResponse({"ready": True})


@admin.get("/targets")
async def list_targets(request: Request) -> Response:
    """All targets, in the order of their registration."""
    targets = await asyncio.to_thread(_guard(request).store.list)
    return JSONResponse({"targets": [target.to_json() for target in targets]})


@admin.post("/targets")
async def add_target(request: Request) -> Response:
    """Registers one target; answers when it is enforced."""
    target = ForgetTarget.parse(await _json(request))
    return _changed(await _guard(request).add(target), 201, target=target.to_json())


@admin.get("/targets/export")
async def export_targets(request: Request) -> Response:
    """All targets as JSON Lines."""
    targets = await asyncio.to_thread(_guard(request).store.list)
    lines = (json.dumps(target.to_json(), ensure_ascii=False) + "\n" for target in targets)
    return PlainTextResponse("".join(lines), media_type=JSONL)


@admin.post("/targets/import")
async def import_targets(request: Request) -> Response:
    """Registers the targets of a JSON Lines body, all or none."""
    try:
        text = (await request.body()).decode("utf-8")
    except UnicodeDecodeError:
        raise NotJson("the body is not UTF-8 text") from None
    targets = parse_jsonl(text, "body")
    return _changed(await _guard(request).add(*targets), 200, imported=len(targets))


@admin.post("/targets/preview")
async def preview_target(request: Request) -> Response:
    """What a target would forbid; registers nothing."""
    return JSONResponse(preview(ForgetTarget.parse(await _json(request))))


@admin.get("/targets/{target_id}")
async def get_target(target_id: str, request: Request) -> Response:
    """One target."""
    target = await asyncio.to_thread(_guard(request).store.get, target_id)
    return JSONResponse(target.to_json())


@admin.put("/targets/{target_id}")
async def replace_target(target_id: str, request: Request) -> Response:
    """Puts a target in place of the one with this id; answers when it is enforced."""
    data = await _json(request)
    if isinstance(data, dict):
        data = {"id": target_id} | data
    target = ForgetTarget.parse(data)
    if target.id != target_id:
        raise TargetError("field 'id' differs from the id in the path; an id cannot be changed")
    return _changed(await _guard(request).replace(target), 200, target=target.to_json())


@admin.delete("/targets/{target_id}")
async def remove_target(target_id: str, request: Request) -> Response:
    """Removes one target; answers when it is no longer enforced."""
    return _changed(await _guard(request).remove(target_id), 200, id=target_id, deleted=True)


@admin.post("/check")
async def check(request: Request) -> Response:
    """The verdict on a prompt or messages, without generating."""
    row = CheckRow.parse(await _json(request))
    return JSONResponse(await asyncio.to_thread(check_row, _guard(request).pipeline, row))


@admin.get("/snapshot")
async def snapshot(request: Request) -> Response:
    """The snapshot in force."""
    guard = _guard(request)
    current = guard.pipeline.snapshot
    body = {"version": current.version, "targets": len(current.targets)}
    return JSONResponse(body | {"compiled_at": guard.installed.isoformat()})


@admin.get("/audit")
async def audit(request: Request) -> Response:
    """Audit records, oldest first: the last ones, or those after a record's id."""
    limit = _whole(request, "limit", 100)
    after = _whole(request, "after", None)
    if limit is None or not 1 <= limit <= AUDIT_LIMIT:
        raise InputError(f"query parameter 'limit' is outside 1..{AUDIT_LIMIT}")
    sink = _guard(request).sink
    if not isinstance(sink, AuditReader):
        raise InputError(f"the audit sink {type(sink).__name__} cannot be read")
    return JSONResponse({"records": await asyncio.to_thread(sink.read, limit, after)})


def _guard(request: Request) -> LiveGuard:
    return cast(LiveGuard, request.app.state.lethe)


async def _json(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError:
        raise NotJson("the body is not JSON") from None


def _changed(change: Change, status: int, **what: Any) -> Response:
    return JSONResponse(what | {"snapshot": change.snapshot, "seconds": round(change.seconds, 6)}, status)


def _whole(request: Request, name: str, default: int | None) -> int | None:
    given = request.query_params.get(name)
    if given is None:
        return default
    try:
        return int(given)
    except ValueError:
        raise InputError(f"query parameter {name!r} is {given[:20]!r}; give a whole number") from None


router = APIRouter()
router.include_router(public)
router.include_router(admin)
