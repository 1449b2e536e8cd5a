"""Keeps the thresholds at the targets: made anew when these have changed and have been quiet for a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from guard.calibrating import calibrate
from guard.calibration import Calibration, load_calibration
from guard.classifier import Classifier
from guard.detectors import FEATURES
from guard.encoder import Encoder
from guard.errors import InputError
from serving import metrics
from serving.state import State

if TYPE_CHECKING:
    from serving.settings import Settings

QUIET_SECONDS = 60.0  # without a change of the targets, before the work begins: it takes a core for a while

_log = logging.getLogger(__name__)


def saved(settings: Settings, snapshot: str | None = None) -> Calibration | None:
    """The calibration that was made last, if it is of the detectors of now and of that snapshot, if given.

    None without a bound in the settings: then the shipped thresholds hold.
    """
    path = calibration_file(settings)
    if settings.alpha is None or not path.exists():
        return None
    try:
        found = load_calibration(path)
    except InputError as error:
        _log.error("%s; the shipped thresholds are used", error)
        return None
    return None if found.stale(snapshot or found.snapshot, ",".join(FEATURES)) else found


def calibration_file(settings: Settings) -> Path:
    """Where the last calibration is kept."""
    return settings.home.absolute() / "calibration.json"


class Calibrator:
    """Works in a thread beside requests, once at a time; a failure leaves the thresholds as they are.

    Args:
        settings: say the bound, and where the thresholds are kept.
        encoder: of the classifier.
        current: the state in force.
        put: puts a classifier into the state in force, of the same targets.
    """

    def __init__(
        self,
        settings: Settings,
        encoder: Encoder,
        current: Callable[[], State],
        put: Callable[[Classifier], None],
    ) -> None:
        self._settings = settings
        self._encoder = encoder
        self._current = current
        self._put = put
        self._task: asyncio.Task[None] | None = None
        self._made: str | None = None

    def take(self, state: State) -> None:
        """Notes that a state came into force, and begins to work if its targets need it."""
        if self._settings.alpha is None or not state.snapshot.records or state.version == self._made:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(self._settings.alpha), name="lethe-calibrate")

    async def close(self) -> None:
        """Gives up what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, alpha: float) -> None:
        while self._made != (state := await self._quiet()).version:
            try:
                # Compacted, heads are learned from the targets of now.
                classifier = await asyncio.to_thread(state.pipeline.classifier.compacted)
                made = await asyncio.to_thread(calibrate, classifier, self._encoder, alpha)
                await asyncio.to_thread(made.save, calibration_file(self._settings))
            except Exception as error:
                metrics.REFRESH_ERRORS.inc()
                _log.error("thresholds could not be calibrated: %s", type(error).__name__)
                return
            if self._current().version != state.version:
                continue  # changed meanwhile: once more
            self._made = state.version
            self._put(classifier.calibrated(made))
            metrics.CALIBRATION.set(made.threshold().value)

    async def _quiet(self) -> State:
        """The state in force, once it has stayed for a while."""
        while True:
            state = self._current()
            await asyncio.sleep(QUIET_SECONDS)
            if self._current().version == state.version:
                return self._current()


def with_classifier(state: State, classifier: Classifier) -> State:
    """The state with another classifier of the same targets."""
    return replace(state, pipeline=replace(state.pipeline, classifier=classifier))
