"""The history of the SQL store: revisions, the way back, tokens, and what goes to the ledger."""

import subprocess
import sys
import tempfile
import threading
from datetime import datetime, timedelta

import pytest
from control_fixtures import target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.errors import RevisionGone, TargetChanged, TargetExists, TargetNotFound, TokenReused
from guard.history import History
from guard.targets import MemoryTargetStore, Origin
from serving import history
from serving.audit_log import AuditLog
from serving.database import open_database
from serving.ledger import Signer
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


def rows(engine, query):
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_sql_store_is_a_history_and_a_store_in_memory_is_none(store):
    assert isinstance(store, History)
    assert not isinstance(MemoryTargetStore(), History)


def test_every_change_is_a_revision_with_actor_and_count(store):
    store.add(target("a"), target("b"), origin=Origin("key-1"))
    store.replace(target("a", reason="because"), origin=Origin("key-2"))
    store.remove("b")
    store.restore(1, Origin("key-3"))
    found = [(r.revision, r.change, r.actor, r.count) for r in store.revisions(10)]
    assert found == [
        (4, "restored", "key-3", 2),
        (3, "removed", "local", 1),
        (2, "replaced", "key-2", 1),
        (1, "added", "key-1", 2),
        (0, "found", "local", 0),
    ]
    assert [r.revision for r in store.revisions(2)] == [4, 3]
    assert datetime.fromisoformat(store.revisions(1)[0].time).utcoffset() == timedelta(0)


def test_restore_brings_back_content_and_order(store):
    store.add(target("a"), target("b"), target("c"))
    before = store.list()
    known = store.revision()
    store.remove("b")
    store.replace(target("c", reason="because"))
    store.add(target("d"), target("b", name="Another"))
    store.remove("a")
    revision = store.restore(known)
    assert store.list() == before
    assert revision == store.revision() == known + 5
    assert store.changes(revision - 1).put == before


def test_restore_of_a_restore_goes_forward_again(store):
    store.add(target("a"))
    store.add(target("b"))
    after = store.list()
    store.restore(1)
    store.restore(2)
    assert store.list() == after
    store.restore(0)
    assert store.list() == ()


ids = st.sampled_from("abcd")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(ids, min_size=1, max_size=3, unique=True)),
        st.tuples(st.just("replace"), ids, st.sampled_from(["x", "y"])),
        st.tuples(st.just("remove"), ids),
        st.tuples(st.just("restore"), st.integers(0, 30)),
    ),
    max_size=14,
)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(steps)
def test_any_revision_can_be_gone_back_to_after_any_changes(steps):
    with tempfile.TemporaryDirectory() as directory:
        engine = open_database(f"sqlite:///{directory}/lethe.db")
        store, seen = SqlTargetStore(engine), [()]
        for what, *how in steps:
            if what == "restore":
                goal = how[0] % len(seen)
                store.restore(goal)
                assert store.list() == seen[goal]
            else:
                try:
                    if what == "add":
                        store.add(*map(target, how[0]))
                    elif what == "replace":
                        store.replace(target(how[0], reason=how[1]))
                    else:
                        store.remove(how[0])
                except (TargetExists, TargetNotFound):
                    continue
            seen.append(store.list())
            assert store.revision() == len(seen) - 1
        for goal, targets in enumerate(seen):
            store.restore(goal)
            assert store.list() == targets
        engine.dispose()


def test_only_the_last_changes_can_be_undone(engine, log):
    store = SqlTargetStore(engine, log, kept=3)
    for n in range(6):
        store.add(target(f"t{n}"))
    assert [r.revision for r in store.revisions(100)] == [6, 5, 4, 3]
    for gone in (2, 0, -1, 7):
        with pytest.raises(RevisionGone, match=f"no revision {gone} "):
            store.restore(gone)
    assert store.revision() == 6
    assert {n for (n,) in rows(engine, "SELECT revision FROM undo")} == {4, 5, 6}
    store.restore(3)
    assert [t.id for t in store.list()] == ["t0", "t1", "t2"]


def test_keeping_more_than_before_does_not_bring_back_what_was_forgotten(engine):
    for n in range(4):
        SqlTargetStore(engine, kept=1).add(target(f"t{n}"))
    store = SqlTargetStore(engine, kept=100)
    store.add(target("new"))
    with pytest.raises(RevisionGone):
        store.restore(2)
    store.restore(3)
    assert [t.id for t in store.list()] == ["t0", "t1", "t2"]


def test_restore_refuses_to_undo_what_its_caller_has_not_seen(store):
    store.add(target("a"))
    last = store.revision()
    store.add(target("b"))
    with pytest.raises(TargetChanged, match="revision 2 came after revision 1"):
        store.restore(0, last=last)
    assert len(store.list()) == 2
    store.restore(0, last=2)
    assert store.list() == ()


def test_tokens_are_remembered_with_their_change(engine, store):
    assert store.remembered("token", "digest") is None
    revision = store.add(target("a"), origin=Origin("key", "token", "digest"))
    assert SqlTargetStore(engine).remembered("token", "digest") == revision
    with pytest.raises(TokenReused):
        store.remembered("token", "another")
    back = store.restore(0, Origin("key", "back", "digest"))
    assert store.restore(0, Origin("key", "back", "digest")) == back == store.revision()


def test_tokens_are_forgotten_after_a_day(store, monkeypatch):
    store.add(target("a"), origin=Origin("key", "token", "digest"))
    store.add(target("b"))
    assert store.remembered("token", "digest") == 1
    monkeypatch.setattr(history, "REMEMBERED", timedelta(0))
    store.add(target("c"), origin=Origin("key", "later", "digest"))
    assert store.remembered("token", "digest") is None
    assert store.remembered("later", "digest") == 3


def test_one_token_sent_many_times_at_once_makes_one_change(url, store):
    once = Origin("key", "token", "digest")
    revisions, stores = [], [open_database(url) for _ in range(6)]
    threads = [
        threading.Thread(target=lambda e=e: revisions.append(SqlTargetStore(e).add(target("a"), origin=once)))
        for e in stores
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for engine in stores:
        engine.dispose()
    assert revisions == [1] * 6
    assert store.revision() == 1


def test_revision_of_a_version_is_the_last_one(store):
    for n in range(3):
        store.add(target(f"t{n}"))
        store.enforced(n + 1, "same" if n < 2 else "other", n)
    assert store.revision_of("same") == 2
    with pytest.raises(RevisionGone, match="'unknown'"):
        store.revision_of("unknown")


def test_import_of_more_targets_than_a_query_takes_values(engine):
    store = SqlTargetStore(engine)
    many = [target(f"t{n}", name=f"Person {n}") for n in range(40_000)]
    store.add(*many)
    assert len(store.list()) == 40_000
    store.restore(0)
    assert store.list() == ()
    store.restore(1)
    assert store.get("t39999") == many[-1]
    with pytest.raises(TargetExists, match="'t39999'"):
        store.add(target("fresh"), many[-1])


LOCAL_CHANGE = """
import sys
from guard import ForgetTarget
from serving.database import open_database
from serving.store import SqlTargetStore
SqlTargetStore(open_database(sys.argv[1])).add(ForgetTarget(id="a", name="x"))
"""


def test_change_of_another_process_can_be_undone_here(url, store):
    subprocess.run([sys.executable, "-c", LOCAL_CHANGE, url], check=True, timeout=120)
    assert store.revisions(1)[0].actor == "local"
    store.restore(0)
    assert store.list() == ()
