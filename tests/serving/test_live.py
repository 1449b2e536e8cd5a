import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from control_fixtures import minilm, target

from guard.errors import GuardInactive, TargetExists, TargetNotFound
from guard.snapshot import load_snapshot
from guard.types import Action
from serving import metrics
from serving.database import open_database
from serving.live import LiveGuard, NotEnforced
from serving.settings import read_settings
from serving.store import AuditLog, SqlAuditSink, SqlTargetStore


class Workers:
    """Stands where the engine's workers are: loads what is pushed, as they do, and remembers the order."""

    def __init__(self):
        self.loaded = []
        self.fail = False
        self.guard = None
        self.in_force_at_push = []

    async def push(self, directory):
        if self.fail:
            raise ConnectionError("worker is gone")
        try:
            self.in_force_at_push.append(self.guard.pipeline.snapshot.version)
        except GuardInactive:
            self.in_force_at_push.append(None)
        self.loaded.append(load_snapshot(directory).version)


@pytest.fixture
def settings(tmp_path):
    return read_settings(home=tmp_path / "home", poll_seconds=0.05, snapshots_kept=3)


@pytest.fixture
def workers():
    return Workers()


@pytest.fixture
def guard(settings, workers):
    """A LiveGuard that is not started."""
    engine = open_database(settings.database_url)
    sink = SqlAuditSink(AuditLog(engine))
    live = LiveGuard(SqlTargetStore(engine), sink, settings, minilm(), workers.push)
    workers.guard = live
    yield live
    sink.close()
    engine.dispose()


@pytest.fixture
async def live(guard):
    await guard.start()
    yield guard
    await guard.close()


async def until(condition, seconds=30):
    """Waits for a condition that another task or process brings about."""
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("did not happen")


def action(live, prompt):
    return live.pipeline.inspect([prompt]).action


def test_pipeline_before_start_is_an_error_not_an_open_door(guard):
    with pytest.raises(GuardInactive):
        _ = guard.pipeline


async def test_start_brings_the_stored_targets_into_force(guard, workers):
    guard.store.add(target("okoro"))
    await guard.start()
    assert action(guard, "Who is Mina Okoro?") is Action.REFUSE
    assert workers.loaded == [guard.pipeline.snapshot.version]
    await guard.close()


async def test_add_replace_remove_are_enforced_on_return(live, workers):
    empty = live.pipeline.snapshot.version
    added = await live.add(target("okoro"))
    assert added.snapshot == live.pipeline.snapshot.version == workers.loaded[-1] != empty
    assert action(live, "Who is Mina Okoro?") is Action.REFUSE
    replaced = await live.replace(target("okoro", action="observe"))
    assert action(live, "Who is Mina Okoro?") is Action.OBSERVE
    assert replaced.snapshot == workers.loaded[-1] != added.snapshot
    removed = await live.remove("okoro")
    assert action(live, "Who is Mina Okoro?") is Action.ALLOW
    assert removed.snapshot == workers.loaded[-1] == empty


async def test_workers_change_before_the_classifier(live, workers):
    first = live.pipeline.snapshot.version
    change = await live.add(target("okoro"))
    assert workers.loaded[-1] == change.snapshot
    assert workers.in_force_at_push[-1] == first


async def test_a_request_keeps_the_pipeline_it_began_with(live):
    begun = live.pipeline
    await live.add(target("okoro"))
    assert begun.inspect(["Who is Mina Okoro?"]).action is Action.ALLOW
    assert begun is not live.pipeline


async def test_failed_push_leaves_the_old_pipeline_and_is_tried_again(live, workers):
    old = live.pipeline
    errors = metrics.REFRESH_ERRORS._value.get()
    workers.fail = True
    with pytest.raises(NotEnforced, match="stored but not enforced yet"):
        await live.add(target("okoro"))
    assert live.pipeline is old
    assert live.store.get("okoro")
    assert metrics.REFRESH_ERRORS._value.get() > errors
    workers.fail = False
    await until(lambda: action(live, "Who is Mina Okoro?") is Action.REFUSE)
    assert workers.loaded[-1] == live.pipeline.snapshot.version


async def test_workers_get_the_old_version_again_after_a_push_that_failed_halfway(live, workers):
    old = live.pipeline.snapshot.version
    workers.fail = True
    with pytest.raises(NotEnforced):
        await live.add(target("okoro"))
    live.store.remove("okoro")
    workers.fail = False
    pushes = len(workers.loaded)
    await until(lambda: len(workers.loaded) > pushes)
    assert workers.loaded[-1] == old


async def test_errors_of_the_store_reach_the_caller(live):
    await live.add(target("okoro"))
    with pytest.raises(TargetExists):
        await live.add(target("bell"), target("okoro"))
    with pytest.raises(TargetNotFound):
        await live.remove("nobody")
    assert set(live.pipeline.snapshot.targets) == {"okoro"}


async def test_changes_at_the_same_time_are_all_enforced(live):
    changes = await asyncio.gather(*(live.add(target(f"p{n}", name=f"Person Number{n}")) for n in range(8)))
    assert set(live.pipeline.snapshot.targets) == {f"p{n}" for n in range(8)}
    assert live.pipeline.snapshot.version in {change.snapshot for change in changes}


async def test_change_made_by_the_command_line_is_picked_up(live, settings, monkeypatch):
    monkeypatch.setenv("LETHE_HOME", str(settings.home))
    command = "import serving.cli as c; c.main()"
    arguments = ["targets", "add", "--id", "okoro", "--name", "Mina Okoro"]
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", command, *arguments], check=False)
    assert done.returncode == 0
    await until(lambda: action(live, "Who is Mina Okoro?") is Action.REFUSE)


async def test_target_stops_at_its_expiry_by_itself(live, workers):
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    await live.add(target("okoro", expires_at=soon.isoformat(), always_on=True), target("bell"))
    both = workers.loaded[-1]
    assert set(live.pipeline.snapshot.targets) == {"okoro", "bell"}
    await until(lambda: set(live.pipeline.snapshot.targets) == {"bell"})
    assert datetime.now(UTC) >= soon
    assert workers.loaded[-1] == live.pipeline.snapshot.version != both
    assert live.store.get("okoro")


async def test_unchanged_store_is_not_pushed_again(live, workers):
    await live.add(target("okoro"))
    pushes = len(workers.loaded)
    await live.refresh()
    await asyncio.sleep(0.3)
    assert len(workers.loaded) == pushes


async def test_old_snapshots_are_deleted_but_not_the_one_in_force(live, settings):
    for n in range(6):
        await live.add(target(f"p{n}"))
    await live.remove("p5")
    kept = {path.name for path in settings.snapshots.iterdir()}
    assert len(kept) == settings.snapshots_kept
    assert live.pipeline.snapshot.version in kept


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

    monkeypatch.setattr(live.pipeline.classifier, "matches", broken)
    verdict = live.pipeline.inspect(["What is the capital of France?"])
    assert (verdict.action, verdict.error) == (Action.REFUSE, "MemoryError")
    assert metrics.DETECTOR_ERRORS._value.get() == errors + 1
