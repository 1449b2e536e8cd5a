"""API keys in the database: made, verified, listed and revoked."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from guard.audit import Event
from guard.errors import InputError, LetheError
from serving.audit_log import AuditLog
from serving.database import KeyRow, StoreError, session_on
from serving.identity import Identity, Keyring, Role, RootKeyring
from serving.moment import moment

__all__ = ["Identity", "KeyInfo", "KeyNotFound", "Keyring", "Role", "RootKeyring", "SqlKeyring"]

REMEMBERED = 0.5  # seconds that what the database said of a token is believed
TOKENS = 4096  # remembered at most
TOKEN = re.compile(r"lethe_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
NAME = 100  # characters

# A secret of 32 random bytes cannot be guessed, however fast a guess is; a dearer hash would only let
# strangers keep the server busy. 8 MiB and one pass are about 5 ms.
_HASHER = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)


class KeyNotFound(LetheError, KeyError):
    """No API key has this id."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of an API key. Times are ISO 8601, UTC."""

    id: str
    name: str
    roles: tuple[Role, ...]
    created: str
    expires: str | None
    revoked: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "id": self.id,
            "name": self.name,
            "roles": [role.value for role in self.roles],
            "created": self.created,
            "expires": self.expires,
            "revoked": self.revoked,
        }


@dataclass(frozen=True, slots=True)
class _Seen:
    """A token that was looked up: until when that counts, and the stored hash it was verified against."""

    until: float
    hash: str | None
    identity: Identity | None
    expires: datetime | None


class SqlKeyring:
    """Keys in the database beside the root key. Tokens are ``lethe_<id>_<secret>``; secrets are not kept.

    A token is verified once and remembered by its SHA-256. Whether its key still counts is looked up again
    every half second, so a revoked key stops within a second on every server. While the database is away only
    the root key is known.
    """

    def __init__(self, engine: Engine, root: str, log: AuditLog) -> None:
        self._engine = engine
        self._root = RootKeyring(root)
        self._log = log
        self._seen: dict[bytes, _Seen] = {}
        self._lock = threading.Lock()

    def identify(self, given: str) -> Identity | None:
        """See Keyring."""
        root = self._root.identify(given)
        parts = TOKEN.fullmatch(given)
        if root is not None or parts is None:
            return root
        digest = hashlib.sha256(given.encode()).digest()
        seen = self._seen.get(digest)
        if seen is None or seen.until <= time.monotonic():
            seen = self._look(parts[1], parts[2], seen)
            with self._lock:
                self._seen.pop(digest, None)
                while len(self._seen) >= TOKENS:
                    del self._seen[next(iter(self._seen))]
                self._seen[digest] = seen
        if seen.expires is not None and seen.expires <= datetime.now(UTC):
            return None
        return seen.identity

    def create(
        self, name: str, roles: Iterable[str], expires: datetime | str | None = None, actor: str = "local"
    ) -> tuple[KeyInfo, str]:
        """A new key, and its token, which is shown this once.

        Raises:
            InputError: the name, a role or the time is not usable.
            StoreError: the database failed.
        """
        now = datetime.now(UTC)
        token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        row = KeyRow(
            id=token_id,
            name=_named(name),
            roles=",".join(_roles(roles)),
            hash=_HASHER.hash(secret),
            created=now.isoformat(),
            expires=_end(expires, now),
        )
        info = _info(row)
        facts = {"key": info.id, "name": info.name, "roles": row.roles, "expires": info.expires}
        with session_on(self._engine) as session:
            session.add(row)
            session.flush()
            self._log.enter(session, Event("key.created", row.created, actor, facts=facts))
            session.commit()
        return info, f"lethe_{token_id}_{secret}"

    def keys(self) -> list[KeyInfo]:
        """All keys, the revoked and expired too, in the order of their creation. Raises StoreError."""
        with session_on(self._engine) as session:
            rows = session.exec(select(KeyRow).order_by(col(KeyRow.created), col(KeyRow.id))).all()
            return [_info(row) for row in rows]

    def revoke(self, key_id: str, actor: str = "local") -> KeyInfo:
        """Ends a key; one that is revoked already stays as it is.

        Raises:
            KeyNotFound: no key has this id.
            StoreError: the database failed.
        """
        with session_on(self._engine) as session:
            row = session.exec(select(KeyRow).where(KeyRow.id == key_id).with_for_update()).first()
            if row is None:
                raise KeyNotFound(f"no API key has the id {key_id!r}; see 'lethe keys list'")
            if row.revoked is None:
                row.revoked = datetime.now(UTC).isoformat()
                session.add(row)
                session.flush()
                facts = {"key": row.id, "name": row.name}
                self._log.enter(session, Event("key.revoked", row.revoked, actor, facts=facts))
            info = _info(row)
            session.commit()
        with self._lock:
            self._seen.clear()
        return info

    def _look(self, key_id: str, secret: str, seen: _Seen | None) -> _Seen:
        until = time.monotonic() + REMEMBERED
        known = seen.hash if seen else None
        try:
            with session_on(self._engine) as session:
                row = session.get(KeyRow, key_id)
                if row is None or row.revoked is not None:
                    return _Seen(until, None, None, None)
                session.expunge(row)
        except StoreError:
            return _Seen(until, known, None, None)
        if row.hash != known and not _verified(row.hash, secret):
            return _Seen(until, None, None, None)
        info = _info(row)
        expires = datetime.fromisoformat(info.expires) if info.expires else None
        return _Seen(until, row.hash, Identity(info.id, info.name, frozenset(info.roles)), expires)


def _verified(stored: str, secret: str) -> bool:
    try:
        return _HASHER.verify(stored, secret)
    except (Argon2Error, InvalidHashError):
        return False


def _info(row: KeyRow) -> KeyInfo:
    known = {role.value: role for role in Role}
    roles = tuple(known[name] for name in row.roles.split(",") if name in known)
    return KeyInfo(row.id, row.name, roles, row.created, row.expires, row.revoked)


def _named(name: str) -> str:
    name = name.strip()
    if not name or len(name) > NAME or not name.isprintable():
        raise InputError(f"a key's name is 1 to {NAME} printable characters, not {name[:NAME]!r}")
    return name


def _roles(given: Iterable[str]) -> list[str]:
    names = list(dict.fromkeys(given))
    unknown = [name for name in names if name not in set(Role)]
    if unknown or not names:
        what = f"unknown role {str(unknown[0])[:40]!r}" if unknown else "a key needs a role"
        raise InputError(f"{what}; roles are {', '.join(Role)}")
    return [str(name) for name in names]


def _end(expires: datetime | str | None, now: datetime) -> str | None:
    if expires is None:
        return None
    end = moment("expires", expires)
    if end <= now:
        raise InputError(f"'expires' is {end.isoformat()}, which is past; give a time to come")
    return end.isoformat()
