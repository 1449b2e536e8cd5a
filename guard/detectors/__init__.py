"""Prompt detectors. One more detector = one file with a `Detector` and one line in its table.

Those of `STRINGS` look for strings in whole passages: what they find is certain. Those of `MEANING` compare
pieces of a prompt with what targets are about: what they find is weighed by `guard.relevance`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar

from guard.detectors.facts import FactsDetector
from guard.detectors.findings import Findings, Hits
from guard.detectors.fuzzy import FuzzyDetector
from guard.detectors.learned import LearnedDetector
from guard.detectors.lexical import LexicalDetector
from guard.detectors.semantic import SemanticDetector
from guard.encoder import Encoder
from guard.types import ForgetTarget

F = TypeVar("F", covariant=True)


class Detector(Protocol[F]):
    """Finds the targets that texts concern. Immutable: a change of the targets makes another detector."""

    def scan(self, texts: Sequence[str]) -> Sequence[F]:
        """What there is in each text; spans count characters of that text."""

    def changed(self, put: Sequence[ForgetTarget], gone: Collection[str]) -> Detector[F]:
        """The detector after a change; it finds what one built anew would find.

        Args:
            put: targets that came or changed.
            gone: ids of the targets it knew that were removed or changed.
        """

    def compacted(self) -> Detector[F]:
        """The same detector made as if built anew: changes slow it down, each a little."""


STRINGS: dict[str, Callable[[Sequence[ForgetTarget], Encoder], Detector[Hits]]] = {
    "lexical": LexicalDetector,
    "fuzzy": FuzzyDetector,
}
MEANING: dict[str, Callable[[Sequence[ForgetTarget], Encoder], Detector[Findings]]] = {
    "semantic": SemanticDetector,
    "facts": FactsDetector,
    "learned": LearnedDetector,
}
DETECTORS = (*STRINGS, *MEANING, "relevance", "scope")
"""Names that evidence may bear: the detectors', and those of what weighs them."""

FEATURES = ("fuzzy", *SemanticDetector.features, *FactsDetector.features, *LearnedDetector.features)
"""Inputs of `guard.relevance`, in order."""
