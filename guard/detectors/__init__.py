"""Prompt detectors. One more detector = one file with a `Detector` and one line in the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from guard.detectors.lexical import LexicalDetector
from guard.detectors.semantic import SemanticDetector
from guard.encoder import Encoder
from guard.types import ForgetTarget, Match


class Detector(Protocol):
    """Finds the targets that texts concern."""

    def scan(self, texts: Sequence[str]) -> list[list[Match]]:
        """For each text its matches; spans count characters of that text."""


DETECTORS: dict[str, Callable[[Sequence[ForgetTarget], Encoder], Detector]] = {
    "lexical": LexicalDetector,
    "semantic": SemanticDetector,
}
