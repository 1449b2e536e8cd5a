import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard import ForgetTarget
from guard.errors import InputError, SnapshotError
from guard.snapshot import Record, compile_snapshot, load_snapshot
from guard.types import Matching, Soft


def same(ours, theirs):
    """True if two automata hold equal tables."""
    return ours.rule == theirs.rule and all(
        np.array_equal(getattr(ours, name), getattr(theirs, name))
        for name in ("first", "children", "byte", "fail", "depth", "accept", "data", "flags", "start")
    )


def strings(snapshot, target_ids=()):
    """Every folded phrase that the automata forbid, with its rule."""
    return {
        (automaton.rule, automaton.data[a:b].tobytes())
        for automaton in snapshot.automata(target_ids)
        for a, b in itertools.pairwise(automaton.start)
    }


def test_saved_snapshot_loads_equal(tmp_path, mira):
    always = mira.model_copy(update={"id": "b", "always_on": True})
    soft = always.model_copy(update={"id": "s", "matching": Matching(soft=Soft(), boundary="both")})
    snapshot = compile_snapshot([mira, always, soft], lambda target: {"clock": 0.4, "watch": math.inf})
    loaded = load_snapshot(snapshot.save(tmp_path))
    assert loaded.version == snapshot.version
    assert dict(loaded.targets) == dict(snapshot.targets)
    assert len(snapshot.always) == 3
    for ids in ((), ("mira",), ("s",), None):
        assert all(map(same, snapshot.automata(ids), loaded.automata(ids)))
    assert np.array_equal(loaded.always[-1].weights, snapshot.always[-1].weights)


def test_soft_target_without_words_is_refused_by_its_id():
    soft = ForgetTarget.parse({"id": "s", "name": "Zed Orin", "matching": {"soft": {}}})
    with pytest.raises(InputError, match="'s'.*--model"):
        compile_snapshot([soft])


POOL = [
    ForgetTarget.parse({"id": f"t{i % 6}", "name": f"Zed {name}", "always_on": i % 4 > 0, "action": action})
    for i, name in enumerate("Orin Ulm Ada Bo Cy Di Eli Fay Gus Hal Ivo Jo".split())
    for action in ("restrict", "refuse", "observe")
]


@given(
    st.lists(st.sampled_from(POOL), max_size=5),
    st.lists(st.tuples(st.sampled_from(POOL), st.booleans()), max_size=6),
)
@settings(max_examples=150)
def test_changed_step_by_step_equals_compiled_at_once(start, steps):
    targets = {t.id: t for t in start}
    snapshot = compile_snapshot(targets.values())
    for target, removes in steps:
        if removes:
            targets.pop(target.id, None)
            snapshot = snapshot.changed({}, [target.id])
        else:
            targets[target.id] = target
            snapshot = snapshot.changed({target.id: Record.of(target)})
        whole = compile_snapshot(targets.values())
        assert snapshot.version == whole.version
        assert dict(snapshot.targets) == dict(whole.targets)
        for ids in ((), tuple(targets), None):
            assert strings(snapshot, ids) == strings(whole, ids)
        compacted = snapshot.on(snapshot.compacted())
        assert (compacted.version, strings(compacted)) == (snapshot.version, strings(whole))
        assert not compacted.recent


def test_small_change_keeps_what_is_compiled(mira):
    base = compile_snapshot([mira.model_copy(update={"always_on": True})])
    added = ForgetTarget.parse({"id": "z", "name": "Zed Orin", "always_on": True})
    changed = base.changed({"z": Record.of(added)})
    assert changed.base is base.base
    assert not base.rebuilds(["z"])
    assert base.rebuilds(["mira"])


def test_change_made_while_the_rest_was_compiled_stays(mira):
    first = compile_snapshot([mira.model_copy(update={"always_on": True})])
    added = ForgetTarget.parse({"id": "z", "name": "Zed Orin", "always_on": True})
    second = first.changed({"z": Record.of(added)})
    assert strings(second.on(first.compacted())) == strings(second)
    assert strings(first.on(second.compacted())) == strings(first)


def test_version_follows_the_content_not_the_order(mira):
    other = ForgetTarget.parse({"id": "z", "name": "Zed Orin"})
    assert compile_snapshot([mira, other]).version == compile_snapshot([other, mira]).version
    changed = other.model_copy(update={"always_on": True})
    assert compile_snapshot([mira, other]).version != compile_snapshot([mira, changed]).version


def test_saving_twice_keeps_the_first(tmp_path, mira):
    snapshot = compile_snapshot([mira])
    assert snapshot.save(tmp_path) == snapshot.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [snapshot.version]


def test_expired_targets_are_left_out(mira):
    expired = ForgetTarget.parse({"id": "e", "name": "x", "expires_at": "2001-01-01T00:00:00Z"})
    assert list(compile_snapshot([mira, expired]).targets) == ["mira"]


def test_idle_automata_are_not_handed_out(mira):
    snapshot = compile_snapshot([mira])
    assert snapshot.automata(()) == ()
    assert len(snapshot.automata(("mira", "removed-since"))) == 1


@pytest.mark.parametrize("name", ["snapshot.json", "targets.jsonl", "soft.jsonl", "always.safetensors"])
def test_missing_or_broken_file_is_a_snapshot_error(tmp_path, mira, name):
    directory = compile_snapshot([mira.model_copy(update={"always_on": True})]).save(tmp_path)
    (directory / name).write_bytes(b"\x00broken")
    with pytest.raises(SnapshotError, match=str(tmp_path)):
        load_snapshot(directory)
    (directory / name).unlink()
    with pytest.raises(SnapshotError, match=str(tmp_path)):
        load_snapshot(directory)


def test_changed_targets_are_noticed(tmp_path, mira):
    directory = compile_snapshot([mira]).save(tmp_path)
    row = json.loads((directory / "targets.jsonl").read_text())
    (directory / "targets.jsonl").write_text(json.dumps(row | {"name": "Somebody Else"}) + "\n")
    with pytest.raises(SnapshotError, match="changed"):
        load_snapshot(directory)


def test_other_format_is_refused(tmp_path, mira):
    directory = compile_snapshot([mira]).save(tmp_path)
    (directory / "snapshot.json").write_text('{"format": 99, "version": "x"}')
    with pytest.raises(SnapshotError, match="99"):
        load_snapshot(directory)
