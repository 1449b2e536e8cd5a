"""How targets reach the workers: a small edit as it is, a whole snapshot by a directory on disk."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guard.errors import GuardInactive
from guard.snapshot import Snapshot
from serving.edits import Edit
from serving.workers import Workers

if TYPE_CHECKING:
    from serving.settings import Settings

POLL_SECONDS = 0.02

_log = logging.getLogger(__name__)


class Delivery:
    """Has the workers enforce snapshots, and knows which one they hold. Takes one call at a time."""

    def __init__(self, workers: Workers, settings: Settings) -> None:
        self._workers = workers
        self._settings = settings
        self._held: str | None = None  # None while nobody knows: after a call that failed halfway

    def arrived(self, version: str) -> bool:
        """True if all workers enforce a version."""
        return self._held == version

    async def push(self, snapshot: Snapshot, edit: Edit | None) -> Snapshot:
        """Has the workers enforce a snapshot; returns it as they hold it.

        Args:
            snapshot: what to enforce.
            edit: the way there from what they hold; None sends the whole snapshot.

        Raises:
            GuardInactive: a worker enforces another version afterwards.
        """
        self._held = None
        if edit is not None:
            if _agree(await self._workers.change(edit.put, edit.removed), snapshot.version):
                self._held = snapshot.version
                return snapshot
            _log.warning("the workers did not follow a change, so they load the whole snapshot")
        if snapshot.recent_ids:
            snapshot = await asyncio.to_thread(snapshot.compacted)
        await self.prepare(await asyncio.to_thread(write_snapshot, snapshot, self._settings))
        while not await self._workers.prepared():
            await asyncio.sleep(POLL_SECONDS)
        self._require(await self._workers.install(compacting=False), snapshot)
        return snapshot

    async def prepare(self, directory: Path) -> None:
        """Has the workers prepare a saved snapshot while they decode."""
        await self._workers.prepare(str(directory))

    async def compact(self, current: Snapshot, compacted: Snapshot) -> Snapshot | None:
        """The snapshot in force, made of a compacted one that was prepared; None while it is not prepared.

        Raises:
            GuardInactive: a worker enforces another version afterwards.
        """
        if not await self._workers.prepared():
            return None
        snapshot = await asyncio.to_thread(current.on, compacted)
        self._held = None
        self._require(await self._workers.install(compacting=True), snapshot)
        return snapshot

    def _require(self, versions: Sequence[str], snapshot: Snapshot) -> None:
        if not _agree(versions, snapshot.version):
            given = list(versions)
            raise GuardInactive(
                f"the engine's workers enforce {given} instead of snapshot {snapshot.version}"
            )
        self._held = snapshot.version


def write_snapshot(snapshot: Snapshot, settings: Settings) -> Path:
    """The directory of the saved snapshot, which becomes the youngest; the oldest ones are deleted."""
    directory = snapshot.save(settings.snapshots)
    os.utime(directory)
    saved = (path for path in settings.snapshots.iterdir() if (path / "snapshot.json").exists())
    ages = sorted(((path.stat().st_mtime_ns, path) for path in saved), reverse=True)
    for _, path in ages[settings.snapshots_kept :]:
        shutil.rmtree(path, ignore_errors=True)
    return directory


def _agree(versions: Sequence[str], version: str) -> bool:
    """True if a version is in force wherever anything is: pipeline stages before the last answer ""."""
    return {*versions} - {""} == {version}
