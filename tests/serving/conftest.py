"""Fixtures that start engines and servers; everything else is imported from the *_fixtures modules."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from choke_fixtures import InProcess
from control_fixtures import minilm, postgres_database, postgres_server
from engine_fixtures import ADMIN_KEY, FORGOTTEN, engine, load, model, wiring

import serving
from guard.audit import MemoryAuditSink
from guard.snapshot import compile_snapshot
from guard.targets import MemoryTargetStore
from serving.launch import guarded_command, running
from serving.live import LiveGuard
from serving.settings import read_settings


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A guarded engine in this process that starts without targets."""
    directory = compile_snapshot([]).save(tmp_path_factory.mktemp("snapshots"))
    with engine(**wiring(directory)) as llm:
        yield llm


@pytest.fixture
def empty(guarded):
    """The same engine, back at no targets after the test."""
    yield guarded
    directory = guarded.llm_engine.vllm_config.additional_config["lethe"]["snapshot"]
    load(guarded, directory)


@pytest.fixture
def client(empty):
    return InProcess(empty)


@pytest.fixture
def guard_on(client, live):
    """Makes a guarded `generate` on targets; returns it with its guard."""
    from serving.engine import GuardedGenerate

    async def make(*targets, workers=client.workers, **settings):
        guard = await live(targets, workers, **settings)
        return GuardedGenerate(client.generate, guard, client.renderer.get_tokenizer()), guard

    return make


@pytest.fixture
async def live(tmp_path):
    """Makes running guards on targets; ``workers`` are told of them."""
    guards = []

    async def start(targets, workers, **settings):
        guard = LiveGuard(
            MemoryTargetStore(targets),
            MemoryAuditSink(),
            read_settings(home=tmp_path / "home", **settings),
            minilm(),
            workers,
        )
        await guard.start()
        guards.append(guard)
        return guard

    yield start
    await asyncio.gather(*(guard.close() for guard in guards))


@pytest.fixture(scope="session")
def postgres():
    """The URL of a PostgreSQL server; skips where none is installed."""
    # Not below pytest's own directory: the account PostgreSQL runs under may not enter that.
    with tempfile.TemporaryDirectory() as directory, postgres_server(Path(directory)) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """The URL of a database without tables, of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'home' / 'lethe.db'}"
    else:
        with postgres_database(request.getfixturevalue("postgres")) as found:
            yield found


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """`lethe serve` on the nano model, in processes of its own."""
    home = tmp_path_factory.mktemp("server")
    environment = {"LETHE_HOME": str(home / "lethe"), "LETHE_ADMIN_KEY": ADMIN_KEY}
    options = ["--served-model-name", "nano", "--max-num-seqs", "16"]
    command = guarded_command([model(), *options])
    log = home / "log"
    with running(command, log, environment) as started:
        started.wait(limit=420)
        yield started
    # Neither a request nor the shutdown raised anything in our code, and no text of a target was logged.
    said = log.read_text()
    assert str(Path(serving.__file__).parent) not in said
    assert FORGOTTEN not in said
