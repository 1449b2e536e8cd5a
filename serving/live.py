"""The running guard: the pipeline in force, and how a change of the targets gets there without a restart.

A change travels store -> workers -> classifier. Workers come before the classifier, so that a prompt is never
judged by targets whose strings the engine does not know yet. A small change goes to the workers as it is. The
whole set goes there by a compiled snapshot on disk: at the start, after a failure, and when much changes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guard.audit import AuditSink
from guard.classifier import Classifier
from guard.encoder import Encoder
from guard.errors import GuardInactive, LetheError
from guard.history import History, history_of
from guard.pipeline import Pipeline
from guard.snapshot import Soften, compile_snapshot
from guard.targets import LOCAL, Origin, TargetStore
from guard.types import Example, ForgetTarget
from serving import metrics
from serving.calibrator import Calibrator, saved, with_classifier
from serving.compaction import Compaction
from serving.course import Course
from serving.database import StoreError
from serving.delivery import Delivery
from serving.identity import Keyring, RootKeyring
from serving.notes import Notes
from serving.state import State, Step
from serving.watch import Watch
from serving.workers import Workers

if TYPE_CHECKING:
    from serving.settings import Settings
    from serving.traffic import Traffic

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
    """Keeps the pipeline and the workers at the store's targets.

    While the store is away the targets in force stay there, and changes raise StoreError.

    Attributes:
        encoder: compares meanings.
        keyring: knows who may use the admin routes.
        traffic: recent requests, if any are kept.
        store_ok: False while the last look at the store failed.
    """

    def __init__(
        self,
        store: TargetStore,
        sink: AuditSink,
        settings: Settings,
        encoder: Encoder,
        workers: Workers,
        soften: Soften | None = None,
        keyring: Keyring | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self.store = store
        self.sink = sink
        self.settings = settings
        self.encoder = encoder
        self.keyring = keyring or RootKeyring(settings.read_admin_key())
        self.traffic = traffic
        self.store_ok = True
        self._delivery = Delivery(workers, settings)
        self._course = Course(store, soften)
        self._lock = asyncio.Lock()
        self._state: State | None = None
        self._watch = Watch(store, self.refresh, self._pause)
        self._notes = Notes(store)
        self._compaction = Compaction(self._delivery, settings, self._lock, self._current, self._put)
        self._calibrator = Calibrator(settings, encoder, self._current, self._recalibrate)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline in force; take it once per request. Raises GuardInactive before `start` is done."""
        return self._current().pipeline

    @property
    def installed(self) -> datetime:
        """When the targets in force were brought there."""
        return self._current().made

    async def start(self) -> None:
        """Brings the store's targets into force and watches the store from then on."""
        await asyncio.to_thread(_warm_up, self.encoder)
        await self.refresh()
        self._watch.start()

    async def close(self) -> None:
        """Stops watching and writes the audit records that are still queued."""
        await self._watch.close()
        await self._compaction.close()
        await self._calibrator.close()
        await self._notes.close()
        close = getattr(self.sink, "close", None)
        if close is not None:
            await asyncio.to_thread(close)

    async def add(self, *targets: ForgetTarget, origin: Origin = LOCAL) -> Change:
        """Registers targets, all or none. Raises as `TargetStore.add`, InputError, NotEnforced."""
        return await self._change(lambda: self.store.add(*targets, origin=origin), origin, put=targets)

    async def replace(
        self, target: ForgetTarget, origin: Origin = LOCAL, expected: str | None = None
    ) -> Change:
        """Puts a target in place of the one with its id. Raises as `TargetStore.replace`, as `add`."""
        return await self._change(lambda: self.store.replace(target, origin, expected), origin, put=[target])

    async def remove(self, target_id: str, origin: Origin = LOCAL, expected: str | None = None) -> Change:
        """Removes a target. Raises as `TargetStore.remove`, NotEnforced."""
        return await self._change(
            lambda: self.store.remove(target_id, origin, expected), origin, removed=[target_id]
        )

    async def activate(self, version: str, origin: Origin = LOCAL) -> Change:
        """Brings back the targets as they were under a snapshot. Raises as `History.restore`, NotEnforced."""

        def write(history: History) -> int:
            return history.restore(history.revision_of(version), origin)

        return await self._go_back(write)

    async def rollback(self, origin: Origin = LOCAL) -> Change:
        """Undoes the last change of the targets. Raises as `History.restore`, NotEnforced."""

        def write(history: History) -> int:
            last = self.store.revision()
            return history.restore(last - 1, origin, last)

        return await self._go_back(write)

    async def refresh(self) -> str:
        """Brings the store's targets into force and returns their version; a no-op if they are already."""
        async with self._lock:
            started, old = time.perf_counter(), self._state
            try:
                step = await asyncio.to_thread(self._next)
                state = await self._take(step)
            except Exception as error:
                metrics.REFRESH_ERRORS.inc()
                self.store_ok = not isinstance(error, StoreError)
                raise
            self._state, self.store_ok = state, True
            self._course.reached(state.revision)
            if step.pushes:
                count = len(state.snapshot.records)
                metrics.announce(state.version, count, state.made.timestamp(), old.version if old else None)
                metrics.STAGE_SECONDS.labels("refresh").observe(time.perf_counter() - started)
                _log.info("snapshot %s with %d targets is in force", state.version, count)
            if state.recent > RECENT:
                self._compaction.begin(state)
            self._notes.take(state)
            self._calibrator.take(state)
            return state.version

    async def _change(
        self,
        write: Callable[[], int],
        origin: Origin,
        put: Sequence[ForgetTarget] = (),
        removed: Sequence[str] = (),
    ) -> Change:
        started = time.perf_counter()
        # Encoding takes longest, so it goes on beside everything else; the classifier comes last anyway.
        asyncio.get_running_loop().run_in_executor(None, self._foresee, put)
        revision, edit = await asyncio.to_thread(self._course.store, write, put, removed)
        if origin.token is None:
            # With a token it may be the revision of an earlier request, made of other targets than now.
            self._course.own(revision, edit)
        return await self._enforced(started)

    async def _go_back(self, write: Callable[[History], int]) -> Change:
        started = time.perf_counter()
        await asyncio.to_thread(write, history_of(self.store))
        return await self._enforced(started)

    async def _enforced(self, started: float) -> Change:
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

    def _current(self) -> State:
        if self._state is None:
            raise GuardInactive("the guard has no snapshot yet; await start() before serving")
        return self._state

    def _put(self, state: State) -> None:
        self._state = state

    def _recalibrate(self, classifier: Classifier) -> None:
        # Without an await in between, so no change can come in between either.
        self._state = with_classifier(self._current(), classifier)

    def _next(self) -> Step:
        old = self._state
        # After a push that failed halfway nobody knows what the workers hold.
        return self._course.next(old if old and self._delivery.arrived(old.version) else None)

    async def _take(self, step: Step) -> State:
        """The state that a step leads to; the workers enforce it, nobody else knows it yet."""
        old, snapshot = self._state, step.snapshot
        if step.pushes:
            snapshot = await self._delivery.push(snapshot, None if step.whole else step.edit)
        if old is None:
            state = await asyncio.to_thread(
                State.of, snapshot, step.revision, self.encoder, self.settings.forms, self.settings.scope
            )
            found = state.pipeline.classifier.calibrated(saved(self.settings))
            return with_classifier(state, found)
        return await asyncio.to_thread(old.moved, snapshot, step)

    def _pause(self) -> float:
        expiry = self._current().expiry
        left = (expiry - datetime.now(UTC)).total_seconds() if expiry else self.settings.poll_seconds
        return min(max(left, 0.01), self.settings.poll_seconds)


def _warm_up(encoder: Encoder) -> None:
    """Loads the models and libraries that the first change or request would otherwise wait for."""
    # With an example and a neighbor, since only what has some makes the encoder and its index be loaded.
    warm = (Example(prompt="Is it warm?"),)
    target = ForgetTarget(id="warm-up", name="Warm Up", always_on=True, examples=warm, neighbors=warm)
    Classifier(compile_snapshot([target]), encoder).matches(["Is it warm?"])
