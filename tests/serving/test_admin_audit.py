import json
from datetime import UTC, datetime

import pytest
from admin_fixtures import assert_error, clear, client_of, new_key
from control_fixtures import Served, record, target

from guard.audit import MemoryAuditSink
from serving.auth import HEADER
from serving.receipt import verify_receipt
from serving.signer import trusted


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def client(served):
    with client_of(served) as client:
        yield client
        clear(client)


def match(target_id):
    return {"target_id": target_id, "detector": "lexical", "score": 1.0, "threshold": 1.0, "span": [0, 1]}


def test_audit_is_read_page_by_page(client, served):
    for n in range(5):
        served.sink.write(record(n))
    served.sink.flush()
    last = client.get("/audit?limit=2&kind=request").json()
    assert [r["request_id"] for r in last["records"]] == ["req-3", "req-4"]
    assert last["next"] == last["records"][-1]["id"]
    before = last["records"][0]["id"] - 3
    page = client.get(f"/audit?limit=3&after={before}&kind=request").json()["records"]
    assert [r["request_id"] for r in page] == ["req-1", "req-2", "req-3"]
    assert client.get(f"/audit?after={last['next']}").json() == {"records": [], "next": None}
    assert client.get(f"/audit?after={2**63 - 1}").json()["records"] == []
    assert_error(client.get(f"/audit?after={2**63}"), 422, "'after'")


def test_audit_is_filtered_by_kind_action_target_and_time(client, served):
    verdict = {"action": "refuse", "matches": [match("okoro")]}
    served.sink.write(record(10, action="refuse", verdict=verdict, time="2031-05-01T12:00:00+00:00"))
    served.sink.write(record(11, action="restrict", time="2031-05-02T12:00:00+00:00"))
    served.sink.flush()
    client.post("/targets", json=target("okoro").to_json())

    def found(**filters):
        return client.get("/audit", params=filters).json()["records"]

    assert {r["kind"] for r in found(target_id="okoro")} == {"request", "target.added"}
    assert [r["request_id"] for r in found(kind="request", target_id="okoro")] == ["req-10"]
    assert [r["request_id"] for r in found(action="restrict")] == ["req-11"]
    assert [
        r["request_id"] for r in found(since="2031-05-01T14:00:00+02:00", until="2031-05-02T12:00:00Z")
    ] == ["req-10"]
    assert found(since=datetime(2031, 5, 3, tzinfo=UTC).isoformat()) == []
    assert_error(client.get("/audit?since=2031-05-01T12:00:00"), 422, "'since'")
    assert_error(client.get("/audit?since=0001-01-01T00:00:00%2B14:00"), 422, "'since'")


def test_verification_tells_a_whole_ledger_from_a_forged_one(client, served):
    client.post("/targets", json=target("okoro").to_json())
    whole = client.get("/audit/verify").json()
    assert (whole["valid"], whole["problems"]) == (True, [])
    # The snapshot that enforces the target is noted beside everything else.
    assert 0 < whole["entries"] <= served.log.head().entry
    assert client.get("/audit/verify", params={"head": whole["head"]}).json()["valid"]
    with served.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE audit SET action = 'allow' WHERE kind = 'target.added'")
    forged = client.get("/audit/verify").json()
    assert not forged["valid"]
    assert forged["problems"]
    with served.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE audit SET action = '' WHERE kind = 'target.added'")
    assert client.get("/audit/verify").json()["valid"]
    assert_error(client.get("/audit/verify?head=nonsense"), 422, "'head'")


def test_receipt_is_signed_tells_of_removed_targets_and_quotes_nothing(client, served):
    client.post("/targets", json=target("okoro", reason="court order 12").to_json())
    client.delete("/targets/okoro")
    document = client.get("/targets/okoro/receipt").json()
    assert document["target_id"] == "okoro"
    assert verify_receipt(document, trusted(served.settings)) == ()
    assert not any(word in json.dumps(document) for word in ("Mina", "court"))
    assert_error(client.get("/targets/nobody/receipt"), 404, "'nobody'")


def test_changes_by_an_api_key_carry_its_id(client):
    token = new_key(client, "write")
    client.post("/targets", json=target("bell").to_json(), headers={HEADER: token})
    (entry,) = client.get("/audit?target_id=bell").json()["records"]
    assert entry["actor"] == token.split("_")[1]


def test_sink_that_cannot_be_read_says_so(client, served, monkeypatch):
    monkeypatch.setattr(served.guard, "sink", MemoryAuditSink())
    answer = client.get("/audit")
    monkeypatch.undo()
    assert_error(answer, 422, "MemoryAuditSink cannot be read")
