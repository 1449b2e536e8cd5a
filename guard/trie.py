"""Builds the trie of sorted phrases with its failure links, compiled by numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from guard.loops import HARD, PENDING
from guard.transducer import JOINS, LAST


class Trie(NamedTuple):
    """Arrays over S nodes, as in `guard.automaton.Automaton`."""

    first: npt.NDArray[np.int32]
    children: npt.NDArray[np.int32]
    byte: npt.NDArray[np.uint8]
    fail: npt.NDArray[np.int32]
    depth: npt.NDArray[np.int32]
    accept: npt.NDArray[np.uint8]


@njit(cache=True, nogil=True)
def build(data, flags, start, bounded, closes, accepts):
    """The trie, breadth first.

    Args:
        data: bytes of all phrases, which are distinct and sorted.
        flags: FIRST, LAST and JOINS of each byte.
        start: where each phrase begins, [n + 1].
        bounded: phrases start only where a word does.
        closes: a phrase that ends in a joining character counts only where the word ends.
        accepts: phrases complete; otherwise nodes are only found.
    """
    phrases = len(start) - 1
    size = len(data) + 2
    first = np.zeros(size, dtype=np.int32)
    children = np.zeros(size, dtype=np.int32)
    byte = np.zeros(size, dtype=np.uint8)
    fail = np.full(size, -1, dtype=np.int32)
    depth = np.zeros(size, dtype=np.int32)
    accept = np.zeros(size, dtype=np.uint8)
    low = np.zeros(size, dtype=np.int32)  # the phrases that pass through a node are low .. high
    high = np.zeros(size, dtype=np.int32)
    high[0] = phrases
    fail[0] = 1
    size = 2
    node = 0
    while node < size:
        if node == 1:  # its children are those of the other root
            first[1], children[1] = first[0], children[0]
            node += 1
            continue
        at = depth[node]
        i = low[node]
        first[node] = size
        while i < high[node]:
            place = start[i] + at
            if place == start[i + 1]:  # this phrase ends here
                i += 1
                continue
            value, flag = data[place], flags[place]
            j = i + 1
            while j < high[node] and data[start[j] + at] == value:
                j += 1
            byte[size], depth[size], low[size], high[size] = value, at + 1, i, j
            suffix = -1
            if node != 0:
                suffix = _step(first, children, byte, fail, fail[node], value, flag)
            if suffix < 0 and flag & LAST:
                suffix = 1 if bounded and flag & JOINS else 0
            fail[size] = suffix
            if accepts:
                if start[i + 1] - start[i] == at + 1:
                    accept[size] = PENDING if closes and flag & JOINS else HARD
                if suffix >= 0:
                    accept[size] |= accept[suffix]
            size += 1
            i = j
        children[node] = size - first[node]
        node += 1
    return Trie(
        first[:size].copy(),
        children[:size].copy(),
        byte[:size].copy(),
        fail[:size].copy(),
        depth[:size].copy(),
        accept[:size].copy(),
    )


@njit(cache=True, nogil=True)
def _step(first, children, byte, fail, node, value, flag):
    """`loops.move` on a trie under construction, whose nodes on the chain are complete."""
    while node >= 0:
        if node != 1 or not flag & JOINS:
            for i in range(first[node], first[node] + children[node]):
                if byte[i] == value:
                    return i
        node = fail[node]
    return -1
