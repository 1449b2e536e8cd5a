"""The routes of API keys."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from guard.errors import InputError
from serving.admin import schema
from serving.admin.access import KEYS, Guard
from serving.admin.bodies import Json
from serving.admin.errors import ErrorRoute
from serving.admin.orders import described, takes
from serving.auth import Forbidden, require
from serving.identity import Identity, Role
from serving.keyring import SqlKeyring
from serving.live import LiveGuard

KeyId = Annotated[str, Path(pattern=r"^[0-9a-f]{1,32}$")]
KeyAdmin = Annotated[Identity, Depends(require(Role.KEYS))]

routes = APIRouter(route_class=ErrorRoute)


class KeyOrder(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"\S", description="whose it is, for the record")
    roles: tuple[Role, ...] = Field(min_length=1)
    expires: AwareDatetime | None = Field(None, description="end, as ISO 8601 with time zone; null: never")

    @classmethod
    def parse(cls, data: Any) -> KeyOrder:
        """The order described by a JSON object. Raises InputError."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            items = error.errors(include_url=False)
            said = (f"field {'.'.join(map(str, i['loc'])) or 'body'!r}: {i['msg']}" for i in items)
            raise InputError("; ".join(said)) from None


@routes.get("/keys", response_model=schema.Keys, dependencies=[KEYS])
async def list_keys(guard: Guard) -> Response:
    """All API keys, the revoked and expired too, without their secrets."""
    keys = await asyncio.to_thread(_keyring(guard).keys)
    return JSONResponse({"keys": [key.to_json() for key in keys]})


@routes.post(
    "/keys",
    status_code=201,
    response_model=schema.NewKey,
    responses=schema.fails(400, 413),
    openapi_extra=takes(described(KeyOrder)),
)
async def create_key(guard: Guard, identity: KeyAdmin, body: Json) -> Response:
    """Makes a key with roles that the asking key has itself; its token is shown this once."""
    order = KeyOrder.parse(body)
    # Otherwise whoever may manage keys could do everything.
    lacking = [role.value for role in order.roles if not identity.has(role)]
    if lacking:
        raise Forbidden(
            f"key {identity.id!r} cannot give away the role {lacking[0]!r}, which it does not have"
        )
    key, token = await asyncio.to_thread(
        _keyring(guard).create, order.name, order.roles, order.expires, identity.id
    )
    return JSONResponse({"key": key.to_json(), "token": token}, 201)


@routes.delete("/keys/{key_id}", response_model=schema.Key, responses=schema.fails(404))
async def revoke_key(key_id: KeyId, guard: Guard, identity: KeyAdmin) -> Response:
    """Ends a key: within a second no server takes it any more."""
    key = await asyncio.to_thread(_keyring(guard).revoke, key_id, identity.id)
    return JSONResponse(key.to_json())


def _keyring(guard: LiveGuard) -> SqlKeyring:
    if not isinstance(guard.keyring, SqlKeyring):
        raise InputError(
            f"the keyring {type(guard.keyring).__name__} holds no keys of its own; use a database"
        )
    return guard.keyring
