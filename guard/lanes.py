"""Where each row of the batch stands in the tables that watch it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from guard import batch
from guard.table import Arena, Lexicon, Table

Integers = npt.NDArray[np.int64]


class Lanes:
    """Rows against the joined tables of one folding: a lane is one row in one table."""

    def __init__(self, lexicon: Lexicon) -> None:
        """Starts without tables and without rows."""
        self._lexicon = lexicon
        self._places: dict[int, int] = {}
        self._longest = 0
        self.arena = Arena.join((), lexicon)
        self._tables = np.full((0, 1), -1, dtype=np.int32)
        self._nodes = np.zeros((0, 1), dtype=np.int32)
        self._pending = np.zeros(0, dtype=np.int32)
        self._shown = np.zeros(0, dtype=np.uint8)
        self._handles: npt.NDArray[np.int64] | None = None

    def open(self, row: int, tables: Sequence[Table], shown: bool) -> None:
        """Puts a row at the start of these tables; whatever it held before is gone.

        ``shown`` says that special tokens are part of its text.
        """
        fresh = [table for table in tables if id(table) not in self._places]
        if fresh:
            # The arena keeps its tables alive, so their ids stay theirs.
            self.arena = Arena.join([*self.arena.tables, *fresh], self._lexicon)
            self._longest = max(table.automaton.longest for table in self.arena.tables)
            self._places = {id(table): place for place, table in enumerate(self.arena.tables)}
            self._handles = None
        self._fit(row + 1, len(tables))
        places = [self._places[id(table)] for table in tables]
        self._tables[row] = -1
        self._tables[row, : len(places)] = places
        self._nodes[row, : len(places)] = self.arena.roots[places]
        self._pending[row], self._shown[row] = 0, shown

    def close(self, row: int) -> None:
        """Takes a row out of all tables."""
        if row < len(self._tables):
            self._tables[row] = -1

    def swap(self, one: int, other: int) -> None:
        """Exchanges two rows."""
        self._fit(max(one, other) + 1, 1)
        for array in (self._tables, self._nodes, self._pending, self._shown):
            array[[one, other]] = array[[other, one]]

    def tail(self, prompt: Sequence[int], special: frozenset[int]) -> list[int]:
        """The end of the prompt's last message that a phrase may have begun in.

        A response continues it directly; a special token before it separates another message, and so does a
        token outside the vocabulary, which stands for an image or the like.
        """
        letters, missing, at = self._lexicon.letters, self._longest, len(prompt)
        # One letter more than the longest phrase tells whether a word starts there.
        while at > 0 and missing >= 0 and prompt[at - 1] not in special and prompt[at - 1] < len(letters):
            at -= 1
            missing -= int(letters[prompt[at]])
        return list(prompt[at:])

    def step(
        self,
        rows: Integers,
        tokens: Integers,
        starts: Integers,
        logits: tuple[int, int, int],
        eos: Integers,
        room: tuple[Integers, npt.NDArray[np.float32]],
    ) -> int:
        """Steps rows: arguments and result as `guard.batch.step`; ``logits`` is its address and shape."""
        if self._handles is None:
            arena, lexicon = self.arena, self._lexicon
            watch = batch.Watch(
                np.array([arena.collapses], dtype=np.uint8), arena.roots, arena.bounded,
                arena.spans, arena.weight,
                lexicon.order, lexicon.tails, lexicon.closers, lexicon.raw, lexicon.raw_start,
                lexicon.special, self._tables, self._nodes, self._pending, self._shown,
            )  # fmt: skip
            self._kept = watch, arena.machine  # the handles are good as long as the arrays are there
            self._handles = batch.handles(arena.machine, watch)
        return int(batch.step(self._handles, rows, tokens, starts, *logits, eos, *room))

    def _fit(self, rows: int, lanes: int) -> None:
        """Makes room for this many rows and lanes."""
        have, width = self._tables.shape
        if rows <= have and lanes <= width:
            return
        # Doubled, so that a growing batch is not copied at every request.
        more = max(rows - have, have) if rows > have else 0
        room = ((0, more), (0, max(lanes - width, 0)))
        self._tables = np.pad(self._tables, room, constant_values=-1)
        self._nodes = np.pad(self._nodes, room)
        self._pending, self._shown = np.pad(self._pending, room[0]), np.pad(self._shown, room[0])
        self._handles = None
