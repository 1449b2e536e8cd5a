"""The database: its tables, and how one is opened. SQLite (WAL) by default, PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Integer, Text, event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlmodel import Field, Session, SQLModel, create_engine

from guard.errors import InputError, LetheError
from serving.metrics import STORE_ERRORS
from serving.migrations import schema

BUSY_SECONDS = 30  # how long SQLite waits for another process's write
# PostgreSQL that does not answer is away: seconds to connect, milliseconds until sent data is received.
PATIENCE = {"connect_timeout": 10, "tcp_user_timeout": 10_000}

# An entry per request: 32 bits last 8 months at 100 requests a second. SQLite knows only one kind of number.
_Long = BigInteger().with_variant(Integer(), "sqlite")


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

    id: int | None = Field(default=None, primary_key=True, sa_type=_Long)
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
    change: str  # "added", "replaced", "removed" or "restored"; "found": here the history begins
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
    created: str = Field(index=True)


class CounterRow(SQLModel, table=True):
    """A named number: the revision of the targets, the number of the ledger's entries."""

    __tablename__ = "counters"

    name: str = Field(primary_key=True)
    value: int = Field(sa_type=_Long)


def open_database(url: str) -> Engine:
    """The engine of a database of this version's schema; a database without tables gets them.

    Raises:
        InputError: the URL is malformed, its driver is missing, the database cannot be opened or has another
            schema.
    """
    with _explained(url, "opened"):
        engine = _connect(url)
        try:
            found = schema.known(engine)
            if found is None:
                schema.upgrade(engine)
            elif schema.standing(found) is schema.Standing.OLDER:
                raise InputError(
                    f"the database has schema {found}, this version reads {schema.HEAD}; back it up and run "
                    "'lethe database upgrade'"
                )
        except Exception:
            engine.dispose()
            raise
        return engine


def schema_of(url: str) -> str | None:
    """The number of a database's schema, as `serving.migrations.schema.number`. Raises InputError."""
    if _is_missing(url):
        return None
    with _explained(url, "opened"), _disposed(_connect(url)) as engine:
        return schema.number(engine)


def upgrade_database(url: str) -> str | None:
    """Brings a database to this version's schema, rows kept; the number of the one it had.

    Raises:
        InputError: as `open_database`; what had been changed by then is undone.
    """
    with _explained(url, "upgraded"), _disposed(_connect(url)) as engine:
        before = schema.known(engine)
        schema.upgrade(engine)
        return before


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


def _connect(url: str) -> Engine:
    backend = make_url(url).get_backend_name()
    if backend == "sqlite":
        return _open_sqlite(url)
    if backend != "postgresql":
        raise NoSuchModuleError(backend)
    given = make_url(url).query
    patience = {name: value for name, value in PATIENCE.items() if name not in given}
    return create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=patience)


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


def _is_missing(url: str) -> bool:
    """True for an SQLite file that looking at would create."""
    with _explained(url, "opened"):
        path = make_url(url).database if make_url(url).get_backend_name() == "sqlite" else None
        return bool(path) and path != ":memory:" and not Path(str(path)).exists()


@contextmanager
def _disposed(engine: Engine) -> Iterator[Engine]:
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _explained(url: str, what: str) -> Iterator[None]:
    """Raises InputError, without the password, for whatever is wrong with a database."""
    shown = _without_password(url)
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"database {shown} needs the Python package {error.name!r}; install it") from None
    except NoSuchModuleError:
        raise InputError(
            f"database {shown} has an unknown scheme; use sqlite:/// or postgresql+psycopg://"
        ) from None
    except (SQLAlchemyError, OSError) as error:
        raise InputError(f"database {shown} cannot be {what} ({_reason(error)})") from None


def _without_password(url: str) -> str:
    try:
        return repr(make_url(url).render_as_string(hide_password=True))
    except ArgumentError:
        return "URL"


def _reason(error: Exception) -> str:
    """The driver's own first line; it speaks of files and hosts: no row was touched yet."""
    return str(getattr(error, "orig", None) or error).strip().split("\n")[0] or type(error).__name__
