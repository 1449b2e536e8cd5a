"""The running guard: the pipeline in force, and how a change of the targets gets there without a restart.

A change travels store -> workers -> classifier. Workers come before the classifier, so that a prompt is never
judged by targets whose strings the engine does not know yet. A small change goes to the workers as it is. The
whole set goes there by a compiled snapshot on disk: at the start, after a failure, and when much changes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import TYPE_CHECKING

from guard.audit import AuditSink
from guard.classifier import Classifier
from guard.encoder import Encoder
from guard.errors import GuardInactive, LetheError
from guard.pipeline import Pipeline
from guard.snapshot import Soften, compile_snapshot
from guard.targets import TargetStore
from guard.types import ForgetTarget
from serving import metrics
from serving.delivery import POLL_SECONDS, Delivery, write_snapshot
from serving.edits import Edit
from serving.state import State, Step
from serving.workers import Workers

if TYPE_CHECKING:
    from serving.settings import Settings

RECENT = 256  # targets that came since the last compaction, from which on the next one begins
FORESEEN = 64  # targets of one change up to which their encoding is worth a thread of its own

_log = logging.getLogger(__name__)


class NotEnforced(LetheError, RuntimeError):
    """A change is stored, but the engine does not enforce it yet; the guard keeps trying."""


@dataclass(frozen=True, slots=True)
class Change:
    """When and as what a change came into force."""

    snapshot: str  # version that contains the change
    seconds: float  # from the call to the moment it is enforced


class LiveGuard:
    """Keeps the pipeline and the workers at the store's targets."""

    def __init__(
        self,
        store: TargetStore,
        sink: AuditSink,
        settings: Settings,
        encoder: Encoder,
        workers: Workers,
        soften: Soften | None = None,
    ) -> None:
        self.store = store
        self.sink = sink
        self.settings = settings
        self.admin_key = settings.read_admin_key()
        self._encoder = encoder
        self._delivery = Delivery(workers, settings)
        self._soften = soften
        self._lock = asyncio.Lock()
        self._state: State | None = None
        self._edits: dict[int, Edit] = {}  # own changes that are not in force yet, by the store's revision
        self._watching: asyncio.Task[None] | None = None
        self._compacting: asyncio.Task[None] | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline in force; take it once per request.

        Raises:
            GuardInactive: `start` has not finished.
        """
        return self._current().pipeline

    @property
    def installed(self) -> datetime:
        """When the targets in force were brought there."""
        return self._current().made

    async def start(self) -> None:
        """Brings the store's targets into force and watches the store from then on."""
        await asyncio.to_thread(_warm_up, self._encoder)
        await self.refresh()
        self._watching = asyncio.create_task(self._watch(), name="lethe-watch")

    async def close(self) -> None:
        """Stops watching and writes the audit records that are still queued."""
        tasks = [task for task in (self._watching, self._compacting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        close = getattr(self.sink, "close", None)
        if close is not None:
            await asyncio.to_thread(close)

    async def add(self, *targets: ForgetTarget) -> Change:
        """Registers targets, all or none. Raises TargetExists, InputError, NotEnforced."""
        return await self._change(lambda: self.store.add(*targets), put=targets)

    async def replace(self, target: ForgetTarget) -> Change:
        """Puts a target in place of the one with its id. Raises TargetNotFound, InputError, NotEnforced."""
        return await self._change(lambda: self.store.replace(target), put=[target])

    async def remove(self, target_id: str) -> Change:
        """Removes a target. Raises TargetNotFound, NotEnforced."""
        return await self._change(lambda: self.store.remove(target_id), removed=[target_id])

    async def refresh(self) -> str:
        """Brings the store's targets into force and returns their version; a no-op if they are already."""
        async with self._lock:
            started, old = time.perf_counter(), self._state
            try:
                step = await asyncio.to_thread(self._next)
                state = await self._take(step)
            except Exception:
                metrics.REFRESH_ERRORS.inc()
                raise
            self._state = state
            self._edits = {r: edit for r, edit in self._edits.items() if r > state.revision}
            if step.pushes:
                count = len(state.snapshot.records)
                metrics.announce(state.version, count, state.made.timestamp(), old.version if old else None)
                metrics.STAGE_SECONDS.labels("refresh").observe(time.perf_counter() - started)
                _log.info("snapshot %s with %d targets is in force", state.version, count)
            if state.recent > RECENT and (self._compacting is None or self._compacting.done()):
                self._compacting = asyncio.create_task(self._compact(state), name="lethe-compact")
            return state.version

    async def _change(
        self, write: Callable[[], int], put: Sequence[ForgetTarget] = (), removed: Sequence[str] = ()
    ) -> Change:
        started = time.perf_counter()
        # Encoding takes longest, so it goes on beside everything else; the classifier comes last anyway.
        asyncio.get_running_loop().run_in_executor(None, self._foresee, put)
        revision, edit = await asyncio.to_thread(self._store, write, put, removed)
        self._edits[revision] = edit
        try:
            version = await self.refresh()
        except Exception as error:
            raise NotEnforced(
                f"the change is stored but not enforced yet ({type(error).__name__}); the server keeps trying"
            ) from error
        return Change(version, time.perf_counter() - started)

    def _foresee(self, put: Sequence[ForgetTarget]) -> None:
        if self._state is not None and len(put) <= FORESEEN:
            with suppress(Exception):  # the classifier will meet it again, and tell
                self._state.pipeline.classifier.foresee(put)

    def _store(
        self, write: Callable[[], int], put: Iterable[ForgetTarget], removed: Iterable[str]
    ) -> tuple[int, Edit]:
        edit = Edit.of(put, removed, self._soften)  # first: a target that cannot be enforced is not stored
        return write(), edit

    def _current(self) -> State:
        if self._state is None:
            raise GuardInactive("the guard has no snapshot yet; await start() before serving")
        return self._state

    def _next(self) -> Step:
        """The way to what the store asks for."""
        # The revision is read first: what is written in between is then read once more, never missed.
        revision, now, old = self.store.revision(), datetime.now(UTC), self._state
        if old is None or not self._delivery.arrived(old.version):
            # After a push that failed halfway nobody knows what the workers hold.
            return Step(compile_snapshot(self.store.list(), self._soften), revision)
        own = [self._edits[r] for r in range(old.revision + 1, revision + 1) if r in self._edits]
        if len(own) == revision - old.revision:
            edit = reduce(Edit.then, own, Edit())
        else:
            changes = self.store.changes(old.revision)
            revision, gone = changes.revision, old.snapshot.records.keys() - changes.ids
            edit = Edit.of(changes.put, gone, self._soften)
        return old.step(old.due(edit, now), revision)

    async def _take(self, step: Step) -> State:
        """The state that a step leads to; the workers enforce it, nobody else knows it yet."""
        old, snapshot = self._state, step.snapshot
        if step.pushes:
            snapshot = await self._delivery.push(snapshot, None if step.whole else step.edit)
        if old is None:
            return await asyncio.to_thread(
                State.of, snapshot, step.revision, self._encoder, self.settings.forms
            )
        return await asyncio.to_thread(old.moved, snapshot, step)

    async def _compact(self, begun: State) -> None:
        """Compiles recent targets into the large part, while requests and further changes go on."""
        try:
            compacted = await asyncio.to_thread(begun.compacted)
            directory = await asyncio.to_thread(write_snapshot, compacted.snapshot, self.settings)
            async with self._lock:
                await self._delivery.prepare(directory)
            while not await self._settle(compacted, begun):
                await asyncio.sleep(POLL_SECONDS)
        except Exception as error:
            metrics.REFRESH_ERRORS.inc()
            _log.error("targets could not be compacted: %s", _reason(error))

    async def _settle(self, compacted: State, begun: State) -> bool:
        """Puts a compacted state into force, or gives it up if it came too late; False: not prepared yet."""
        async with self._lock:
            current = self._current()
            if not (self._delivery.arrived(current.version) and current.cheaply_on(compacted, begun)):
                return True
            snapshot = await self._delivery.compact(current.snapshot, compacted.snapshot)
            if snapshot is not None:
                self._state = await asyncio.to_thread(current.on, snapshot, compacted)
            return snapshot is not None

    async def _watch(self) -> None:
        """Picks up changes made in the store by others, and targets that expire."""
        while True:
            await asyncio.sleep(self._pause())
            try:
                await self.refresh()
            except Exception as error:
                _log.error("targets could not be brought into force, trying again: %s", _reason(error))

    def _pause(self) -> float:
        expiry = self._current().expiry
        left = (expiry - datetime.now(UTC)).total_seconds() if expiry else self.settings.poll_seconds
        return min(max(left, 0.01), self.settings.poll_seconds)


def _warm_up(encoder: Encoder) -> None:
    """Loads the models and libraries that the first change or request would otherwise wait for."""
    snapshot = compile_snapshot([ForgetTarget(id="warm-up", name="Warm Up", always_on=True)])
    Classifier(snapshot, encoder).matches(["Is it warm?"])


def _reason(error: Exception) -> str:
    """The message of our own errors only: a driver's may quote a row."""
    return str(error) if isinstance(error, LetheError) else type(error).__name__
