"""Finds the tokens that complete phrases as ranges of the sorted vocabulary, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit

from guard.loops import HARD, PENDING, SPACE, accepts, child
from guard.transducer import FIRST, JOINS, LAST


@njit(cache=True, nogil=True)
def begun(m, text, marks, begin, weights, soft, closes, collapses, data, flags, start):
    """For each node, the ranges of tokens that start with what is left of a phrase.

    Args:
        m: the automaton; node 0 is its root.
        text, marks, begin, weights: the folded phrases, their flags, where each begins, what each adds.
        soft: tokens must end with the phrase.
        closes: a phrase that ends in a joining character needs one behind it that does not join.
        collapses: a run of separators counts as one.
        data, flags, start: the folded tokens, sorted.

    Returns:
        nodes int32 [r], first ranks int32 [r], ranks behind the last int32 [r], weights float32 [r].
    """
    nodes, low, high, weight = _empty(1024)
    size = 0
    longest = 0
    for rank in range(len(start) - 1):
        longest = max(longest, start[rank + 1] - start[rank])
    for phrase in range(len(begin) - 1):
        end = begin[phrase + 1]
        closed = closes and marks[end - 1] & JOINS != 0
        node = 0
        for place in range(begin[phrase], end):
            rest = text[place:end]
            if marks[place] & FIRST and len(rest) <= longest:
                spaced = collapses and node != 0 and m.byte[node] == SPACE
                for lead in range(2 if spaced else 1):
                    a, b = _range(data, start, rest, lead)
                    if soft:
                        b = _until_longer(start, a, b, lead + len(rest))
                    while a < b:
                        c = b
                        if closed:
                            a, c = _closing(flags, start, a, b, lead + len(rest))
                            if a == c:
                                break
                        if size == len(nodes):
                            nodes, low, high, weight = _grown(nodes, low, high, weight)
                        nodes[size], low[size], high[size], weight[size] = node, a, c, weights[phrase]
                        size += 1
                        a = c
            node = child(m, node, text[place])
    return nodes[:size], low[:size], high[:size], weight[:size]


@njit(cache=True, nogil=True)
def inside(m, text, marks, begin, weights, soft, bounded, data, flags, start):
    """The ranges of tokens with a phrase that begins inside them, for the root "inside a word".

    Arguments and result as `begun`.
    """
    nodes, low, high, weight = _empty(64)
    size = 0
    worth = np.zeros(len(m.byte) if soft else 1, dtype=np.float32)
    if soft:
        for phrase in range(len(begin) - 1):
            node = 0
            for place in range(begin[phrase], begin[phrase + 1]):
                node = child(m, node, text[place])
            worth[node] = weights[phrase]
    for rank in range(len(start) - 1):
        found = np.float32(0.0)
        for place in range(start[rank], start[rank + 1]):
            if not flags[place] & FIRST:
                continue
            joins = flags[place] & JOINS != 0
            if place == start[rank]:
                # Where it would be the token's first character, the other root has it, unless a word goes on.
                if joins or not bounded:
                    continue
            elif bounded and joins and flags[place - 1] & JOINS:
                continue
            value = _completed(m, worth, soft, data, flags, place, start[rank + 1])
            found = value if found == 0 else min(found, value)
        if found != 0:
            if size and high[size - 1] == rank and weight[size - 1] == found:
                high[size - 1] = rank + 1
                continue
            if size == len(nodes):
                nodes, low, high, weight = _grown(nodes, low, high, weight)
            nodes[size], low[size], high[size], weight[size] = 1, rank, rank + 1, found
            size += 1
    return nodes[:size], low[:size], high[:size], weight[:size]


@njit(cache=True, nogil=True)
def _completed(m, worth, soft, data, flags, place, end):
    """The weight of a phrase that begins at ``place`` and is complete before ``end``, 0 without one."""
    node = 0
    for k in range(place, end):
        node = child(m, node, data[k])
        if node < 0:
            return np.float32(0.0)
        if not flags[k] & LAST:
            continue
        if soft:
            if k + 1 == end:
                return worth[node]
        elif accepts(m, node) & HARD or (
            accepts(m, node) & PENDING and k + 1 < end and not flags[k + 1] & JOINS
        ):
            return np.float32(-np.inf)
    return np.float32(0.0)


@njit(cache=True, nogil=True)
def _range(data, start, rest, lead):
    """The tokens that start with ``rest``, behind a space where ``lead`` is 1."""
    low, high = 0, len(start) - 1
    while low < high:
        middle = (low + high) >> 1
        if _compare(data, start[middle], start[middle + 1], rest, lead) < 0:
            low = middle + 1
        else:
            high = middle
    first, high = low, len(start) - 1
    while low < high:
        middle = (low + high) >> 1
        if _compare(data, start[middle], start[middle + 1], rest, lead) <= 0:
            low = middle + 1
        else:
            high = middle
    return first, low


@njit(cache=True, nogil=True)
def _compare(data, low, high, rest, lead):
    """A token's beginning against a prefix: negative, 0 or positive."""
    if lead:
        if low == high:
            return -1
        if data[low] != SPACE:
            return 1 if data[low] > SPACE else -1
        low += 1
    for k in range(len(rest)):
        if low + k == high:
            return -1
        if data[low + k] != rest[k]:
            return 1 if data[low + k] > rest[k] else -1
    return 0


@njit(cache=True, nogil=True)
def _until_longer(start, low, high, length):
    """Of tokens that share a prefix of this length, those that are no longer: they come first."""
    while low < high:
        middle = (low + high) >> 1
        if start[middle + 1] - start[middle] <= length:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _closing(flags, start, low, high, length):
    """The next run of tokens that go on, behind ``length`` bytes, with a character that does not join."""
    while low < high and (start[low + 1] - start[low] == length or flags[start[low] + length] & JOINS):
        low += 1
    end = low
    while end < high and not (start[end + 1] - start[end] == length or flags[start[end] + length] & JOINS):
        end += 1
    return low, end


@njit(cache=True, nogil=True)
def _empty(size):
    return (
        np.empty(size, dtype=np.int32),
        np.empty(size, dtype=np.int32),
        np.empty(size, dtype=np.int32),
        np.empty(size, dtype=np.float32),
    )


@njit(cache=True, nogil=True)
def _grown(nodes, low, high, weight):
    """The arrays with their contents and as much room again."""
    return (
        np.concatenate((nodes, np.empty_like(nodes))),
        np.concatenate((low, np.empty_like(low))),
        np.concatenate((high, np.empty_like(high))),
        np.concatenate((weight, np.empty_like(weight))),
    )
