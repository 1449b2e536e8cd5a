"""A text given in place of the model's answer, in the engine's own output objects.

vLLM then formats it for every route, as if the model had said it. Given at once, a client can tell it from a
generated one by its pace; given at the engine's pace, it cannot.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vllm.logprobs import Logprob
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client gets.

    Attributes:
        text: the whole of it.
        tokens: that spell it, with the end of text unless it was cut.
        finish_reason: as the route shows it.
        stop_reason: the client's stop string that cut it.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: str
    stop_reason: str | None = None

    @classmethod
    def of(cls, text: str, finish_reason: str, tokenizer: Any) -> Answer:
        """The answer that says a text to its end."""
        ids = tokenizer.encode(text, add_special_tokens=False)
        return cls(text, (*ids, int(tokenizer.eos_token_id)), finish_reason)

    def within(self, params: SamplingParams, decode: Callable[[Sequence[int]], str]) -> Answer:
        """The same, cut where the client's limits would cut a generated one."""
        found = [(at, stop) for stop in params.stop or () if (at := self.text.find(stop)) >= 0]
        answer = self
        if found:
            at, stop = min(found)
            end = at + len(stop) if params.include_stop_str_in_output else at
            ends = range(1, len(self.tokens) + 1)
            count = next((k for k in ends if stop in decode(self.tokens[:k])), len(self.tokens))
            answer = Answer(self.text[:end], self.tokens[:count], "stop", stop)
        limit = params.max_tokens
        if limit is not None and limit < len(answer.tokens):
            tokens = answer.tokens[:limit]
            return Answer(decode(tokens), tokens, "length")
        return answer


def at_once(
    answer: Answer, prompt: Any, ids: list[int], params: SamplingParams, request_id: str, tokenizer: Any
) -> RequestOutput:
    """The finished output of a request that holds the answer n times; logprobs where they are asked for."""
    asked = params.logprobs is not None or params.logprob_token_ids
    logprobs = certain(answer.tokens, params, tokenizer) if asked else None
    completions = [
        CompletionOutput(
            index, answer.text, list(answer.tokens), 0.0, logprobs, finish_reason=answer.finish_reason
        )
        for index in range(params.n)
    ]
    return RequestOutput(request_id, prompt.get("prompt"), ids, None, completions, True, num_cached_tokens=0)


def pacemaker(answer: Answer, params: SamplingParams, extra: dict[str, Any]) -> SamplingParams:
    """Parameters under which the engine takes as many steps as the answer has tokens."""
    return SamplingParams(
        n=params.n,
        max_tokens=len(answer.tokens),
        ignore_eos=True,
        detokenize=False,
        output_kind=params.output_kind,
        extra_args=extra,
    )


async def paced(
    answer: Answer,
    outputs: AsyncGenerator[RequestOutput, None],
    params: SamplingParams,
    decode: Callable[[Sequence[int]], str],
) -> AsyncGenerator[RequestOutput, None]:
    """The engine's outputs for `pacemaker`, with the answer's tokens in place of what it generated."""
    deltas = params.output_kind is RequestOutputKind.DELTA
    told = [0] * params.n
    shown = [""] * params.n
    async for output in outputs:
        for completion in output.outputs:
            index, begun = completion.index, told[completion.index] if deltas else 0
            told[index] = begun + len(completion.token_ids)
            text = answer.text
            if told[index] < len(answer.tokens):
                # What is decoded so far, less a letter that is not complete yet.
                text = text[: len(decode(answer.tokens[: told[index]]).rstrip("\ufffd"))]
            completion.token_ids = list(answer.tokens[begun : told[index]])
            completion.text = text[len(shown[index]) :] if deltas else text
            shown[index] = text
            if completion.finish_reason is not None:
                completion.finish_reason, completion.stop_reason = answer.finish_reason, answer.stop_reason
        yield output


def certain(tokens: Sequence[int], params: SamplingParams, tokenizer: Any) -> list[dict[int, Logprob]]:
    """Logprobs of tokens that nothing was sampled for: certain, and even between asked-for alternatives."""
    labels = params.logprob_token_ids or []
    even = {i: Logprob(-math.log(len(labels)), None, tokenizer.decode([i])) for i in labels}
    return [even | {i: Logprob(0.0, 1, tokenizer.decode([i]))} for i in tokens]
