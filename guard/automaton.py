"""Forbidden strings as an Aho-Corasick automaton over folded UTF-8 bytes.

One automaton serves both sides: the token filter asks which vocabulary tokens would complete a phrase, the
response filter how much of the text so far could still become one. It holds the phrases of one rule: one
folding and one boundary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from guard.normalize import PHRASES, Fold, Folding, fold
from guard.transducer import LAST, transducer
from guard.types import Boundary

if TYPE_CHECKING:
    from guard.loops import Machine

START, INSIDE = 0, 1
"""The two roots: at a boundary, inside a word."""

SHORTEST = 3  # folded characters


@dataclass(frozen=True, slots=True)
class Rule:
    """How phrases are compared with text.

    Attributes:
        folding: differences that do not count.
        boundary: where a phrase counts. Up to ``left`` it is forbidden at its last character, whatever
            follows; with ``both`` the character that closes the word is forbidden instead.
    """

    folding: Folding = PHRASES
    boundary: Boundary = Boundary.LEFT

    @property
    def bounded(self) -> bool:
        """True if a phrase cannot start inside a word."""
        return self.boundary is not Boundary.NONE

    @property
    def collapses(self) -> bool:
        """True if a run of separators counts as one."""
        return transducer(self.folding).collapses

    def fits(self, text: str) -> Rule:
        """The rule for one phrase: punctuation counts where hardly anything is left without it ("C++")."""
        punctuation = frozenset({Fold.SEPARATORS, Fold.SPACING})
        letters = sum(char.isalnum() for char in text)
        if (
            letters < SHORTEST
            and self.folding & punctuation
            and len(fold(text, self.folding).text.strip()) < SHORTEST
        ):
            return Rule(self.folding - punctuation, self.boundary)
        return self


@dataclass(frozen=True, slots=True)
class Phrase:
    """A forbidden string and the share of its characters from which it is forbidden (GUARD's beta).

    Runs of white space in it are one space, unless it is verbatim: in code, two spaces may be a sign.
    """

    text: str
    rule: Rule = Rule()
    beta: float = 1.0
    verbatim: bool = False


@dataclass(frozen=True)
class Automaton:
    """Flat tables over S nodes, breadth first; the roots are nodes 0 and 1.

    Attributes:
        rule: how the phrases are compared.
        first: int32 [S], the first child of each node; children follow one another, ordered by byte.
        children: int32 [S], how many.
        byte: uint8 [S], the byte that leads to the node.
        fail: int32 [S], the longest proper suffix that is a phrase prefix too, down to the roots; -1: none.
        depth: int32 [S], bytes of the phrase prefix.
        accept: uint8 [S], a phrase ends here (1), or would if the word did (2); closed under ``fail``.
        data: uint8 [k], the folded phrases in a row, sorted.
        flags: uint8 [k], of each of their bytes (`guard.transducer`).
        start: int64 [n + 1], where each phrase begins.
        weights: float32 [n], what completing a phrase adds to a token's logit; None forbids all.
    """

    rule: Rule
    first: npt.NDArray[np.int32]
    children: npt.NDArray[np.int32]
    byte: npt.NDArray[np.uint8]
    fail: npt.NDArray[np.int32]
    depth: npt.NDArray[np.int32]
    accept: npt.NDArray[np.uint8]
    data: npt.NDArray[np.uint8]
    flags: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32] | None = None

    @classmethod
    def build(cls, phrases: Iterable[Phrase | str], rule: Rule = Rule()) -> Automaton:
        """The automaton of phrases that share a rule; strings are phrases of ``rule``."""
        given = [Phrase(p, rule) if isinstance(p, str) else p for p in phrases]
        texts = [(form.encode(), p.beta) for p in given for form in _forms(p)]
        folded, flags, begin = transducer(rule.folding).fold_each([text for text, _ in texts])
        found: dict[bytes, bytes] = {}
        for i, (_, beta) in enumerate(texts):
            low, high = _cut(folded, flags, int(begin[i]), int(begin[i + 1]), beta, rule.collapses)
            found[folded[low:high].tobytes()] = flags[low:high].tobytes()
        found.pop(b"", None)
        return cls._of(found, rule)

    @classmethod
    def soft(cls, words: Mapping[str, float], rule: Rule = Rule()) -> Automaton:
        """The automaton of words that are penalised, not searched for: it accepts nothing.

        Args:
            words: the penalty of each, infinite to forbid it; words that fold alike take the largest.
            rule: how they are compared.
        """
        folded, flags, begin = transducer(rule.folding).fold_each([word.encode() for word in words])
        found: dict[bytes, bytes] = {}
        weights: dict[bytes, float] = {}
        for i, penalty in enumerate(words.values()):
            low, high = _cut(folded, flags, int(begin[i]), int(begin[i + 1]), 1.0, rule.collapses)
            key = folded[low:high].tobytes()
            if key:
                found[key] = flags[low:high].tobytes()
                weights[key] = min(weights.get(key, math.inf), -penalty)
        return cls._of(found, rule, np.array([weights[key] for key in sorted(found)], dtype=np.float32))

    @classmethod
    def _of(
        cls, found: Mapping[bytes, bytes], rule: Rule, weights: npt.NDArray[np.float32] | None = None
    ) -> Automaton:
        from guard import trie

        ordered = sorted(found)
        data = np.frombuffer(b"".join(ordered), dtype=np.uint8)
        flags = np.frombuffer(b"".join(found[key] for key in ordered), dtype=np.uint8)
        start = np.zeros(len(ordered) + 1, dtype=np.int64)
        np.cumsum([len(key) for key in ordered], out=start[1:])
        closes = rule.boundary is Boundary.BOTH
        built: trie.Trie = trie.build(data, flags, start, rule.bounded, closes, weights is None)
        return cls(rule, *built, data, flags, start, weights)

    @property
    def nodes(self) -> int:
        """Number of nodes S."""
        return len(self.fail)

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        tables = (getattr(self, field.name) for field in fields(self))
        return sum(table.nbytes for table in tables if isinstance(table, np.ndarray))

    @cached_property
    def longest(self) -> int:
        """Folded bytes of the longest phrase; text further back cannot matter."""
        return int(self.depth.max(initial=0))

    @cached_property
    def machine(self) -> Machine:
        """The tables as the inner loops take them."""
        from guard.loops import Machine, pack

        tables = transducer(self.rule.folding).arrays
        spans = np.zeros(self.nodes + 1, dtype=np.int32)
        return Machine(*tables, pack(self.first, self.children, self.accept, self.fail, spans), self.byte)

    def walk(self, node: int, data: bytes, pending: int = 0) -> tuple[int, int, int]:
        """Reads bytes up to the first completed phrase.

        Returns the node, the pending bytes of an unfinished character (packed, 0 for none), and how many
        bytes were read when a phrase was complete, or -1.
        """
        from guard import loops

        raw = np.frombuffer(data, dtype=np.uint8)
        found = loops.walk(self.machine, START, self.rule.bounded, self.rule.collapses, node, pending, raw)
        return int(found[0]), int(found[1]), int(found[2])

    def found_in(self, text: str | bytes) -> bool:
        """True if a phrase occurs in a text that ends here."""
        from guard.loops import PENDING

        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        node, _, end = self.walk(START, data)
        return end >= 0 or bool(self.accept[node] & PENDING)


def automata_of(phrases: Iterable[Phrase]) -> tuple[Automaton, ...]:
    """One automaton for each rule among the phrases, in the order of their first phrase."""
    groups: dict[Rule, list[Phrase]] = {}
    for phrase in phrases:
        groups.setdefault(phrase.rule.fits(phrase.text), []).append(phrase)
    return tuple(Automaton.build(group, rule) for rule, group in groups.items())


def _forms(phrase: Phrase) -> tuple[str, ...]:
    """The phrase, and its cases where folding one character at a time leaves them apart."""
    if phrase.verbatim:
        return (phrase.text,)
    text = " ".join(phrase.text.split())
    if text.isascii() or Fold.CASE not in phrase.rule.folding:
        return (text,)
    return tuple(dict.fromkeys((text, text.lower(), text.upper(), text.title())))


def _cut(
    folded: npt.NDArray[np.uint8], flags: npt.NDArray[np.uint8], low: int, high: int, beta: float, strip: bool
) -> tuple[int, int]:
    """Where a folded phrase lies without outer separators and without what beta leaves off.

    The cut never falls on a space: any word may be followed by one, but few by the next letter.
    """
    space = 0x20
    while strip and low < high and folded[low] == space:
        low += 1
    while strip and low < high and folded[high - 1] == space:
        high -= 1
    if beta < 1:
        ends = np.flatnonzero(flags[low:high] & LAST) + 1
        kept = max(1, math.ceil(beta * len(ends)))
        while kept < len(ends) and folded[low + ends[kept - 1] - 1] == space:
            kept += 1
        high = low + int(ends[kept - 1]) if len(ends) else high
    return low, high
