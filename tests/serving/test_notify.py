"""Word of changes by LISTEN and NOTIFY, on a real PostgreSQL."""

import asyncio
import threading
import time
from contextlib import asynccontextmanager

import psycopg
import pytest
from control_fixtures import Workers, minilm, postgres_database, target
from sqlalchemy.engine import make_url

from guard.audit import MemoryAuditSink
from guard.errors import TargetExists
from serving import notify
from serving.database import StoreError, open_database
from serving.live import LiveGuard
from serving.notify import NAME, Listener
from serving.settings import read_settings
from serving.store import SqlTargetStore


@pytest.fixture
def url(postgres):
    with postgres_database(postgres) as url:
        yield url


@pytest.fixture
def store(url):
    engine = open_database(url)
    yield SqlTargetStore(engine)
    engine.dispose()


@pytest.fixture
def admin(url):
    """A connection of its own, to look at the others."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


@pytest.fixture
def word(store):
    """Counts what is heard of the store's changes; word() is the count."""
    heard = []
    close = store.listen(lambda: heard.append(time.monotonic()))
    _until(lambda: heard)  # it has connected
    heard.clear()
    yield lambda: len(heard)
    close()


def _until(condition, seconds=10):
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("did not happen")


async def until(condition, seconds):
    """Waits in an event loop; returns the seconds that it took."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if condition():
            return time.monotonic() - started
        await asyncio.sleep(0.005)
    raise AssertionError(f"did not happen within {seconds} seconds")


def listening(admin):
    """Process ids of the listening connections."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"
    return [pid for (pid,) in admin.execute(query, [NAME])]


def kill(admin):
    killed = listening(admin)
    for pid in killed:
        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
    _until(lambda: not set(killed) & set(listening(admin)))


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.add(*(target(f"t{n}") for n in range(500))),
        lambda store: store.replace(target("a", reason="because")),
        lambda store: store.remove("a"),
        lambda store: store.restore(0),
    ],
)
def test_every_change_of_another_connection_is_heard_once(url, store, word, change):
    store.add(target("a"))
    _until(lambda: word() == 1)
    other = open_database(url)
    change(SqlTargetStore(other))
    other.dispose()
    _until(lambda: word() == 2)
    time.sleep(0.1)
    assert word() == 2


def test_change_that_is_undone_is_not_heard(store, word):
    store.add(target("a"))
    _until(lambda: word() == 1)
    with pytest.raises(TargetExists):
        store.add(target("a"))
    time.sleep(0.2)
    assert word() == 1


def test_listener_whose_connection_was_killed_comes_back_by_itself(admin, store, word):
    kill(admin)
    _until(lambda: word() == 1)  # it cannot know what it missed, so it says that something may have changed
    store.add(target("a"))
    _until(lambda: word() == 2)


def test_listener_waits_longer_and_longer_while_the_database_is_away(monkeypatch, caplog):
    monkeypatch.setattr(notify, "PAUSES", (0.05, 0.4))
    away = {"host": "127.0.0.1", "port": 9, "user": "u", "password": "pass-word", "dbname": "x"}
    listener = Listener(away, lambda: None)
    time.sleep(1.6)
    listener.close()
    # At 0, 0.05, 0.15, 0.35, 0.75, 1.15, 1.55
    assert 4 <= len(caplog.records) <= 7
    assert "pass-word" not in caplog.text


def test_closed_listener_leaves_neither_thread_nor_connection(admin, store):
    close = store.listen(lambda: None)
    _until(lambda: listening(admin))
    started = time.monotonic()
    close()
    close()
    assert time.monotonic() - started < 1
    assert not [t for t in threading.enumerate() if t.name == NAME]
    _until(lambda: not listening(admin))


def test_sqlite_has_no_listener(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/lethe.db")
    close = SqlTargetStore(engine).listen(lambda: None)
    assert not [t for t in threading.enumerate() if t.name == NAME]
    close()
    engine.dispose()


@asynccontextmanager
async def guards(url, tmp_path, poll_seconds):
    """Two servers' guards on one database."""
    engines = [open_database(url) for _ in range(2)]
    pair = [
        LiveGuard(
            SqlTargetStore(engine),
            MemoryAuditSink(),
            read_settings(home=tmp_path / str(n), database=url, poll_seconds=poll_seconds),
            minilm(),
            Workers(),
        )
        for n, engine in enumerate(engines)
    ]
    await asyncio.gather(*(guard.start() for guard in pair))
    try:
        yield pair
    finally:
        await asyncio.gather(*(guard.close() for guard in pair))
        for engine in engines:
            engine.dispose()


def in_force(guard):
    return set(guard.pipeline.snapshot.targets)


async def test_change_on_one_server_is_enforced_by_the_other_within_a_second(url, admin, tmp_path):
    async with guards(url, tmp_path, poll_seconds=60) as (left, right):
        await until(lambda: len(listening(admin)) == 2, seconds=10)
        taken = []
        for n in range(3):
            change = await left.add(target(f"t{n}"))
            taken.append(await until(lambda n=n: f"t{n}" in in_force(right), seconds=1))
            assert right.pipeline.snapshot.version == change.snapshot
        await right.remove("t0")
        await until(lambda: "t0" not in in_force(left), seconds=1)
        await left.rollback()
        await until(lambda: in_force(right) == {"t0", "t1", "t2"}, seconds=1)
        assert max(taken) < 1


async def test_change_is_enforced_by_polling_where_nothing_is_heard(url, admin, tmp_path, monkeypatch):
    monkeypatch.setattr(notify, "PAUSES", (600.0, 600.0))  # who loses the connection stays without
    async with guards(url, tmp_path, poll_seconds=0.2) as (left, right):
        await until(lambda: len(listening(admin)) == 2, seconds=10)
        await asyncio.to_thread(kill, admin)
        assert listening(admin) == []
        await left.add(target("okoro"))
        await until(lambda: "okoro" in in_force(right), seconds=5)
        assert listening(admin) == []


async def test_guard_keeps_its_targets_while_postgresql_is_away_and_follows_when_it_is_back(
    postgres, url, tmp_path, monkeypatch
):
    monkeypatch.setattr(notify, "PAUSES", (0.1, 0.2))
    name = make_url(url).database
    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as admin:
        async with guards(url, tmp_path, poll_seconds=0.2) as (left, right):
            await left.add(target("okoro"))
            await until(lambda: "okoro" in in_force(right), seconds=5)
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            await until(lambda: not (left.store_ok or right.store_ok), seconds=10)
            with pytest.raises(StoreError):
                await left.remove("okoro")
            assert in_force(left) == in_force(right) == {"okoro"}
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await until(lambda: left.store_ok and right.store_ok, seconds=10)
            await left.remove("okoro")
            await until(lambda: not in_force(right), seconds=5)


async def test_change_made_while_the_listener_was_away_is_enforced_when_it_is_back(url, admin, tmp_path):
    async with guards(url, tmp_path, poll_seconds=60) as (left, right):
        await until(lambda: len(listening(admin)) == 2, seconds=10)
        await asyncio.to_thread(kill, admin)
        await left.add(target("okoro"))
        await until(lambda: "okoro" in in_force(right), seconds=5)
