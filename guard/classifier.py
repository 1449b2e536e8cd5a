"""The prompt classifier: runs every detector over a prompt's segments and gathers their matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from guard.detectors import DETECTORS
from guard.encoder import Encoder
from guard.snapshot import Snapshot
from guard.types import Match


class Classifier:
    """The detectors of one snapshot. Segments are messages: text that a reader would take as one piece."""

    def __init__(self, snapshot: Snapshot, encoder: Encoder) -> None:
        """Builds every detector of the table for the snapshot's targets."""
        targets = tuple(snapshot.targets.values())
        self._targets = snapshot.targets
        self._detectors = [build(targets, encoder) for build in DETECTORS.values()] if targets else []

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
        now = datetime.now(UTC)
        for detector in self._detectors:
            for (row, position), matches in zip(places, detector.scan(texts), strict=True):
                found[row].extend(
                    replace(match, segment=position)
                    for match in matches
                    if not self._targets[match.target_id].expired(now)
                )
        return [tuple(sorted(row, key=lambda match: -match.score)) for row in found]
