"""Who asks: API keys of requests, and the roles that routes need.

It does not rely on vLLM's own key check, which covers other paths.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from guard.errors import LetheError
from serving.identity import Identity, Keyring, Role

if TYPE_CHECKING:
    from serving.live import LiveGuard

HEADER = "x-lethe-key"
"""Carries a key beside vLLM's own, which also comes as a bearer token."""

# Their values are read by `identity_of`; these describe them in the OpenAPI document.
_BEARER = Security(HTTPBearer(auto_error=False, scheme_name="bearer", description="an API key of the guard"))
_HEADER = Security(
    APIKeyHeader(name=HEADER, auto_error=False, scheme_name="header", description="the same, beside vLLM's")
)

# Few threads, and not the event loop's own: whoever tries out keys costs one slow hash each.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="lethe-keys")


class Unauthorized(LetheError, PermissionError):
    """The key is missing or unknown."""


class Forbidden(LetheError, PermissionError):
    """The key is known, but must not do this."""


def identity_of(headers: Mapping[str, str], keyring: Keyring) -> Identity | None:
    """Who sent a request; None without a key of ours. May take the time of a slow hash.

    Args:
        headers: of the request, with lower-case names; a key under `HEADER` goes before a bearer token.
        keyring: the known keys.
    """
    given = _given(headers)
    return keyring.identify(given) if given else None


def require(role: Role) -> Callable[..., Awaitable[Identity]]:
    """A dependency that lets requests through whose key has a role, and tells who it is.

    Raises:
        Unauthorized: no key, another scheme or an unknown key.
        Forbidden: the key lacks the role.
    """

    async def identified(request: Request, _bearer: object = _BEARER, _header: object = _HEADER) -> Identity:
        if _given(request.headers) is None:
            raise Unauthorized(
                f"this route needs an API key: send 'Authorization: Bearer <key>' or {HEADER!r}"
            )
        guard: LiveGuard = request.app.state.lethe
        loop = asyncio.get_running_loop()
        identity = await loop.run_in_executor(_THREADS, identity_of, request.headers, guard.keyring)
        if identity is None:
            raise Unauthorized(
                "the API key is unknown, expired or revoked; see 'lethe keys list', LETHE_ADMIN_KEY or the "
                "key file in the server's home"
            )
        if not identity.has(role):
            raise Forbidden(f"this route needs the role {role.value!r}; key {identity.id!r} does not have it")
        return identity

    return identified


def _given(headers: Mapping[str, str]) -> str | None:
    """The key of a request, None if it has none where we look."""
    given = headers.get(HEADER)
    if given is None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
    return given.strip() or None
