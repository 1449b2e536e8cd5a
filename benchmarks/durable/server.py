"""An admin server without an engine, whose processes can be killed at any moment.

`python -m benchmarks.durable.server` loads everything once. For each line ``{"home", "database"}`` on its
input it forks a process that opens the database, brings its targets into force and serves the real admin
routes; it answers with ``{"pid", "port"}``. Only what vLLM's workers do is left out: none of it is durable.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from guard.audit import AuditRecord
from guard.encoder import Encoder, SentenceEncoder
from guard.snapshot import Record, Snapshot, compile_snapshot, load_snapshot
from serving.admin import router
from serving.audit_log import AuditLog, SqlAuditSink
from serving.database import open_database
from serving.live import LiveGuard
from serving.settings import Settings, read_settings
from serving.store import SqlTargetStore

KEY = "benchmark-key"
KEPT = 1_000_000  # revisions: all of them are looked at afterwards
PR_SET_PDEATHSIG = 1
PAUSE = 0.02  # seconds between two requests that are entered into the ledger beside the changes


def settings_of(home: Path, database: str) -> Settings:
    """The settings of every server of one database."""
    given: dict[str, Any] = {"admin_key": KEY, "revisions_kept": KEPT}
    return read_settings(home=home, database=database, **given)


class Holder:
    """One worker process, as far as the guard can see: it holds snapshots and enforces nothing."""

    def __init__(self) -> None:
        self._held = self._prepared = compile_snapshot([])

    async def prepare(self, directory: str) -> None:
        """See Workers."""
        self._prepared = load_snapshot(Path(directory))

    async def prepared(self) -> bool:
        """See Workers."""
        return True

    async def install(self, compacting: bool) -> Sequence[str]:
        """See Workers."""
        return self._hold(self._held.on(self._prepared) if compacting else self._prepared)

    async def change(self, put: Mapping[str, Record], removed: Collection[str]) -> Sequence[str]:
        """See Workers."""
        return self._hold(self._held.changed(put, removed))

    def _hold(self, snapshot: Snapshot) -> Sequence[str]:
        self._held = snapshot
        return [snapshot.version]


def serve(settings: Settings, encoder: Encoder, listener: socket.socket) -> None:
    """Serves until it is killed."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = open_database(settings.database_url)
        log = AuditLog.of(engine, settings)
        sink = SqlAuditSink(log)
        store = SqlTargetStore(engine, log, settings.revisions_kept)
        app.state.lethe = LiveGuard(store, sink, settings, encoder, Holder())
        await app.state.lethe.start()
        threading.Thread(target=_requests, args=(sink,), daemon=True).start()
        yield

    app = FastAPI(lifespan=lifespan)
    app.include_router(router)
    uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none")).run(sockets=[listener])


def _requests(sink: SqlAuditSink) -> None:
    """Ordinary traffic: its records are entered into the ledger between the changes."""
    for number in range(sys.maxsize):
        zeros = "0" * 64
        verdict: dict[str, Any] = {"action": "allow", "matches": []}
        fields = ("/v1/completions", verdict, "allow", "v", zeros, 3, 5, "stop", False, 0.1)
        sink.write(AuditRecord(f"req-{number}", "2026-01-01T00:00:00+00:00", *fields))
        time.sleep(PAUSE * random.random())


def main() -> None:
    """Forks a server for every line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # killed servers leave nothing behind
    encoder = SentenceEncoder()
    encoder.encode(["warm"])
    for line in sys.stdin:
        asked = json.loads(line)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody is left behind either way
            os.close(sys.stdin.fileno())
            serve(settings_of(Path(asked["home"]), asked["database"]), encoder, listener)
            os._exit(0)
        print(json.dumps({"pid": pid, "port": listener.getsockname()[1]}), flush=True)
        listener.close()


if __name__ == "__main__":
    main()
