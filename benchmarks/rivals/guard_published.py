"""GUARD as published (arXiv 2505.13312): phrase retrieval and beam search away from forbidden phrases.

No public code was found. This follows what the abstract, published reviews and an independent
re-implementation say, at the cost of the method as described: every step encodes the last word of every
candidate. The prompt classifier is left out: each prompt counts as one that concerns a target.
"""

from __future__ import annotations

import math
import string
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from benchmarks.rivals.token_trie import Node, TokenTrie
from guard.encoder import Encoder, Vectors

_WINDOW = 24  # tokens that surely hold the last word; decoding all of them only costs more


@dataclass(frozen=True)
class Answer:
    """A stored response that shall not be given."""

    id: str
    text: str


@dataclass(frozen=True)
class PublishedConfig:
    """The published settings.

    Attributes:
        beams: beam width b; 2b next tokens are tried per beam.
        beta: fraction of a phrase's tokens, in (0, 1], from which it is forbidden to go on.
        delta: cosine from which a word is too similar to a phrase.
        longest: words of the longest phrase taken from an answer.
        ignore_eos: never end by the end token, so that every run has the same length; for timing.
    """

    beams: int = 7
    beta: float = 1.0
    delta: float = 0.5
    longest: int = 5
    ignore_eos: bool = False


@dataclass
class PublishedStats:
    """What one generation took.

    Attributes:
        answer_id: the retrieved answer.
        seconds: all of it, retrieval included.
        retrieval_seconds: until the phrases were ready; short when the same answer was retrieved before.
        candidates: continuations scored.
        dropped_hard, dropped_soft: of these, forbidden by the trie and by similarity.
        encoder_calls: batches given to the sentence encoder, at most one per step and two for retrieval.
        encoder_texts: texts in them.
        exhausted: no allowed continuation was left, so the response ended early.
    """

    answer_id: str = ""
    seconds: float = 0.0
    retrieval_seconds: float = 0.0
    candidates: int = 0
    dropped_hard: int = 0
    dropped_soft: int = 0
    encoder_calls: int = 0
    encoder_texts: int = 0
    exhausted: bool = False


@dataclass(frozen=True, slots=True)
class _Beam:
    tokens: tuple[int, ...]
    score: float  # sum of log-probabilities less all penalties
    active: tuple[Node, ...]
    row: int = 0  # where its history stands in the cache


class GuardPublished:
    """Generates responses around the phrases of the stored answer nearest to the prompt; batch size 1.

    A candidate with an infinite penalty is dropped. Where nothing is left of a beam it ends; where nothing is
    left at all the response ends there. (The re-implementation emits the likeliest token then, a leak.)
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        targets: Sequence[Answer],
        encoder: Encoder,
        config: PublishedConfig = PublishedConfig(),
    ) -> None:
        """Encodes the answers.

        Args:
            model: a causal language model of transformers.
            tokenizer: its tokenizer.
            targets: the stored answers; at least one.
            encoder: SentenceEncoder(remember=0) is the published cost; one that remembers words between steps
                is the paper's remark on caching.
            config: the published settings.
        """
        self._model, self._tokenizer, self._encoder, self._config = model, tokenizer, encoder, config
        self._special = frozenset(tokenizer.all_special_ids)
        self._targets = list(targets)
        self._vectors = encoder.encode([target.text for target in targets])
        self._prepared: dict[int, tuple[TokenTrie, Vectors]] = {}

    @torch.inference_mode()
    def generate(
        self, prompt_ids: Sequence[int], max_new_tokens: int
    ) -> tuple[tuple[int, ...], PublishedStats]:
        """The new tokens of the best beam, the end token included, and what they took.

        Scores are plain sums, so of two finished beams the shorter has the advantage.
        """
        started, stats = time.perf_counter(), PublishedStats()
        trie, phrases = self._retrieve(prompt_ids, stats)
        stats.retrieval_seconds = time.perf_counter() - started
        cache, inputs = DynamicCache(), torch.tensor([list(prompt_ids)])
        live, ended, finished = [_Beam((), 0.0, ())], [], []
        for _ in range(max_new_tokens):
            output = self._model(input_ids=inputs.to(self._model.device), past_key_values=cache)
            kept = self._allowed(live, output.logits[:, -1].float(), trie, phrases, stats)
            continued = {beam.row for beam in kept}
            ended += [beam for row, beam in enumerate(live) if row not in continued]
            live = self._best(kept, finished)
            if not live or any(done.score >= live[0].score for done in finished):
                break
            cache.reorder_cache(torch.tensor([beam.row for beam in live], device=self._model.device))
            inputs = torch.tensor([[beam.tokens[-1]] for beam in live])
        stats.exhausted = not finished and not live
        best = max(finished + live or ended, key=lambda beam: beam.score)
        stats.seconds = time.perf_counter() - started
        return best.tokens, stats

    def _retrieve(self, prompt_ids: Sequence[int], stats: PublishedStats) -> tuple[TokenTrie, Vectors]:
        """The phrases of the answer nearest to the prompt, as trie and as vectors."""
        prompt = self._encode([self._tokenizer.decode(prompt_ids, skip_special_tokens=True)], stats)
        nearest = int(np.argmax(self._vectors @ prompt[0]))
        stats.answer_id = self._targets[nearest].id
        if nearest not in self._prepared:
            phrases = ngrams(self._targets[nearest].text, self._config.longest)
            # Inside a response a word's first token holds the space before it.
            forms = [form for phrase in phrases for form in (phrase, f" {phrase}")]
            ids = [self._tokenizer.encode(form, add_special_tokens=False) for form in forms]
            self._prepared[nearest] = TokenTrie(ids, self._config.beta), self._encode(phrases, stats)
        return self._prepared[nearest]

    def _allowed(
        self,
        live: list[_Beam],
        logits: torch.Tensor,
        trie: TokenTrie,
        phrases: Vectors,
        stats: PublishedStats,
    ) -> list[_Beam]:
        """The continuations without an infinite penalty, best first; logits are [beams, V]."""
        top = torch.log_softmax(logits, dim=-1).topk(2 * self._config.beams, dim=-1)
        passed = []
        for row, (beam, scores, ids) in enumerate(
            zip(live, top.values.tolist(), top.indices.tolist(), strict=True)
        ):
            for score, token_id in zip(scores, ids, strict=True):
                active, forbidden = trie.advance(beam.active, token_id)
                stats.candidates += 1
                stats.dropped_hard += forbidden
                if not forbidden and not (self._ends(token_id) and self._config.ignore_eos):
                    passed.append(_Beam((*beam.tokens, token_id), beam.score + score, active, row))
        penalties = self._soft(passed, phrases, stats)
        kept = [
            replace(beam, score=beam.score - penalty)
            for beam, penalty in zip(passed, penalties, strict=True)
            if penalty < math.inf
        ]
        stats.dropped_soft += len(passed) - len(kept)
        return sorted(kept, key=lambda beam: -beam.score)

    def _soft(self, beams: list[_Beam], phrases: Vectors, stats: PublishedStats) -> list[float]:
        """Each beam's greatest cosine between last word and phrase, inf from delta on; 0 without a word."""
        tails = self._tokenizer.batch_decode([beam.tokens[-_WINDOW:] for beam in beams])
        words = [
            "" if beam.tokens[-1] in self._special else last_word(tail)
            for beam, tail in zip(beams, tails, strict=True)
        ]
        said = sorted({word for word in words if word})
        if not said:
            return [0.0] * len(beams)
        similar = (self._encode(said, stats) @ phrases.T).max(axis=1)
        limit = self._config.delta
        penalty = {
            word: math.inf if value >= limit else value
            for word, value in zip(said, similar.tolist(), strict=True)
        }
        return [penalty.get(word, 0.0) for word in words]

    def _best(self, kept: list[_Beam], finished: list[_Beam]) -> list[_Beam]:
        """The b best that go on; better ones that end are moved to ``finished``."""
        live: list[_Beam] = []
        for beam in kept:
            if len(live) == self._config.beams:
                break
            (finished if self._ends(beam.tokens[-1]) else live).append(beam)
        return live

    def _ends(self, token_id: int) -> bool:
        return token_id == self._tokenizer.eos_token_id

    def _encode(self, texts: Sequence[str], stats: PublishedStats) -> Vectors:
        stats.encoder_calls += 1
        stats.encoder_texts += len(texts)
        return self._encoder.encode(texts)


def ngrams(text: str, longest: int) -> list[str]:
    """Every run of 1 to ``longest`` words, without punctuation at its ends, each once."""
    words = text.split()
    runs = (" ".join(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1))
    return [phrase for phrase in dict.fromkeys(run.strip(string.punctuation) for run in runs) if phrase]


def last_word(text: str) -> str:
    """The word, finished or not, that a text ends with; empty after a space or a mark that stands alone."""
    if not text or text[-1].isspace():
        return ""
    return text.split()[-1].strip(string.punctuation)
