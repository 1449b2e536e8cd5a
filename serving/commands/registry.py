"""Where a command finds targets and audit records: the database of the settings, or a running server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from guard.errors import InputError, LetheError
from guard.types import ForgetTarget
from serving.settings import Settings, read_settings

if TYPE_CHECKING:
    import httpx


class Registry(Protocol):
    """Targets and audit records, wherever they are kept.

    Changes return what is known of their enforcement: ``snapshot`` and ``seconds`` from a server, nothing
    from a database, whose servers notice by themselves.
    """

    def add(self, *targets: ForgetTarget) -> dict[str, Any]:
        """Registers targets, all or none."""

    def replace(self, target: ForgetTarget) -> dict[str, Any]:
        """Puts a target in place of the one with its id."""

    def remove(self, target_id: str) -> dict[str, Any]:
        """Removes a target."""

    def get(self, target_id: str) -> ForgetTarget:
        """One target."""

    def targets(self) -> tuple[ForgetTarget, ...]:
        """All targets."""

    def audit(self, limit: int, after: int | None) -> list[dict[str, Any]]:
        """Audit records, oldest first."""


class RefusedByServer(LetheError, RuntimeError):
    """A server answered a request with an error, which is the message."""


def open_registry(url: str | None, key: str | None, key_file: Path | None) -> Registry:
    """The server at ``url``, or without one the database of the settings.

    Raises:
        InputError: the key is missing or a setting is wrong.
    """
    settings = read_settings()
    if url is None:
        return LocalRegistry(settings)
    return RemoteRegistry(url, key or _read_key(settings, key_file))


class LocalRegistry:
    """The database of the settings."""

    def __init__(self, settings: Settings) -> None:
        from serving.audit_log import AuditLog
        from serving.database import open_database
        from serving.store import SqlTargetStore

        database = open_database(settings.database_url)
        self._store = SqlTargetStore(database)
        self._log = AuditLog(database)

    def add(self, *targets: ForgetTarget) -> dict[str, Any]:
        """See Registry."""
        self._store.add(*targets)
        return {}

    def replace(self, target: ForgetTarget) -> dict[str, Any]:
        """See Registry."""
        self._store.replace(target)
        return {}

    def remove(self, target_id: str) -> dict[str, Any]:
        """See Registry."""
        self._store.remove(target_id)
        return {}

    def get(self, target_id: str) -> ForgetTarget:
        """See Registry."""
        return self._store.get(target_id)

    def targets(self) -> tuple[ForgetTarget, ...]:
        """See Registry."""
        return self._store.list()

    def audit(self, limit: int, after: int | None) -> list[dict[str, Any]]:
        """See Registry."""
        return self._log.read(limit, after)


class RemoteRegistry:
    """The admin routes of a running server."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {b"Authorization": f"Bearer {key}".encode()}

    def add(self, *targets: ForgetTarget) -> dict[str, Any]:
        """See Registry."""
        lines = "".join(json.dumps(target.to_json()) + "\n" for target in targets)
        return _enforced(self._ask("POST", "/targets/import", content=lines))

    def replace(self, target: ForgetTarget) -> dict[str, Any]:
        """See Registry."""
        return _enforced(self._ask("PUT", f"/targets/{quote(target.id)}", json=target.to_json()))

    def remove(self, target_id: str) -> dict[str, Any]:
        """See Registry."""
        return _enforced(self._ask("DELETE", f"/targets/{quote(target_id, safe='')}"))

    def get(self, target_id: str) -> ForgetTarget:
        """See Registry."""
        return ForgetTarget.parse(self._ask("GET", f"/targets/{quote(target_id, safe='')}").json())

    def targets(self) -> tuple[ForgetTarget, ...]:
        """See Registry."""
        return tuple(ForgetTarget.parse(data) for data in self._ask("GET", "/targets").json()["targets"])

    def audit(self, limit: int, after: int | None) -> list[dict[str, Any]]:
        """See Registry."""
        query = {"limit": limit} if after is None else {"limit": limit, "after": after}
        records: list[dict[str, Any]] = self._ask("GET", "/audit", params=query).json()["records"]
        return records

    def _ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        import httpx

        try:
            answer = httpx.request(
                method, f"{self._url}/lethe/v1{path}", headers=self._headers, timeout=60, **arguments
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise InputError(f"{self._url} cannot be reached ({type(error).__name__})") from None
        if answer.is_error:
            raise RefusedByServer(_message(answer))
        return answer


def _enforced(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    return {"snapshot": body["snapshot"], "seconds": body["seconds"]}


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.request.url} answered {answer.status_code}; is this a lethe server?"


def _read_key(settings: Settings, key_file: Path | None) -> str:
    """The key from the file named, the settings or the server's own home, in this order; never makes one."""
    if key_file is None and settings.admin_key is not None:
        return settings.read_admin_key()
    path = key_file or settings.key_file
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = f"{path} cannot be read ({type(error).__name__})"
        raise InputError(f"no admin key: {reason}; give --key or --key-file") from None
    if not key:
        raise InputError(f"no admin key: {path} is empty; give --key or --key-file")
    return key
