"""The choke point: every prompt, from every route, passes `GuardedGenerate` on its way to the engine."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vllm.exceptions import VLLMValidationError
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams

from guard.audit import AuditRecord, prompt_hash
from guard.pipeline import Pipeline, Plan
from guard.types import Verdict
from guard.vocabulary import special_ids
from serving import metrics, tracing
from serving.answers import Answer, at_once, certain, paced, pacemaker
from serving.exchange import Exchange, exchange
from serving.logits import FREE, SNAPSHOT, TARGETS
from serving.outputs import Ending, OutputFilter
from serving.prompts import prompt_tokens, split
from serving.surfaces import PROMPT_LOGPROBS

if TYPE_CHECKING:
    from serving.live import LiveGuard

Generate = Callable[..., AsyncGenerator[RequestOutput, None]]

FINISH_REASON = {"/v1/messages": "stop"}
"""Routes that translate the finish reason and know no content_filter: they would say null."""


@dataclass(frozen=True)
class Case:
    """One prompt on its way through the guard.

    Attributes:
        prompt, params: as the engine is given them.
        request_id: of the prompt.
        options: further arguments of the engine's ``generate``.
        ids: tokens of the prompt.
        segments: its messages.
        pipeline: that judged it.
        plan: what is done to it.
        finish_reason: of an answer that is suppressed.
    """

    prompt: Any
    params: SamplingParams
    request_id: str
    options: dict[str, Any]
    ids: list[int]
    segments: tuple[str, ...]
    pipeline: Pipeline
    plan: Plan
    finish_reason: str


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
            VLLMValidationError: the prompt cannot be read, or logprobs are asked for that cannot be given.
        """
        started = time.perf_counter()
        current = exchange.get() or Exchange("generate")
        current.request_id = current.request_id or request_id
        case = await self._admit(prompt, sampling_params, request_id, options, current)
        outgoing = self._filter(case, started)
        outputs, filtering = self._outputs(case), tracing.Pieces("filter")
        with tracing.Stage("generate") as span:
            try:
                async with aclosing(outputs):
                    async for output in outputs:
                        running = not output.finished
                        with filtering:
                            leaves = outgoing.release(output)
                        if leaves:
                            yield output
                        if running and outgoing.ended:
                            break  # every completion was cut: closing the generator aborts the request
            finally:
                filtering.end()
                record = _record(case, outgoing, current.path, time.perf_counter() - started)
                span.tell(record)
                if self._guard.traffic is not None:
                    self._guard.traffic.note(case.segments, outgoing.text, record.action, record.request_id)
                self._guard.sink.write(record)

    async def _admit(
        self, prompt: Any, params: SamplingParams, request_id: str, options: dict[str, Any], current: Exchange
    ) -> Case:
        """Judges a prompt and decides what is done to it."""
        ids = prompt_tokens(prompt)
        self._refuse_logprobs(params)
        pipeline, settings = self._guard.pipeline, self._guard.settings
        loop = asyncio.get_running_loop()
        with tracing.Stage("inspect"):
            context = contextvars.copy_context()
            segments, verdict = await loop.run_in_executor(
                self._threads, context.run, self._judge, pipeline, ids
            )
        mode = current.mode or settings.mode
        plan = pipeline.plan(verdict, rewritten=current.rewritten, injected=current.injected, mode=mode)
        current.tell(plan.action, verdict.snapshot, request_id)
        _count(plan)
        finish_reason = FINISH_REASON.get(current.path, pipeline.forms.finish_reason)
        return Case(prompt, params, request_id, options, ids, segments, pipeline, plan, finish_reason)

    def _judge(self, pipeline: Pipeline, ids: Sequence[int]) -> tuple[tuple[str, ...], Verdict]:
        """The prompt's messages and the verdict on them."""
        segments = split(ids, self._special, self._tokenizer.decode)
        return segments, pipeline.inspect(segments)

    def _outputs(self, case: Case) -> AsyncGenerator[RequestOutput, None]:
        """What the engine says to a prompt, or what is said in its place."""
        if case.plan.refusal is None:
            return self._ask(case, restrict(case.params, case.plan))
        answer = Answer.of(case.plan.refusal, case.finish_reason, self._tokenizer)
        if case.pipeline.forms.disclose:
            return self._refuse(case, answer)
        answer = answer.within(case.params, self._decoder(case.params))
        steps = self._ask(case, pacemaker(answer, case.params, _orders(case.plan, free=True)))
        return paced(answer, steps, case.params, self._decoder(case.params))

    def _ask(self, case: Case, params: SamplingParams) -> AsyncGenerator[RequestOutput, None]:
        return self._generate(case.prompt, params, case.request_id, **case.options)

    async def _refuse(self, case: Case, answer: Answer) -> AsyncGenerator[RequestOutput, None]:
        """The refusal at once; the engine never sees the prompt."""
        yield at_once(answer, case.prompt, case.ids, case.params, case.request_id, self._tokenizer)

    def _filter(self, case: Case, started: float) -> OutputFilter:
        params, end = case.params, int(self._tokenizer.eos_token_id)
        return OutputFilter(
            lambda: case.pipeline.response_filter(case.plan),
            Ending(case.finish_reason, end, certain([end], params, self._tokenizer)[0]),
            self._decoder(params),
            count=params.n,
            deltas=params.output_kind is RequestOutputKind.DELTA,
            grammar=params.structured_outputs is not None,
            observing=case.plan.observed is not None,
            begun=started,
        )

    def _decoder(self, params: SamplingParams) -> Callable[[Sequence[int]], str]:
        """The text of tokens as the engine renders them."""
        skip = params.skip_special_tokens
        return lambda ids: str(self._tokenizer.decode(ids, skip_special_tokens=skip))

    def _refuse_logprobs(self, params: SamplingParams) -> None:
        settings = self._guard.settings
        asked = params.prompt_logprobs is not None or params.prompt_logprob_token_ids
        if asked and PROMPT_LOGPROBS not in settings.open_surfaces:
            raise VLLMValidationError(
                "logprobs of the prompt are not available on a guarded server", parameter="prompt_logprobs"
            )
        if not settings.disclose and (params.logprobs is not None or params.logprob_token_ids):
            # Those of an answer that was not generated would tell that it was not.
            raise VLLMValidationError("logprobs are not available on this server", parameter="logprobs")


def restrict(params: SamplingParams, plan: Plan) -> SamplingParams:
    """A copy that tells the logits processor what to enforce; the guard's keys a client sent are dropped."""
    given = {k: v for k, v in (params.extra_args or {}).items() if not k.startswith("lethe")}
    restricted = copy.copy(params)
    restricted.extra_args = given | _orders(plan, free=plan.observed is not None)
    return restricted


def _orders(plan: Plan, *, free: bool) -> dict[str, Any]:
    """What the logits processor is told about a request."""
    orders = {TARGETS: list(plan.restriction.target_ids), SNAPSHOT: plan.restriction.snapshot}
    return orders | {FREE: 1} if free else orders


def _count(plan: Plan) -> None:
    metrics.REQUESTS.labels(plan.action.value).inc()
    if plan.observed is not None:
        metrics.OBSERVED.labels(plan.observed.value).inc()
    for match in plan.verdict.matches:
        metrics.MATCHES.labels(match.detector).inc()


def _record(case: Case, outgoing: OutputFilter, path: str, seconds: float) -> AuditRecord:
    """What happened to a prompt, however it ended."""
    verdict = case.plan.verdict
    return AuditRecord(
        request_id=case.request_id,
        time=datetime.now(UTC).isoformat(),
        route=path,
        verdict=verdict.to_json(),
        action=case.plan.action.value,
        snapshot=verdict.snapshot,
        prompt_sha256=prompt_hash(case.segments),
        prompt_tokens=len(case.ids),
        response_tokens=outgoing.tokens,
        finish_reason=outgoing.finish_reason,
        filtered=outgoing.filtered,
        seconds=round(seconds, 6),
    )
