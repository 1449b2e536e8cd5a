import json

import httpx
import pytest
from control_fixtures import KEY, Served, record, target

from guard.targets import parse_jsonl
from serving.admin import PREFIX, router


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def client(served):
    headers = {"Authorization": f"Bearer {KEY}".encode()}
    with httpx.Client(base_url=served.url + PREFIX, headers=headers, timeout=60) as client:
        yield client
        for t in client.get("/targets").json()["targets"]:
            client.delete(f"/targets/{t['id']}")


def assert_error(answer, status, said):
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == status
    assert said in error["message"]
    return error


CALLS = [
    (method.upper(), route.path.removeprefix(PREFIX))
    for included in router.routes
    for route in (included.original_router.routes if hasattr(included, "original_router") else [included])
    for method in route.methods
    if route.path != f"{PREFIX}/ready"
]


def test_routes_are_all_there():
    assert len(CALLS) == 11


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("sent", [None, "Bearer wrong", "Bearer", f"Basic {KEY}", KEY])
def test_every_route_asks_for_the_key(served, method, path, sent):
    headers = {} if sent is None else {"Authorization": sent.encode()}
    answer = httpx.request(method, served.url + PREFIX + path, headers=headers, content=b"{}")
    assert_error(answer, 401, "admin key")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_readiness_needs_no_key_and_tells_nothing(served):
    answer = httpx.get(f"{served.url}{PREFIX}/ready")
    assert (answer.status_code, answer.json()) == (200, {"ready": True})


def test_target_lives_through_its_routes(client, served):
    body = target("okoro", reason="court order").to_json()
    added = client.post("/targets", json=body)
    assert added.status_code == 201
    assert added.json()["target"] == body
    assert added.json()["snapshot"] == served.guard.pipeline.snapshot.version
    assert added.json()["seconds"] > 0
    assert client.get("/targets").json() == {"targets": [body]}
    assert client.get("/targets/okoro").json() == body
    new = {"name": "Mina Okoro", "action": "observe"}
    replaced = client.put("/targets/okoro", json=new)
    assert replaced.json()["target"] == {"id": "okoro"} | new
    assert replaced.json()["snapshot"] != added.json()["snapshot"]
    removed = client.delete("/targets/okoro")
    assert removed.status_code == 200
    assert removed.json()["snapshot"] == served.guard.pipeline.snapshot.version
    assert_error(client.get("/targets/okoro"), 404, "'okoro'")


def test_errors_have_status_and_name_the_field_never_the_text(client):
    secret = "Secret Person"
    client.post("/targets", json={"id": "a", "name": secret})
    unknown = assert_error(
        client.post("/targets", json={"id": "b", "name": secret, "colour": secret}),
        422,
        "unknown field 'colour'",
    )
    errors = [
        unknown,
        assert_error(client.post("/targets", json={"id": "a", "name": secret}), 409, "'a'"),
        assert_error(
            client.post("/targets", json={"id": "b"}), 422, "at least one of name, phrases, examples"
        ),
        assert_error(client.post("/targets", json={"id": "b", "name": [secret]}), 422, "'name'"),
        assert_error(client.post("/targets", json=[secret]), 422, "target"),
        assert_error(client.post("/targets", content=f'{{"name": "{secret}"'), 400, "not JSON"),
        assert_error(client.post("/targets", content=b"\xff\xfe"), 400, "not JSON"),
        assert_error(client.put("/targets/a", json={"id": "b", "name": secret}), 422, "'id'"),
        assert_error(client.put("/targets/c", json={"name": secret}), 404, "'c'"),
        assert_error(client.delete("/targets/c"), 404, "'c'"),
        assert_error(client.post("/check", json={"prompt": secret, "messages": []}), 422, "exactly one"),
        assert_error(client.post("/check", json={"messages": [secret]}), 422, "messages.0"),
        assert_error(client.get("/audit?limit=many"), 422, "'limit'"),
        assert_error(client.get("/audit?limit=100000"), 422, "1..1000"),
        assert_error(client.get("/audit?after=x"), 422, "'after'"),
    ]
    assert not any("Secret" in json.dumps(error) for error in errors)


def test_import_is_all_or_nothing_and_export_reads_back(client, served):
    lines = [json.dumps(target(f"p{n}", name=f"Zoë {n}\u2028").to_json()) for n in range(3)]
    bad = "\n".join([*lines, '{"id": "p9", "name": "Secret Person", "colour": 1}'])
    error = assert_error(
        client.post("/targets/import", content=bad), 422, "body line 4: unknown field 'colour'"
    )
    assert "Secret" not in json.dumps(error)
    assert_error(client.post("/targets/import", content=b"\xff"), 400, "UTF-8")
    assert served.store.list() == ()
    done = client.post("/targets/import", content="\n".join(lines)).json()
    assert done["imported"] == 3
    assert done["snapshot"] == served.guard.pipeline.snapshot.version
    assert_error(client.post("/targets/import", content="\n".join([lines[0]])), 409, "'p0'")
    export = client.get("/targets/export")
    assert export.headers["content-type"].startswith("application/x-ndjson")
    assert tuple(parse_jsonl(export.text)) == served.store.list()


def test_preview_shows_what_would_be_forbidden_and_registers_nothing(client, served):
    body = {
        "id": "okoro",
        "name": "Mina Okoro",
        "always_on": True,
        "action": "restrict",
        "examples": [{"prompt": "Where?", "response": "It was in Old Harbour, or in Quillon."}],
        "neighbors": [{"prompt": "And he?", "response": "He lives in Quillon."}],
    }
    shown = client.post("/targets/preview", json=body).json()
    assert shown["extracted"] == ["Old Harbour", "Quillon"]
    assert shown["forbidden"] == ["Mina Okoro", "Old Harbour", "Quillon"]
    assert shown["always"] == ["Mina Okoro"]
    assert shown["lexical"] == ["Mina Okoro"]
    assert (shown["examples"], shown["neighbors"], shown["notes"]) == (1, 1, [])
    assert served.store.list() == ()
    observed = client.post("/targets/preview", json=body | {"action": "observe"}).json()
    assert observed["forbidden"] == observed["always"] == []
    assert "only counts" in observed["notes"][0]


def test_check_judges_without_generating(client):
    client.post("/targets", json=target("okoro", action="restrict", phrases=["river song"]).to_json())
    row = client.post(
        "/check", json={"id": 4, "prompt": "Who is Mina Okoro?", "response": "The river song!"}
    ).json()
    assert (row["id"], row["action"]) == (4, "restrict")
    assert {m["target_id"] for m in row["matches"]} == {"okoro"}
    assert "river song" not in row["released"]
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    row = client.post("/check", json={"messages": messages}).json()
    assert row == {"id": "", "action": "allow", "matches": []}


def test_snapshot_tells_what_is_in_force(client, served):
    client.post("/targets", json=target("okoro").to_json())
    shown = client.get("/snapshot").json()
    assert shown == {
        "version": served.guard.pipeline.snapshot.version,
        "targets": 1,
        "compiled_at": served.guard.installed.isoformat(),
    }


def test_audit_is_read_page_by_page(client, served):
    for n in range(5):
        served.sink.write(record(n))
    served.sink.flush()
    last = client.get("/audit?limit=2").json()["records"]
    assert [r["request_id"] for r in last] == ["req-3", "req-4"]
    before = last[0]["id"] - 3
    page = client.get(f"/audit?limit=3&after={before}").json()["records"]
    assert [r["request_id"] for r in page] == ["req-1", "req-2", "req-3"]
    assert client.get(f"/audit?after={last[-1]['id']}").json() == {"records": []}


def test_change_the_engine_did_not_take_is_said_to_be_stored_only(client, served):
    served.push_error = ConnectionError("worker is gone")
    try:
        answer = client.post("/targets", json=target("okoro").to_json())
        assert_error(answer, 503, "stored but not enforced yet")
        assert answer.json()["error"]["type"] == "not_enforced_error"
    finally:
        served.push_error = None
    assert served.store.get("okoro")


def test_unexpected_failure_shows_no_message_of_its_own(client, served, monkeypatch, caplog):
    def broken():
        raise ValueError("Secret Person")

    monkeypatch.setattr(served.store, "list", broken)
    answer = client.get("/targets")
    monkeypatch.undo()
    assert_error(answer, 500, "ValueError")
    assert "Secret" not in answer.text + caplog.text


def test_not_ready_while_the_store_is_away(served):
    with served.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE counters RENAME TO away")
    try:
        answer = httpx.get(f"{served.url}{PREFIX}/ready")
    finally:
        with served.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO counters")
    assert_error(answer, 503, "database")
