"""Where a command finds targets, records and keys: the database of the settings, or a running server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from guard.errors import InputError, LetheError
from guard.types import ForgetTarget
from serving.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RefusedByServer", "Registry", "open_registry"]


class RefusedByServer(LetheError, RuntimeError):
    """A server answered a request with an error, which is the message."""


class Registry(Protocol):
    """Targets, records and keys, wherever they are kept.

    Changes of targets return what is known of their enforcement: ``snapshot`` and ``seconds`` from a server,
    nothing from a database, whose servers notice by themselves.
    """

    def add(self, *targets: ForgetTarget) -> dict[str, Any]:
        """Registers targets, all or none."""

    def replace(self, target: ForgetTarget) -> dict[str, Any]:
        """Puts a target in place of the one with its id."""

    def patch(self, target_id: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Changes the fields of a JSON merge patch."""

    def remove(self, target_id: str) -> dict[str, Any]:
        """Removes a target."""

    def get(self, target_id: str) -> ForgetTarget:
        """One target."""

    def targets(self) -> tuple[ForgetTarget, ...]:
        """All targets."""

    def dry_run(self, targets: Sequence[ForgetTarget]) -> dict[str, Any]:
        """What targets would have done to a server's recent requests."""

    def revisions(self, limit: int) -> list[dict[str, Any]]:
        """The last changes of the targets, newest first."""

    def activate(self, version: str) -> dict[str, Any]:
        """Brings back the targets as they were under a snapshot."""

    def rollback(self) -> dict[str, Any]:
        """Undoes the last change of the targets."""

    def audit(self, limit: int, after: int | None, **filters: Any) -> list[dict[str, Any]]:
        """Entries of the ledger, oldest first."""

    def verify(self, head: str | None) -> dict[str, Any]:
        """What a walk over the whole ledger finds."""

    def receipt(self, target_id: str) -> dict[str, Any]:
        """The signed account of one target."""

    def keys(self) -> list[dict[str, Any]]:
        """All API keys, without their tokens."""

    def create_key(self, name: str, roles: Sequence[str], expires: str | None) -> dict[str, Any]:
        """A new API key with its ``token``."""

    def revoke_key(self, key_id: str) -> dict[str, Any]:
        """Ends an API key."""


def open_registry(url: str | None, key: str | None, key_file: Path | None) -> Registry:
    """The server at ``url``, or without one the database of the settings.

    Raises:
        InputError: the key is missing or a setting is wrong.
    """
    settings = read_settings()
    if url is None:
        from serving.commands.local import LocalRegistry

        return LocalRegistry(settings)
    from serving.commands.remote import RemoteRegistry

    return RemoteRegistry(url, key or _read_key(settings, key_file))


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
