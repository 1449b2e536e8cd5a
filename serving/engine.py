"""The choke point: every prompt, from every route, passes `GuardedGenerate` on its way to the engine."""

from __future__ import annotations

import asyncio
import copy
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from vllm.exceptions import VLLMValidationError
from vllm.logprobs import Logprob
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams

from guard.audit import AuditRecord, prompt_hash
from guard.errors import GuardInactive
from guard.pipeline import Pipeline, Plan
from guard.types import Verdict
from guard.vocabulary import special_ids
from serving import metrics
from serving.logits import PROBE, SNAPSHOT, TARGETS
from serving.middleware import Exchange, exchange
from serving.outputs import Ending, OutputFilter

if TYPE_CHECKING:
    from serving.live import LiveGuard

Generate = Callable[..., AsyncGenerator[RequestOutput, None]]

FINISH_REASON = {"/v1/messages": "stop"}
"""Routes that translate the finish reason and know no content_filter: they would say null."""


class GuardedGenerate:
    """Takes the place of the engine client's `generate`."""

    def __init__(self, generate: Generate, guard: LiveGuard, tokenizer: Any) -> None:
        self._generate = generate
        self._guard = guard
        self._tokenizer = tokenizer
        self._special = special_ids(tokenizer)
        # Its own threads: the loop's default ones may be busy with uploads and file reads.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="lethe-inspect")

    async def __call__(
        self, prompt: Any, sampling_params: SamplingParams, request_id: str, **options: Any
    ) -> AsyncGenerator[RequestOutput, None]:
        """The outputs of one prompt, as `AsyncLLM.generate`, guarded.

        Raises:
            VLLMValidationError: the prompt cannot be read, or logprobs of prompt tokens are asked for.
        """
        started = time.perf_counter()
        ids = prompt_tokens(prompt)
        _refuse_prompt_logprobs(sampling_params)
        pipeline = self._guard.pipeline
        loop = asyncio.get_running_loop()
        digest, verdict = await loop.run_in_executor(self._threads, self._judge, pipeline, ids)
        current = exchange.get() or Exchange("generate")
        plan = pipeline.plan(verdict, rewritten=current.rewritten)
        current.tell(plan.action, verdict.snapshot, request_id)
        _count(plan)
        finish_reason = FINISH_REASON.get(current.path, pipeline.forms.finish_reason)
        outgoing = self._filter(pipeline, plan, sampling_params, finish_reason)
        if plan.refusal is None:
            outputs = self._generate(prompt, restrict(sampling_params, plan), request_id, **options)
        else:
            outputs = self._refuse(plan.refusal, finish_reason, prompt, ids, sampling_params, request_id)
        try:
            async with aclosing(outputs):
                async for output in outputs:
                    running = not output.finished
                    if outgoing.release(output):
                        yield output
                    if running and outgoing.ended:
                        break  # every completion was cut: closing the engine's generator aborts the request
        finally:
            self._guard.sink.write(
                AuditRecord(
                    request_id=request_id,
                    time=datetime.now(UTC).isoformat(),
                    route=current.path,
                    verdict=verdict.to_json(),
                    action=plan.action.value,
                    snapshot=verdict.snapshot,
                    prompt_sha256=digest,
                    prompt_tokens=len(ids),
                    response_tokens=outgoing.tokens,
                    finish_reason=outgoing.finish_reason,
                    filtered=outgoing.filtered,
                    seconds=round(time.perf_counter() - started, 6),
                )
            )

    def _judge(self, pipeline: Pipeline, ids: Sequence[int]) -> tuple[str, Verdict]:
        """The prompt's hash and the verdict on it."""
        try:
            segments = split(ids, self._special, self._tokenizer.decode)
        except OverflowError:
            raise VLLMValidationError("the prompt holds token ids outside the vocabulary") from None
        return prompt_hash(segments), pipeline.inspect(segments)

    def _filter(
        self, pipeline: Pipeline, plan: Plan, params: SamplingParams, finish_reason: str
    ) -> OutputFilter:
        end = int(self._tokenizer.eos_token_id)
        skip = params.skip_special_tokens
        return OutputFilter(
            lambda: pipeline.response_filter(plan),
            Ending(finish_reason, end, _certain([end], params, self._tokenizer)[0]),
            lambda ids: str(self._tokenizer.decode(ids, skip_special_tokens=skip)),
            count=params.n,
            deltas=params.output_kind is RequestOutputKind.DELTA,
            grammar=params.structured_outputs is not None,
        )

    async def _refuse(
        self,
        text: str,
        finish_reason: str,
        prompt: Any,
        ids: list[int],
        params: SamplingParams,
        request_id: str,
    ) -> AsyncGenerator[RequestOutput, None]:
        """The refusal as if the model had said it, n times; the engine never sees the prompt."""
        tokens = [
            *self._tokenizer.encode(text, add_special_tokens=False),
            int(self._tokenizer.eos_token_id),
        ]
        asked = params.logprobs is not None or params.logprob_token_ids
        logprobs = _certain(tokens, params, self._tokenizer) if asked else None
        completions = [
            CompletionOutput(index, text, tokens, 0.0, logprobs, finish_reason=finish_reason)
            for index in range(params.n)
        ]
        prompt_text = prompt.get("prompt")
        yield RequestOutput(request_id, prompt_text, ids, None, completions, True, num_cached_tokens=0)


def prompt_tokens(prompt: Any) -> list[int]:
    """The token ids of a rendered prompt, those of an encoder first.

    Raises:
        VLLMValidationError: the prompt is of a kind whose text cannot be known, such as embeddings.
    """
    if isinstance(prompt, Mapping):
        if "encoder_prompt" in prompt and "decoder_prompt" in prompt:
            return [*prompt_tokens(prompt["encoder_prompt"]), *prompt_tokens(prompt["decoder_prompt"])]
        ids = prompt.get("prompt_token_ids")
        if ids is not None and prompt.get("type") != "embeds":
            return [*prompt.get("encoder_prompt_token_ids", ()), *ids]
    kind = prompt.get("type", "unrendered") if isinstance(prompt, Mapping) else type(prompt).__name__
    raise VLLMValidationError(
        f"a guarded server cannot read prompts of kind {kind!r}; send text or token ids"
    )


def split(ids: Iterable[int], special: frozenset[int], decode: Callable[[list[int]], str]) -> tuple[str, ...]:
    """The prompt's messages: the text of each run between special tokens."""
    runs = (list(run) for is_special, run in groupby(ids, special.__contains__) if not is_special)
    return tuple(text for run in runs if (text := decode(run).strip()))


def restrict(params: SamplingParams, plan: Plan) -> SamplingParams:
    """A copy that tells the logits processor what to enforce; the guard's keys a client sent are dropped."""
    given = {k: v for k, v in (params.extra_args or {}).items() if not k.startswith("lethe")}
    restricted = copy.copy(params)
    restricted.extra_args = given | {
        TARGETS: list(plan.restriction.target_ids),
        SNAPSHOT: plan.restriction.snapshot,
    }
    return restricted


async def require_effect(generate: Generate, prompt_id: int) -> None:
    """Returns if a ban changes what the engine samples.

    Raises:
        GuardInactive: it does not.
    """
    free = await _first_token(generate, prompt_id, {TARGETS: []})
    banned = await _first_token(generate, prompt_id, {TARGETS: [], PROBE: free})
    if banned == free:
        raise GuardInactive(
            "a token that the guard forbade was generated; the engine does not apply its logits processor"
        )


async def _first_token(generate: Generate, prompt_id: int, extra: dict[str, Any]) -> int:
    params = SamplingParams(temperature=0.0, max_tokens=1, detokenize=False, extra_args=extra)
    prompt = {"type": "token", "prompt_token_ids": [prompt_id]}
    tokens: Sequence[int] = ()
    async for output in generate(prompt, params, f"lethe-probe-{len(extra)}"):
        tokens = output.outputs[0].token_ids
    return int(tokens[0])


def _refuse_prompt_logprobs(params: SamplingParams) -> None:
    if params.prompt_logprobs is not None or params.prompt_logprob_token_ids:
        raise VLLMValidationError(
            "logprobs of the prompt are not available on a guarded server", parameter="prompt_logprobs"
        )


def _certain(tokens: Sequence[int], params: SamplingParams, tokenizer: Any) -> list[dict[int, Logprob]]:
    """Logprobs of tokens that nothing was sampled for: certain, and even between asked-for alternatives."""
    labels = params.logprob_token_ids or []
    even = {i: Logprob(-math.log(len(labels)), None, tokenizer.decode([i])) for i in labels}
    return [even | {i: Logprob(0.0, 1, tokenizer.decode([i]))} for i in tokens]


def _count(plan: Plan) -> None:
    metrics.REQUESTS.labels(plan.action.value).inc()
    metrics.STAGE_SECONDS.labels("inspect").observe(plan.verdict.seconds)
    for match in plan.verdict.matches:
        metrics.MATCHES.labels(match.detector).inc()
