"""The route that load balancers ask; it needs no key and says nothing about targets."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from guard.errors import GuardInactive
from serving.admin.errors import ErrorRoute
from serving.admin.schema import Failure, Ready
from serving.live import LiveGuard

routes = APIRouter(route_class=ErrorRoute)

_AWAY: dict[int | str, dict[str, Any]] = {
    503: {"model": Ready | Failure, "description": "Not ready; an error where the server is stopping"}
}


@routes.get("/ready", response_model=Ready, responses=_AWAY)
async def ready(request: Request) -> Response:
    """Whether targets are in force, the engine runs and the database answers."""
    parts = _parts(request.app.state)
    whole = all(parts.values())
    return JSONResponse({"ready": whole} | parts, 200 if whole else 503)


def _parts(state: Any) -> dict[str, bool]:
    guard: LiveGuard | None = getattr(state, "lethe", None)
    client = getattr(state, "engine_client", None)  # vLLM's, which knows whether its engine died
    snapshot = guard is not None and _in_force(guard)
    return {
        "engine": snapshot and not getattr(client, "errored", False),
        "snapshot": snapshot,
        "store": guard is not None and guard.store_ok,
    }


def _in_force(guard: LiveGuard) -> bool:
    try:
        return bool(guard.pipeline)
    except GuardInactive:
        return False
