"""The routes of single targets and of their list."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse

from guard.errors import TargetChanged, TargetError, TargetNotFound
from guard.targets import etag
from guard.types import ForgetTarget
from serving.admin.access import READ, Guard, Source, Writer
from serving.admin.bodies import Json
from serving.admin.conditions import IfMatch, expected, tag_of
from serving.admin.errors import ErrorRoute
from serving.admin.orders import JSON, MERGE_PATCH, PATCH, REPLACEMENT, TARGET, takes
from serving.admin.schema import Removal, TargetChange, Targets, fails
from serving.live import Change
from serving.patch import patched

PAGE = 1000  # targets in one page
ATTEMPTS = 5  # to patch a target that others change at the same time
REPLAYED = "Idempotent-Replayed"

ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"
TargetId = Annotated[str, Path(pattern=ID)]
"""An id in a path."""

_TAG = {"ETag": {"schema": {"type": "string"}, "description": "content hash, for If-Match"}}

routes = APIRouter(route_class=ErrorRoute)


@routes.get("/targets", response_model=Targets, responses=fails(404), dependencies=[READ])
async def list_targets(
    guard: Guard,
    limit: Annotated[int | None, Query(ge=1, le=PAGE, description="by default all")] = None,
    after: Annotated[str | None, Query(pattern=ID, description="`next` of the page before")] = None,
) -> Response:
    """All targets or a page of them, in the order of their registration."""
    targets = await asyncio.to_thread(guard.store.list)
    start = 0 if after is None else _behind(after, targets)
    page = targets[start : start + limit] if limit else targets[start:]
    more = start + len(page) < len(targets)
    body = {"targets": [target.to_json() for target in page], "next": page[-1].id if more else None}
    return JSONResponse(body)


@routes.post(
    "/targets",
    status_code=201,
    response_model=TargetChange,
    responses={201: {"headers": _TAG}, **fails(400, 409, 413)},
    openapi_extra=takes(TARGET),
)
async def add_target(guard: Guard, source: Writer, body: Json) -> Response:
    """Registers one target; answers when it is enforced."""
    target = ForgetTarget.parse(body)
    change = await guard.add(target, origin=source.origin)
    return changed(change, source, 201, target, target=target.to_json())


@routes.get(
    "/targets/{target_id}",
    response_model=ForgetTarget,
    responses={200: {"headers": _TAG}, **fails(404)},
    dependencies=[READ],
)
async def get_target(target_id: TargetId, guard: Guard) -> Response:
    """One target, with its ETag."""
    target = await asyncio.to_thread(guard.store.get, target_id)
    return JSONResponse(target.to_json(), headers={"ETag": tag_of(target)})


@routes.put(
    "/targets/{target_id}",
    response_model=TargetChange,
    responses={200: {"headers": _TAG}, **fails(400, 404, 412, 413)},
    openapi_extra=takes(REPLACEMENT),
)
async def replace_target(
    target_id: TargetId, guard: Guard, source: Writer, body: Json, if_match: IfMatch = None
) -> Response:
    """Puts a target in place of the one with this id; answers when it is enforced."""
    target = ForgetTarget.parse({"id": target_id} | body if isinstance(body, dict) else body)
    if target.id != target_id:
        raise TargetError("field 'id' differs from the id in the path; an id cannot be changed")
    wanted = await asyncio.to_thread(expected, if_match, guard.store, target_id)
    change = await guard.replace(target, origin=source.origin, expected=wanted)
    return changed(change, source, 200, target, target=target.to_json())


@routes.patch(
    "/targets/{target_id}",
    response_model=TargetChange,
    responses={200: {"headers": _TAG}, **fails(400, 404, 412, 413)},
    openapi_extra=takes(PATCH, MERGE_PATCH, JSON),
)
async def patch_target(
    target_id: TargetId, guard: Guard, source: Writer, body: Json, if_match: IfMatch = None
) -> Response:
    """Changes the fields of a JSON merge patch (RFC 7396): null resets a field, lists are replaced whole."""
    wanted = await asyncio.to_thread(expected, if_match, guard.store, target_id)
    for attempt in range(ATTEMPTS):
        current = await asyncio.to_thread(guard.store.get, target_id)
        target = patched(current, body)
        seen = wanted or etag(current)  # always: what others changed in between must not be undone
        try:
            change = await guard.replace(target, origin=source.origin, expected=seen)
        except TargetChanged:
            if wanted is not None or attempt == ATTEMPTS - 1:
                raise
            continue
        return changed(change, source, 200, target, target=target.to_json())
    raise AssertionError


@routes.delete("/targets/{target_id}", response_model=Removal, responses=fails(404, 412, 413))
async def remove_target(
    target_id: TargetId, guard: Guard, source: Writer, if_match: IfMatch = None
) -> Response:
    """Removes one target; answers when it is no longer enforced."""
    wanted = await asyncio.to_thread(expected, if_match, guard.store, target_id)
    change = await guard.remove(target_id, origin=source.origin, expected=wanted)
    return changed(change, source, 200, id=target_id, deleted=True)


def changed(
    change: Change, source: Source, status: int, target: ForgetTarget | None = None, /, **what: Any
) -> Response:
    """The answer to a change that is enforced."""
    headers = {} if target is None else {"ETag": tag_of(target)}
    if source.replayed:
        headers[REPLAYED] = "true"
    body = what | {"snapshot": change.snapshot, "seconds": round(change.seconds, 6)}
    return JSONResponse(body, status, headers)


def _behind(target_id: str, targets: tuple[ForgetTarget, ...]) -> int:
    """Where a page begins."""
    for place, target in enumerate(targets, start=1):
        if target.id == target_id:
            return place
    raise TargetNotFound("query parameter 'after' names no registered target; begin again without it")
