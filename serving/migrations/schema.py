"""Which migrations a database has had, and how it gets the others.

A fresh database gets all of them when it is opened. An older one is changed by ``lethe database upgrade``
alone: it may be large, and servers of the version before may still run on it.
"""

from __future__ import annotations

import threading
import time
from enum import StrEnum
from pathlib import Path

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError

from guard.errors import InputError

HEAD = "0002"  # the newest file in versions/
ATTEMPTS = 5  # to look at a database that others open at the same time
LOCK = 5_046_285_361  # the advisory lock on PostgreSQL that upgrades take; any number of our own

_one_at_a_time = threading.Lock()  # Alembic keeps the migration under way in a global variable


class Standing(StrEnum):
    """How a database stands to this version of the program."""

    EMPTY = "empty"  # it has no tables yet
    OLDER = "older"
    CURRENT = "current"
    UNKNOWN = "unknown"  # made by a newer version, most likely


def standing(found: str | None) -> Standing:
    """What the number of a schema says."""
    if found is None:
        return Standing.EMPTY
    if found == HEAD:
        return Standing.CURRENT
    return Standing.OLDER if found.isdigit() and int(found) < int(HEAD) else Standing.UNKNOWN


def number(engine: Engine) -> str | None:
    """The number of a database's last migration, "0000" before they had numbers; None: it has no tables."""
    attempt = 1
    while True:
        try:
            with engine.connect() as connection:
                return _number(connection)
        except OperationalError:
            # SQLite does not wait for the lock while another process is just about to switch to the WAL.
            if attempt == ATTEMPTS:
                raise
            time.sleep(0.05 * 2**attempt)
            attempt += 1


def known(engine: Engine) -> str | None:
    """The number of a database's schema, if this version can use or upgrade it. Raises InputError."""
    found = number(engine)
    if standing(found) is Standing.UNKNOWN:
        raise InputError(
            f"the database has schema {found}, this version knows schemas up to {HEAD}; use the version that "
            "made it"
        )
    return found


def upgrade(engine: Engine) -> None:
    """Brings a database to HEAD, in one transaction, whoever else does so at the same time."""
    # Imported late: it takes longer than to open a database that needs no upgrade.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    with _one_at_a_time, engine.connect() as connection:
        _lock(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)
        connection.commit()


def _number(connection: Connection) -> str | None:
    tables = inspect(connection)
    if tables.has_table("alembic_version"):
        stamped: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return stamped
    return "0000" if tables.has_table("targets") else None


def _lock(connection: Connection) -> None:
    """Begins a transaction that waits for any other upgrade of the same database."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
