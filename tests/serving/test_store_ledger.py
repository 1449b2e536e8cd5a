"""What the SQL store enters into the ledger: every change, in the transaction of the change."""

import json
import threading

import pytest
from control_fixtures import target

from guard.errors import RevisionGone, TargetChanged, TargetExists, TargetNotFound, TokenReused
from guard.targets import Origin, canonical
from serving.audit_log import AuditLog
from serving.database import StoreError, open_database
from serving.ledger import Signer, verify
from serving.store import SqlTargetStore


@pytest.fixture
def engine(url):
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def log(engine, tmp_path):
    return AuditLog(engine, Signer.load(tmp_path / "ledger.key"))


@pytest.fixture
def store(engine, log):
    return SqlTargetStore(engine, log)


def events(log, kind=None):
    return log.read(1000, 0, kind=kind)


def rows(engine, query):
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_every_change_is_in_the_ledger_with_its_seal_and_without_text(store, log):
    first = target("a", name="Secret Person", phrases=["secret phrase"])
    store.add(first, target("b", expires_at="2030-01-01T00:00:00Z"), origin=Origin("key-1"))
    store.replace(target("a", name="Secret Other"), origin=Origin("key-2"))
    store.remove("a", origin=Origin("key-3"))
    store.restore(1, Origin("key-4"))
    found = [(e["kind"], e["target_id"], e["actor"], e["facts"]["revision"]) for e in events(log)]
    assert found == [
        ("target.added", "a", "key-1", 1),
        ("target.added", "b", "key-1", 1),
        ("target.replaced", "a", "key-2", 2),
        ("target.removed", "a", "key-3", 3),
        ("target.restored", "a", "key-4", 4),
    ]
    seals = [e["facts"]["seal"] for e in events(log)]
    assert seals[0] == seals[4] == log.signer.seal(canonical(first))
    assert seals[2] == seals[3]
    assert len(set(seals)) == 3
    assert [e["facts"].get("expires") for e in events(log)][:2] == [None, "2030-01-01T00:00:00+00:00"]
    assert events(log)[4]["facts"]["back_to"] == 1
    assert "Secret" not in json.dumps(events(log))
    assert "secret" not in json.dumps(events(log))


def test_going_back_enters_removals_too(store, log):
    store.add(target("a"))
    store.replace(target("a", reason="because"))
    store.add(target("b"))
    store.restore(1)
    found = [(e["kind"], e["target_id"]) for e in events(log)][-2:]
    assert sorted(found) == [("target.removed", "b"), ("target.restored", "a")]


def test_change_that_is_refused_leaves_no_trace(engine, store, log):
    store.add(target("a"), origin=Origin("key", "token", "digest"))
    tables = ("targets", "audit", "revisions", "undo", "tokens", "counters")
    before = {table: rows(engine, f"SELECT * FROM {table}") for table in tables}
    for refused, error in (
        (lambda: store.add(target("b"), target("a")), TargetExists),
        (lambda: store.replace(target("nobody")), TargetNotFound),
        (lambda: store.remove("a", expected="0"), TargetChanged),
        (lambda: store.restore(99), RevisionGone),
        (lambda: store.remove("a", Origin("key", "token", "another")), TokenReused),
        (lambda: store.add(target("a"), origin=Origin("key", "token", "digest")), None),
    ):
        if error is None:
            refused()
        else:
            with pytest.raises(error):
                refused()
        assert {table: rows(engine, f"SELECT * FROM {table}") for table in tables} == before


def test_change_whose_entry_in_the_ledger_fails_is_not_made(engine, store):
    store.add(target("a"))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE audit RENAME TO elsewhere")
    with pytest.raises(StoreError):
        store.remove("a")
    assert store.list() == (target("a"),)
    assert store.revision() == 1
    assert len(store.revisions(10)) == 2


def test_ledger_of_many_writers_and_kinds_verifies(url, store, log, tmp_path):
    engines = [open_database(url) for _ in range(3)]
    stores = [SqlTargetStore(e, AuditLog(e, log.signer)) for e in engines]
    threads = [
        threading.Thread(
            target=lambda n=n, s=s: [
                (s.add(target(f"t{n}-{i}")), s.enforced(s.revision(), f"v{n}-{i}", i)) for i in range(8)
            ]
        )
        for n, s in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for engine in engines:
        engine.dispose()
    assert len(store.list()) == 24
    found = verify(log.entries(), {log.signer.id: log.signer.public}, [log.head()])
    assert found.problems == ()
    assert len(events(log, "target.added")) == 24


def test_first_snapshot_of_a_revision_is_noted_once(store, log):
    store.add(target("a"))
    store.enforced(1, "0123456789abcdef", 1, "2026-01-01T00:00:00+00:00")
    store.enforced(1, "fedcba9876543210", 1)
    revision = store.revisions(1)[0]
    assert (revision.version, revision.targets) == ("0123456789abcdef", 1)
    assert revision.enforced == "2026-01-01T00:00:00+00:00"
    (event,) = events(log, "snapshot.enforced")
    assert (event["actor"], event["time"]) == ("server", "2026-01-01T00:00:00+00:00")
    assert event["facts"] == {"revision": 1, "version": "0123456789abcdef", "targets": 1}
    store.enforced(17, "0123456789abcdef", 1)
    assert len(events(log, "snapshot.enforced")) == 1
