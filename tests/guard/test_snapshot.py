import json

import pytest

from guard import ForgetTarget
from guard.errors import SnapshotError
from guard.snapshot import compile_snapshot, load_snapshot


def test_saved_snapshot_loads_equal(tmp_path, mira):
    always = mira.model_copy(update={"id": "b", "always_on": True})
    snapshot = compile_snapshot([mira, always])
    loaded = load_snapshot(snapshot.save(tmp_path))
    assert loaded.version == snapshot.version
    assert dict(loaded.targets) == dict(snapshot.targets)
    for ids in ((), ("mira",), None):
        for ours, theirs in zip(snapshot.automata(ids), loaded.automata(ids), strict=True):
            assert (ours.delta == theirs.delta).all()
            assert (ours.accept == theirs.accept).all()
            assert (ours.depth == theirs.depth).all()


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


@pytest.mark.parametrize("name", ["snapshot.json", "targets.jsonl", "always.safetensors"])
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
