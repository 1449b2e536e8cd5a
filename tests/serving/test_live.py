import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from control_fixtures import Workers, minilm, target

from guard.classifier import Classifier
from guard.errors import GuardInactive, InputError, TargetExists, TargetNotFound
from guard.snapshot import compile_snapshot
from guard.types import Action
from serving import live as live_module
from serving import metrics
from serving import state as state_module
from serving.audit_log import AuditLog, SqlAuditSink
from serving.database import open_database
from serving.live import LiveGuard, NotEnforced
from serving.settings import read_settings
from serving.store import SqlTargetStore


class Watched(Workers):
    """Workers that note which version the classifier has at every call."""

    guard = None

    def __init__(self):
        super().__init__()
        self.in_force = []

    def _called(self, name):
        super()._called(name)
        try:
            self.in_force.append(self.guard.pipeline.snapshot.version)
        except GuardInactive:
            self.in_force.append(None)


@pytest.fixture
def settings(tmp_path):
    return read_settings(home=tmp_path / "home", poll_seconds=0.05, snapshots_kept=3)


@pytest.fixture
def workers():
    return Watched()


@pytest.fixture
def guard(settings, workers):
    """A LiveGuard that is not started."""
    engine = open_database(settings.database_url)
    sink = SqlAuditSink(AuditLog(engine))
    live = LiveGuard(SqlTargetStore(engine), sink, settings, minilm(), workers)
    workers.guard = live
    yield live
    sink.close()
    engine.dispose()


@pytest.fixture
async def live(guard, workers):
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


def test_pipeline_before_start_is_an_error_not_an_open_door(guard):
    with pytest.raises(GuardInactive):
        _ = guard.pipeline


async def test_start_brings_the_stored_targets_into_force(guard, workers):
    guard.store.add(target("okoro"))
    await guard.start()
    assert action(guard, "Who is Mina Okoro?") is Action.REFUSE
    assert workers.calls == ["prepare", "load"]
    assert workers.version == guard.pipeline.snapshot.version
    await guard.close()


async def test_add_replace_remove_are_enforced_on_return(live, workers):
    empty = live.pipeline.snapshot.version
    added = await live.add(target("okoro", always_on=True))
    assert added.snapshot == live.pipeline.snapshot.version == workers.version != empty
    assert action(live, "Who is Mina Okoro?") is Action.REFUSE
    assert forbidden(workers, "That was Mina Okoro.")
    replaced = await live.replace(target("okoro", action="observe", always_on=True))
    assert action(live, "Who is Mina Okoro?") is Action.OBSERVE
    assert not forbidden(workers, "That was Mina Okoro.")
    assert replaced.snapshot == workers.version != added.snapshot
    removed = await live.remove("okoro")
    assert action(live, "Who is Mina Okoro?") is Action.ALLOW
    assert removed.snapshot == workers.version == empty


async def test_a_small_change_writes_no_snapshot(live, workers, settings):
    before = sorted(settings.snapshots.iterdir())
    await live.add(always("okoro"), target("bell"))
    await live.replace(always("okoro", phrases=["river song"]))
    await live.remove("bell")
    assert workers.calls == ["change"] * 3
    assert sorted(settings.snapshots.iterdir()) == before


async def test_workers_change_before_the_classifier(live, workers):
    first = live.pipeline.snapshot.version
    change = await live.add(target("okoro"))
    assert workers.version == change.snapshot
    assert workers.in_force[-1] == first


async def test_a_request_keeps_the_pipeline_it_began_with(live):
    begun = live.pipeline
    await live.add(target("okoro"))
    assert begun.inspect(["Who is Mina Okoro?"]).action is Action.ALLOW
    assert begun is not live.pipeline


@pytest.mark.parametrize("change", ["remove", "replace"])
async def test_a_target_that_was_compiled_into_the_large_part_leaves_it(guard, workers, change):
    guard.store.add(always("okoro"), always("bell"))
    await guard.start()
    workers.calls.clear()
    if change == "remove":
        await guard.remove("okoro")
    else:
        await guard.replace(always("okoro", action="observe"))
    assert workers.calls == ["prepare", "load"]
    assert forbidden(workers, "That was Person Bell.")
    assert not forbidden(workers, "That was Person Okoro.")
    await guard.close()


async def test_many_targets_at_once_go_the_long_way(live, workers, monkeypatch):
    monkeypatch.setattr(state_module, "CROWDED", 3)
    await live.add(*(always(f"p{n}") for n in range(3)))
    await live.add(target("bell"))
    assert workers.calls == ["change", "prepare", "load"]
    assert workers.tables.snapshot.recent_ids == live.pipeline.snapshot.recent_ids == frozenset()
    assert forbidden(workers, "That was Person P2.")


async def test_workers_that_hold_other_targets_load_all_of_them(live, workers):
    workers.tables.install(compile_snapshot([target("stranger")]))
    change = await live.add(always("okoro"))
    assert workers.calls == ["change", "prepare", "load"]
    assert workers.version == change.snapshot == live.pipeline.snapshot.version
    await live.add(target("bell"))
    assert workers.calls[3:] == ["change"]


@pytest.mark.parametrize("answer", [["", "another"], [""], []])
async def test_workers_that_enforce_something_else_are_an_error(live, workers, monkeypatch, answer):
    async def astray(*given, **named):
        return answer

    monkeypatch.setattr(workers, "change", astray)
    monkeypatch.setattr(workers, "install", astray)
    with pytest.raises(NotEnforced, match="GuardInactive"):
        await live.add(target("okoro"))
    assert action(live, "Who is Mina Okoro?") is Action.ALLOW
    monkeypatch.undo()
    await until(lambda: action(live, "Who is Mina Okoro?") is Action.REFUSE)


async def test_failed_push_leaves_the_old_pipeline_and_is_tried_again(live, workers):
    old = live.pipeline
    errors = metrics.REFRESH_ERRORS._value.get()
    workers.error = ConnectionError("worker is gone")
    with pytest.raises(NotEnforced, match="stored but not enforced yet"):
        await live.add(target("okoro"))
    assert live.pipeline is old
    assert live.store.get("okoro")
    assert metrics.REFRESH_ERRORS._value.get() > errors
    workers.error = None
    await until(lambda: action(live, "Who is Mina Okoro?") is Action.REFUSE)
    assert workers.calls == ["prepare", "load"]
    assert workers.version == live.pipeline.snapshot.version


async def test_workers_get_the_old_targets_again_after_a_push_that_failed_halfway(live, workers):
    old = live.pipeline.snapshot.version
    change = workers.change

    async def halfway(put, removed):
        await change(put, removed)
        workers.error = TimeoutError()
        raise workers.error

    workers.change = halfway
    with pytest.raises(NotEnforced, match="TimeoutError"):
        await live.add(target("okoro"))
    assert workers.version != old
    live.store.remove("okoro")
    workers.error = None
    await until(lambda: workers.version == old)
    assert workers.calls[-2:] == ["prepare", "load"]
    assert live.pipeline.snapshot.version == old


async def test_errors_of_the_store_reach_the_caller(live):
    await live.add(target("okoro"))
    with pytest.raises(TargetExists):
        await live.add(target("bell"), target("okoro"))
    with pytest.raises(TargetNotFound):
        await live.remove("nobody")
    assert set(live.pipeline.snapshot.targets) == {"okoro"}


async def test_a_target_that_cannot_be_enforced_is_not_stored(live):
    with pytest.raises(InputError, match="soft penalties"):
        await live.add(target("bell"), target("okoro", matching={"soft": {}}))
    assert live.store.list() == ()


async def test_changes_at_the_same_time_are_all_enforced(live, workers):
    changes = await asyncio.gather(*(live.add(target(f"p{n}", name=f"Person Number{n}")) for n in range(8)))
    assert set(live.pipeline.snapshot.targets) == {f"p{n}" for n in range(8)}
    assert live.pipeline.snapshot.version == workers.version
    assert workers.version in {change.snapshot for change in changes}
    assert set(workers.calls) == {"change"}


async def test_change_made_by_the_command_line_is_picked_up(live, settings, monkeypatch):
    monkeypatch.setenv("LETHE_HOME", str(settings.home))
    command = "import serving.cli as c; c.main()"
    arguments = ["targets", "add", "--id", "okoro", "--name", "Mina Okoro"]
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", command, *arguments], check=False)
    assert done.returncode == 0
    await until(lambda: action(live, "Who is Mina Okoro?") is Action.REFUSE)


async def test_changes_of_others_are_as_small_as_ours(live, workers, other_process):
    await live.add(target("okoro"), target("bell"), target("reed"))
    other_process.remove("okoro")
    other_process.replace(target("bell", action="observe"))
    other_process.add(target("new"))
    # In one go: ours and theirs.
    await live.remove("reed")
    assert set(live.pipeline.snapshot.targets) == {"bell", "new"}
    assert action(live, "Who is Mina Bell?") is Action.OBSERVE
    assert workers.version == compile_snapshot(live.store.list()).version
    assert set(workers.calls) == {"change"}


async def test_target_stops_at_its_expiry_by_itself(live, workers):
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    await live.add(target("okoro", expires_at=soon.isoformat(), always_on=True), target("bell"))
    both = workers.version
    assert set(live.pipeline.snapshot.targets) == {"okoro", "bell"}
    await until(lambda: set(live.pipeline.snapshot.targets) == {"bell"})
    assert datetime.now(UTC) >= soon
    assert workers.version == live.pipeline.snapshot.version != both
    assert not forbidden(workers, "That was Mina Okoro.")
    assert live.store.get("okoro")


async def test_expired_targets_never_come_into_force(live, workers):
    past = {"expires_at": "2001-01-01T00:00:00Z"}
    await live.add(target("okoro"), target("bell", **past))
    await live.replace(target("okoro", **past))
    await live.add(target("new"))
    assert set(live.pipeline.snapshot.targets) == set(workers.tables.snapshot.targets) == {"new"}


async def test_unchanged_store_is_not_pushed_again(live, workers, other_process):
    await live.add(target("okoro"))
    other_process.replace(target("okoro"))
    calls = list(workers.calls)
    await live.refresh()
    await asyncio.sleep(0.3)
    assert workers.calls == calls


async def test_recent_targets_are_compacted_while_changes_go_on(live, workers, monkeypatch):
    monkeypatch.setattr(live_module, "RECENT", 3)
    workers.slow = True
    for n in range(4):
        await live.add(always(f"p{n}"))
    await until(lambda: "prepare" in workers.calls)
    await asyncio.gather(live.add(always("p4")), live.add(always("p5")))
    await live.add(target("routed"))
    assert workers.calls.count("prepare") == 1
    assert set(workers.calls) == {"change", "prepare"}
    version = workers.version
    workers.slow = False
    await until(lambda: workers.calls[-1] == "compact")
    await until(lambda: live.pipeline.snapshot.base_ids)
    for snapshot in (workers.tables.snapshot, live.pipeline.snapshot):
        assert snapshot.version == version
        assert snapshot.base_ids == {f"p{n}" for n in range(4)}
        assert snapshot.recent_ids == {"p4", "p5"}
    assert live.pipeline.classifier.recent == {"p4", "p5", "routed"}
    assert all(forbidden(workers, f"That was Person P{n}.") for n in range(6))
    assert {action(live, f"Who is Person P{n}?") for n in range(6)} == {Action.REFUSE}


async def test_compaction_gives_way_to_the_removal_of_a_target_in_it(live, workers, monkeypatch):
    monkeypatch.setattr(live_module, "RECENT", 3)
    workers.slow = True
    for n in range(4):
        await live.add(always(f"p{n}"))
    await until(lambda: "prepare" in workers.calls)
    await live.remove("p0")
    workers.slow = False
    # One that holds what is left takes its place.
    await until(lambda: workers.calls[-1] == "compact")
    assert workers.calls.count("prepare") == 2
    assert workers.tables.snapshot.base_ids == {"p1", "p2", "p3"}
    assert not forbidden(workers, "That was Person P0.")


async def test_compaction_that_failed_is_made_good(live, workers, monkeypatch):
    monkeypatch.setattr(live_module, "RECENT", 0)
    install = workers.install

    async def lost(compacting):
        if compacting:
            raise ConnectionError("worker is gone")
        return await install(compacting)

    monkeypatch.setattr(workers, "install", lost)
    await live.add(always("okoro"))
    await until(lambda: workers.calls[-1] == "load")
    assert live.pipeline.snapshot.version == workers.version
    assert forbidden(workers, "That was Person Okoro.")


async def test_old_snapshots_are_deleted_but_not_the_youngest(live, workers, settings, monkeypatch):
    monkeypatch.setattr(state_module, "CROWDED", 0)
    for n in range(6):
        await live.add(target(f"p{n}"))
    await live.remove("p5")
    kept = {path.name for path in settings.snapshots.iterdir()}
    assert len(kept) == settings.snapshots_kept
    assert live.pipeline.snapshot.version in kept


async def test_the_classifier_after_changes_is_that_of_its_snapshot(live):
    await live.add(target("okoro"), target("bell"))
    await live.replace(target("okoro", name="Vera Holm"))
    await live.remove("bell")
    segments = ["Who is Vera Holm?", "Who is Mina Bell?", "Who is Mina Okoro?"]
    fresh = Classifier(live.pipeline.snapshot, minilm())
    assert live.pipeline.classifier.matches(segments) == fresh.matches(segments)
    assert len(live.pipeline.snapshot.targets) == 1


async def test_metrics_show_the_snapshot_in_force(live):
    old = live.pipeline.snapshot.version
    change = await live.add(target("okoro"), target("bell"))
    assert metrics.TARGETS._value.get() == 2
    assert metrics.SNAPSHOT.labels(change.snapshot)._value.get() == 1
    assert metrics.SNAPSHOT.labels(old)._value.get() == 0
    assert metrics.SNAPSHOT_TIME._value.get() == pytest.approx(live.installed.timestamp())


async def test_broken_detector_refuses_and_is_counted(live, monkeypatch):
    await live.add(target("okoro"))
    errors = metrics.DETECTOR_ERRORS._value.get()

    def broken(segments):
        raise MemoryError

    monkeypatch.setattr(live.pipeline.classifier, "route", broken)
    verdict = live.pipeline.inspect(["What is the capital of France?"])
    assert (verdict.action, verdict.error) == (Action.REFUSE, "MemoryError")
    assert metrics.DETECTOR_ERRORS._value.get() == errors + 1
