import json
import sqlite3
import subprocess
import sys
import threading

import pytest
from control_fixtures import postgres_database, target

from guard.errors import InputError, TargetExists, TargetNotFound
from guard.targets import MemoryTargetStore, TargetStore
from serving.database import StoreError, open_database
from serving.metrics import STORE_ERRORS
from serving.store import SqlTargetStore


@pytest.fixture
def opened():
    """Opens databases that the test's end closes."""
    engines = []

    def open_(url):
        engines.append(open_database(url))
        return SqlTargetStore(engines[-1])

    yield open_
    for engine in engines:
        engine.dispose()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request, tmp_path, opened):
    if request.param == "memory":
        yield MemoryTargetStore()
    elif request.param == "sqlite":
        yield opened(f"sqlite:///{tmp_path / 'lethe.db'}")
    else:
        with postgres_database(request.getfixturevalue("postgres")) as url:
            yield opened(url)


def test_targets_come_back_whole_and_in_order(store: TargetStore):
    whole = target(
        "zeta",
        aliases=["Ü", "a\u2028b", "nul\x00"],
        examples=[{"prompt": "p?", "response": "r."}],
        expires_at="2030-01-01T00:00:00Z",
        always_on=True,
    )
    store.add(whole, target("alpha"))
    store.add(target("mid"))
    store.replace(target("zeta", phrases=["new"]))
    assert [t.id for t in store.list()] == ["zeta", "alpha", "mid"]
    assert store.get("zeta") == target("zeta", phrases=["new"])
    store.replace(whole)
    assert store.get("zeta") == whole


def test_every_change_raises_the_revision_and_reading_does_not(store: TargetStore):
    seen = [store.revision()]
    for change in (
        lambda: store.add(target("a")),
        lambda: store.replace(target("a", reason="because")),
        lambda: store.remove("a"),
    ):
        change()
        seen.append(store.revision())
        store.list()
        assert store.revision() == seen[-1]
    assert seen == sorted(set(seen))


def test_every_change_returns_its_revision(store: TargetStore):
    before = store.revision()
    revisions = [
        store.add(target("a"), target("b")),
        store.replace(target("a", reason="because")),
        store.remove("a"),
    ]
    assert revisions == [before + 1, before + 2, before + 3]
    assert store.revision() == before + 3


def test_changes_since_a_revision_are_what_a_reader_has_to_catch_up_with(store: TargetStore):
    start = store.add(target("a"), target("b"), target("c"))
    known = store.revision()
    assert store.changes(known).put == ()
    store.remove("b")
    store.replace(target("c", reason="because"))
    last = store.add(target("d"))
    changes = store.changes(known)
    assert changes.revision == last
    assert changes.put == (target("c", reason="because"), target("d"))
    assert changes.ids == {"a", "c", "d"}
    assert store.changes(last).put == ()
    assert store.changes(last).ids == changes.ids
    assert [t.id for t in store.changes(start - 1).put] == ["a", "c", "d"]


def test_add_is_all_or_nothing(store: TargetStore):
    store.add(target("b"))
    before = store.revision()
    with pytest.raises(TargetExists, match="'b'"):
        store.add(target("a"), target("b"), target("c"))
    with pytest.raises(TargetExists, match="'d'"):
        store.add(target("d"), target("d"))
    assert [t.id for t in store.list()] == ["b"]
    assert store.revision() == before


def test_unknown_ids_are_named(store: TargetStore):
    for call in (store.get, store.remove, lambda i: store.replace(target(i))):
        with pytest.raises(TargetNotFound, match="'nobody'"):
            call("nobody")


def test_removed_id_can_be_used_again_and_goes_to_the_end(store: TargetStore):
    store.add(target("a"), target("b"))
    store.remove("a")
    store.add(target("a"))
    assert [t.id for t in store.list()] == ["b", "a"]


def test_content_survives_reopening(url, opened):
    first = opened(url)
    first.add(target("a"))
    revision = first.revision()
    again = opened(url)
    assert again.get("a") == target("a")
    assert again.revision() == revision


def test_threads_do_not_lose_changes(url, opened):
    store = opened(url)
    before = store.revision()
    threads = [
        threading.Thread(target=lambda n=n: [store.add(target(f"t{n}-{i}")) for i in range(10)])
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.list()) == 60
    assert store.revision() == before + 60


WRITER = """
import sys
from guard import ForgetTarget
from serving.database import open_database
from serving.metrics import STORE_ERRORS
from serving.store import SqlTargetStore
store = SqlTargetStore(open_database(sys.argv[1]))
for i in range(25):
    store.add(ForgetTarget(id=f"{sys.argv[2]}-{i}", name="x"))
"""


def test_two_processes_write_one_database_at_once(url, opened):
    # Both also create the tables at the same time.
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, url, name]) for name in ("left", "right")]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    store = opened(url)
    ids = [t.id for t in store.list()]
    assert sorted(ids) == sorted(f"{name}-{i}" for name in ("left", "right") for i in range(25))
    assert [i for i in ids if i.startswith("left")] == [f"left-{i}" for i in range(25)]


def test_default_database_uses_write_ahead_log(tmp_path, opened):
    path = tmp_path / "lethe.db"
    opened(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("nonsense", "URL"),
        ("oracel://x/y", "scheme"),
        ("sqlite:////proc/nowhere/lethe.db", "cannot be opened"),
        ("postgresql+psycopg://u:pass-word@127.0.0.1:9/x", "(cannot be opened|psycopg)"),
    ],
)
def test_bad_database_url_is_one_sentence_without_password(bad, said):
    with pytest.raises(InputError, match=said) as caught:
        open_database(bad)
    assert "pass-word" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_failing_database_is_counted_and_shows_no_target(tmp_path, opened):
    path = tmp_path / "lethe.db"
    store = opened(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE targets")
    connection.close()
    before = STORE_ERRORS._value.get()
    with pytest.raises(StoreError) as caught:
        store.add(target("a", name="Secret Person"))
    assert "Secret" not in repr(caught.value)
    assert STORE_ERRORS._value.get() == before + 1


def test_stored_document_is_the_public_json(tmp_path, opened):
    path = tmp_path / "lethe.db"
    opened(f"sqlite:///{path}").add(target("a", phrases=["x"]))
    with sqlite3.connect(path) as connection:
        (document,) = connection.execute("SELECT document FROM targets").fetchone()
    connection.close()
    assert json.loads(document) == target("a", phrases=["x"]).to_json()
