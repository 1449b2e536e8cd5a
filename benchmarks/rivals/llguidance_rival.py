"""A logits processor on llguidance: one regex per request, "valid text that contains none of the phrases".

llguidance has complement and intersection on terminals, so the forbidden set is a grammar like any other and
its masks hold for every tokenisation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import llguidance.hf
import llguidance.torch
import numpy as np
import numpy.typing as npt
import torch
import xgrammar
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from benchmarks.rivals import options
from guard.vocabulary import special_ids

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import VllmConfig

_FUEL = 1_000_000_000
"""In place of the library's 1,000,000 to start and 200,000 a step: no grammar of ours comes near."""


def grammar(phrases: Sequence[str]) -> str:
    """A Lark grammar of the valid UTF-8 texts that contain none of the phrases.

    One complement of an alternation: the intersection of one complement per phrase means the same, but gives
    up already at 10 phrases.
    """
    # The complement alone would admit invalid UTF-8, and a phrase after it.
    forbidden = "|".join(map(_literal, dict.fromkeys(phrases)))
    return f"start: TEXT\nTEXT: /(?s:.*)/ & ~/(?s:.*)({forbidden})(?s:.*)/"


def matcher(tokenizer: LLTokenizer, phrases: Sequence[str], raised: bool = True) -> LLMatcher:
    """A matcher at the start of a response.

    Args:
        tokenizer: of llguidance.
        phrases: forbidden strings.
        raised: with far higher limits than the library's own. By its own, 30 names of people end a response
            within a few tokens ("too many expressions constructed"), and 100 titles and dates do not even
            start. Raised, 1,000 names work; the slowest step grows to 0.1 s and more.

    Raises:
        ValueError: the library refuses a grammar of this size.
    """
    limits = LLParserLimits(initial_lexer_fuel=_FUEL, step_lexer_fuel=_FUEL, max_lexer_states=_FUEL)
    built = LLMatcher(tokenizer, grammar(phrases), log_level=0, limits=limits if raised else None)
    if built.is_error():
        raise ValueError(f"llguidance refuses {len(phrases)} phrases: {_reason(built)}")
    return built


class LlguidanceProcessor(LogitsProcessor):
    """Allows, at every step and for every row, what the row's matcher allows.

    Of the special tokens only the end of the response is allowed. A matcher that hits a limit allows nothing
    but that from then on; `failures` tells.

    Attributes:
        failures: the library's words, one entry per response that hit a limit.
    """

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        """Reads additional_config, see `benchmarks.rivals`; "raised": false keeps the library's limits."""
        model, given = vllm_config.model_config, options(vllm_config)
        tokenizer = cached_tokenizer_from_config(model)
        size = max(model.get_vocab_size(), len(tokenizer))
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, size)
        self._phrases, self._raised = given["phrases"], given.get("raised", True)
        self._start = matcher(self._tokenizer, self._phrases, self._raised)
        rows = vllm_config.scheduler_config.max_num_seqs
        self._mask = llguidance.torch.allocate_token_bitmask(rows, self._tokenizer.vocab_size)
        self._rows: dict[int, _Row] = {}
        self.failures: list[str] = []

    def is_argmax_invariant(self) -> bool:
        """False: masks change what greedy decoding takes."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follows the rows."""
        process_dict_updates(self._rows, batch_update, self._open)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Masks in place; logits are [B, V]."""
        mask = self._mask[: len(logits)]
        for index, row in self._rows.items():
            self._feed(row)
            llguidance.torch.fill_next_token_bitmask(row.matcher, mask, index)
        # vLLM applies the masks of its structured output by the same call.
        xgrammar.apply_token_bitmask_inplace(logits, mask.to(logits.device, non_blocking=True))
        return logits

    def _open(self, params: SamplingParams, prompt_ids: Sequence[int] | None, outputs: Sequence[int]) -> _Row:
        # Copies share what their lexer has learnt, which is most of the speed, but its failure too.
        fresh = self._start.deep_copy() if self._raised else matcher(self._tokenizer, self._phrases, False)
        return _Row(fresh, outputs)

    def _feed(self, row: _Row) -> None:
        # With ignore_eos a response goes on after its end, which the matcher would not.
        new = [token_id for token_id in row.outputs[row.fed :] if token_id not in self._tokenizer.eos_tokens]
        row.fed = len(row.outputs)
        if new and not row.failed and not row.matcher.consume_tokens(new):
            row.failed = True
            self.failures.append(_reason(row.matcher))


@dataclass(slots=True)
class _Row:
    matcher: LLMatcher
    outputs: Sequence[int]  # vLLM's own list, which grows
    fed: int = 0
    failed: bool = False


def oracle_masks(
    tokenizer: Any, phrases: Sequence[str], token_prefixes: Sequence[Sequence[int]]
) -> npt.NDArray[np.bool_]:
    """What may follow each prefix, as llguidance sees it: an independent check of other matchers.

    A token is allowed if prefix and token together contain no phrase, byte for byte, and are the beginning of
    valid UTF-8. Special tokens add no text: allowed always, skipped in prefixes.

    Args:
        tokenizer: a fast tokenizer of transformers.
        phrases: forbidden strings.
        token_prefixes: P sequences of token ids.

    Returns:
        bool [P, V], V the tokenizer's size, True where allowed.

    Raises:
        ValueError: a prefix is itself not allowed.
        RuntimeError: llguidance hit a limit, so that its mask means nothing.
    """
    converted = llguidance.hf.from_tokenizer(tokenizer)
    # Not by the library's word, which holds the byte 0xFF for special too.
    special = np.isin(np.arange(converted.vocab_size), list(special_ids(tokenizer)))
    walker = matcher(converted, phrases)
    masks = np.empty((len(token_prefixes), converted.vocab_size), dtype=np.bool_)
    for number, prefix in enumerate(token_prefixes):
        walker.reset()
        text = [int(token_id) for token_id in prefix if not special[token_id]]
        if walker.try_consume_tokens(text) < len(text):
            raise ValueError(f"prefix {number} contains a phrase or is no UTF-8")
        words = np.frombuffer(walker.compute_bitmask(), dtype=np.uint8)
        if walker.is_error():
            raise RuntimeError(f"llguidance gave up at prefix {number}: {_reason(walker)}")
        masks[number] = np.unpackbits(words, bitorder="little")[: converted.vocab_size]
    return masks | special


def _literal(phrase: str) -> str:
    """The phrase as a regex inside a Lark /.../."""
    return re.sub(r"[^\w ]", lambda found: f"\\u{{{ord(found[0]):X}}}", phrase)


def _reason(failed: LLMatcher) -> str:
    # Further lines show the text so far.
    return failed.get_error().partition("\n")[0]
