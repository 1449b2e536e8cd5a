"""Names, aliases and given phrases, found in folded text at word boundaries."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Self

import ahocorasick_rs

from guard.detectors.findings import Hits
from guard.detectors.layers import Layers
from guard.encoder import Encoder
from guard.normalize import Folded, fold
from guard.types import ForgetTarget, Match


class _Strings:
    """An Aho-Corasick automaton over folded strings, each with the targets that it stands for."""

    def __init__(self, owners: Mapping[str, Sequence[str]]) -> None:
        self._owners = owners
        self._targets = list(owners.values())
        self._automaton = ahocorasick_rs.AhoCorasick(list(owners)) if owners else None

    @classmethod
    def of(cls, targets: Sequence[ForgetTarget]) -> Self:
        owners: dict[str, list[str]] = {}
        for target in targets:
            for text in (*target.names, *target.phrases):
                folded = fold(text).text.strip()
                if folded:
                    owners.setdefault(folded, []).append(target.id)
        return cls(owners)

    @classmethod
    def join(cls, *given: tuple[Self, Collection[str]]) -> Self:
        """See Part."""
        owners: dict[str, list[str]] = {}
        for part, gone in given:
            for text, targets in part._owners.items():
                kept = [target_id for target_id in targets if target_id not in gone]
                if kept:
                    owners.setdefault(text, []).extend(kept)
        return cls(owners)

    def hits(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Target and place of each string in a folded text."""
        if self._automaton is None:
            return
        for index, start, end in self._automaton.find_matches_as_indexes(text, overlapping=True):
            if _whole_words(text, start, end):
                for target_id in self._targets[index]:
                    yield target_id, start, end


class LexicalDetector:
    """Looks for all targets' strings at once; a hit scores 1."""

    name = "lexical"

    def __init__(
        self,
        targets: Sequence[ForgetTarget],
        encoder: Encoder | None = None,
        layers: Layers[_Strings] | None = None,
    ) -> None:
        """Compiles the strings, unless ``layers`` holds them; the encoder is not used."""
        self._layers = layers or Layers(_Strings.of(targets))

    def scan(self, texts: Sequence[str]) -> list[Hits]:
        """See Detector."""
        return [Hits(self._scan(fold(text))) for text in texts]

    def changed(self, put: Sequence[ForgetTarget], gone: Collection[str]) -> LexicalDetector:
        """See Detector."""
        ids = [target.id for target in put]
        return LexicalDetector((), layers=self._layers.changed(_Strings.of(put), ids, gone))

    def compacted(self) -> LexicalDetector:
        """See Detector."""
        return LexicalDetector((), layers=self._layers.compacted())

    def _scan(self, folded: Folded) -> Iterator[Match]:
        for strings, gone in self._layers.parts:
            for target_id, start, end in strings.hits(folded.text):
                if target_id not in gone:
                    yield Match(target_id, self.name, 1.0, 1.0, folded.span(start, end))


def _whole_words(text: str, start: int, end: int) -> bool:
    """True unless the hit starts or ends inside a word: "Ann" is not in "Anniversary"."""
    opens = start == 0 or not (_joins(text[start - 1]) and _joins(text[start]))
    closes = end == len(text) or not (_joins(text[end - 1]) and _joins(text[end]))
    return opens and closes


def _joins(char: str) -> bool:
    # Scripts written without spaces have no boundaries to ask for; Latin, Greek, Cyrillic ... lie below.
    return char.isalnum() and ord(char) < 0x0E00
