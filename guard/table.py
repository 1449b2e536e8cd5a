"""An automaton over a vocabulary: which tokens each node forbids.

At a node, a token completes a phrase if it starts with what is left of one. Those tokens are neighbours in
the vocabulary sorted by folded bytes, so a ban is a range of ranks, and no node needs a mask over all tokens.
What a node forbids is its own ranges and those of its suffixes, down to the roots: the root "at a boundary"
has the tokens that start with a whole phrase, the root "inside a word" those with one further in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from guard import ranges
from guard.automaton import Automaton, Rule
from guard.loops import SPACE, Machine, pack
from guard.normalize import Folding
from guard.transducer import JOINS, transducer
from guard.types import Boundary
from guard.vocabulary import Vocabulary


@dataclass(frozen=True)
class Lexicon:
    """The tokens of a vocabulary as one folding reads them.

    Attributes:
        folding: the folding.
        order: int32 [V], token ids sorted by folded bytes; the place of an id is its rank.
        data: uint8 [k], folded bytes of all tokens in that order.
        flags: uint8 [k], FIRST, LAST and JOINS of each byte.
        start: int64 [V + 1], where each token's bytes begin.
        letters: int32 [V], folded bytes of each token id that are no space.
        special: uint8 [V], 1 for each token id that stands for structure and has no text.
        raw: uint8, the tokens' own bytes in the order of their ids.
        raw_start: int64 [V + 1], where each token's begin.
        tails: int32, ids of the tokens that start in the middle of a character.
        closers: int32, ids of the tokens that end a word: by their first character, or with the response.
    """

    folding: Folding
    order: npt.NDArray[np.int32]
    data: npt.NDArray[np.uint8]
    flags: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int64]
    letters: npt.NDArray[np.int32]
    special: npt.NDArray[np.uint8]
    raw: npt.NDArray[np.uint8]
    raw_start: npt.NDArray[np.int64]
    tails: npt.NDArray[np.int32]
    closers: npt.NDArray[np.int32]

    @classmethod
    def of(cls, vocabulary: Vocabulary, folding: Folding) -> Lexicon:
        """Folds and sorts a vocabulary's tokens."""
        tokens = list(vocabulary.tokens)
        data, flags, start = transducer(folding).fold_each(tokens)
        joined = data.tobytes()
        folded = [joined[a:b] for a, b in zip(start[:-1].tolist(), start[1:].tolist(), strict=True)]
        order = np.array(sorted(range(len(folded)), key=folded.__getitem__), dtype=np.int32)
        spelled = np.flatnonzero(np.diff(start))
        opening = spelled[flags[start[spelled]] & JOINS == 0]
        closing = {*opening.tolist(), *vocabulary.special, *vocabulary.eos}
        lengths = np.diff(start)[order]
        places = np.zeros(len(order) + 1, dtype=np.int64)
        np.cumsum(lengths, out=places[1:])
        taken = np.repeat(start[:-1][order] - places[:-1], lengths) + np.arange(places[-1])
        seen = np.concatenate([[0], np.cumsum(data != SPACE)])
        raw_start = np.zeros(len(tokens) + 1, dtype=np.int64)
        np.cumsum([len(token) for token in tokens], out=raw_start[1:])
        special = np.zeros(len(tokens), dtype=np.uint8)
        special[list(vocabulary.special)] = 1
        tails = [i for i, token in enumerate(tokens) if token and 0x80 <= token[0] < 0xC0]
        return cls(
            folding,
            order,
            data[taken],
            flags[taken],
            places,
            np.diff(seen[start]).astype(np.int32),
            special,
            np.frombuffer(b"".join(tokens), dtype=np.uint8),
            raw_start,
            np.array(tails, dtype=np.int32),
            np.array(sorted(closing), dtype=np.int32),
        )


@dataclass(frozen=True)
class Table:
    """What each node of an automaton forbids.

    Attributes:
        automaton: the automaton, with S nodes.
        begin: int32 [S + 1], where each node's ranges begin.
        low: int32 [r], first rank of each range.
        high: int32 [r], the rank behind its last.
        weight: float32 [r], what is added to the logits of its tokens; -inf forbids them.
    """

    automaton: Automaton
    begin: npt.NDArray[np.int32]
    low: npt.NDArray[np.int32]
    high: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]

    @classmethod
    def compile(cls, automaton: Automaton, lexicon: Lexicon) -> Table:
        """The table of an automaton; ``lexicon`` is of its folding."""
        rule, soft = automaton.rule, automaton.weights is not None
        weights = automaton.weights if soft else np.full(len(automaton.start) - 1, -np.inf, dtype=np.float32)
        phrases = (automaton.data, automaton.flags, automaton.start, weights)
        entries = (lexicon.data, lexicon.flags, lexicon.start)
        closes = rule.boundary is Boundary.BOTH
        found = ranges.begun(automaton.machine, *phrases, soft, closes, rule.collapses, *entries)
        inner = ranges.inside(automaton.machine, *phrases, soft, rule.bounded, *entries)
        nodes, low, high, weight = (np.concatenate(pair) for pair in zip(found, inner, strict=True))
        order = np.argsort(nodes, kind="stable")
        begin = np.zeros(automaton.nodes + 1, dtype=np.int32)
        np.cumsum(np.bincount(nodes, minlength=automaton.nodes), out=begin[1:])
        return cls(automaton, begin, low[order], high[order], weight[order])

    @classmethod
    def of_token(cls, token: int, lexicon: Lexicon) -> Table:
        """The table that forbids one token at every step and nothing else."""
        rank = np.flatnonzero(lexicon.order == token).astype(np.int32)
        nothing = Automaton.build((), Rule(lexicon.folding))
        weight = np.full(1, -np.inf, dtype=np.float32)
        # At the root that every chain ends in.
        return cls(nothing, np.array([0, 0, 1], dtype=np.int32), rank, rank + 1, weight)

    @property
    def nbytes(self) -> int:
        """Memory of the tables, the automaton's included."""
        own = (getattr(self, field.name) for field in fields(self))
        return sum(table.nbytes for table in own)


@dataclass(frozen=True)
class Arena:
    """Tables of one folding joined into one, so that a single loop steps them all.

    Attributes:
        lexicon: their vocabulary.
        machine: their automata; node numbers of table i are shifted by ``roots[i]``. A node's ranges begin
            where it says and end where those of the next node begin.
        roots: int32 [n], the first root of each.
        bounded: uint8 [n], phrases of the table start only where words do.
        spans: int32 [r, 2], their ranges, first rank and the one behind the last.
        weight: float32 [r], as in Table.
    """

    tables: tuple[Table, ...]
    lexicon: Lexicon
    machine: Machine
    roots: npt.NDArray[np.int32]
    bounded: npt.NDArray[np.uint8]
    spans: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]

    @classmethod
    def join(cls, tables: Sequence[Table], lexicon: Lexicon) -> Arena:
        """The tables, which are of the lexicon's folding, in the given order."""
        automata = [table.automaton for table in tables]
        sizes = np.cumsum([0, *(automaton.nodes for automaton in automata)])
        counts = np.cumsum([0, *(len(table.low) for table in tables)])
        shifted = list(zip(tables, sizes.tolist(), counts.tolist(), strict=False))
        nodes = pack(
            _joined((t.automaton.first + size for t, size, _ in shifted), np.int32),
            _joined((a.children for a in automata), np.int32),
            _joined((a.accept for a in automata), np.uint8),
            _joined(
                (np.where(t.automaton.fail < 0, -1, t.automaton.fail + n) for t, n, _ in shifted), np.int32
            ),
            _joined([*(t.begin[:-1] + count for t, _, count in shifted), counts[-1:]], np.int32),
        )
        return cls(
            tuple(tables),
            lexicon,
            Machine(
                *transducer(lexicon.folding).arrays, nodes, _joined((a.byte for a in automata), np.uint8)
            ),
            sizes[:-1].astype(np.int32),
            np.array([automaton.rule.bounded for automaton in automata], dtype=np.uint8),
            np.stack(
                [_joined((getattr(t, end) for t in tables), np.int32) for end in ("low", "high")], axis=1
            ),
            _joined((table.weight for table in tables), np.float32),
        )

    @property
    def collapses(self) -> bool:
        """True if a run of separators counts as one."""
        return transducer(self.lexicon.folding).collapses


def _joined(arrays: Iterable[npt.NDArray[Any]], kind: Any) -> npt.NDArray[Any]:
    """The arrays in a row, of one type; empty without any."""
    joined: npt.NDArray[Any] = np.concatenate([np.empty(0, dtype=kind), *(a.reshape(-1) for a in arrays)])
    return joined.astype(kind, copy=False)
