"""The engine's workers as the live guard sees them: what it asks of them, and over what they are asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from guard.snapshot import Record

Rpc = Callable[..., Awaitable[Sequence[Any]]]
"""vLLM's ``collective_rpc``: calls a method of every worker, between two steps, and returns their answers."""


class Workers(Protocol):
    """All worker processes of an engine. Versions have one entry a worker, "" where nothing is enforced."""

    async def prepare(self, directory: str) -> None:
        """Starts to load and compile the saved snapshot beside decoding, in place of an earlier one."""

    async def prepared(self) -> bool:
        """True when all are done. Raises if one of them failed."""

    async def install(self, compacting: bool) -> Sequence[str]:
        """Enforces the prepared snapshot; the versions then in force.

        Args:
            compacting: it only compiles older targets anew; changes since then stay.
        """

    async def change(self, put: Mapping[str, Record], removed: Collection[str]) -> Sequence[str]:
        """Enforces a small change; the versions then in force."""


class EngineWorkers:
    """The workers of a running engine (`serving.worker`)."""

    def __init__(self, rpc: Rpc) -> None:
        """Takes the engine client's ``collective_rpc``."""
        self._rpc = rpc

    async def prepare(self, directory: str) -> None:
        """See Workers."""
        await self._rpc("lethe_prepare", args=(directory,))

    async def prepared(self) -> bool:
        """See Workers."""
        return all(await self._rpc("lethe_prepared"))

    async def install(self, compacting: bool) -> Sequence[str]:
        """See Workers."""
        return await self._rpc("lethe_install", args=(compacting,))

    async def change(self, put: Mapping[str, Record], removed: Collection[str]) -> Sequence[str]:
        """See Workers."""
        rows = [[target_id, record.line, record.soft] for target_id, record in put.items()]
        return await self._rpc("lethe_change", args=(rows, list(removed)))
