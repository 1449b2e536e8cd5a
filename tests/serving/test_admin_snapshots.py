import pytest
from admin_fixtures import assert_error, clear, client_of, new_key
from control_fixtures import Served, target

from guard.types import Action
from serving.auth import HEADER


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def client(served):
    with client_of(served) as client:
        yield client
        clear(client)


def add(client, target_id):
    """Registers a target; the version in force then."""
    return client.post("/targets", json=target(target_id).to_json()).json()["snapshot"]


def judged(served, name):
    return served.guard.pipeline.inspect([f"Who is Mina {name}?"]).action


def ids(client):
    return [t["id"] for t in client.get("/targets").json()["targets"]]


def test_snapshot_tells_what_is_in_force(client, served):
    client.post("/targets", json=target("okoro").to_json())
    shown = client.get("/snapshot").json()
    assert shown == {
        "version": served.guard.pipeline.snapshot.version,
        "targets": 1,
        "compiled_at": served.guard.installed.isoformat(),
    }


def test_snapshots_list_who_changed_what_newest_first(client, settled):
    token = new_key(client, "write")
    first = add(client, "okoro")
    second = client.post(
        "/targets/import",
        content='{"id": "a", "name": "A B"}\n{"id": "b", "name": "C D"}',
        headers={HEADER: token},
    ).json()["snapshot"]
    shown = settled(client, second)
    assert [(r["change"], r["count"], r["version"], r["active"]) for r in shown[:2]] == [
        ("added", 2, second, True),
        ("added", 1, first, False),
    ]
    assert (shown[0]["actor"], shown[1]["actor"]) == (token.split("_")[1], "root")
    assert shown[0]["targets"] == 3
    assert shown[0]["revision"] == shown[1]["revision"] + 1
    assert shown[0]["enforced"] >= shown[0]["time"]
    assert client.get("/snapshots?limit=1").json()["snapshots"] == shown[:1]
    assert_error(client.get("/snapshots?limit=0"), 422, "'limit'")


def test_activating_a_snapshot_brings_its_targets_back(client, served, settled):
    version = add(client, "okoro")
    settled(client, version)
    client.put("/targets/okoro", json={"name": "Mina Okoro", "action": "observe"})
    add(client, "bell")
    answer = client.post(f"/snapshots/{version}/activate")
    assert answer.status_code == 200
    assert answer.json()["snapshot"] == version == served.guard.pipeline.snapshot.version
    assert ids(client) == ["okoro"]
    assert judged(served, "Okoro") is Action.REFUSE
    assert judged(served, "Bell") is Action.ALLOW
    shown = settled(client, version)
    assert (shown[0]["change"], shown[0]["active"]) == ("restored", True)
    assert sum(r["active"] for r in shown) == 1


def test_rollback_undoes_the_last_change_and_is_itself_one(client, served):
    add(client, "okoro")
    client.delete("/targets/okoro")
    assert client.post("/snapshots/rollback").json()["snapshot"] == served.guard.pipeline.snapshot.version
    assert ids(client) == ["okoro"]
    assert judged(served, "Okoro") is Action.REFUSE
    client.post("/snapshots/rollback")
    assert ids(client) == []


def test_unknown_snapshot_is_not_found(client):
    assert_error(client.post("/snapshots/0123456789abcdef/activate"), 404, "'0123456789abcdef'")
    assert_error(client.post("/snapshots/nonsense/activate"), 422, "path parameter 'version'")


def test_store_without_history_says_so(client, served, monkeypatch):
    class Plain:
        list = revision = None

    monkeypatch.setattr(served.guard, "store", Plain())
    answers = [client.get("/snapshots"), client.post("/snapshots/rollback")]
    monkeypatch.undo()
    for answer in answers:
        assert_error(answer, 422, "Plain keeps no history")


@pytest.fixture
def settled():
    """The list of snapshots once a version is in it: it is noted a moment after it is enforced."""
    import time

    def wait(client, version):
        end = time.monotonic() + 20
        while True:
            shown = client.get("/snapshots").json()["snapshots"]
            if shown[0]["version"] == version:
                return shown
            assert time.monotonic() < end, shown[:2]
            time.sleep(0.02)

    return wait
