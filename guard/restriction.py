"""One batch step at token level: advance each row by its new tokens, then ban what would complete a phrase.

HOT: runs once per decoding step in the engine. State is derived from the list of generated tokens alone,
never from how often a step ran: chunked prefill, preemption and row moves then cannot disturb it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from guard.errors import VocabularyError
from guard.lanes import Integers, Lanes
from guard.normalize import Folding
from guard.table import Table
from guard.tables import Tables


@dataclass(slots=True)
class Row:
    """One sequence in the batch.

    Attributes:
        prompt_ids: prompt tokens.
        target_ids: routed targets; None enforces every target of the snapshot.
        probe: a token to forbid instead of any string, for the server's self-check.
        outputs: live list of the generated tokens.
        shown: special tokens are part of the response's text.
        lanes: the lanes that watch the row.
        tail: the end of the prompt that they start with.
        consumed: how many of the outputs they have read, -1 before the tail.
        fresh: what they read in this step.
        version: the snapshot they belong to.
    """

    prompt_ids: Sequence[int]
    target_ids: tuple[str, ...] | None
    probe: int | None
    outputs: Sequence[int]
    shown: bool = False
    lanes: tuple[Lanes, ...] = ()
    tail: list[int] = field(default_factory=list)
    consumed: int = -1
    fresh: Sequence[int] = ()
    version: str = ""

    def read(self) -> None:
        """Takes what was generated since the last call as ``fresh``; first the prompt's tail comes too."""
        done, self.consumed = self.consumed, len(self.outputs)
        self.fresh = [*self.tail, *self.outputs] if done < 0 else self.outputs[done:]


class Enforcer:
    """Applies a snapshot's forbidden strings to batches of logits. The caller numbers the rows."""

    def __init__(self, tables: Tables) -> None:
        """Starts with an empty batch."""
        self.tables = tables
        self.rows: dict[int, Row] = {}
        self._eos = np.array(tables.vocabulary.eos, dtype=np.int64)
        self._room = np.empty(4096, dtype=np.int64), np.empty(4096, dtype=np.float32)
        self._version = ""
        # Two sets of lanes a folding, because routed tables join one by one, and joining copies the others.
        self._lanes: dict[tuple[Folding, bool], Lanes] = {}
        self._groups: list[tuple[Lanes, Integers, list[Row]]] = []
        self._watched: list[Row] = []
        self._moved = True  # rows came, went or moved since the groups were made

    def open(self, index: int, row: Row) -> None:
        """Takes a row into the batch, with whatever it has generated already."""
        self.close(index)
        self.rows[index] = row

    def close(self, index: int) -> None:
        """Takes a row out of the batch."""
        self._moved = True
        row = self.rows.pop(index, None)
        if row and row.version == self._version:
            for lanes in row.lanes:
                lanes.close(index)

    def move(self, source: int, target: int, *, swap: bool = False) -> None:
        """Gives a row another number; a row that had it goes, or takes the old one."""
        self._moved = True
        if not swap:
            self.close(target)
        for lanes in self._lanes.values():
            lanes.swap(source, target)
        moved = {source: self.rows.pop(target, None), target: self.rows.pop(source, None)}
        self.rows.update((index, row) for index, row in moved.items() if row is not None)

    def step(self, logits_BV: torch.Tensor) -> None:
        """Sets the logits of forbidden tokens to -inf in place, and lowers those of penalised ones.

        A watched row that is left without any token, by the bans or by masks set earlier, ends: the sampler
        would return token 0 otherwise. So does a row whose history holds placeholders.
        """
        if self._moved or self._version != self.tables.snapshot.version:
            self._arrange()
        for row in self._watched:
            row.read()
        for lanes, rows, members in self._groups:
            tokens: list[int] = []
            starts = [0]
            for row in members:
                tokens += row.fresh
                starts.append(len(tokens))
            # An asynchronous scheduler writes -1 for a token that is not known yet.
            if tokens and min(tokens) < 0:
                self._end(logits_BV, [i for i in rows if min(self.rows[i].fresh, default=0) < 0])
                tokens = [max(token, 0) for token in tokens]
            self._step(lanes, rows, np.array(tokens, dtype=np.int64), np.array(starts), logits_BV)

    def _step(
        self, lanes: Lanes, rows: Integers, tokens: Integers, starts: Integers, logits_BV: torch.Tensor
    ) -> None:
        """Steps the rows of one set of lanes."""
        if logits_BV.shape[1] < self.tables.vocabulary.size:
            raise VocabularyError(
                f"the logits have {logits_BV.shape[1]} columns, the vocabulary {self.tables.vocabulary.size} "
                "tokens; the tokenizer is not the model's"
            )
        plain = logits_BV.dtype is torch.float32 and logits_BV.is_contiguous()
        direct = plain and logits_BV.device.type == "cpu"
        place = (logits_BV.data_ptr() if direct else 0, *logits_BV.shape)
        count = lanes.step(rows, tokens, starts, place, self._eos, self._room)
        if count > len(self._room[0]):
            self._room = np.empty(2 * count, dtype=np.int64), np.empty(2 * count, dtype=np.float32)
            count = lanes.step(rows, tokens[:0], np.zeros_like(starts), place, self._eos, self._room)
        if not direct:
            self._apply(logits_BV, rows, self._room[0][:count], self._room[1][:count])

    def _apply(
        self, logits_BV: torch.Tensor, rows: Integers, places: Integers, weights: npt.NDArray[np.float32]
    ) -> None:
        """Adds the weights on the logits' device; rows left without a token get the end of text."""
        width, device = logits_BV.shape[1], logits_BV.device
        taken = [rows[places // width], places % width, weights, rows, self._eos]
        at, tokens, added, chosen, eos = (torch.tensor(a).to(device, non_blocking=True) for a in taken)
        logits_BV.index_put_((at, tokens), added.to(logits_BV.dtype), accumulate=True)
        dead = logits_BV[chosen].amax(1, keepdim=True) == -torch.inf
        ends = logits_BV[chosen[:, None], eos]
        logits_BV[chosen[:, None], eos] = torch.where(dead, torch.zeros_like(ends), ends)

    def _end(self, logits_BV: torch.Tensor, rows: Sequence[int]) -> None:
        """Leaves rows nothing but the end of text; they start afresh once their tokens are known."""
        for index in rows:
            logits_BV[index] = -torch.inf
            logits_BV[index, self._eos] = 0.0
            self.rows[index].version = ""
        self._moved = True

    def _arrange(self) -> None:
        """Groups the rows by the lanes that watch them; rows that are new to the snapshot start afresh."""
        if self._version != self.tables.snapshot.version:
            self._version, self._lanes = self.tables.snapshot.version, {}
        groups: dict[Lanes, list[int]] = {}
        for index, row in self.rows.items():
            if row.version != self._version:
                self._rebase(index, row)
            for lanes in row.lanes:
                groups.setdefault(lanes, []).append(index)
        self._groups = [
            (lanes, np.array(indices), [self.rows[i] for i in indices]) for lanes, indices in groups.items()
        ]
        self._watched = [row for row in self.rows.values() if row.lanes]
        self._moved = False

    def _rebase(self, index: int, row: Row) -> None:
        """Starts a row afresh on the current snapshot from the tail of its prompt."""
        groups: dict[Lanes, list[Table]] = {}
        for table in self.tables.of(row.target_ids, row.probe):
            groups.setdefault(self._lanes_of(table), []).append(table)
        for lanes, tables in groups.items():
            lanes.open(index, tables, row.shown)
        row.lanes = tuple(groups)
        tails = (lanes.tail(row.prompt_ids, self.tables.vocabulary.special) for lanes in row.lanes)
        row.tail = max(tails, key=len, default=[])
        row.consumed = -1
        row.version = self._version

    def _lanes_of(self, table: Table) -> Lanes:
        key = table.automaton.rule.folding, self.tables.always(table)
        if key not in self._lanes:
            self._lanes[key] = Lanes(self.tables.lexicon(key[0]))
        return self._lanes[key]
