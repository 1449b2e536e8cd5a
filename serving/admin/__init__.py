"""The admin REST API: one file per noun, below one prefix."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.routing import APIRoute

from serving.admin import audit, keys, ready, snapshots, targets, transfer, trials
from serving.admin.errors import STATUS, ErrorRoute, error_body
from serving.admin.schema import COMMON, fails

__all__ = ["PREFIX", "STATUS", "admin", "error_body", "public", "router"]

PREFIX = "/lethe/v1"


def _operation(route: APIRoute) -> str:
    return f"lethe_{route.name}"


public = APIRouter(
    prefix=PREFIX,
    route_class=ErrorRoute,
    tags=["lethe"],
    responses=fails(500),
    generate_unique_id_function=_operation,
)
public.include_router(ready.routes)

admin = APIRouter(
    prefix=PREFIX,
    route_class=ErrorRoute,
    tags=["lethe"],
    responses=COMMON,
    generate_unique_id_function=_operation,
)
# Fixed paths before those with an id in the same place.
for _part in (transfer, trials, targets, snapshots, audit, keys):
    admin.include_router(_part.routes)

router = APIRouter()
router.include_router(public)
router.include_router(admin)
