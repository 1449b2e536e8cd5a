"""The running guard: the pipeline in force, and how a change of the targets gets there without a restart.

A change travels store -> compiled snapshot on disk -> workers -> classifier. Workers come first, so that a
prompt is never judged by targets whose strings the engine does not know yet.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from guard.audit import AuditSink
from guard.classifier import Classifier
from guard.encoder import Encoder, SentenceEncoder
from guard.errors import GuardInactive, LetheError
from guard.pipeline import Pipeline
from guard.snapshot import Snapshot, compile_snapshot
from guard.targets import TargetStore
from guard.types import ForgetTarget
from serving import metrics

if TYPE_CHECKING:
    from serving.settings import Settings

Push = Callable[[str], Awaitable[object]]
"""Has every engine worker load the snapshot in this directory; returns when all enforce it, else raises."""

_log = logging.getLogger(__name__)


class NotEnforced(LetheError, RuntimeError):
    """A change is stored, but the engine does not enforce it yet; the guard keeps trying."""


@dataclass(frozen=True, slots=True)
class Change:
    """When and as what a change came into force."""

    snapshot: str  # version that contains the change
    seconds: float  # from the call to the moment it is enforced


@dataclass(frozen=True, slots=True)
class _State:
    """What is in force, and which store content it was made from."""

    pipeline: Pipeline
    revision: int
    expiry: datetime | None  # the next target to expire
    installed: datetime


class LiveGuard:
    """Keeps the pipeline and the workers at the store's targets."""

    def __init__(
        self, store: TargetStore, sink: AuditSink, settings: Settings, encoder: Encoder, push: Push
    ) -> None:
        self.store = store
        self.sink = sink
        self.settings = settings
        self.admin_key = settings.read_admin_key()
        self._encoder = encoder
        self._push = push
        self._lock = asyncio.Lock()
        self._state: _State | None = None
        self._pushed: str | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline in force; take it once per request.

        Raises:
            GuardInactive: `start` has not finished.
        """
        return self._current().pipeline

    @property
    def installed(self) -> datetime:
        """When the snapshot in force was installed."""
        return self._current().installed

    async def start(self) -> None:
        """Brings the store's targets into force and watches the store from then on."""
        await asyncio.to_thread(_warm_up, self._encoder)
        await self.refresh()
        self._task = asyncio.create_task(self._watch(), name="lethe-watch")

    async def close(self) -> None:
        """Stops watching and writes the audit records that are still queued."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        close = getattr(self.sink, "close", None)
        if close is not None:
            await asyncio.to_thread(close)

    async def add(self, *targets: ForgetTarget) -> Change:
        """Registers targets, all or none. Raises TargetExists, NotEnforced."""
        return await self._change(lambda: self.store.add(*targets))

    async def replace(self, target: ForgetTarget) -> Change:
        """Puts a target in place of the one with its id. Raises TargetNotFound, NotEnforced."""
        return await self._change(lambda: self.store.replace(target))

    async def remove(self, target_id: str) -> Change:
        """Removes a target. Raises TargetNotFound, NotEnforced."""
        return await self._change(lambda: self.store.remove(target_id))

    async def refresh(self) -> str:
        """Brings the store's targets into force and returns their version; a no-op if they are already."""
        async with self._lock:
            started = time.perf_counter()
            try:
                state, directory = await asyncio.to_thread(self._prepare)
                if directory is not None:
                    self._pushed = None
                    await self._push(str(directory))
                    self._pushed = state.pipeline.snapshot.version
            except Exception:
                metrics.REFRESH_ERRORS.inc()
                raise
            version = state.pipeline.snapshot.version
            if directory is not None:
                previous = self._state.pipeline.snapshot.version if self._state else None
                count = len(state.pipeline.snapshot.targets)
                metrics.announce(version, count, state.installed.timestamp(), previous)
                metrics.STAGE_SECONDS.labels("refresh").observe(time.perf_counter() - started)
                _log.info("snapshot %s with %d targets is in force", version, count)
            self._state = state
            return version

    async def _change(self, write: Callable[[], None]) -> Change:
        started = time.perf_counter()
        await asyncio.to_thread(write)
        try:
            version = await self.refresh()
        except Exception as error:
            raise NotEnforced(
                f"the change is stored but not enforced yet ({type(error).__name__}); the server keeps trying"
            ) from error
        return Change(version, time.perf_counter() - started)

    def _current(self) -> _State:
        if self._state is None:
            raise GuardInactive("the guard has no snapshot yet; await start() before serving")
        return self._state

    def _prepare(self) -> tuple[_State, Path | None]:
        """The state the store asks for, and the directory to push; None when that is in force already."""
        # The revision is read first: what is written in between is then compiled once more, never missed.
        revision, now = self.store.revision(), datetime.now(UTC)
        old = self._state
        if old and old.revision == revision and (old.expiry is None or now < old.expiry):
            return old, None
        targets = self.store.list()
        snapshot = compile_snapshot(targets)
        expiry = _next_expiry(snapshot.targets.values())
        # After a push that failed halfway nobody knows what the workers hold, so the same version goes again.
        if old and old.pipeline.snapshot.version == snapshot.version == self._pushed:
            return _State(old.pipeline, revision, expiry, old.installed), None
        directory = write_snapshot(snapshot, self.settings)
        pipeline = Pipeline(
            snapshot, Classifier(snapshot, self._encoder), self.settings.forms, _count_failure
        )
        return _State(pipeline, revision, expiry, now), directory

    async def _watch(self) -> None:
        """Picks up changes made in the store by others, and targets that expire."""
        while True:
            await asyncio.sleep(self._pause())
            try:
                await self.refresh()
            except Exception as error:
                # Message only of our own errors: a driver's may quote a row.
                reason = str(error) if isinstance(error, LetheError) else type(error).__name__
                _log.error("targets could not be brought into force, trying again: %s", reason)

    def _pause(self) -> float:
        expiry = self._current().expiry
        left = (expiry - datetime.now(UTC)).total_seconds() if expiry else self.settings.poll_seconds
        return min(max(left, 0.01), self.settings.poll_seconds)


def open_guard(settings: Settings, push: Push) -> LiveGuard:
    """A LiveGuard on the database and the encoder of the settings; not started yet."""
    import torch

    from serving.database import open_database
    from serving.store import AuditLog, SqlAuditSink, SqlTargetStore

    # The engine computes in another process, and a second thread mostly waits for a core that the engine has:
    # on two busy cores 14 sentences took 60 ms with one thread and 130 to 870 ms with two.
    torch.set_num_threads(1)
    database = open_database(settings.database_url)
    sink = SqlAuditSink(AuditLog(database), settings.audit_queue)
    return LiveGuard(SqlTargetStore(database), sink, settings, SentenceEncoder(settings.encoder), push)


def write_snapshot(snapshot: Snapshot, settings: Settings) -> Path:
    """The directory of the saved snapshot, which becomes the youngest; the oldest ones are deleted."""
    directory = snapshot.save(settings.snapshots)
    os.utime(directory)
    saved = (path for path in settings.snapshots.iterdir() if (path / "snapshot.json").exists())
    ages = sorted(((path.stat().st_mtime_ns, path) for path in saved), reverse=True)
    for _, path in ages[settings.snapshots_kept :]:
        shutil.rmtree(path, ignore_errors=True)
    return directory


def _warm_up(encoder: Encoder) -> None:
    """Loads the models and libraries that the first change or request would otherwise wait for."""
    snapshot = compile_snapshot([ForgetTarget(id="warm-up", name="Warm Up", always_on=True)])
    Classifier(snapshot, encoder).matches(["Is it warm?"])


def _next_expiry(targets: Iterable[ForgetTarget]) -> datetime | None:
    return min((target.expires_at for target in targets if target.expires_at is not None), default=None)


def _count_failure(error: Exception) -> None:
    metrics.DETECTOR_ERRORS.inc()
    _log.error("a detector failed (%s), the request is refused", type(error).__name__)
