"""The admin routes' own key check; it does not rely on the API server's, which covers other paths."""

from __future__ import annotations

import hmac

from fastapi import Request

from guard.errors import LetheError


class Unauthorized(LetheError, PermissionError):
    """The admin key is missing or wrong."""


def require_admin(request: Request) -> None:
    """Lets a request through that carries the admin key as bearer token.

    Raises:
        Unauthorized: no key, another scheme or a wrong key.
    """
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise Unauthorized("this route needs the admin key: send 'Authorization: Bearer <key>'")
    expected: str = request.app.state.lethe.admin_key
    # Header bytes reach us as latin-1 text.
    if not hmac.compare_digest(given.strip().encode("latin-1"), expected.encode()):
        raise Unauthorized("the admin key is wrong; see LETHE_ADMIN_KEY or the key file in the server's home")
