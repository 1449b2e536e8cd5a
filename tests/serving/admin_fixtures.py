"""The admin routes under a real server, and how their answers are looked at."""

import httpx
from control_fixtures import KEY

from serving.admin import PREFIX, router

CALLS = [
    (method.upper(), route.path.removeprefix(PREFIX))
    for route in router.routes
    for method in route.methods
    if route.path != f"{PREFIX}/ready"
]

NEEDS = {
    "read": [
        "GET /targets",
        "GET /targets/export",
        "GET /targets/{target_id}",
        "POST /targets/preview",
        "POST /check",
        "GET /snapshot",
        "GET /snapshots",
    ],
    "write": [
        "POST /targets",
        "PUT /targets/{target_id}",
        "PATCH /targets/{target_id}",
        "DELETE /targets/{target_id}",
        "POST /targets/import",
        "POST /targets/dry-run",
        "POST /snapshots/{version}/activate",
        "POST /snapshots/rollback",
    ],
    "audit": ["GET /audit", "GET /audit/verify", "GET /targets/{target_id}/receipt"],
    "keys": ["GET /keys", "POST /keys", "DELETE /keys/{key_id}"],
}
"""The role that each route asks for."""


def client_of(served, key=KEY):
    """A client of the admin routes that sends a key."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}".encode()}
    return httpx.Client(base_url=served.url + PREFIX, headers=headers, timeout=60)


def assert_error(answer, status, said):
    """The error object of an answer with a status, whose message says something."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == status
    assert said in error["message"], error["message"]
    assert answer.headers["cache-control"] == "no-store"
    return error


def clear(client):
    """Removes every target."""
    for target in client.get("/targets").json()["targets"]:
        client.delete(f"/targets/{target['id']}").raise_for_status()


def new_key(client, *roles, **fields):
    """The token of a fresh key with roles."""
    made = client.post("/keys", json={"name": "test", "roles": roles} | fields)
    assert made.status_code == 201, made.text
    return made.json()["token"]
