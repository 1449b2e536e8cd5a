"""The routes of the ledger: what happened, whether it can be believed, and receipts."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime

from guard.errors import InputError
from serving.admin import schema
from serving.admin.access import AUDIT, Guard
from serving.admin.errors import ErrorRoute
from serving.admin.targets import ID, TargetId
from serving.audit_log import AuditLog, SqlAuditSink
from serving.live import LiveGuard
from serving.receipt import receipt
from serving.verification import verify_log

RECORDS = 1000  # in one page
WIDEST = 2**63 - 1  # an id that a database can hold


Limit = Annotated[int, Query(ge=1, le=RECORDS)]
After = Annotated[
    int | None, Query(ge=0, le=WIDEST, description="only records after this id; without it the last ones")
]
Kind = Annotated[
    str | None,
    Query(pattern=r"^[a-z]+(\.[a-z]+)?$", max_length=40, description='"request", or that of an event'),
]
Name = Annotated[str | None, Query(pattern=r"^[a-z_]{1,40}$", description="carried out on a request")]
About = Annotated[
    str | None,
    Query(
        pattern=ID,
        description="events about this target, and requests whose prompt matched it",
    ),
]
Since = Annotated[AwareDatetime | None, Query(description="first moment")]
Until = Annotated[AwareDatetime | None, Query(description="the moment after the last")]

routes = APIRouter(route_class=ErrorRoute)


@routes.get("/audit", response_model=schema.Records, dependencies=[AUDIT])
async def audit(
    guard: Guard,
    limit: Limit = 100,
    after: After = None,
    kind: Kind = None,
    action: Name = None,
    target_id: About = None,
    since: Since = None,
    until: Until = None,
) -> Response:
    """Requests and events, oldest first: the last ones, or those after an id."""
    records = await asyncio.to_thread(
        _log(guard).read,
        limit,
        after,
        kind=kind,
        action=action,
        target_id=target_id,
        since=since and since.isoformat(),
        until=until and until.isoformat(),
    )
    following = records[-1]["id"] if records else None
    return JSONResponse({"records": records, "next": following})


@routes.get("/audit/verify", response_model=schema.Verified, dependencies=[AUDIT])
async def verify(
    guard: Guard,
    head: Annotated[
        str | None,
        Query(
            pattern=r"^[0-9]{1,18}:([0-9a-f]{64})?$",
            description="where the ledger was known to end, as COUNT:HASH",
        ),
    ] = None,
) -> Response:
    """Walks over the whole ledger and tells whether anything was changed, removed, inserted or moved."""
    verification = await asyncio.to_thread(verify_log, _log(guard), guard.settings, head)
    return JSONResponse(verification.to_json())


@routes.get(
    "/targets/{target_id}/receipt",
    response_model=dict[str, Any],
    responses=schema.fails(404),
    dependencies=[AUDIT],
)
async def target_receipt(target_id: TargetId, guard: Guard) -> Response:
    """A signed certificate of what the ledger knows of a target, also of a removed one; without its text."""
    return JSONResponse(await asyncio.to_thread(receipt, target_id, _log(guard)))


def _log(guard: LiveGuard) -> AuditLog:
    if not isinstance(guard.sink, SqlAuditSink):
        raise InputError(f"the audit sink {type(guard.sink).__name__} cannot be read; use a database")
    return guard.sink.log
