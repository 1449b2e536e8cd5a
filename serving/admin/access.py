"""What the handlers of the admin routes are given: the running guard, and who asks for a change."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Header, Request

from guard.errors import InputError
from guard.history import History
from guard.targets import Origin
from serving.admin.bodies import Raw
from serving.auth import require
from serving.identity import Identity, Role
from serving.live import LiveGuard

READ = Depends(require(Role.READ))
WRITE = Depends(require(Role.WRITE))
AUDIT = Depends(require(Role.AUDIT))
KEYS = Depends(require(Role.KEYS))

Token = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,200}$",
        description="a name for this change: sent again with the same request, it changes nothing more",
    ),
]


def _running(request: Request) -> LiveGuard:
    return cast(LiveGuard, request.app.state.lethe)


Guard = Annotated[LiveGuard, Depends(_running)]
"""The running guard."""


def history_of(guard: LiveGuard) -> History:
    """The target store, as far as it remembers its changes. Raises InputError."""
    store: object = guard.store
    if not isinstance(store, History):
        raise InputError(f"the target store {type(store).__name__} keeps no history; use a database")
    return store


@dataclass(frozen=True, slots=True)
class Source:
    """Who asks for a change.

    Attributes:
        origin: as the store is told.
        replayed: the same request made this change before; now it changes nothing.
    """

    origin: Origin
    replayed: bool = False


async def _source(
    request: Request, identity: Annotated[Identity, WRITE], guard: Guard, raw: Raw, token: Token = None
) -> Source:
    """Who asks for a change, with the role for it. Raises TokenReused."""
    if token is None:
        return Source(Origin(identity.id))
    asked = f"{request.method} {request.url.path}\n".encode() + raw
    # Keys do not share their tokens: none shall learn what another one did.
    token = f"{identity.id}/{token}"
    origin = Origin(identity.id, token, hashlib.sha256(asked).hexdigest())
    known = await asyncio.to_thread(history_of(guard).remembered, token, origin.digest)
    return Source(origin, known is not None)


Writer = Annotated[Source, Depends(_source)]
"""Who changes targets."""
