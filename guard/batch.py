"""The loops of one batched step, compiled by numba: advance rows by tokens, collect what is forbidden."""

from __future__ import annotations

import numpy as np
from numba import njit

from guard.loops import PENDING, read


@njit(cache=True)
def advance(m, collapses, roots, bounded, lanes, nodes, pending, rows, tokens, starts, raw, raw_start):
    """Moves the lanes of rows by the tokens they have newly read.

    Args:
        m: the joined automata.
        collapses: their folding takes a run of separators as one.
        roots, bounded: of each table, its first root and whether phrases keep to word starts.
        lanes: int32 [R, L], the tables a row is watched by, -1 behind the last.
        nodes: int32 [R, L], where each lane is; changed.
        pending: int32 [R], bytes of an unfinished character; changed.
        rows: the rows that read something, n of them.
        tokens: their new tokens, one row's after another's.
        starts: where each row's begin, [n + 1].
        raw, raw_start: the bytes of each token, as in `Lexicon`.
    """
    for i in range(len(rows)):
        row = rows[i]
        before = pending[row]
        for lane in range(lanes.shape[1]):
            table = lanes[row, lane]
            if table < 0:
                break
            node, held = nodes[row, lane], before
            for token in tokens[starts[i] : starts[i + 1]]:
                for k in range(raw_start[token], raw_start[token + 1]):
                    node, held, _ = read(m, roots[table], bounded[table], collapses, node, held, raw[k])
            nodes[row, lane] = node
            pending[row] = held


@njit(cache=True)
def forbid(m, collapses, begin, low, high, weight, order, tails, closers, raw, raw_start,
           roots, bounded, lanes, nodes, pending, rows, width, places, weights):  # fmt: skip
    """Collects what the rows may not sample next.

    Args:
        m, collapses, roots, bounded, lanes, nodes, pending, rows: as in `advance`; nothing is changed.
        begin, low, high, weight: the joined tables' ranges.
        order: the token of each rank.
        tails, closers, raw, raw_start: as in `Lexicon`.
        width: V.
        places: int64, filled with i * V + token for the i-th of ``rows``.
        weights: float32, filled with what is added to each.

    Returns:
        How many there are; those that do not fit are counted only.
    """
    size = 0
    for i in range(len(rows)):
        row = rows[i]
        held = pending[row]
        for lane in range(lanes.shape[1]):
            table = lanes[row, lane]
            if table < 0:
                break
            node = nodes[row, lane]
            if m.accept[node] & PENDING:
                for token in closers:
                    if held and _goes_on(raw, raw_start, token):
                        continue
                    if size < len(places):
                        places[size], weights[size] = i * width + token, -np.inf
                    size += 1
            if held:
                for token in tails:
                    if _completes(
                        m, roots[table], bounded[table], collapses, node, held, raw, raw_start, token
                    ):
                        if size < len(places):
                            places[size], weights[size] = i * width + token, -np.inf
                        size += 1
            at = node
            while at >= 0:
                for span in range(begin[at, 0], begin[at, 1]):
                    for rank in range(low[span], high[span]):
                        token = order[rank]
                        if held and _goes_on(raw, raw_start, token):
                            continue  # judged above
                        if size < len(places):
                            places[size], weights[size] = i * width + token, weight[span]
                        size += 1
                at = m.fail[at]
    return size


@njit(cache=True)
def _goes_on(raw, raw_start, token):
    """True if a token goes on with an unfinished character."""
    return raw_start[token] < raw_start[token + 1] and 0x80 <= raw[raw_start[token]] < 0xC0


@njit(cache=True)
def _completes(m, root, bounded, collapses, node, held, raw, raw_start, token):
    for k in range(raw_start[token], raw_start[token + 1]):
        node, held, done = read(m, root, bounded, collapses, node, held, raw[k])
        if done:
            return True
    return False


@njit(cache=True)
def apply(logits, rows, places, weights, eos):
    """Adds weights to logits [B, V] in place; a row that is left without any token gets the end of text.

    ``places`` are i * V + token for the i-th of ``rows``.
    """
    width = logits.shape[1]
    for k in range(len(places)):
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
