"""The loop of the hold-back filter, compiled by numba."""

from __future__ import annotations

from numba import njit

from guard.loops import SPACE, decode, take
from guard.transducer import DROPPED, VERBATIM


@njit(cache=True, nogil=True)
def hold(m, depth, bounded, collapses, state, origins, data):
    """Reads whole characters of a response and tells from where on it must be held back.

    Args:
        m, bounded, collapses: an automaton, its root being node 0.
        depth: int32 [S], folded bytes of the phrase prefix each node stands for.
        state: int64 [4], changed: the node, folded bytes read, bytes read, and the byte from which on the
            text may still become a phrase.
        origins: int64 [longest phrase], changed: where in the text each of the latest folded bytes came from.
        data: the next bytes.

    Returns:
        How many of them were read when a phrase was completed, -1 if none was. The held text then begins
        where it began before the last character.
    """
    pending, begin = 0, state[2]
    for i in range(len(data)):
        if not pending:
            begin = state[2]
        code, pending = decode(pending, data[i])
        state[2] += 1
        if code >= 0:
            _mark(m, collapses, state, origins, code, begin)
            node, done = take(m, 0, bounded, collapses, state[0], code)
            if done:
                return i + 1
            state[0] = node
        live = depth[state[0]]
        if live:
            state[3] = origins[(state[1] - live) % len(origins)]
        elif not pending:
            state[3] = state[2]
    return -1


@njit(cache=True, nogil=True)
def _mark(m, collapses, state, origins, code, begin):
    """Notes where the folded bytes of a character come from."""
    output = m.blocks[m.pages[code >> 8], code & 255]
    if output == DROPPED:
        return
    low, high = m.out_start[output], m.out_start[output + 1]
    if output == VERBATIM:
        low, high = 0, 3 if code < 0x10000 else 4
    spaced = state[0] > 1 and m.byte[state[0]] == SPACE
    for k in range(low, high):
        # A further separator of a run is not read as a byte.
        space = collapses and output != VERBATIM and m.out[k] == SPACE
        if not (space and spaced):
            origins[state[1] % len(origins)] = begin
            state[1] += 1
        spaced = space
