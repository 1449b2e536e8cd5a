import time

import pytest
from admin_fixtures import assert_error, client_of, new_key
from control_fixtures import KEY, Served

from serving.auth import HEADER
from serving.identity import RootKeyring


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def client(served):
    with client_of(served) as client:
        yield client


def listed(client, token):
    (key,) = [k for k in client.get("/keys").json()["keys"] if k["id"] == token.split("_")[1]]
    return key


def test_key_is_made_shown_once_used_and_ended(client, served):
    made = client.post("/keys", json={"name": "ci", "roles": ["read", "audit"]}).json()
    token = made["token"]
    assert (made["key"]["name"], made["key"]["roles"]) == ("ci", ["read", "audit"])
    assert listed(client, token) == made["key"]
    secret = token.rsplit("_", 1)[-1]
    assert secret not in client.get("/keys").text
    with client_of(served, token) as own:
        assert own.get("/targets").status_code == own.get("/audit").status_code == 200
        assert_error(own.post("/snapshots/rollback"), 403, "'write'")
        ended = client.delete(f"/keys/{made['key']['id']}")
        assert ended.status_code == 200
        assert ended.json()["revoked"]
        assert_error(own.get("/targets"), 401, "revoked")
    assert listed(client, token)["revoked"] == ended.json()["revoked"]


def test_expired_key_stops_by_itself(client, served):
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    with client_of(served, new_key(client, "read", expires=soon)) as own:
        assert own.get("/targets").status_code == 200
        end = time.monotonic() + 20
        while own.get("/targets").status_code == 200:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert_error(own.get("/targets"), 401, "expired")


def test_key_gives_away_only_roles_it_has(client, served):
    with client_of(served, new_key(client, "keys", "write")) as own:
        for roles in (["audit"], ["write", "control"]):
            assert_error(own.post("/keys", json={"name": "x", "roles": roles}), 403, "cannot give away")
        # Writing includes reading.
        assert own.post("/keys", json={"name": "x", "roles": ["read", "write", "keys"]}).status_code == 201


def test_key_management_is_entered_with_who_did_it(client, served):
    token = new_key(client, "keys")
    with client_of(served, token) as own:
        made = own.post("/keys", json={"name": "x", "roles": ["keys"]}).json()["key"]
        own.delete(f"/keys/{made['id']}")
    kinds = ("key.created", "key.revoked")
    entries = [client.get(f"/audit?limit=1&kind={kind}").json()["records"][0] for kind in kinds]
    assert [(e["actor"], e["facts"]["key"]) for e in entries] == [(token.split("_")[1], made["id"])] * 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "x"}, "'roles'"),
        ({"name": "x", "roles": []}, "'roles'"),
        ({"name": "x", "roles": ["king"]}, "'roles.0'"),
        ({"name": " ", "roles": ["read"]}, "'name'"),
        ({"name": "x" * 101, "roles": ["read"]}, "'name'"),
        ({"name": "x\u0007", "roles": ["read"]}, "printable"),
        ({"name": "x", "roles": ["read"], "colour": 1}, "'colour'"),
        ({"name": "x", "roles": ["read"], "expires": "2001-01-01T00:00:00Z"}, "past"),
        ({"name": "x", "roles": ["read"], "expires": "2090-01-01"}, "'expires'"),
        ({"name": "x", "roles": ["read"], "expires": "9999-12-31T23:59:59-14:00"}, "'expires'"),
        (["x"], "'body'"),
    ],
)
def test_bad_key_is_not_made_and_the_field_is_named(client, body, said):
    count = len(client.get("/keys").json()["keys"])
    assert_error(client.post("/keys", json=body), 422, said)
    assert len(client.get("/keys").json()["keys"]) == count


def test_unknown_key_cannot_be_ended(client):
    assert_error(client.delete("/keys/0123456789ab"), 404, "'0123456789ab'")
    assert_error(client.delete("/keys/root"), 422, "'key_id'")


def test_server_that_knows_the_root_key_only_says_so(client, served, monkeypatch):
    monkeypatch.setattr(served.guard, "keyring", RootKeyring(KEY))
    assert client.get("/targets", headers={HEADER: KEY.encode()}).status_code == 200
    answer = client.get("/keys")
    monkeypatch.undo()
    assert_error(answer, 422, "RootKeyring holds no keys")
