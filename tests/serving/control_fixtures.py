"""Targets, an encoder, databases and workers for the tests of the control side."""

import asyncio
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from guard import ForgetTarget
from guard.audit import AuditRecord
from guard.encoder import SentenceEncoder
from guard.snapshot import compile_snapshot, load_snapshot
from guard.tables import Tables
from guard.vocabulary import Vocabulary
from serving.admin import router
from serving.audit_log import AuditLog, SqlAuditSink
from serving.database import open_database
from serving.keyring import SqlKeyring
from serving.live import LiveGuard
from serving.settings import read_settings
from serving.store import SqlTargetStore
from serving.traffic import Traffic

# Not ASCII: header bytes and text must not be mixed up on either side.
KEY = "k-öffentlich-nicht"


@cache
def minilm() -> SentenceEncoder:
    return SentenceEncoder()


def target(target_id: str = "okoro", **fields) -> ForgetTarget:
    return ForgetTarget.parse({"id": target_id, "name": f"Mina {target_id.title()}"} | fields)


def record(number: int = 0, **fields) -> AuditRecord:
    values = {
        "request_id": f"req-{number}",
        "time": "2026-01-01T00:00:00+00:00",
        "route": "/v1/chat/completions",
        "verdict": {"action": "allow", "matches": []},
        "action": "allow",
        "snapshot": "v1",
        "prompt_sha256": "0" * 64,
        "prompt_tokens": 3,
        "response_tokens": 5,
        "finish_reason": "stop",
        "filtered": False,
        "seconds": 0.25,
    }
    return AuditRecord(**(values | fields))


class Workers:
    """Two workers of an engine without the engine: they load, compile and answer as `serving.worker` does.

    The first is a pipeline stage that samples nothing, so it enforces nothing.

    Attributes:
        tables: what the second one enforces, over a vocabulary of bytes.
        calls: names of the calls that changed something.
        error: raised by every call.
        slow: while it is set, nothing gets prepared.
    """

    def __init__(self):
        vocabulary = Vocabulary((*(bytes([b]) for b in range(256)), b""), frozenset([256]), (256,))
        self.tables = Tables(vocabulary, compile_snapshot([]))
        self.calls = []
        self.error = None
        self.slow = False

    @property
    def version(self):
        return self.tables.snapshot.version

    async def prepare(self, directory):
        self._called("prepare")
        self._prepared = load_snapshot(directory)
        self.tables.prepare(self._prepared)

    async def prepared(self):
        return not self.slow

    async def install(self, compacting):
        self._called("compact" if compacting else "load")
        self.tables.install(self.tables.snapshot.on(self._prepared) if compacting else self._prepared)
        return ["", self.version]

    async def change(self, put, removed):
        self._called("change")
        self.tables.install(self.tables.snapshot.changed(put, removed))
        await asyncio.sleep(0)
        return ["", self.version]

    def _called(self, name):
        if self.error:
            raise self.error
        self.calls.append(name)


class Served:
    """The admin routes under a real uvicorn in a thread, on a real database."""

    def __init__(self, home):
        self.settings = read_settings(home=home, admin_key=KEY, poll_seconds=0.1)
        self.engine = open_database(self.settings.database_url)
        self.log = AuditLog.of(self.engine, self.settings)
        self.store = SqlTargetStore(self.engine, self.log)
        self.sink = SqlAuditSink(self.log)
        self.keyring = SqlKeyring(self.engine, KEY, self.log)
        self.traffic = Traffic(100)
        self.workers = Workers()
        self.app = FastAPI(lifespan=self._lifespan)
        self.app.include_router(router)
        config = uvicorn.Config(self.app, port=0, log_level="critical", ws="none")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)

    def _lifespan(self, app):
        @asynccontextmanager
        async def span(app):
            app.state.lethe = LiveGuard(
                self.store,
                self.sink,
                self.settings,
                minilm(),
                self.workers,
                keyring=self.keyring,
                traffic=self.traffic,
            )
            await app.state.lethe.start()
            yield
            await app.state.lethe.close()

        return span(app)

    def __enter__(self):
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.02)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *error):
        self.server.should_exit = True
        self.thread.join()
        self.engine.dispose()

    @property
    def guard(self):
        return self.app.state.lethe

    @property
    def push_error(self):
        return self.workers.error

    @push_error.setter
    def push_error(self, error):
        self.workers.error = error


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def postgres_server(directory: Path) -> Iterator[str]:
    """The URL of a fresh PostgreSQL server; skips where the server or its Python driver is not installed."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(found[-1]) if found else shutil.which("initdb")
    if initdb is None:
        pytest.skip("no PostgreSQL server is installed")
    user = _unprivileged(directory)
    data, port = directory / "data", free_port()
    run = {"user": user, "cwd": directory, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([initdb, "-D", data, "-U", "lethe", "-A", "trust", "-N"], check=True, **run)
    control = [str(Path(initdb).parent / "pg_ctl"), "-D", str(data), "-w", "-t", "60"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {directory} -F"
    subprocess.run([*control, "-o", options, "start"], check=True, **run)
    try:
        yield f"postgresql+psycopg://lethe@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, **run)


@contextmanager
def postgres_database(server: str) -> Iterator[str]:
    """The URL of a fresh database on a server, given by the URL of another one."""
    name = f"test_{secrets.token_hex(6)}"
    _execute(server, f"CREATE DATABASE {name}")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def _unprivileged(directory: Path) -> str | None:
    """The account to run PostgreSQL under, because it refuses to run as root; it then owns the directory."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    shutil.chown(directory, user)
    return user
