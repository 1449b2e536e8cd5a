"""The database of the settings, as the commands use it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from guard.errors import InputError
from guard.targets import etag
from guard.types import ForgetTarget
from serving.audit_log import AuditLog
from serving.database import open_database
from serving.keyring import SqlKeyring
from serving.patch import patched
from serving.receipt import receipt
from serving.settings import Settings
from serving.store import SqlTargetStore
from serving.verification import verify_log


class LocalRegistry:
    """See Registry. Only what writes needs the ledger's key, so only that makes one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = open_database(settings.database_url)
        self._reader = SqlTargetStore(self._database)

    @cached_property
    def _log(self) -> AuditLog:
        return AuditLog.of(self._database, self._settings)

    @cached_property
    def _store(self) -> SqlTargetStore:
        return SqlTargetStore(self._database, self._log, self._settings.revisions_kept)

    @cached_property
    def _keyring(self) -> SqlKeyring:
        return SqlKeyring(self._database, "", self._log)  # nobody is identified here, so no root key

    def add(self, *targets: ForgetTarget) -> dict[str, Any]:
        """See Registry."""
        self._store.add(*targets)
        return {}

    def replace(self, target: ForgetTarget) -> dict[str, Any]:
        """See Registry."""
        self._store.replace(target)
        return {}

    def patch(self, target_id: str, patch: dict[str, Any]) -> dict[str, Any]:
        """See Registry."""
        current = self._store.get(target_id)
        self._store.replace(patched(current, patch), expected=etag(current))
        return {}

    def remove(self, target_id: str) -> dict[str, Any]:
        """See Registry."""
        self._store.remove(target_id)
        return {}

    def get(self, target_id: str) -> ForgetTarget:
        """See Registry."""
        return self._reader.get(target_id)

    def targets(self) -> tuple[ForgetTarget, ...]:
        """See Registry."""
        return self._reader.list()

    def dry_run(self, targets: Sequence[ForgetTarget]) -> dict[str, Any]:
        """See Registry. Raises InputError: a database has no requests."""
        raise InputError("recent requests are known to a server only; give --url, or a file with --prompts")

    def revisions(self, limit: int) -> list[dict[str, Any]]:
        """See Registry. The newest one is what servers follow."""
        revisions = self._reader.revisions(limit)
        return [r.to_json() | {"active": place == 0} for place, r in enumerate(revisions)]

    def activate(self, version: str) -> dict[str, Any]:
        """See Registry."""
        self._store.restore(self._store.revision_of(version))
        return {}

    def rollback(self) -> dict[str, Any]:
        """See Registry."""
        last = self._store.revision()
        self._store.restore(last - 1, last=last)
        return {}

    def audit(self, limit: int, after: int | None, **filters: Any) -> list[dict[str, Any]]:
        """See Registry."""
        return AuditLog(self._database).read(limit, after, **filters)

    def verify(self, head: str | None) -> dict[str, Any]:
        """See Registry."""
        return verify_log(AuditLog(self._database), self._settings, head).to_json()

    def receipt(self, target_id: str) -> dict[str, Any]:
        """See Registry."""
        return receipt(target_id, self._log)

    def keys(self) -> list[dict[str, Any]]:
        """See Registry."""
        keys = self._keyring.keys()
        return [key.to_json() for key in keys]

    def create_key(self, name: str, roles: Sequence[str], expires: str | None) -> dict[str, Any]:
        """See Registry."""
        info, token = self._keyring.create(name, roles, expires)
        return info.to_json() | {"token": token}

    def revoke_key(self, key_id: str) -> dict[str, Any]:
        """See Registry."""
        return self._keyring.revoke(key_id).to_json()
