"""The running guard and its store: conditions, tokens, the way back, and a store that is away."""

import asyncio
import sqlite3
from datetime import UTC, datetime

import pytest
from control_fixtures import Workers, minilm, target

from guard.audit import MemoryAuditSink
from guard.errors import InputError, RevisionGone, TargetChanged, TokenReused
from guard.snapshot import compile_snapshot
from guard.targets import MemoryTargetStore, Origin, etag
from guard.types import Action
from serving.database import StoreError, open_database
from serving.identity import Identity, Role
from serving.live import LiveGuard, NotEnforced
from serving.settings import read_settings
from serving.store import SqlTargetStore


@pytest.fixture
def settings(tmp_path):
    return read_settings(home=tmp_path / "home", poll_seconds=0.05)


@pytest.fixture
def workers():
    return Workers()


@pytest.fixture
def store(settings):
    engine = open_database(settings.database_url)
    yield SqlTargetStore(engine)
    engine.dispose()


@pytest.fixture
async def live(store, settings, workers):
    guard = LiveGuard(store, MemoryAuditSink(), settings, minilm(), workers)
    await guard.start()
    workers.calls.clear()
    yield guard
    await guard.close()


@pytest.fixture
def other_process(settings):
    """The store as another process opens it."""
    engine = open_database(settings.database_url)
    yield SqlTargetStore(engine)
    engine.dispose()


async def until(condition, seconds=30):
    """Waits for a condition that another task or process brings about."""
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("did not happen")


def action(live, prompt):
    return live.pipeline.inspect([prompt]).action


def always(target_id, **fields):
    return target(target_id, name=f"Person {target_id.title()}", always_on=True, **fields)


def forbidden(workers, text):
    """True if the workers keep a text out of every response."""
    return any(automaton.found_in(text) for automaton in workers.tables.snapshot.always)


async def test_change_of_a_target_that_was_changed_since_is_refused(live, other_process):
    await live.add(target("okoro"))
    seen = etag(live.store.get("okoro"))
    other_process.replace(target("okoro", action="observe"))
    with pytest.raises(TargetChanged):
        await live.replace(target("okoro", reason="mine"), expected=seen)
    with pytest.raises(TargetChanged):
        await live.remove("okoro", expected=seen)
    await live.remove("okoro", expected=etag(live.store.get("okoro")))
    assert not live.pipeline.snapshot.targets


async def test_change_sent_again_with_its_token_changes_nothing(live, workers):
    once = Origin("key", "token", "digest")
    first = await live.add(always("okoro"), origin=once)
    calls = list(workers.calls)
    again = await live.add(always("okoro"), origin=once)
    assert again.snapshot == first.snapshot == workers.version
    assert workers.calls == calls
    await live.remove("okoro")
    again = await live.add(always("okoro"), origin=once)
    assert again.snapshot == workers.version != first.snapshot
    assert not live.pipeline.snapshot.targets
    with pytest.raises(TokenReused):
        await live.add(target("bell"), origin=Origin("key", "token", "another"))
    assert live.store.revision() == 2


async def test_change_that_was_stored_but_not_enforced_is_enforced_when_sent_again(live, workers):
    once = Origin("key", "token", "digest")
    workers.error = ConnectionError("worker is gone")
    with pytest.raises(NotEnforced):
        await live.add(target("okoro"), origin=once)
    workers.error = None
    change = await live.add(target("okoro"), origin=once)
    assert change.snapshot == workers.version
    assert action(live, "Who is Mina Okoro?") is Action.REFUSE
    assert live.store.revision() == 1


async def test_replay_of_an_older_change_does_not_bring_it_back(live, workers, other_process):
    """The targets of a replayed request may differ from those that its revision brought."""
    once = Origin("key", "token", "digest")
    other_process.add(target("okoro", action="observe"), origin=once)
    await live.add(target("okoro"), origin=once)
    assert action(live, "Who is Mina Okoro?") is Action.OBSERVE
    assert workers.version == compile_snapshot(live.store.list()).version


async def test_rollback_undoes_the_last_change(live, workers):
    await live.add(always("okoro"), target("bell"))
    before = live.pipeline.snapshot.version
    await live.remove("okoro")
    back = await live.rollback(Origin("key"))
    assert back.snapshot == before == workers.version == live.pipeline.snapshot.version
    assert forbidden(workers, "That was Person Okoro.")
    assert live.store.revisions(1)[0].actor == "key"
    await live.rollback()
    assert set(live.pipeline.snapshot.targets) == {"bell"}


async def test_first_change_can_be_undone(live, workers):
    empty = live.pipeline.snapshot.version
    await live.add(target("okoro"))
    assert (await live.rollback()).snapshot == empty == workers.version


async def test_there_is_nothing_to_undo_at_first(live):
    with pytest.raises(RevisionGone):
        await live.rollback()


async def test_activate_brings_back_the_targets_of_a_snapshot(live, workers):
    first = await live.add(always("okoro"))
    await live.add(target("bell"))
    await live.replace(always("okoro", action="observe"))
    await until(lambda: live.store.revisions(1)[0].version)
    back = await live.activate(first.snapshot)
    assert back.snapshot == first.snapshot == workers.version
    assert set(live.pipeline.snapshot.targets) == {"okoro"}
    assert forbidden(workers, "That was Person Okoro.")
    with pytest.raises(RevisionGone, match="'0123456789abcdef'"):
        await live.activate("0123456789abcdef")


async def test_store_without_history_says_so(settings, workers):
    guard = LiveGuard(MemoryTargetStore(), MemoryAuditSink(), settings, minilm(), workers)
    await guard.start()
    await guard.add(target("okoro"))
    with pytest.raises(InputError, match="MemoryTargetStore keeps no history"):
        await guard.rollback()
    await guard.close()


async def test_store_is_told_which_snapshot_enforces_which_revision(live, other_process):
    change = await live.add(target("okoro"))
    other_process.replace(target("okoro"))
    other_process.add(target("bell"))
    await live.refresh()
    await until(lambda: live.store.revisions(1)[0].version)
    found = {r.revision: (r.version, r.targets) for r in live.store.revisions(10)}
    both = live.pipeline.snapshot.version
    # Revision 2 was never in force by itself.
    empty = compile_snapshot([]).version
    assert found == {3: (both, 2), 2: (None, None), 1: (change.snapshot, 1), 0: (empty, 0)}


class Forgetful(SqlTargetStore):
    """A store that is away whenever a snapshot shall be noted."""

    away = True

    def enforced(self, *given):
        if self.away:
            raise StoreError("the database failed (OperationalError)")
        super().enforced(*given)


async def test_note_of_a_snapshot_that_failed_is_made_later_with_the_true_time(settings, workers):
    engine = open_database(settings.database_url)
    store = Forgetful(engine)
    guard = LiveGuard(store, MemoryAuditSink(), settings, minilm(), workers)
    await guard.start()
    await guard.add(target("okoro"))
    await guard.add(target("bell"))
    enforced = datetime.now(UTC)
    await asyncio.sleep(0.3)
    assert store.revisions(1)[0].version is None
    store.away = False
    await until(lambda: all(r.version for r in store.revisions(10)))
    assert [r.targets for r in store.revisions(10)] == [2, 1, 0]
    assert datetime.fromisoformat(store.revisions(1)[0].enforced) <= enforced
    await guard.close()
    engine.dispose()


async def test_targets_stay_in_force_while_the_store_is_away(live, workers, settings):
    await live.add(target("okoro"))
    assert live.store_ok
    database = sqlite3.connect(settings.home / "lethe.db")
    database.execute("ALTER TABLE counters RENAME TO elsewhere")
    await until(lambda: not live.store_ok)
    assert action(live, "Who is Mina Okoro?") is Action.REFUSE
    for change in (
        live.add(target("bell")),
        live.remove("okoro"),
        live.rollback(),
        live.activate("0123456789abcdef"),
    ):
        with pytest.raises((StoreError, RevisionGone)):
            await change
    assert set(live.pipeline.snapshot.targets) == {"okoro"}
    database.execute("ALTER TABLE elsewhere RENAME TO counters")
    database.close()
    await until(lambda: live.store_ok)
    await live.add(target("bell"))
    assert set(live.pipeline.snapshot.targets) == {"okoro", "bell"}


async def test_failing_workers_do_not_make_the_store_look_away(live, workers):
    workers.error = ConnectionError("worker is gone")
    with pytest.raises(NotEnforced):
        await live.add(target("okoro"))
    assert live.store_ok


async def test_root_key_is_known_where_no_keyring_is_given(live, settings):
    every = Identity("root", "root", frozenset(Role))
    assert live.keyring.identify(settings.read_admin_key()) == every
    assert live.keyring.identify("another") is None
    assert live.traffic is None
