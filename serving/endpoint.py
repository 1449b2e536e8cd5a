"""The guard's part of the API server: routes, middleware, the guarded engine client, the self-check."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from guard.errors import GuardInactive
from serving.admin import router
from serving.engine import GuardedGenerate, require_effect
from serving.live import LiveGuard, open_guard
from serving.middleware import GuardMiddleware
from serving.settings import read_settings


class GuardEndpoint:
    """What vLLM's endpoint plugin interface asks for."""

    name = "lethe"
    required_tasks = None  # any model: one that cannot be guarded must not be served unguarded

    def attach_router(self, app: Any) -> None:
        """Adds the admin routes and the middleware; vLLM adds its own around it, the key check included."""
        app.include_router(router)
        app.add_middleware(GuardMiddleware)
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(running: Any) -> AsyncIterator[Any]:
            async with inner(running) as state:
                guard: LiveGuard = running.state.lethe  # now: vLLM takes the state away at the end
                try:
                    yield state
                finally:
                    await guard.close()

        app.router.lifespan_context = lifespan

    async def init_state(self, engine_client: Any, state: Any, args: Any) -> None:
        """Brings the targets into force and puts the guard in front of the engine.

        Raises:
            GuardInactive: the engine does not apply the guard; the server must not serve.
        """
        if engine_client is None:
            raise GuardInactive("there is no engine to guard here; use 'lethe serve'")

        async def push(directory: str) -> None:
            await engine_client.collective_rpc("lethe_load_snapshot", args=(directory,))

        guard = open_guard(read_settings(), push)
        await guard.start()
        await check(engine_client, guard)
        engine_client.generate = GuardedGenerate(
            engine_client.generate, guard, engine_client.renderer.get_tokenizer()
        )
        state.lethe = guard


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
