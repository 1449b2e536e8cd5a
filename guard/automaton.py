"""Forbidden strings as an Aho-Corasick automaton over UTF-8 bytes.

One automaton serves both sides: the token filter asks which vocabulary tokens would complete a phrase, the
response filter how much of the text so far could still become one.

A phrase counts only where a word starts (``left`` boundary): "Ann" does not occur in "Joanne". It counts as
soon as its last byte appears, whatever follows: waiting for the end of the word would let the phrase out
first. ASCII letters match in either case; for others the usual case and normal forms are entered as
phrases of their own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

START = 0  # nothing read, or a word boundary just passed
INSIDE = 1  # inside a word no phrase starts with

_WORD_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
# Bytes >= 0x80 count as boundaries: scripts without spaces could otherwise hide a phrase in running text.
BOUNDARY = np.array([byte not in _WORD_BYTES for byte in range(256)])
_LOWER = np.array([byte + 32 if 65 <= byte <= 90 else byte for byte in range(256)], dtype=np.uint8)


@dataclass(frozen=True)
class Automaton:
    """Flat tables over S states.

    Attributes:
        delta: int32 [S, 256], the next state for each byte.
        accept: bool [S], a phrase ends here (closed under suffixes).
        depth: int32 [S], bytes of the longest phrase prefix that ends here.
    """

    delta: npt.NDArray[np.int32]
    accept: npt.NDArray[np.bool_]
    depth: npt.NDArray[np.int32]

    @classmethod
    def build(cls, phrases: Iterable[str]) -> Automaton:
        """The automaton that accepts every phrase in all its variants; without phrases it accepts nothing."""
        patterns = sorted({form for phrase in phrases for form in variants(phrase)})
        return cls(*_complete(*_trie(patterns)))

    @property
    def states(self) -> int:
        """Number of states S."""
        return len(self.accept)

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest phrase; text further back cannot matter."""
        return int(self.depth.max(initial=0))

    def walk(self, state: int, data: bytes) -> int:
        """The state after reading ``data``."""
        for byte in data:
            state = int(self.delta[state, byte])
        return state

    def first_accept(self, data: bytes, state: int = START) -> int | None:
        """Index just behind the first phrase completed in ``data``, or None."""
        for index, byte in enumerate(data):
            state = int(self.delta[state, byte])
            if self.accept[state]:
                return index + 1
        return None


def variants(phrase: str) -> set[bytes]:
    """Byte strings that count as the phrase: ASCII-lowered; other letters in each case and normal form."""
    phrase = " ".join(phrase.split())
    forms = {phrase, phrase.lower(), phrase.upper(), phrase.title(), phrase.casefold()}
    texts = {unicodedata.normalize(form, text) for text in forms for form in ("NFC", "NFD", "NFKC")}
    return {bytes(_LOWER[list(text.encode())]) for text in texts if text}


def _trie(patterns: list[bytes]) -> tuple[list[dict[int, int]], list[int], list[int]]:
    """Children per node, depth per node, and the nodes where a pattern ends."""
    children: list[dict[int, int]] = [{}, {}]
    depth, ends = [0, 0], []
    for pattern in patterns:
        node = START
        for byte in pattern:
            if byte not in children[node]:
                children[node][byte] = len(children)
                children.append({})
                depth.append(depth[node] + 1)
            node = children[node][byte]
        ends.append(node)
    return children, depth, ends


def _complete(
    children: list[dict[int, int]], depth: list[int], ends: list[int]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_], npt.NDArray[np.int32]]:
    """Fills every transition, breadth first.

    A state's missing transitions are those of its failure state, the longest proper suffix that starts at a
    word boundary and is itself a phrase prefix; START and INSIDE are the two empty suffixes.
    """
    size = len(children)
    delta = np.empty((size, 256), dtype=np.int32)
    accept = np.zeros(size, dtype=np.bool_)
    accept[ends] = True
    empty = np.where(BOUNDARY, START, INSIDE).astype(np.int32)
    delta[INSIDE] = empty
    queue: list[tuple[int, int]] = [(START, INSIDE)]
    for node, fail in queue:
        row = empty.copy() if node == START else delta[fail].copy()
        suffixes = row.copy()
        for byte, child in children[node].items():
            row[byte] = child
            queue.append((child, int(suffixes[byte])))
        delta[node] = row[_LOWER]
        accept[node] |= accept[fail]
    return delta, accept, np.array(depth, dtype=np.int32)
