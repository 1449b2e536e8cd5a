"""Prompt detectors. One more detector = one file with a `Detector` and one line in the table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from guard.detectors.lexical import LexicalDetector
from guard.detectors.semantic import SemanticDetector
from guard.encoder import Encoder
from guard.types import ForgetTarget, Match


class Detector(Protocol):
    """Finds the targets that texts concern. Immutable: a change of the targets makes another detector."""

    def scan(self, texts: Sequence[str]) -> list[list[Match]]:
        """For each text its matches; spans count characters of that text."""

    def changed(self, put: Sequence[ForgetTarget], gone: Collection[str]) -> Detector:
        """The detector after a change; it finds what one built anew would find.

        Args:
            put: targets that came or changed.
            gone: ids of the targets it knew that were removed or changed.
        """

    def compacted(self) -> Detector:
        """The same detector made as if built anew: changes slow it down, each a little."""


DETECTORS: dict[str, Callable[[Sequence[ForgetTarget], Encoder], Detector]] = {
    "lexical": LexicalDetector,
    "semantic": SemanticDetector,
}
