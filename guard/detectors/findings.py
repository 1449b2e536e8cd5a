"""What detectors see in a text, as numbers that `guard.relevance` weighs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from guard.types import Match

Values = tuple[float, ...]
Span = tuple[int, int]


class Findings(Protocol):
    """What one detector sees in one text."""

    @property
    def targets(self) -> Collection[str]:
        """Targets worth a look; of any other the detector sees next to nothing."""

    def of(self, target_id: str) -> Values:
        """One value for each of the detector's features, also for targets not worth a look."""


class Hits(list[Match]):
    """Matches in one passage."""

    def within(self, span: Span) -> dict[str, float]:
        """The best score of each target of which a name lies in these characters, if only in part."""
        low, high = span
        best: dict[str, float] = {}
        for match in self:
            if match.span[0] < high and match.span[1] > low:
                best[match.target_id] = max(match.score, best.get(match.target_id, 0.0))
        return best
