"""One batched step, compiled by numba: advance rows by their tokens, collect what is forbidden, apply it.

The step is one call with few arguments, because between two steps a forward pass has emptied the caches, and
then each array that is handed over from Python costs a microsecond. So the arrays that stay come as handles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from guard.loops import FAIL, PENDING, SPAN, Machine, accepts, read


class Watch(NamedTuple):
    """What a step needs beside the automata of `Machine`, over n tables, V tokens, R rows and L lanes."""

    collapses: npt.NDArray[np.uint8]  # [1], the folding takes a run of separators as one
    roots: npt.NDArray[np.int32]  # [n], first root of each table
    bounded: npt.NDArray[np.uint8]  # [n], phrases of the table keep to word starts
    spans: npt.NDArray[np.int32]  # [r, 2], ranges of ranks, as in `guard.table.Arena`
    weight: npt.NDArray[np.float32]  # [r]
    order: npt.NDArray[np.int32]  # [V], token of each rank; this and the next as in `guard.table.Lexicon`
    tails: npt.NDArray[np.int32]
    closers: npt.NDArray[np.int32]
    raw: npt.NDArray[np.uint8]
    raw_start: npt.NDArray[np.int64]
    special: npt.NDArray[np.uint8]
    lanes: npt.NDArray[np.int32]  # [R * L], the tables that watch a row, -1 behind the last
    states: npt.NDArray[np.int32]  # [R * L], the node each lane is at
    pending: npt.NDArray[np.int32]  # [R], bytes of an unfinished character
    shown: npt.NDArray[np.uint8]  # [R], special tokens are part of the row's text


def handles(machine: Machine, watch: Watch) -> npt.NDArray[np.int64]:
    """Address and length of every array, int64 [k, 2]; the arrays must outlive it."""
    arrays: Sequence[npt.NDArray[Any]] = (*machine, *watch)
    assert all(array.flags.c_contiguous for array in arrays)
    return np.array([(array.ctypes.data, array.size) for array in arrays], dtype=np.int64)


@intrinsic
def _pointer(context, address):
    """An address as a pointer."""

    def build(_context, builder, _signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), build


@njit(cache=True)
def _machine(h):
    return Machine(
        carray(_pointer(h[0, 0]), (h[0, 1],), np.int16),
        carray(_pointer(h[1, 0]), (h[1, 1] // 256, 256), np.int32),
        carray(_pointer(h[2, 0]), (h[2, 1],), np.int32),
        carray(_pointer(h[3, 0]), (h[3, 1],), np.uint8),
        carray(_pointer(h[4, 0]), (h[4, 1],), np.uint8),
        carray(_pointer(h[5, 0]), (h[5, 1] // 4, 4), np.int32),
        carray(_pointer(h[6, 0]), (h[6, 1],), np.uint8),
    )


@njit(cache=True)
def _watch(h):
    return Watch(
        carray(_pointer(h[7, 0]), (h[7, 1],), np.uint8),
        carray(_pointer(h[8, 0]), (h[8, 1],), np.int32),
        carray(_pointer(h[9, 0]), (h[9, 1],), np.uint8),
        carray(_pointer(h[10, 0]), (h[10, 1] // 2, 2), np.int32),
        carray(_pointer(h[11, 0]), (h[11, 1],), np.float32),
        carray(_pointer(h[12, 0]), (h[12, 1],), np.int32),
        carray(_pointer(h[13, 0]), (h[13, 1],), np.int32),
        carray(_pointer(h[14, 0]), (h[14, 1],), np.int32),
        carray(_pointer(h[15, 0]), (h[15, 1],), np.uint8),
        carray(_pointer(h[16, 0]), (h[16, 1],), np.int64),
        carray(_pointer(h[17, 0]), (h[17, 1],), np.uint8),
        carray(_pointer(h[18, 0]), (h[18, 1],), np.int32),
        carray(_pointer(h[19, 0]), (h[19, 1],), np.int32),
        carray(_pointer(h[20, 0]), (h[20, 1],), np.int32),
        carray(_pointer(h[21, 0]), (h[21, 1],), np.uint8),
    )


@njit(cache=True)
def step(h, rows, tokens, starts, logits, height, width, eos, places, weights):
    """Advances rows, collects what they may not sample next and applies it.

    Args:
        h: from `handles`.
        rows: int64 [n], the rows that are watched.
        tokens: int64, what they have newly read, one row's after another's.
        starts: int64 [n + 1], where each row's begin.
        logits: address of float32 [height, width], changed; 0 leaves applying to the caller.
        height, width: B and V.
        eos: the tokens that a row is left with where no other is.
        places: int64, filled with i * V + token for the i-th of ``rows``.
        weights: float32, filled with what is added to each.

    Returns:
        How many places there are. If they do not fit nothing is applied: call again with more room and
        without tokens.
    """
    m, w = _machine(h), _watch(h)
    _advance(m, w, rows, tokens, starts)
    size = _collect(m, w, rows, width, places, weights)
    if logits != 0 and size <= len(places):
        _apply(carray(_pointer(logits), (height, width), np.float32), rows, places, weights, size, eos)
    return size


@njit(cache=True)
def _advance(m, w, rows, tokens, starts):
    """Moves the lanes of each row by its tokens."""
    width, collapses = len(w.lanes) // len(w.pending), w.collapses[0] != 0
    for i in range(len(rows)):
        row = rows[i]
        before = w.pending[row]
        if starts[i] == starts[i + 1]:
            continue
        for lane in range(row * width, (row + 1) * width):
            table = w.lanes[lane]
            if table < 0:
                break
            root, bounded = w.roots[table], w.bounded[table] != 0
            node, held = w.states[lane], before
            for token in tokens[starts[i] : starts[i + 1]]:
                if w.special[token]:
                    # Shown, it stands between what is before and behind. Not shown, it hides no phrase under
                    # way, but a new one may begin behind it.
                    if w.shown[row]:
                        node, held = root, 0
                    elif node == root + 1:
                        node = root
                for k in range(w.raw_start[token], w.raw_start[token + 1]):
                    node, held, _ = read(m, root, bounded, collapses, node, held, w.raw[k])
            w.states[lane] = node
            w.pending[row] = held


@njit(cache=True)
def _collect(m, w, rows, vocabulary, places, weights):
    """Notes what each row may not sample next; how many there are, also those that do not fit."""
    width, collapses = len(w.lanes) // len(w.pending), w.collapses[0] != 0
    size = 0
    for i in range(len(rows)):
        row = rows[i]
        held = w.pending[row]
        for lane in range(row * width, (row + 1) * width):
            table = w.lanes[lane]
            if table < 0:
                break
            at = w.states[lane]
            if accepts(m, at) & PENDING:
                for token in w.closers:
                    if not (held and _goes_on(w, token)):
                        size = _note(places, weights, size, i * vocabulary + token, -np.inf)
            if held:
                root, bounded = w.roots[table], w.bounded[table] != 0
                for token in w.tails:
                    if _completes(m, w, root, bounded, collapses, at, held, token):
                        size = _note(places, weights, size, i * vocabulary + token, -np.inf)
            while at >= 0:
                for span in range(m.nodes[at, SPAN], m.nodes[at + 1, SPAN]):
                    for rank in range(w.spans[span, 0], w.spans[span, 1]):
                        token = w.order[rank]
                        # One that goes on with an unfinished character was judged above.
                        if not (held and _goes_on(w, token)):
                            size = _note(places, weights, size, i * vocabulary + token, w.weight[span])
                at = m.nodes[at, FAIL]
    return size


@njit(cache=True)
def _note(places, weights, size, place, weight):
    if size < len(places):
        places[size], weights[size] = place, weight
    return size + 1


@njit(cache=True)
def _goes_on(w, token):
    """True if a token goes on with an unfinished character."""
    begin = w.raw_start[token]
    return begin < w.raw_start[token + 1] and 0x80 <= w.raw[begin] < 0xC0


@njit(cache=True)
def _completes(m, w, root, bounded, collapses, node, held, token):
    """True if a token completes a phrase."""
    for k in range(w.raw_start[token], w.raw_start[token + 1]):
        node, held, done = read(m, root, bounded, collapses, node, held, w.raw[k])
        if done:
            return True
    return False


@njit(cache=True)
def _apply(logits, rows, places, weights, size, eos):
    """Adds weights to logits in place; a row that is left without any token gets the end of text."""
    width = logits.shape[1]
    for k in range(size):
        i = places[k] // width
        logits[rows[i], places[k] - i * width] += weights[k]
    for row in rows:
        alive = False
        for token in range(width):
            if logits[row, token] > -np.inf:
                alive = True
                break
        if not alive:
            for token in eos:
                logits[row, token] = 0.0
