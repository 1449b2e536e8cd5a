"""The prompt classifier: runs every detector over a prompt's segments and gathers their matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from guard.detectors import DETECTORS, Detector
from guard.encoder import Encoder
from guard.snapshot import Snapshot
from guard.types import ForgetTarget, Match


class Classifier:
    """The detectors of one snapshot. Segments are messages: text that a reader would take as one piece.

    Attributes:
        recent: targets that came, changed or went since the detectors were built; they slow down `matches`
            and `changed` a little, until the classifier is compacted.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        encoder: Encoder,
        detectors: Sequence[Detector] | None = None,
        recent: frozenset[str] = frozenset(),
    ) -> None:
        """Builds every detector of the table for the snapshot's targets, unless ``detectors`` are those."""
        self.recent = recent
        self._snapshot = snapshot
        self._encoder = encoder
        if detectors is None:
            targets = tuple(snapshot.targets.values())
            detectors = [build(targets, encoder) for build in DETECTORS.values()]
        self._detectors = detectors

    def changed(self, snapshot: Snapshot) -> Classifier:
        """The classifier of another snapshot; cheap if few targets differ.

        It finds what one built anew finds, save where more examples of different targets are equally near
        to a text than the semantic detector looks at.
        """
        known, wanted = self._snapshot.records, snapshot.records
        # Nearly all records are the same objects, and comparing them by content is slower.
        gone = {i for i, record in known.items() if (new := wanted.get(i)) is not record and new != record}
        put = [wanted[i].target for i in wanted if i in gone or i not in known]
        if not gone and not put:
            detectors = self._detectors
        else:
            detectors = [detector.changed(put, gone) for detector in self._detectors]
        recent = self.recent.union(gone, (target.id for target in put))
        return Classifier(snapshot, self._encoder, detectors, recent)

    def foresee(self, targets: Sequence[ForgetTarget]) -> None:
        """Has the encoder remember what `changed` will ask it for these targets; safe beside requests."""
        for build in DETECTORS.values():
            build(targets, self._encoder)

    def compacted(self) -> Classifier:
        """The same classifier as if built anew; no text is encoded for it."""
        return Classifier(self._snapshot, self._encoder, [d.compacted() for d in self._detectors])

    def matches(self, segments: Sequence[str]) -> tuple[Match, ...]:
        """Matches of one prompt, strongest evidence first; targets that expired meanwhile are left out."""
        return self.matches_each([segments])[0]

    def matches_each(self, prompts: Sequence[Sequence[str]]) -> list[tuple[Match, ...]]:
        """`matches` for many prompts at once, with one encoder call."""
        places = [
            (row, position) for row, segments in enumerate(prompts) for position in range(len(segments))
        ]
        found: list[list[Match]] = [[] for _ in prompts]
        texts = [prompts[row][position] for row, position in places]
        targets, now = self._snapshot.targets, datetime.now(UTC)
        for detector in self._detectors:
            for (row, position), matches in zip(places, detector.scan(texts), strict=True):
                found[row].extend(
                    replace(match, segment=position)
                    for match in matches
                    if not targets[match.target_id].expired(now)
                )
        return [tuple(sorted(row, key=lambda match: -match.score)) for row in found]
