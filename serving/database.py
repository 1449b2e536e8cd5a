"""The database: its tables, and how one is opened. SQLite (WAL) by default, PostgreSQL by URL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Text, event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlmodel import Field, Session, SQLModel, create_engine

from guard.errors import InputError, LetheError
from serving.metrics import STORE_ERRORS

SCHEMA = 1
BUSY_SECONDS = 30  # how long SQLite waits for another process's write


class StoreError(LetheError, RuntimeError):
    """The database failed. The message says how, never with what data."""


class TargetRow(SQLModel, table=True):
    """One registered target."""

    __tablename__ = "targets"

    id: str = Field(primary_key=True)
    document: str = Field(sa_type=Text)
    position: int = Field(index=True)
    revision: int  # of the store when the row was last written
    created: str
    updated: str


class AuditRow(SQLModel, table=True):
    """One entry of the ledger; rows are only ever added. Its id is its place in the chain, from 1 on."""

    __tablename__ = "audit"
    __table_args__ = {"sqlite_autoincrement": True}

    id: int | None = Field(default=None, primary_key=True)
    kind: str = Field(default="request", index=True)  # or an event, such as "target.added"
    target_id: str | None = Field(default=None, index=True)  # of an event about one target
    request_id: str = Field(index=True)  # "" for events
    time: str
    action: str
    snapshot: str
    document: str = Field(sa_type=Text)
    hash: str = ""  # over the entry before and this one
    signature: str = ""
    signer: str = ""  # id of the public key


class KeyRow(SQLModel, table=True):
    """One API key; of its secret only a hash is kept."""

    __tablename__ = "keys"

    id: str = Field(primary_key=True)
    name: str
    roles: str  # separated by commas
    hash: str
    created: str
    expires: str | None = None
    revoked: str | None = None


class RevisionRow(SQLModel, table=True):
    """One change of the targets, and the snapshot that first enforced it."""

    __tablename__ = "revisions"

    revision: int = Field(primary_key=True)
    time: str
    actor: str  # id of the key that asked for it; "local" is the command line
    change: str  # "added", "replaced", "removed" or "restored"
    count: int  # targets concerned
    version: str | None = Field(default=None, index=True)  # of the snapshot
    targets: int | None = None  # in force then
    enforced: str | None = None  # when


class UndoRow(SQLModel, table=True):
    """What a change found: enough to undo it. Goes away with old revisions."""

    __tablename__ = "undo"

    revision: int = Field(primary_key=True)
    target_id: str = Field(primary_key=True)
    document: str | None = Field(default=None, sa_type=Text)  # None: the target was not there
    position: int | None = None


class TokenRow(SQLModel, table=True):
    """One idempotency key, written together with the change it stands for."""

    __tablename__ = "tokens"

    token: str = Field(primary_key=True)
    digest: str  # of the request, so that another one with the same key is noticed
    revision: int
    created: str


class CounterRow(SQLModel, table=True):
    """A named number: the revision of the targets, the last position given out, the schema's version."""

    __tablename__ = "counters"

    name: str = Field(primary_key=True)
    value: int


TABLES = (TargetRow, AuditRow, CounterRow, KeyRow, RevisionRow, UndoRow, TokenRow)


def open_database(url: str) -> Engine:
    """The engine of a database whose tables exist.

    Raises:
        InputError: the URL is malformed, its driver is missing or the database cannot be opened.
    """
    shown = _without_password(url)
    try:
        if make_url(url).get_backend_name() == "sqlite":
            engine = _open_sqlite(url)
        else:
            engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
        try:
            _make_tables(engine)
        except Exception:
            engine.dispose()
            raise
        return engine
    except ModuleNotFoundError as error:
        raise InputError(f"database {shown} needs the Python package {error.name!r}; install it") from None
    except NoSuchModuleError:
        raise InputError(
            f"database {shown} has an unknown scheme; use sqlite:/// or postgresql+psycopg://"
        ) from None
    except (SQLAlchemyError, OSError) as error:
        raise InputError(f"database {shown} cannot be opened ({_reason(error)})") from None


@contextmanager
def session_on(engine: Engine) -> Iterator[Session]:
    """A session; what is not committed in the block is undone.

    Raises:
        StoreError: the database failed.
    """
    try:
        with Session(engine) as session:
            yield session
    except SQLAlchemyError as error:
        STORE_ERRORS.inc()
        away = isinstance(error, OperationalError | InterfaceError)
        detail = f"{type(error).__name__}: {_reason(error)}" if away else type(error).__name__
        raise StoreError(f"the database failed ({detail})") from None


def _open_sqlite(url: str) -> Engine:
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        # An erasure order that was acknowledged must survive a power cut.
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _make_tables(engine: Engine, attempts: int = 5) -> None:
    """Creates what is missing; two processes that start together may collide, hence the attempts."""
    for attempt in range(attempts):
        try:
            SQLModel.metadata.create_all(engine, tables=[_table(model) for model in TABLES])
            with Session(engine) as session:
                for name, value in {"revision": 0, "schema": SCHEMA}.items():
                    if session.get(CounterRow, name) is None:
                        session.add(CounterRow(name=name, value=value))
                session.commit()
                found = session.get_one(CounterRow, "schema").value
        except SQLAlchemyError:
            if attempt == attempts - 1:
                raise
            time.sleep(0.05 * 2**attempt)
            continue
        if found != SCHEMA:
            raise InputError(
                f"the database has schema {found}, this version reads {SCHEMA}; use the matching version"
            )
        return


def _table(model: type[SQLModel]) -> Any:
    return model.__table__  # type: ignore[attr-defined]


def _without_password(url: str) -> str:
    try:
        return repr(make_url(url).render_as_string(hide_password=True))
    except ArgumentError:
        return "URL"


def _reason(error: Exception) -> str:
    """The driver's own first line; it speaks of files and hosts: no row was touched yet."""
    return str(getattr(error, "orig", None) or error).strip().split("\n")[0] or type(error).__name__
