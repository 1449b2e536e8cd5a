"""Names, aliases and given phrases, found in folded text at word boundaries."""

from __future__ import annotations

from collections.abc import Sequence

import ahocorasick_rs

from guard.encoder import Encoder
from guard.normalize import Folded, fold
from guard.types import ForgetTarget, Match


class LexicalDetector:
    """One Aho-Corasick automaton over all targets' strings; a hit scores 1."""

    name = "lexical"

    def __init__(self, targets: Sequence[ForgetTarget], encoder: Encoder | None = None) -> None:
        """Compiles the strings; the encoder is not used."""
        owners: dict[str, list[str]] = {}
        for target in targets:
            for text in (*target.names, *target.phrases):
                folded = fold(text).text.strip()
                if folded:
                    owners.setdefault(folded, []).append(target.id)
        self._owners = list(owners.values())
        self._automaton = ahocorasick_rs.AhoCorasick(list(owners)) if owners else None

    def scan(self, texts: Sequence[str]) -> list[list[Match]]:
        """See Detector."""
        return [self._scan(fold(text)) for text in texts]

    def _scan(self, folded: Folded) -> list[Match]:
        if self._automaton is None:
            return []
        hits = self._automaton.find_matches_as_indexes(folded.text, overlapping=True)
        return [
            Match(target_id, self.name, 1.0, 1.0, folded.span(start, end))
            for index, start, end in hits
            if _whole_words(folded.text, start, end)
            for target_id in self._owners[index]
        ]


def _whole_words(text: str, start: int, end: int) -> bool:
    """True unless the hit starts or ends inside a word: "Ann" is not in "Anniversary"."""
    opens = start == 0 or not (_joins(text[start - 1]) and _joins(text[start]))
    closes = end == len(text) or not (_joins(text[end - 1]) and _joins(text[end]))
    return opens and closes


def _joins(char: str) -> bool:
    # Scripts written without spaces have no boundaries to ask for; Latin, Greek, Cyrillic ... lie below.
    return char.isalnum() and ord(char) < 0x0E00
