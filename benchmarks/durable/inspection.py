"""What is in a database after its server was killed, against what the clients know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import Engine

from benchmarks.durable.changes import Client
from benchmarks.durable.server import settings_of
from serving.audit_log import AuditLog
from serving.database import open_database
from serving.store import SqlTargetStore
from serving.verification import verify_log


@dataclass
class Found:
    """Everything wrong that was found, and how often the order under way had been done.

    Attributes:
        lost: acknowledged targets that are not there as acknowledged.
        halves: orders of which a part is there, or that are there without what belongs to them.
        problems: of the ledger or the history.
        done: orders under way that were done.
        undone: those that were not.
        entries: of the ledger.
    """

    lost: list[str] = field(default_factory=list)
    halves: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    done: int = 0
    undone: int = 0
    entries: int = 0


def inspect(home: Path, database: str, clients: Sequence[Client]) -> Found:
    """Looks at a database that no server has open; tells clients whether their pending order was done."""
    found = Found()
    engine = open_database(database)
    settings = settings_of(home, database)
    there = {target.id: target.to_json() for target in SqlTargetStore(engine).list()}
    tokens = {token for (token,) in _rows(engine, "SELECT token FROM tokens")}
    for client in clients:
        mine = {i: document for i, document in there.items() if i.startswith(f"{client.name}-")}
        _compare(client, mine, {token.partition("/")[2] for token in tokens}, found)
    _look_at_history(engine, len(tokens), found)
    if tokens:
        ledger = verify_log(AuditLog(engine), settings)
        found.entries = ledger.count
        found.problems += map(str, ledger.problems)
    engine.dispose()
    return found


def _compare(client: Client, there: dict[str, object], tokens: set[str], found: Found) -> None:
    order = client.pending
    with_it = order is not None and order.token in tokens
    wanted = client.after(order if with_it else None)
    if order is not None:
        client.done = with_it
        found.done += with_it
        found.undone += not with_it
    concerned = order.effect if order else {}
    for target_id in wanted.keys() | there.keys():
        if wanted.get(target_id) != there.get(target_id):
            (found.halves if target_id in concerned else found.lost).append(target_id)
    sent = client.acknowledged + with_it
    if sum(token.startswith(f"{client.name}-") for token in tokens) != sent:
        found.lost.append(f"{client.name}: not every acknowledged order has its token")


def _look_at_history(engine: Engine, orders: int, found: Found) -> None:
    """Each order is one revision, with its way back and its entries in the ledger."""
    ((revision,),) = _rows(engine, "SELECT value FROM counters WHERE name = 'revision'")
    counts = dict(_rows(engine, "SELECT revision, count FROM revisions"))
    undo = dict(_rows(engine, "SELECT revision, count(*) FROM undo GROUP BY revision"))
    if revision != orders:
        found.problems.append(f"revision {revision} after {orders} changes")
    if sorted(counts) != list(range(revision + 1)):
        found.problems.append("revisions are missing")
    if undo != {number: count for number, count in counts.items() if count}:
        found.halves.append("a revision lacks a part of its way back")
    entered: dict[int, int] = {}
    for entry in AuditLog(engine).read(10_000_000, 0):
        if entry["kind"].startswith("target."):
            entered[entry["facts"]["revision"]] = entered.get(entry["facts"]["revision"], 0) + 1
    if entered != undo:
        found.halves.append("a change and its entries in the ledger differ")


def _rows(engine: Engine, query: str) -> list[tuple]:  # type: ignore[type-arg]
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]
