"""A logits processor on pyahocorasick, as an engineer would write it in an afternoon.

Per row it follows the generated text through the automaton in Python; per automaton state it finds, once, the
tokens that would complete a phrase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ahocorasick
import torch
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from benchmarks.rivals import options
from guard.vocabulary import Vocabulary

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import VllmConfig


class TokenBans:
    """The tokens that may not come next, by automaton state.

    The library does not tell the state it is in, so a state is named by its text: the longest end of what was
    generated that begins a phrase. Its keys are strings, so bytes travel as Latin-1 characters.
    """

    def __init__(self, phrases: Sequence[str], tokens: Sequence[bytes], device: torch.device) -> None:
        """Builds the automaton.

        Args:
            phrases: forbidden strings.
            tokens: bytes of each of the V tokens; empty ones are never banned.
            device: where `banned` puts its ids.
        """
        self._automaton = ahocorasick.Automaton()
        for phrase in phrases:
            self._automaton.add_word(_latin(phrase.encode()), True)
        self._automaton.make_automaton()
        self._longest = max(len(phrase.encode()) for phrase in phrases)
        self._tokens = [_latin(token) for token in tokens]
        self._device = device
        self._known: dict[str, torch.Tensor] = {}

    def advance(self, state: str, token_id: int) -> str:
        """The state after one more token."""
        text = state + self._tokens[token_id]
        for start in range(max(0, len(text) - self._longest + 1), len(text)):
            if self._automaton.match(text[start:]):
                return text[start:]
        return ""

    def banned(self, state: str) -> torch.Tensor:
        """int64 [n], ids of the tokens that would complete a phrase; computed at a state's first visit."""
        if state not in self._known:
            hits = self._automaton.iter
            ids = [i for i, token in enumerate(self._tokens) if next(hits(state + token), None) is not None]
            self._known[state] = torch.tensor(ids, dtype=torch.int64, device=self._device)
        return self._known[state]


class AhoCorasickProcessor(LogitsProcessor):
    """Bans, at every step and for every row, the tokens that would complete a phrase."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        """Reads the phrases from additional_config, see `benchmarks.rivals`."""
        model = vllm_config.model_config
        vocabulary = Vocabulary.from_tokenizer(cached_tokenizer_from_config(model), model.get_vocab_size())
        self._bans = TokenBans(options(vllm_config)["phrases"], vocabulary.tokens, device)
        self._rows: dict[int, _Row] = {}

    def is_argmax_invariant(self) -> bool:
        """False: bans change what greedy decoding takes."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follows the rows."""
        process_dict_updates(self._rows, batch_update, _open)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Bans in place; logits are [B, V]."""
        for index, row in self._rows.items():
            for token_id in row.outputs[row.fed :]:
                row.state = self._bans.advance(row.state, token_id)
            row.fed = len(row.outputs)
            banned = self._bans.banned(row.state)
            if len(banned):
                logits[index].index_fill_(0, banned, -float("inf"))
        return logits


@dataclass(slots=True)
class _Row:
    outputs: Sequence[int]  # vLLM's own list, which grows
    state: str = ""
    fed: int = 0


def _open(params: SamplingParams, prompt_ids: Sequence[int] | None, outputs: Sequence[int]) -> _Row:
    return _Row(outputs)


def _latin(data: bytes) -> str:
    return data.decode("latin-1")
