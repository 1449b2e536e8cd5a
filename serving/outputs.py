"""What leaves the engine: passes each completion of a request through its response filter.

It handles vLLM's output objects by their fields only, in place, because they are made anew for every step.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from guard.response import ResponseFilter
from serving import metrics


@dataclass(frozen=True, slots=True)
class Ending:
    """How a cut completion ends, so that to a client it is complete.

    Attributes:
        finish_reason: as the route shows it.
        token_id: the end-of-text token.
        logprob: entry for that token, where logprobs are asked for.
    """

    finish_reason: str
    token_id: int
    logprob: dict[int, Any]


@dataclass(slots=True)
class _Completion:
    """One of a request's n completions."""

    filter: ResponseFilter
    seen: int = 0  # characters of the engine's text
    released: str = ""
    tokens: int = 0
    finish_reason: str | None = None


class OutputFilter:
    """The outputs of one request: filtered, and counted for the audit record."""

    def __init__(
        self,
        make_filter: Callable[[], ResponseFilter],
        ending: Ending,
        decode: Callable[[Sequence[int]], str],
        *,
        count: int,
        deltas: bool,
        grammar: bool = False,
        observing: bool = False,
        begun: float | None = None,
    ) -> None:
        """Opens one filter per completion.

        Args:
            make_filter: a fresh filter for the request's plan.
            ending: of completions that are cut.
            decode: the text of token ids as the engine renders them.
            count: number of completions.
            deltas: each output holds only what is new; else all so far.
            grammar: the client's own grammar restricts the output.
            observing: everything passes; what would have been cut is counted.
            begun: when the request arrived, as `time.perf_counter`.
        """
        self._ending = ending
        self._decode = decode
        self._deltas = deltas
        self._grammar = grammar
        self._observing = observing
        self._begun = time.perf_counter() if begun is None else begun
        self._spoken = False
        self._completions = [_Completion(make_filter()) for _ in range(count)]

    @property
    def tokens(self) -> int:
        """Tokens that left, over all completions."""
        return sum(completion.tokens for completion in self._completions)

    @property
    def text(self) -> str:
        """The text that left, one completion after the other."""
        return "\n".join(completion.released for completion in self._completions)

    @property
    def filtered(self) -> bool:
        """True if a completion was cut, or would have been."""
        return any(completion.filter.tripped for completion in self._completions)

    @property
    def ended(self) -> bool:
        """True if every completion has its finish reason."""
        return all(completion.finish_reason is not None for completion in self._completions)

    @property
    def finish_reason(self) -> str | None:
        """The request's: that of a cut completion before others, None while one is running."""
        if not self.ended:
            return None
        if self.filtered and not self._observing:
            return self._ending.finish_reason
        return self._completions[0].finish_reason

    def release(self, output: Any) -> bool:
        """Leaves in a RequestOutput what may leave; False if that is nothing."""
        output.outputs = [c for c in output.outputs if self._completions[c.index].finish_reason is None]
        for completion_output in output.outputs:
            self._pass(self._completions[completion_output.index], completion_output)
        output.finished = output.finished or self.ended
        if not self._spoken and any(completion.text for completion in output.outputs):
            self._spoken = True
            metrics.FIRST_TOKEN_SECONDS.observe(time.perf_counter() - self._begun)
        return bool(output.outputs)

    def _pass(self, completion: _Completion, output: Any) -> None:
        fresh = output.text if self._deltas else output.text[completion.seen :]
        completion.seen += len(fresh)
        if self._observing:
            self._watch(completion, fresh, output)
            return
        text = completion.filter.feed(fresh)
        if output.finish_reason is not None:
            text += completion.filter.finish()
            if output.finish_reason == "error" and self._grammar and completion.filter.watching:
                # The grammar admitted nothing but a forbidden string, so the guard ended the response. The
                # engine takes an end that the grammar does not know for a failure.
                output.finish_reason = self._ending.finish_reason
        elif completion.filter.held:
            metrics.HELD_BACK.observe(completion.filter.held)
        completion.released += text
        output.text = text if self._deltas else completion.released
        if completion.filter.tripped:
            self._cut(completion, output)
        self._note(completion, output)

    def _watch(self, completion: _Completion, fresh: str, output: Any) -> None:
        """Looks at what passes."""
        tripped = completion.filter.tripped
        completion.filter.feed(fresh)
        if output.finish_reason is not None:
            completion.filter.finish()
        if completion.filter.tripped and not tripped:
            metrics.OBSERVED.labels("filter").inc()
        completion.released += fresh
        self._note(completion, output)

    def _note(self, completion: _Completion, output: Any) -> None:
        completion.finish_reason = output.finish_reason
        completion.tokens = len(output.token_ids) + (completion.tokens if self._deltas else 0)

    def _cut(self, completion: _Completion, output: Any) -> None:
        """Ends a completion where the filter tripped; tokens and logprobs that spell what follows go too."""
        metrics.FILTER_TRIPS.inc()
        tokens = output.token_ids
        kept = 0 if self._deltas else self._prefix(tokens, len(completion.released))
        output.token_ids = [*tokens[:kept], self._ending.token_id]
        if output.logprobs is not None:
            output.logprobs = [*output.logprobs[:kept], self._ending.logprob]
        output.cumulative_logprob = output.sampling_mask = output.routed_experts = None
        output.finish_reason, output.stop_reason = self._ending.finish_reason, None

    def _prefix(self, tokens: Sequence[int], length: int) -> int:
        """How many tokens fit into ``length`` characters of text."""
        counts = range(len(tokens) + 1)
        return bisect.bisect_right(counts, length, key=lambda count: len(self._decode(tokens[:count]))) - 1
