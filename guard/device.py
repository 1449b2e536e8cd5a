"""The batched step with its state on the device: nothing waits for the host, and the host not for it.

For engines that keep token histories on the device and a slot for each request (vLLM's model runner V2).
`guard.restriction` is the same for engines that keep them on the host.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from guard import kernels
from guard.layout import History, Layout
from guard.normalize import Folding
from guard.table import Arena, Table
from guard.tables import Tables

WINDOW = 1024
"""Prompt tokens before the response in which a phrase may begin that the response completes."""

_BLOCK, _SHARE = 256, 16


@dataclass(slots=True)
class _Slot:
    """A request: its targets, the self-check's token, and where reading its history starts."""

    target_ids: tuple[str, ...] | None
    probe: int | None
    begin: int
    shown: bool
    free: bool
    tables: dict[Folding, list[Table]] = field(default_factory=dict)


class DeviceEnforcer:
    """Applies a snapshot's forbidden strings to batches of logits on a device."""

    def __init__(self, tables: Tables, device: torch.device, slots: int) -> None:
        """Starts with empty slots.

        Args:
            tables: of the snapshot in force.
            device: where the logits are.
            slots: how many requests the engine has room for.
        """
        self.tables = tables
        self._device = device
        self._size = slots
        self._slots: dict[int, _Slot] = {}
        self._changed: set[int] = set()
        self._fields: dict[Folding, _Field] = {}
        self._version = ""

    def open(
        self,
        slot: int,
        target_ids: tuple[str, ...] | None,
        probe: int | None,
        prompt: int,
        shown: bool = False,
        free: bool = False,
    ) -> None:
        """Gives a slot to a request with a prompt of this many tokens; nothing is kept of the last one.

        ``shown`` says that special tokens are part of the response's text, ``free`` that nothing is enforced.
        """
        self._slots[slot] = _Slot(target_ids, probe, max(0, prompt - WINDOW), shown, free)
        self._changed.add(slot)

    def step(self, logits: torch.Tensor, batch: Iterable[int], layout: Layout, history: History) -> None:
        """As `guard.restriction.Enforcer.step`, for logits [rows, V].

        Args:
            logits: changed in place.
            batch: slots in the batch, known to the host: without a watched one nothing is launched.
            layout: the rows.
            history: what was generated.
        """
        if self._version != self.tables.snapshot.version:
            self._version, self._fields, self._changed = self.tables.snapshot.version, {}, set(self._slots)
        self._settle()
        watched = {folding for slot in batch for folding in self._slots[slot].tables}
        for folding in watched:
            self._fields[folding].step(logits, layout, history)

    def _settle(self) -> None:
        """Brings slots that were given away, or whose targets changed, to the device."""
        groups: dict[Folding, dict[int, list[Table]]] = {}
        for index in self._changed:
            slot = self._slots[index]
            slot.tables = {}
            for table in () if slot.free else self.tables.of(slot.target_ids, slot.probe):
                slot.tables.setdefault(table.automaton.rule.folding, []).append(table)
            for folding, tables in slot.tables.items():
                groups.setdefault(folding, {})[index] = tables
        for folding in {*groups, *self._fields} if self._changed else ():
            if folding not in self._fields:
                self._fields[folding] = _Field(self.tables, folding, self._device, self._size)
            slots = {index: self._slots[index] for index in self._changed}
            self._fields[folding].place(groups.get(folding, {}), slots)
        self._changed.clear()


class _Field:
    """All slots against the joined tables of one folding; the device's counterpart of `guard.lanes.Lanes`."""

    def __init__(self, tables: Tables, folding: Folding, device: torch.device, slots: int) -> None:
        self._lexicon = tables.lexicon(folding)
        self._device = device
        self._arena = Arena.join((), self._lexicon)
        lexicon, size = self._lexicon, tables.vocabulary.size
        leads = np.zeros(size, np.uint8)
        leads[lexicon.tails] = 1
        names = ("order", "tails", "closers", "raw", "raw_start", "special")
        self._words = {name: self._upload(getattr(lexicon, name)) for name in names}
        self._words["leads"] = self._upload(leads)
        self._separator = min(tables.vocabulary.special, default=tables.vocabulary.eos[0])
        self._eos = self._upload(np.array(tables.vocabulary.eos, dtype=np.int64))
        self._states = torch.full((4, slots, 1), -1, dtype=torch.int32, device=device)
        self._shown = torch.zeros(slots, dtype=torch.uint8, device=device)

    def place(self, rows: dict[int, list[Table]], slots: dict[int, _Slot]) -> None:
        """Puts slots at the start of their tables; those without are not watched."""
        known = {id(table): place for place, table in enumerate(self._arena.tables)}
        fresh = {id(table): table for tables in rows.values() for table in tables if id(table) not in known}
        if fresh:
            self._arena = Arena.join([*self._arena.tables, *fresh.values()], self._lexicon)
            self._joined = [self._upload(array) for array in _arrays(self._arena)]
            known = {id(table): place for place, table in enumerate(self._arena.tables)}
        width = max([self._states.shape[2], *(len(tables) for tables in rows.values())])
        grown = width - self._states.shape[2]
        if grown:
            self._states = torch.nn.functional.pad(self._states, (0, grown), value=-1)
        # For each slot and lane: table, node, bytes pending, tokens read.
        states = np.full((4, len(slots), width), -1, dtype=np.int32)
        for i, (index, slot) in enumerate(slots.items()):
            for lane, table in enumerate(rows.get(index, ())):
                place = known[id(table)]
                states[:, i, lane] = place, self._arena.roots[place], 0, slot.begin
        chosen = self._upload(np.array(list(slots)))
        self._states[:, chosen] = self._upload(states)
        self._shown[chosen] = self._upload(np.array([slot.shown for slot in slots.values()], dtype=np.uint8))

    def step(self, logits: torch.Tensor, layout: Layout, history: History) -> None:
        """Reads what is new and bans, all on the device."""
        machine, (roots, bounded, spans, weight) = self._joined[:7], self._joined[7:]
        lanes, nodes, pendings, reads = self._states
        words, width, collapses = self._words, lanes.shape[1], int(self._arena.collapses)
        grid, vocabulary = (logits.shape[0], width), logits.shape[1]
        tokens = words["raw"], words["raw_start"], words["special"], self._shown
        kernels.advance[grid](
            *machine, roots, bounded, lanes, nodes, pendings, reads, *tokens, layout.slots, layout.offsets,
            layout.positions, history.tokens, history.prompt_lengths, width, history.tokens.stride(0),
            vocabulary, self._separator, collapses, num_warps=1,
        )  # fmt: skip
        kernels.forbid[grid](
            *machine, roots, bounded, lanes, nodes, pendings, *tokens,
            spans, weight, words["order"], words["leads"], words["closers"],
            len(words["closers"]), layout.slots, layout.offsets, layout.inputs, logits, vocabulary,
            width, collapses, BLOCK=_BLOCK, num_warps=1,
        )  # fmt: skip
        tails = len(words["tails"])
        kernels.forbid_tails[(*grid, -(-tails // _SHARE) or 1)](
            *machine, roots, bounded, lanes, nodes, pendings, *tokens,
            words["tails"], tails, layout.slots, layout.offsets, layout.inputs, logits, vocabulary,
            width, collapses, SHARE=_SHARE, num_warps=1,
        )  # fmt: skip
        kernels.rescue[grid[:1]](
            lanes, layout.slots, logits, vocabulary, width, self._eos, len(self._eos), BLOCK=1024
        )

    def _upload(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.tensor(array).to(self._device, non_blocking=True)


def _arrays(arena: Arena) -> tuple[npt.NDArray[Any], ...]:
    """An arena's arrays in the order in which the kernels take them."""
    return (
        *arena.machine, arena.roots, arena.bounded,
        arena.spans, arena.weight,
    )  # fmt: skip
