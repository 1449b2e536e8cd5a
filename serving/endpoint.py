"""The guard's part of the API server: routes, middleware, the guarded engine client, the self-check."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from guard.encoder import SentenceEncoder
from guard.errors import GuardInactive
from guard.semantic_penalty import softener
from guard.vocabulary import Vocabulary
from serving.admin import router
from serving.drain import Drain, DrainMiddleware
from serving.engine import GuardedGenerate
from serving.live import LiveGuard
from serving.middleware import GuardMiddleware
from serving.selfcheck import check
from serving.settings import Settings, read_settings
from serving.traffic import Traffic
from serving.workers import EngineWorkers, Workers

_log = logging.getLogger(__name__)


class GuardEndpoint:
    """What vLLM's endpoint plugin interface asks for."""

    name = "lethe"
    required_tasks = None  # any model: one that cannot be guarded must not be served unguarded

    def __init__(self) -> None:
        self._drain = Drain()

    def attach_router(self, app: Any) -> None:
        """Adds the admin routes and the middleware; vLLM adds its own around it, the key check included."""
        app.include_router(router)
        app.add_middleware(GuardMiddleware)
        app.add_middleware(DrainMiddleware, drain=self._drain)  # outside the guard's
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
        engine_client.shutdown = self._drain.before(engine_client.shutdown)
        engine_client.generate = GuardedGenerate(engine_client.generate, guard, tokenizer)
        state.lethe = guard


def open_guard(settings: Settings, workers: Workers, tokenizer: Any) -> LiveGuard:
    """A LiveGuard on the settings' database and encoder, for the model of a tokenizer; not started yet."""
    import torch

    from serving.audit_log import AuditLog, SqlAuditSink
    from serving.database import open_database
    from serving.keyring import SqlKeyring
    from serving.store import SqlTargetStore

    # The engine computes in another process, and a second thread mostly waits for a core that the engine has:
    # on two busy cores 14 sentences took 60 ms with one thread and 130 to 870 ms with two.
    torch.set_num_threads(1)
    database = open_database(settings.database_url)
    log = AuditLog.of(database, settings)
    encoder = SentenceEncoder(settings.encoder)
    return LiveGuard(
        SqlTargetStore(database, log, settings.revisions_kept),
        SqlAuditSink(log, settings.audit_queue),
        settings,
        encoder,
        workers,
        softener(lambda: Vocabulary.from_tokenizer(tokenizer), encoder, settings.home / "words", _tell),
        SqlKeyring(database, settings.read_admin_key(), log),
        Traffic(settings.traffic) if settings.traffic else None,
    )


def _tell(done: int, total: int) -> None:
    if done % 4096 < 512 or done == total:
        _log.info("%d of %d words of the vocabulary are encoded", done, total)
