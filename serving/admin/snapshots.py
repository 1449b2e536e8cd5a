"""The routes of what is in force, and of the way back to what was."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse

from guard.history import Revision
from serving.admin import schema
from serving.admin.access import READ, Guard, Writer, history_of
from serving.admin.errors import ErrorRoute
from serving.admin.targets import changed

REVISIONS = 1000  # in one answer

Version = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]

routes = APIRouter(route_class=ErrorRoute)


@routes.get("/snapshot", response_model=schema.InForce, dependencies=[READ])
async def snapshot(guard: Guard) -> Response:
    """The snapshot in force."""
    current = guard.pipeline.snapshot
    body = {"version": current.version, "targets": len(current.targets)}
    return JSONResponse(body | {"compiled_at": guard.installed.isoformat()})


@routes.get("/snapshots", response_model=schema.Revisions, dependencies=[READ])
async def snapshots(guard: Guard, limit: Annotated[int, Query(ge=1, le=REVISIONS)] = 100) -> Response:
    """The last changes of the targets, newest first, each with the snapshot that enforced it."""
    revisions = await asyncio.to_thread(history_of(guard).revisions, limit)
    return JSONResponse({"snapshots": _listed(revisions, guard.pipeline.snapshot.version)})


@routes.post(
    "/snapshots/{version}/activate",
    response_model=schema.Change,
    responses=schema.fails(404, 412, 413),
)
async def activate(version: Version, guard: Guard, source: Writer) -> Response:
    """Brings back the targets as they were under a snapshot; answers when they are enforced."""
    return changed(await guard.activate(version, source.origin), source, 200)


@routes.post("/snapshots/rollback", response_model=schema.Change, responses=schema.fails(404, 412, 413))
async def rollback(guard: Guard, source: Writer) -> Response:
    """Undoes the last change of the targets; answers when that is enforced."""
    return changed(await guard.rollback(source.origin), source, 200)


def _listed(revisions: tuple[Revision, ...], version: str) -> list[dict[str, object]]:
    """Revisions as JSON; ``active`` marks the latest that stands for the version in force."""
    active = next((r.revision for r in revisions if r.version == version), None)
    return [revision.to_json() | {"active": revision.revision == active} for revision in revisions]
