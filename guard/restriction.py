"""One batch step at token level: advance each row by its new tokens, then ban what would complete a phrase.

HOT: runs once per decoding step in the engine. State is derived from the list of generated tokens alone,
never from how often a step ran: chunked prefill, preemption and row moves then cannot disturb it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from guard.automaton import START, Automaton
from guard.snapshot import Snapshot
from guard.vocabulary import Vocabulary


@dataclass
class TokenFilter:
    """An automaton over one vocabulary: how tokens move its state, and which ones a state forbids."""

    automaton: Automaton
    vocabulary: Vocabulary
    _bans: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)

    def advance(self, state: int, token_id: int) -> int:
        """The state after a token; special tokens add no text and leave it as it is."""
        return self.automaton.walk(state, self.vocabulary.tokens[token_id])

    def bans(self, state: int) -> npt.NDArray[np.int64]:
        """Ids of the tokens that would complete a phrase, from a table filled on demand."""
        if state not in self._bans:
            self._bans[state] = self._completing(state)
        return self._bans[state]

    def _completing(self, state: int) -> npt.NDArray[np.int64]:
        """Walks all tokens at once, byte position by byte position."""
        states = np.full(self.vocabulary.size, state, dtype=np.int32)
        completes = np.zeros(self.vocabulary.size, dtype=np.bool_)
        for column in self.vocabulary.columns:
            states = self.automaton.delta[states[: len(column)], column]
            completes[: len(column)] |= self.automaton.accept[states]
        return self.vocabulary.by_length[completes]


@dataclass
class Row:
    """One sequence in the batch.

    Attributes:
        prompt_ids: prompt tokens.
        target_ids: routed targets; None enforces every target of the snapshot.
        outputs: live list of the generated tokens.
    """

    prompt_ids: Sequence[int]
    target_ids: tuple[str, ...] | None
    outputs: Sequence[int]
    filters: tuple[TokenFilter, ...] = ()
    states: tuple[int, ...] = ()
    consumed: int = 0
    version: str = ""

    def ahead(self, draft_ids: Sequence[int]) -> Row:
        """A copy of the row as if the drafts had been generated."""
        return replace(self, outputs=[*self.outputs, *draft_ids]) if draft_ids else self

    def advance(self) -> bool:
        """Reads the tokens generated since the last call; False if the history cannot be trusted."""
        for token_id in self.outputs[self.consumed :]:
            if token_id < 0:  # an asynchronous scheduler's placeholder: the token is not known yet
                return False
            self.states = tuple(
                f.advance(s, token_id) for f, s in zip(self.filters, self.states, strict=True)
            )
            self.consumed += 1
        return True

    def banned(self) -> Iterable[npt.NDArray[np.int64]]:
        """For each filter, the ids forbidden next."""
        return (f.bans(s) for f, s in zip(self.filters, self.states, strict=True))


class Enforcer:
    """Applies a snapshot's forbidden strings to batches of logits."""

    def __init__(self, vocabulary: Vocabulary, snapshot: Snapshot) -> None:
        self.vocabulary = vocabulary
        self.install(snapshot)

    def install(self, snapshot: Snapshot) -> None:
        """Switches to a snapshot; rows in flight follow at their next step."""
        self.snapshot = snapshot
        self._filters: dict[int, TokenFilter] = {}

    def open(
        self, prompt_ids: Sequence[int], target_ids: tuple[str, ...] | None, outputs: Sequence[int]
    ) -> Row:
        """The row of a request that enters the batch, with whatever it has generated already."""
        row = Row(prompt_ids, target_ids, outputs)
        self._rebase(row)
        return row

    def step(self, logits_BV: torch.Tensor, rows: Mapping[int, Row]) -> None:
        """Sets the logits of forbidden tokens to -inf in place; ``rows`` maps logits rows to their state.

        A row that is left without any token, by the bans or by masks set earlier, ends: the sampler would
        return token 0 otherwise. So does a row whose history holds placeholders.
        """
        touched: set[int] = set()
        for index, row in rows.items():
            if row.version != self.snapshot.version:
                self._rebase(row)
            if not row.advance():
                logits_BV[index] = -torch.inf
                touched.add(index)
            for banned in row.banned():
                if len(banned):
                    logits_BV[index, torch.from_numpy(banned).to(logits_BV.device)] = -torch.inf
                    touched.add(index)
        for index in touched:
            if not bool((logits_BV[index] > -torch.inf).any()):
                logits_BV[index, list(self.vocabulary.eos)] = 0.0

    def _rebase(self, row: Row) -> None:
        """Starts a row afresh on the current snapshot from the tail of its prompt."""
        automata = self.snapshot.automata(row.target_ids)
        row.filters = tuple(self._filter(automaton) for automaton in automata)
        longest = max((automaton.longest for automaton in automata), default=0)
        tail = self.vocabulary.message_tail(row.prompt_ids, longest)
        row.states = tuple(automaton.walk(START, tail) for automaton in automata)
        row.consumed = 0
        row.version = self.snapshot.version

    def _filter(self, automaton: Automaton) -> TokenFilter:
        """One filter per automaton and snapshot, so that rows share its table of bans."""
        key = id(automaton)  # the snapshot keeps its automata alive
        if key not in self._filters:
            self._filters[key] = TokenFilter(automaton, self.vocabulary)
        return self._filters[key]
