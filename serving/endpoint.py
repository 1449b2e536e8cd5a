"""The guard's part of the API server: routes, middleware, the guarded engine client, the self-check."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from guard.encoder import SentenceEncoder
from guard.errors import GuardInactive
from guard.semantic_penalty import softener
from guard.vocabulary import Vocabulary
from serving.admin import router
from serving.engine import GuardedGenerate, require_effect
from serving.live import LiveGuard
from serving.middleware import GuardMiddleware
from serving.settings import Settings, read_settings
from serving.workers import EngineWorkers, Workers

_log = logging.getLogger(__name__)


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

        tokenizer = engine_client.renderer.get_tokenizer()
        guard = open_guard(read_settings(), EngineWorkers(engine_client.collective_rpc), tokenizer)
        await guard.start()
        await check(engine_client, guard)
        engine_client.generate = GuardedGenerate(engine_client.generate, guard, tokenizer)
        state.lethe = guard


def open_guard(settings: Settings, workers: Workers, tokenizer: Any) -> LiveGuard:
    """A LiveGuard on the settings' database and encoder, for the model of a tokenizer; not started yet."""
    import torch

    from serving.audit_log import AuditLog, SqlAuditSink
    from serving.database import open_database
    from serving.store import SqlTargetStore

    # The engine computes in another process, and a second thread mostly waits for a core that the engine has:
    # on two busy cores 14 sentences took 60 ms with one thread and 130 to 870 ms with two.
    torch.set_num_threads(1)
    database = open_database(settings.database_url)
    sink = SqlAuditSink(AuditLog(database), settings.audit_queue)
    encoder = SentenceEncoder(settings.encoder)
    soften = softener(lambda: Vocabulary.from_tokenizer(tokenizer), encoder, settings.home / "words", _tell)
    return LiveGuard(SqlTargetStore(database), sink, settings, encoder, workers, soften)


def _tell(done: int, total: int) -> None:
    if done % 4096 < 512 or done == total:
        _log.info("%d of %d words of the vocabulary are encoded", done, total)


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
