"""The routes that try things out and change nothing: preview, dry run, check."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from guard.errors import TargetError
from guard.types import ForgetTarget
from serving.admin.access import READ, WRITE, Guard
from serving.admin.bodies import Json
from serving.admin.errors import ErrorRoute
from serving.admin.orders import CHECK, TARGET, TRIAL, takes
from serving.admin.schema import Checked, DryRun, Preview, fails
from serving.check import CheckRow, check_row
from serving.live import LiveGuard
from serving.preview import preview
from serving.traffic import tried

SEVERAL = 100  # targets in one dry run
_DRY_RUNS = ThreadPoolExecutor(1, "lethe-dry-run")  # one after the other: requests need the encoder too

routes = APIRouter(route_class=ErrorRoute)


@routes.post(
    "/targets/preview",
    response_model=Preview,
    responses=fails(400, 413),
    openapi_extra=takes(TARGET),
    dependencies=[READ],
)
async def preview_target(body: Json) -> Response:
    """What a target would forbid; registers nothing."""
    return JSONResponse(await asyncio.to_thread(preview, ForgetTarget.parse(body)))


# Not for readers: to try out many targets is to ask what the others' prompts said.
@routes.post(
    "/targets/dry-run",
    response_model=DryRun,
    responses=fails(400, 413),
    openapi_extra=takes(TRIAL),
    dependencies=[WRITE],
)
async def dry_run(guard: Guard, body: Json) -> Response:
    """What a target, or each of several, would have done to the recent requests; registers nothing."""
    loop = asyncio.get_running_loop()
    return JSONResponse(await loop.run_in_executor(_DRY_RUNS, _tried, guard, _candidates(body)))


@routes.post(
    "/check",
    response_model=Checked,
    responses=fails(400, 413),
    openapi_extra=takes(CHECK),
    dependencies=[READ],
)
async def check(guard: Guard, body: Json) -> Response:
    """The verdict on a prompt or messages, without generating."""
    row = CheckRow.parse(body)
    return JSONResponse(await asyncio.to_thread(check_row, guard.pipeline, row))


def _candidates(body: Any) -> list[ForgetTarget]:
    """The targets of a dry run. Raises TargetError."""
    if not (isinstance(body, dict) and set(body) == {"targets"}):
        return [ForgetTarget.parse(body)]
    given = body["targets"]
    if not isinstance(given, list) or not 1 <= len(given) <= SEVERAL:
        raise TargetError(f"field 'targets' is not a list of 1 to {SEVERAL} targets")
    return [ForgetTarget.parse(data) for data in given]


def _tried(guard: LiveGuard, targets: list[ForgetTarget]) -> dict[str, Any]:
    passages = guard.traffic.passages() if guard.traffic else ()
    return tried(targets, passages, guard.encoder, guard.pipeline)
