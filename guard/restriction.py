"""One batch step at token level: advance each row by its new tokens, then ban what would complete a phrase.

HOT: runs once per decoding step in the engine. State is derived from the list of generated tokens alone,
never from how often a step ran: chunked prefill, preemption and row moves then cannot disturb it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from guard import batch
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
        lanes: the lanes that watch the row.
        tail: the end of the prompt that they start with.
        consumed: how many of the outputs they have read, -1 before the tail.
        version: the snapshot they belong to.
    """

    prompt_ids: Sequence[int]
    target_ids: tuple[str, ...] | None
    probe: int | None
    outputs: Sequence[int]
    lanes: tuple[Lanes, ...] = ()
    tail: list[int] = field(default_factory=list)
    consumed: int = -1
    version: str = ""

    def news(self) -> Sequence[int]:
        """The tokens that the lanes have not read."""
        if self.consumed == len(self.outputs):
            return ()
        if self.consumed < 0:
            return [*self.tail, *self.outputs]
        return self.outputs[self.consumed :]


class Enforcer:
    """Applies a snapshot's forbidden strings to batches of logits. The caller numbers the rows."""

    def __init__(self, tables: Tables) -> None:
        """Starts with an empty batch."""
        self.tables = tables
        self.rows: dict[int, Row] = {}
        self._eos = np.array(tables.vocabulary.eos, dtype=np.int64)
        self._places = np.empty(4096, dtype=np.int64)
        self._weights = np.empty(4096, dtype=np.float32)
        self._version = ""
        # Two sets of lanes a folding, because routed tables join one by one, and joining copies the others.
        self._lanes: dict[tuple[Folding, bool], Lanes] = {}

    def open(self, index: int, row: Row) -> None:
        """Takes a row into the batch, with whatever it has generated already."""
        self.close(index)
        self.rows[index] = row

    def close(self, index: int) -> None:
        """Takes a row out of the batch."""
        row = self.rows.pop(index, None)
        if row and row.version == self._version:
            for lanes in row.lanes:
                lanes.close(index)

    def move(self, source: int, target: int, *, swap: bool = False) -> None:
        """Gives a row another number; a row that had it goes, or takes the old one."""
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
        if self._version != self.tables.snapshot.version:
            self._version, self._lanes = self.tables.snapshot.version, {}
        watched: dict[Lanes, list[int]] = {}
        news: dict[int, Sequence[int]] = {}
        for index, row in self.rows.items():
            if row.version != self._version:
                self._rebase(index, row)
            if not row.lanes:
                continue
            fresh = row.news()
            # An asynchronous scheduler writes -1 for a token that is not known yet.
            if fresh and min(fresh) < 0:
                logits_BV[index] = -torch.inf
                logits_BV[index, self._eos] = 0.0
                continue
            if fresh:
                news[index] = fresh
                row.consumed = len(row.outputs)
            for lanes in row.lanes:
                watched.setdefault(lanes, []).append(index)
        for lanes, indices in watched.items():
            self._step(lanes, indices, news, logits_BV)

    def _step(
        self, lanes: Lanes, indices: list[int], news: Mapping[int, Sequence[int]], logits_BV: torch.Tensor
    ) -> None:
        """Steps the rows of one set of lanes."""
        moved = [index for index in indices if index in news]
        if moved:
            starts = np.cumsum([0, *(len(news[index]) for index in moved)])
            tokens = np.array([token for index in moved for token in news[index]])
            lanes.read(np.array(moved), tokens, starts)
        rows = np.array(indices)
        count = lanes.forbidden(rows, self._places, self._weights)
        if count > len(self._places):
            self._places, self._weights = np.empty(2 * count, np.int64), np.empty(2 * count, np.float32)
            count = lanes.forbidden(rows, self._places, self._weights)
        self._apply(logits_BV, rows, self._places[:count], self._weights[:count])

    def _apply(
        self, logits_BV: torch.Tensor, rows: Integers, places: Integers, weights: npt.NDArray[np.float32]
    ) -> None:
        """Adds the weights; rows left without a token get the end of text."""
        if logits_BV.device.type == "cpu":
            batch.apply(logits_BV.numpy(), rows, places, weights, self._eos)
            return
        width, device = logits_BV.shape[1], logits_BV.device
        flat = torch.from_numpy(rows[places // width] * width + places % width).to(device, non_blocking=True)
        logits_BV.view(-1).index_add_(0, flat, torch.from_numpy(weights).to(device, non_blocking=True))
        chosen = torch.from_numpy(rows).to(device, non_blocking=True)
        dead = logits_BV[chosen].amax(1, keepdim=True) == -torch.inf
        eos = torch.from_numpy(self._eos).to(device, non_blocking=True)
        ends = logits_BV[chosen[:, None], eos]
        logits_BV[chosen[:, None], eos] = torch.where(dead, torch.zeros_like(ends), ends)

    def _rebase(self, index: int, row: Row) -> None:
        """Starts a row afresh on the current snapshot from the tail of its prompt."""
        groups: dict[Lanes, list[Table]] = {}
        for table in self.tables.of(row.target_ids, row.probe):
            groups.setdefault(self._lanes_of(table), []).append(table)
        for lanes, tables in groups.items():
            lanes.open(index, tables)
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
