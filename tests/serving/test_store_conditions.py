"""Conditions of changes: what their sender saw, and a token that makes them happen once."""

import pytest
from control_fixtures import postgres_database, target

from guard.errors import TargetChanged, TargetExists, TargetNotFound, TokenReused
from guard.targets import LOCAL, MemoryTargetStore, Origin, TargetStore, etag
from serving.database import open_database
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


def test_change_of_a_target_that_somebody_else_changed_is_refused(store: TargetStore):
    store.add(target("a"))
    seen = etag(store.get("a"))
    store.replace(target("a", reason="because"), expected=seen)
    before = store.revision()
    with pytest.raises(TargetChanged, match="'a'"):
        store.replace(target("a", reason="other"), expected=seen)
    with pytest.raises(TargetChanged, match="'a'"):
        store.remove("a", expected=seen)
    assert store.get("a") == target("a", reason="because")
    assert store.revision() == before
    store.remove("a", expected=etag(store.get("a")))
    with pytest.raises(TargetNotFound):
        store.replace(target("a"), expected=seen)


def test_etag_tells_targets_apart_by_content_alone():
    plain = target("a", aliases=["x", "y"])
    assert etag(plain) == etag(target("a", aliases=["x", "y"], action="refuse"))
    others = [target("a", aliases=["y", "x"]), target("a", aliases=["x", "y"], always_on=True)]
    assert len({etag(t) for t in (plain, *others)}) == 3


def test_a_token_stands_for_one_change(store: TargetStore):
    once = Origin("key", "token-1", "digest")
    first = store.add(target("a"), origin=once)
    assert store.add(target("a"), origin=once) == first
    assert store.revision() == first
    second = Origin("key", "token-2", "digest")
    removed = store.remove("a", origin=second)
    assert store.remove("a", origin=second) == removed
    assert store.list() == ()
    # What was asked for was done once; that it was undone since is another matter.
    assert store.add(target("a"), origin=once) == first
    assert store.list() == ()


def test_a_token_with_another_request_is_refused(store: TargetStore):
    store.add(target("a"), origin=Origin("key", "token", "digest"))
    before = store.revision()
    for change in (
        lambda origin: store.add(target("b"), origin=origin),
        lambda origin: store.replace(target("a", reason="because"), origin=origin),
        lambda origin: store.remove("a", origin=origin),
    ):
        with pytest.raises(TokenReused, match="use a new key"):
            change(Origin("key", "token", "another"))
    assert store.list() == (target("a"),)
    assert store.revision() == before


def test_a_token_whose_change_failed_can_be_used_again(store: TargetStore):
    once = Origin("key", "token", "digest")
    store.add(target("a"))
    with pytest.raises(TargetExists):
        store.add(target("a"), target("b"), origin=once)
    store.remove("a")
    store.add(target("a"), target("b"), origin=once)
    assert len(store.list()) == 2


def test_changes_without_a_token_have_nothing_to_do_with_each_other(store: TargetStore):
    store.add(target("a"), origin=LOCAL)
    store.add(target("b"), origin=Origin("key", None, "other"))
    assert len(store.list()) == 2
