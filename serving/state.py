"""What is in force at one moment, and what would be after an edit. Computes only: nobody is told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from guard.classifier import Classifier
from guard.encoder import Encoder
from guard.pipeline import Forms, Pipeline
from guard.scope import ScopeConfig
from guard.snapshot import Record, Snapshot
from serving import metrics
from serving.edits import Edit, between

# A change compiles all recent targets again, in every worker between two steps: 3 ms for 256 short phrases.
CROWDED = 1024  # from so many on it goes the long way, with the whole set

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """The way to another state.

    Attributes:
        snapshot: what to hold then.
        revision: of the store then.
        edit: what changes; None if that is not known.
        whole: the workers need the whole snapshot.
    """

    snapshot: Snapshot
    revision: int
    edit: Edit | None = None
    whole: bool = True

    @property
    def pushes(self) -> bool:
        """True if the workers have to be told."""
        return self.edit is None or bool(self.edit)


@dataclass(frozen=True, slots=True)
class State:
    """A pipeline and the store content it was made from.

    Attributes:
        revision: of the store.
        expiries: when targets expire, of those that do.
        made: when the pipeline was made.
    """

    pipeline: Pipeline
    revision: int
    expiries: Mapping[str, datetime]
    made: datetime

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        revision: int,
        encoder: Encoder,
        forms: Forms,
        scope: ScopeConfig | None = None,
    ) -> State:
        """The state on a snapshot; encodes what its targets are compared by."""
        classifier = Classifier(snapshot, encoder, scope=scope)
        pipeline = Pipeline(snapshot, classifier, forms, _count_failure)
        return cls(pipeline, revision, _expiries(snapshot.records), datetime.now(UTC))

    @property
    def snapshot(self) -> Snapshot:
        """The pipeline's snapshot."""
        return self.pipeline.snapshot

    @property
    def version(self) -> str:
        """The snapshot's version."""
        return self.snapshot.version

    @property
    def expiry(self) -> datetime | None:
        """When the next target expires."""
        return min(self.expiries.values(), default=None)

    @property
    def recent(self) -> int:
        """Number of targets that every change compiles again."""
        return max(len(self.snapshot.recent_ids), len(self.pipeline.classifier.recent))

    def due(self, edit: Edit, now: datetime) -> Edit:
        """The part of an edit that changes something here, and the targets that have expired."""
        over = (i for i, expiry in self.expiries.items() if expiry <= now)
        return edit.expiring(over, now).on(self.snapshot.records)

    def step(self, edit: Edit, revision: int) -> Step:
        """The step that an edit asks for; a small one goes by itself, a big one with the whole snapshot."""
        if not edit:
            return Step(self.snapshot, revision, edit, whole=False)
        big = self.snapshot.rebuilds(edit.ids) or self.recent + len(edit.ids) > CROWDED
        return Step(self.snapshot.changed(edit.put, edit.removed), revision, edit, whole=big)

    def moved(self, snapshot: Snapshot, step: Step) -> State:
        """The state after a step; encodes what is new. ``snapshot`` is the step's, as workers hold it."""
        if snapshot is self.snapshot:
            return replace(self, revision=step.revision)
        classifier = self.pipeline.classifier.changed(snapshot)
        if step.whole:
            classifier = classifier.compacted()
        if step.edit is None:
            expiries = _expiries(snapshot.records)
        else:
            kept = {i: expiry for i, expiry in self.expiries.items() if i not in step.edit.ids}
            expiries = kept | _expiries(step.edit.put)
        return State(self._with(snapshot, classifier), step.revision, expiries, datetime.now(UTC))

    def compacted(self) -> State:
        """The same state, made such that the next changes cost little."""
        snapshot = self.snapshot.compacted() if self.snapshot.recent_ids else self.snapshot
        return replace(self, pipeline=self._with(snapshot, self.pipeline.classifier.compacted()))

    def on(self, snapshot: Snapshot, compacted: State) -> State:
        """This state with what a compacted one, made of an earlier one, holds already.

        Args:
            snapshot: of the same targets as this state's.
            compacted: the compacted one.
        """
        return replace(self, pipeline=self._with(snapshot, compacted.pipeline.classifier.changed(snapshot)))

    def cheaply_on(self, compacted: State, begun: State) -> bool:
        """True if `on` compiles little, and nothing big was compiled since ``begun`` was compacted."""
        since = between(compacted.snapshot.records, self.snapshot.records)
        return self.snapshot.base is begun.snapshot.base and not compacted.snapshot.rebuilds(since.ids)

    def _with(self, snapshot: Snapshot, classifier: Classifier) -> Pipeline:
        return replace(self.pipeline, snapshot=snapshot, classifier=classifier)


def _expiries(records: Mapping[str, Record]) -> dict[str, datetime]:
    return {
        target_id: expiry
        for target_id, record in records.items()
        # Most records need not be parsed for it.
        if '"expires_at"' in record.line and (expiry := record.target.expires_at)
    }


def _count_failure(error: Exception) -> None:
    metrics.DETECTOR_ERRORS.inc()
    _log.error("a detector failed (%s), the request is refused", type(error).__name__)
