"""Ledgers on real databases, and a target's life in them."""

import secrets
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime

from control_fixtures import record
from sqlalchemy import create_engine, make_url

from guard.audit import Event
from serving.audit_log import AuditLog
from serving.database import open_database
from serving.settings import read_settings
from serving.verification import verify_log

COLUMNS = "id kind target_id request_id time action snapshot document hash signature signer".split()
LENGTH = 9  # entries of a small ledger


def fresh_database(kind, tmp_path, request) -> str:
    """The URL of an empty database; a PostgreSQL one lives in the server of the fixture ``postgres``."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'lethe.db'}"
    url = request.getfixturevalue("postgres")
    name = f"lethe_{secrets.token_hex(4)}"
    # Databases are not created inside a transaction.
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def opened(url, home):
    """A ledger on a database, with key and head file in ``home``."""
    settings = read_settings(home=home, database=url, admin_key="root")
    engine = open_database(url)
    try:
        yield AuditLog.of(engine, settings), settings, engine
    finally:
        engine.dispose()


def event(kind, target_id=None, actor="local", **facts) -> Event:
    return Event(kind, datetime.now(UTC).isoformat(), actor, target_id, facts)


def rows(connection):
    """Everything that an SQLite ledger holds."""
    with closing(connection.execute("SELECT * FROM audit ORDER BY id")) as cursor:
        return cursor.fetchall()


def make_small_ledger(home):
    """An SQLite ledger of requests and events, closed."""
    with opened(f"sqlite:///{home / 'lethe.db'}", home) as (log, *_):
        log.append([record(n) for n in range(4)])
        log.record(event("target.added", "okoro", revision=1), event("snapshot.enforced", revision=1))
        log.append([record(n, action="refuse") for n in range(4, LENGTH - 2)])


def altered(home, *statements):
    """Changes an SQLite ledger behind the guard's back."""
    with closing(sqlite3.connect(home / "lethe.db")) as connection, connection:
        for statement in statements:
            connection.execute(*(statement if isinstance(statement, tuple) else (statement,)))


def problems(home, **known):
    """What a verification of an SQLite ledger tells."""
    with opened(f"sqlite:///{home / 'lethe.db'}", home) as (log, settings, _):
        return [str(problem) for problem in verify_log(log, settings, **known).problems]
