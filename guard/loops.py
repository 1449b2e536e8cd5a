"""The inner loops over bytes, compiled by numba: decode UTF-8, fold, move an automaton.

Imported only where they are needed: numba takes a second to import.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite.binding import ffi
from numba import njit

from guard.transducer import DROPPED, FIRST, JOINS, LAST, VERBATIM


def _hide_specials(handle):
    """Makes a library handle of numba's raise AttributeError for special names, as any object does.

    It takes every name for a function of the library, so it seems to have a ``__dict__`` that is none. vLLM's
    CPU worker (0.32) looks at the ``__dict__`` of all objects in all modules, and would not start.
    """
    look_up = handle.__getattr__

    def look_up_plain(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return look_up(self, name)

    handle.__getattr__ = look_up_plain


_hide_specials(type(ffi.lib))

SPACE = 0x20
HARD, PENDING = 1, 2
"""Bits of what a node accepts: a phrase ends here; one ends here if the word does too."""

CHILD, STATE, FAIL, SPAN = 0, 1, 2, 3
"""Columns of `Machine.nodes`: first child; number of children, and what is accepted from bit 16 on; longest
proper suffix that is under way too, -1 without one; first range (`guard.table`)."""


class Machine(NamedTuple):
    """Arrays of an automaton, or of several joined ones, with the folding they read through.

    Node ``root`` of each automaton stands for "at a boundary", ``root + 1`` for "inside a word", both without
    a phrase under way; the children of a node follow one another, ordered by their byte.
    """

    pages: npt.NDArray[np.int16]  # [4352], as in Transducer
    blocks: npt.NDArray[np.int32]
    out_start: npt.NDArray[np.int32]
    out: npt.NDArray[np.uint8]
    out_flags: npt.NDArray[np.uint8]
    nodes: npt.NDArray[np.int32]  # [S + 1, 4], from `pack`
    byte: npt.NDArray[np.uint8]  # [S], the byte that leads to the node


def pack(
    first: npt.NDArray[np.int32],
    children: npt.NDArray[np.int32],
    accept: npt.NDArray[np.uint8],
    fail: npt.NDArray[np.int32],
    spans: npt.NDArray[np.int32],
) -> npt.NDArray[np.int32]:
    """What is known of each node, side by side, so that a step finds it in one line of the cache.

    ``spans`` [S + 1] is where the ranges of each node begin; the last row only ends those of the last node.
    """
    nodes = np.zeros((len(first) + 1, 4), dtype=np.int32)
    nodes[:-1, CHILD], nodes[:-1, FAIL], nodes[:, SPAN] = first, fail, spans
    nodes[:-1, STATE] = children | accept.astype(np.int32) << 16
    return nodes


@njit(cache=True, nogil=True)
def accepts(m, node):
    """HARD and PENDING, of the node and its suffixes."""
    return m.nodes[node, STATE] >> 16


@njit(cache=True, nogil=True)
def decode(pending, byte):
    """Reads one byte after ``pending`` bytes of a character (packed, 0 for none).

    Returns the code point, or -1 if none ends here, and what is pending now. Invalid bytes are dropped.
    """
    if pending:
        lead, length = pending, 1
        while lead > 0xFF:
            lead, length = lead >> 8, length + 1
        low, high = 0x80, 0xBF
        if length == 1:
            # Second bytes that would spell overlong forms, surrogates, or code points past the last.
            if lead == 0xE0:
                low = 0xA0
            elif lead == 0xED:
                high = 0x9F
            elif lead == 0xF0:
                low = 0x90
            elif lead == 0xF4:
                high = 0x8F
        if low <= byte <= high:
            total = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            packed = (pending << 8) | byte
            if length + 1 < total:
                return -1, packed
            if total == 2:
                return ((packed >> 8 & 0x1F) << 6) | (packed & 0x3F), 0
            if total == 3:
                return ((packed >> 16 & 0x0F) << 12) | ((packed >> 8 & 0x3F) << 6) | (packed & 0x3F), 0
            return (
                ((packed >> 24 & 0x07) << 18)
                | ((packed >> 16 & 0x3F) << 12)
                | ((packed >> 8 & 0x3F) << 6)
                | (packed & 0x3F)
            ), 0
    if byte < 0x80:
        return byte, 0
    if 0xC2 <= byte <= 0xF4:
        return -1, byte
    return -1, 0


@njit(cache=True, nogil=True)
def child(m, node, byte):
    """The child by a byte, -1 without one."""
    low = m.nodes[node, CHILD]
    high = low + (m.nodes[node, STATE] & 0xFFFF)
    while high - low > 4:
        middle = (low + high) >> 1
        if m.byte[middle] <= byte:
            low = middle
        else:
            high = middle
    for i in range(low, high):
        if m.byte[i] == byte:
            return i
    return -1


@njit(cache=True, nogil=True)
def move(m, root, node, byte, flags):
    """The longest phrase under way after a byte; -1 if none is, until the character ends."""
    while node >= 0:
        # Inside a word, only a character that does not join it can begin a phrase.
        if node != root + 1 or not flags & JOINS:
            found = child(m, node, byte)
            if found >= 0:
                return found
        node = m.nodes[node, FAIL]
    return -1


@njit(cache=True, nogil=True)
def settle(root, bounded, node, flags):
    """The node after a byte: where a character ended without a phrase under way, one of the two roots."""
    if node >= 0 or not flags & LAST:
        return node
    return root + 1 if bounded and flags & JOINS else root


@njit(cache=True, nogil=True)
def take(m, root, bounded, collapses, node, code):
    """Reads a character: the node, and whether a phrase was completed."""
    output = m.blocks[m.pages[code >> 8], code & 255]
    if output == DROPPED:
        return node, False
    done = False
    if output == VERBATIM:
        # Only characters of three and four bytes are verbatim, and words do not go on across them.
        done = accepts(m, node) & PENDING != 0
        shift = 12 if code < 0x10000 else 18
        head = 0xE0 | (code >> 12) if code < 0x10000 else 0xF0 | (code >> 18)
        node = move(m, root, node, head, FIRST)
        while shift > 0:
            shift -= 6
            flags = LAST if shift == 0 else 0
            node = settle(root, bounded, move(m, root, node, 0x80 | (code >> shift & 0x3F), flags), flags)
        return node, done or accepts(m, node) & HARD != 0
    for k in range(m.out_start[output], m.out_start[output + 1]):
        value, flags = m.out[k], m.out_flags[k]
        if flags & FIRST and not flags & JOINS and accepts(m, node) & PENDING:
            done = True
        if collapses and value == SPACE and (node == root or (node > root + 1 and m.byte[node] == SPACE)):
            continue
        node = settle(root, bounded, move(m, root, node, value, flags), flags)
        if flags & LAST and accepts(m, node) & HARD:
            done = True
    return node, done


@njit(cache=True, nogil=True)
def read(m, root, bounded, collapses, node, pending, byte):
    """Reads a byte of text: the node, the bytes pending, and whether a phrase was completed."""
    code, pending = decode(pending, byte)
    if code < 0:
        return node, pending, False
    node, done = take(m, root, bounded, collapses, node, code)
    return node, pending, done


@njit(cache=True, nogil=True)
def walk(m, root, bounded, collapses, node, pending, data):
    """Reads bytes: the node, the bytes pending, and how many were read when a phrase was completed, or -1."""
    for i in range(len(data)):
        node, pending, done = read(m, root, bounded, collapses, node, pending, data[i])
        if done:
            return node, pending, i + 1
    return node, pending, -1


@njit(cache=True, nogil=True)
def fold_each(pages, blocks, out_start, out, out_flags, collapses, data, start):
    """Folds texts that lie in a row: folded bytes, flags, and where each text's begin."""
    size = 0
    folded = np.empty(max(16, 2 * len(data)), dtype=np.uint8)
    flags = np.empty(len(folded), dtype=np.uint8)
    begin = np.zeros(len(start), dtype=np.int64)
    for text in range(len(start) - 1):
        pending, spaced = 0, False
        for i in range(start[text], start[text + 1]):
            code, pending = decode(pending, data[i])
            if code < 0:
                continue
            if size + 64 > len(folded):
                folded = np.concatenate((folded, np.empty(len(folded), dtype=np.uint8)))
                flags = np.concatenate((flags, np.empty(len(flags), dtype=np.uint8)))
            output = blocks[pages[code >> 8], code & 255]
            if output == VERBATIM:
                spaced = False
                shift = 12 if code < 0x10000 else 18
                folded[size] = 0xE0 | (code >> 12) if code < 0x10000 else 0xF0 | (code >> 18)
                flags[size] = FIRST
                size += 1
                while shift > 0:
                    shift -= 6
                    folded[size] = 0x80 | (code >> shift & 0x3F)
                    flags[size] = LAST if shift == 0 else 0
                    size += 1
                continue
            for k in range(out_start[output], out_start[output + 1]):
                if collapses and out[k] == SPACE:
                    if spaced:
                        continue
                    spaced = True
                else:
                    spaced = False
                folded[size] = out[k]
                flags[size] = out_flags[k]
                size += 1
        begin[text + 1] = size
    return folded[:size].copy(), flags[:size].copy(), begin
