"""The start-up check: a server that does not enforce its targets must not serve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vllm.sampling_params import SamplingParams

from guard.errors import GuardInactive
from serving.logits import PROBE, TARGETS

if TYPE_CHECKING:
    from serving.engine import Generate
    from serving.live import LiveGuard


async def check(engine_client: Any, guard: LiveGuard) -> None:
    """Returns if every rank that samples enforces the guard's snapshot and a ban has effect.

    Raises:
        GuardInactive: otherwise.
    """
    version = guard.pipeline.snapshot.version
    ranks: Sequence[dict[str, Any]] = await engine_client.collective_rpc("lethe_status")
    sampling = [rank for rank in ranks if rank["samples"]]
    if not sampling or not all(rank["snapshots"] for rank in sampling):
        raise GuardInactive("an engine process runs without the guard's logits processor")
    for rank in sampling:
        if set(rank["snapshots"]) != {version}:
            raise GuardInactive(
                f"an engine process enforces {rank['snapshots']} instead of snapshot {version}"
            )
        if not all(rank["routed"]):
            raise GuardInactive("the engine was not started by 'lethe serve', so it takes no routing")
    await require_effect(engine_client.generate, engine_client.renderer.get_tokenizer().eos_token_id)


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
