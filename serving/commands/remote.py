"""The admin routes of a running server, as the commands use them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from guard.errors import InputError
from guard.types import ForgetTarget
from serving.commands.registry import RefusedByServer

if TYPE_CHECKING:
    import httpx

SECONDS = 60
WALK_SECONDS = 3600  # a verification reads the whole ledger, about 8,000 entries a second


class RemoteRegistry:
    """See Registry."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {b"Authorization": f"Bearer {key}".encode()}

    def add(self, *targets: ForgetTarget) -> dict[str, Any]:
        """See Registry."""
        lines = "".join(json.dumps(target.to_json()) + "\n" for target in targets)
        return _enforced(self._ask("POST", "/targets/import", content=lines))

    def replace(self, target: ForgetTarget) -> dict[str, Any]:
        """See Registry."""
        return _enforced(self._ask("PUT", f"/targets/{_part(target.id)}", json=target.to_json()))

    def patch(self, target_id: str, patch: dict[str, Any]) -> dict[str, Any]:
        """See Registry."""
        return _enforced(self._ask("PATCH", f"/targets/{_part(target_id)}", json=patch))

    def remove(self, target_id: str) -> dict[str, Any]:
        """See Registry."""
        return _enforced(self._ask("DELETE", f"/targets/{_part(target_id)}"))

    def get(self, target_id: str) -> ForgetTarget:
        """See Registry."""
        return ForgetTarget.parse(self._ask("GET", f"/targets/{_part(target_id)}").json())

    def targets(self) -> tuple[ForgetTarget, ...]:
        """See Registry."""
        return tuple(ForgetTarget.parse(data) for data in self._ask("GET", "/targets").json()["targets"])

    def dry_run(self, targets: Sequence[ForgetTarget]) -> dict[str, Any]:
        """See Registry."""
        candidates = [target.to_json() for target in targets]
        return _object(self._ask("POST", "/targets/dry-run", json={"targets": candidates}))

    def revisions(self, limit: int) -> list[dict[str, Any]]:
        """See Registry."""
        answer = self._ask("GET", "/snapshots", params={"limit": limit})
        revisions: list[dict[str, Any]] = answer.json()["snapshots"]
        return revisions

    def activate(self, version: str) -> dict[str, Any]:
        """See Registry."""
        return _enforced(self._ask("POST", f"/snapshots/{_part(version)}/activate"))

    def rollback(self) -> dict[str, Any]:
        """See Registry."""
        return _enforced(self._ask("POST", "/snapshots/rollback"))

    def audit(self, limit: int, after: int | None, **filters: Any) -> list[dict[str, Any]]:
        """See Registry."""
        given = {"limit": limit, "after": after} | filters
        query = {name: value for name, value in given.items() if value is not None}
        records: list[dict[str, Any]] = self._ask("GET", "/audit", params=query).json()["records"]
        return records

    def verify(self, head: str | None) -> dict[str, Any]:
        """See Registry."""
        query = {} if head is None else {"head": head}
        return _object(self._ask("GET", "/audit/verify", params=query, timeout=WALK_SECONDS))

    def receipt(self, target_id: str) -> dict[str, Any]:
        """See Registry."""
        return _object(self._ask("GET", f"/targets/{_part(target_id)}/receipt"))

    def keys(self) -> list[dict[str, Any]]:
        """See Registry."""
        keys: list[dict[str, Any]] = self._ask("GET", "/keys").json()["keys"]
        return keys

    def create_key(self, name: str, roles: Sequence[str], expires: str | None) -> dict[str, Any]:
        """See Registry."""
        made = self._ask(
            "POST", "/keys", json={"name": name, "roles": list(roles), "expires": expires}
        ).json()
        return {**made["key"], "token": made["token"]}

    def revoke_key(self, key_id: str) -> dict[str, Any]:
        """See Registry."""
        return _object(self._ask("DELETE", f"/keys/{_part(key_id)}"))

    def _ask(self, method: str, path: str, timeout: float = SECONDS, **arguments: Any) -> httpx.Response:
        import httpx

        try:
            answer = httpx.request(
                method, f"{self._url}/lethe/v1{path}", headers=self._headers, timeout=timeout, **arguments
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise InputError(f"{self._url} cannot be reached ({type(error).__name__})") from None
        if answer.is_error:
            raise RefusedByServer(_message(answer))
        return answer


def _part(text: str) -> str:
    """One part of a path."""
    return quote(text, safe="")


def _object(answer: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    return body


def _enforced(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    return {"snapshot": body["snapshot"], "seconds": body["seconds"]}


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.request.url} answered {answer.status_code}; is this a lethe server?"
