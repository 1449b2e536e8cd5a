import asyncio
import json
import threading
import time

import httpx
import pytest
from admin_fixtures import CALLS, NEEDS, assert_error, clear, client_of, new_key
from control_fixtures import KEY, Served, target
from fastapi import FastAPI

from serving.admin import PREFIX, router
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


@pytest.fixture(scope="module")
def stranger(served):
    """A client without a key."""
    with client_of(served, None) as client:
        yield client


@pytest.fixture(scope="module")
def tokens(served):
    """A key for each role."""
    with client_of(served) as client:
        return {role: new_key(client, role) for role in (*NEEDS, "control")}


def test_every_route_is_in_the_table_of_roles():
    assert sorted(f"{method} {path}" for method, path in CALLS) == sorted(
        c for calls in NEEDS.values() for c in calls
    )


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("sent", [None, "Bearer wrong", "Bearer", f"Basic {KEY}", KEY, b"Bearer \xff\xfe"])
def test_every_route_asks_for_the_key(stranger, method, path, sent):
    sent = sent.encode() if isinstance(sent, str) else sent
    headers = {} if sent is None else {"Authorization": sent}
    answer = stranger.request(method, path, headers=headers, content=b"{}")
    assert_error(answer, 401, "API key")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_route_asks_for_its_role(stranger, tokens, method, path):
    (needed,) = (role for role, calls in NEEDS.items() if f"{method} {path}" in calls)
    enough = {"read", "write"} if needed == "read" else {needed}
    for role, token in tokens.items():
        # What comes behind the role must be wrong, so that nothing changes.
        path = path.format(target_id="nobody", version="0" * 16, key_id="0")
        answer = stranger.request(method, path, headers={HEADER: token, "Idempotency-Key": "x y"})
        if role in enough:
            assert answer.status_code not in (401, 403), answer.text
        else:
            assert_error(answer, 403, f"role {needed!r}")


def test_key_is_taken_from_either_header_and_the_own_one_goes_first(stranger):
    for headers in (
        {HEADER: KEY.encode()},
        {HEADER: KEY.encode("latin-1")},
        {"Authorization": f"bearer  {KEY}".encode()},
        {HEADER: KEY.encode(), "Authorization": b"Bearer of another service"},
    ):
        assert stranger.get("/snapshot", headers=headers).status_code == 200
    both = {HEADER: b"wrong", "Authorization": f"Bearer {KEY}".encode()}
    assert_error(stranger.get("/snapshot", headers=both), 401, "unknown")


def test_the_key_is_looked_at_before_the_body(stranger):
    assert_error(stranger.post("/targets", content=b"{"), 401, "API key")
    assert_error(stranger.get("/audit?limit=0"), 401, "API key")


def test_slow_key_checks_leave_the_server_answering(served, stranger, monkeypatch):
    """Whoever tries out keys must not slow down the requests of others."""
    asked = threading.Event()

    class Slow:
        def identify(self, given):
            asked.set()
            time.sleep(1.5)

    async def race():
        async with httpx.AsyncClient(base_url=served.url + PREFIX, timeout=60) as client:
            wrong = [client.get("/targets", headers={HEADER: f"wrong {n}"}) for n in range(4)]
            slow = asyncio.gather(*wrong)
            await asyncio.to_thread(asked.wait, 10)
            started = time.perf_counter()
            ready = await client.get("/ready")
            return ready.status_code, time.perf_counter() - started, [a.status_code for a in await slow]

    monkeypatch.setattr(served.guard, "keyring", Slow())
    status, seconds, refused = asyncio.run(race())
    assert (status, refused) == (200, [401] * 4)
    assert seconds < 1


def test_errors_have_status_and_name_the_field_never_the_text(client):
    secret = "Secret Person"
    client.post("/targets", json={"id": "a", "name": secret})
    unknown = assert_error(
        client.post("/targets", json={"id": "b", "name": secret, "colour": secret}),
        422,
        "unknown field 'colour'",
    )
    nested = b'{"id": "b", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
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
        assert_error(client.post("/targets", content=nested), 400, "nested"),
        assert_error(client.post("/targets/import", content=b"\xff\xfe"), 400, "not UTF-8"),
        assert_error(client.put("/targets/a", json={"id": "b", "name": secret}), 422, "'id'"),
        assert_error(client.put("/targets/c", json={"name": secret}), 404, "'c'"),
        assert_error(client.delete("/targets/c"), 404, "'c'"),
        assert_error(client.get(f"/targets/{secret}"), 422, "path parameter 'target_id'"),
        assert_error(client.post("/check", json={"prompt": secret, "messages": []}), 422, "exactly one"),
        assert_error(client.post("/check", json={"messages": [secret]}), 422, "messages.0"),
        assert_error(
            client.post("/check", content=b'{"prompt": "Secret \\ud800"}'), 422, "half a surrogate pair"
        ),
        assert_error(client.post("/keys", json={"name": "n", "roles": [secret]}), 422, "'roles.0'"),
        assert_error(client.get(f"/audit?limit={secret}"), 422, "query parameter 'limit'"),
        assert_error(client.get("/audit?limit=100000"), 422, "'limit'"),
        assert_error(client.get(f"/audit?after={secret}"), 422, "'after'"),
        assert_error(client.get(f"/audit?since={secret}"), 422, "'since'"),
        assert_error(client.get(f"/audit?kind={secret}"), 422, "'kind'"),
        assert_error(client.delete("/targets/a", headers={"Idempotency-Key": secret}), 422, "header"),
    ]
    assert not any("Secret" in json.dumps(error) for error in errors)
    assert errors[-6]["param"] == "limit"


def test_too_long_bodies_are_refused(client, monkeypatch):
    monkeypatch.setattr("serving.admin.bodies.BODY_BYTES", 1000)
    assert client.post("/check", json={"prompt": "x" * 900}).status_code == 200
    error = assert_error(client.post("/check", json={"prompt": "x" * 1000}), 413, "longer than")
    assert error["type"] == "too_large_error"


def test_unexpected_failure_shows_no_message_of_its_own(client, served, monkeypatch, caplog):
    def broken():
        raise ValueError("Secret Person")

    monkeypatch.setattr(served.store, "list", broken)
    answer = client.get("/targets")
    monkeypatch.undo()
    assert_error(answer, 500, "ValueError")
    assert "Secret" not in answer.text + caplog.text


def test_change_the_engine_did_not_take_is_said_to_be_stored_only(client, served):
    served.push_error = ConnectionError("worker is gone")
    try:
        answer = client.post("/targets", json=target("okoro").to_json())
        assert_error(answer, 503, "stored but not enforced yet")
        assert answer.json()["error"]["type"] == "not_enforced_error"
    finally:
        served.push_error = None
    assert served.store.get("okoro")


def test_readiness_needs_no_key_and_tells_nothing_of_targets(client, stranger):
    client.post("/targets", json=target("okoro").to_json())
    answer = stranger.get("/ready")
    whole = {"ready": True, "engine": True, "snapshot": True, "store": True}
    assert (answer.status_code, answer.json()) == (200, whole)


def test_not_ready_while_the_store_is_away(served, stranger):
    with served.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE counters RENAME TO away")
    try:
        found = wait_for(stranger, 503)
        assert found == {"ready": False, "engine": True, "snapshot": True, "store": False}
    finally:
        with served.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO counters")
    wait_for(stranger, 200)


def test_not_ready_once_the_engine_is_dead(served, stranger):
    class Engine:
        errored = False

    served.app.state.engine_client = Engine()
    assert stranger.get("/ready").status_code == 200
    Engine.errored = True
    answer = stranger.get("/ready")
    del served.app.state.engine_client
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "engine": False, "snapshot": True, "store": True}


async def test_not_ready_before_anything_is_in_force():
    app = FastAPI()
    app.include_router(router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.get(PREFIX + "/ready")
    assert answer.status_code == 503
    assert not any(answer.json().values())


def wait_for(stranger, status, seconds=20):
    """What readiness says, once it has this status: the store is looked at now and then."""
    end = time.monotonic() + seconds
    while (answer := stranger.get("/ready")).status_code != status:
        assert time.monotonic() < end, answer.text
        time.sleep(0.05)
    return answer.json()
