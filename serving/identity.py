"""Who sent a request and what they may do; the root key, which needs no database."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    """What a key may do."""

    READ = "read"  # look at targets and snapshots
    WRITE = "write"  # change them; includes reading
    AUDIT = "audit"  # read the ledger and issue receipts
    KEYS = "keys"  # manage API keys
    CONTROL = "control"  # send guard arguments with a request


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sent a request."""

    id: str
    name: str
    roles: frozenset[Role]

    def has(self, role: Role) -> bool:
        """Whether a role is held."""
        return role in self.roles or (role is Role.READ and Role.WRITE in self.roles)


class Keyring(Protocol):
    """Knows keys."""

    def identify(self, given: str) -> Identity | None:
        """Who holds a key; None when nobody does, and for garbage of any kind."""


class RootKeyring:
    """Knows the root key only."""

    def __init__(self, root: str) -> None:
        self._root = root.encode()

    def identify(self, given: str) -> Identity | None:
        """See Keyring."""
        # Header bytes reach us as latin-1 text; a key with other letters may come either way.
        for encoding in ("utf-8", "latin-1"):
            try:
                data = given.encode(encoding)
            except UnicodeEncodeError:
                continue
            if data and hmac.compare_digest(data, self._root):
                return Identity("root", "root", frozenset(Role))
        return None
