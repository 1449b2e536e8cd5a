"""The routes that take or give all targets at once, as JSON Lines."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from guard.targets import parse_jsonl
from serving.admin.access import READ, Guard, Writer
from serving.admin.bodies import Text
from serving.admin.errors import ErrorRoute
from serving.admin.orders import JSONL, LINES, takes
from serving.admin.schema import Import, fails
from serving.admin.targets import changed

_LINES: dict[int | str, dict[str, Any]] = {
    200: {"description": "one target a line", "content": {JSONL: {"schema": LINES}}}
}

routes = APIRouter(route_class=ErrorRoute)


@routes.get("/targets/export", response_class=Response, responses=_LINES, dependencies=[READ])
async def export_targets(guard: Guard) -> Response:
    """All targets as JSON Lines."""
    targets = await asyncio.to_thread(guard.store.list)
    lines = (json.dumps(target.to_json(), ensure_ascii=False) + "\n" for target in targets)
    return PlainTextResponse("".join(lines), media_type=JSONL)


@routes.post(
    "/targets/import",
    response_model=Import,
    responses=fails(400, 409, 413),
    openapi_extra=takes(LINES, JSONL, "text/plain"),
)
async def import_targets(guard: Guard, source: Writer, body: Text) -> Response:
    """Registers the targets of a JSON Lines body, all or none."""
    targets = await asyncio.to_thread(parse_jsonl, body, "body")
    change = await guard.add(*targets, origin=source.origin)
    return changed(change, source, 200, imported=len(targets))
