import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from admin_fixtures import assert_error, clear, client_of, new_key
from control_fixtures import Served, target

from guard.targets import etag, parse_jsonl
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


@pytest.fixture
def okoro(client):
    """The ETag of a registered target."""
    return client.post("/targets", json=target("okoro", action="restrict").to_json()).headers["etag"]


def in_force(served):
    return served.guard.pipeline.snapshot.version


def test_target_lives_through_its_routes(client, served):
    body = target("okoro", reason="court order").to_json()
    added = client.post("/targets", json=body)
    assert added.status_code == 201
    assert added.json()["target"] == body
    assert added.json()["snapshot"] == in_force(served)
    assert added.json()["seconds"] > 0
    assert client.get("/targets").json() == {"targets": [body], "next": None}
    assert client.get("/targets/okoro").json() == body
    new = {"name": "Mina Okoro", "action": "observe"}
    replaced = client.put("/targets/okoro", json=new)
    assert replaced.json()["target"] == {"id": "okoro"} | new
    assert replaced.json()["snapshot"] != added.json()["snapshot"]
    removed = client.delete("/targets/okoro")
    assert removed.status_code == 200
    assert removed.json()["snapshot"] == in_force(served)
    assert_error(client.get("/targets/okoro"), 404, "'okoro'")


def test_every_change_is_entered_with_its_key(client, served):
    token = new_key(client, "write")
    client.post("/targets", json=target("okoro").to_json(), headers={HEADER: token})
    (entry,) = served.log.read(1, kind="target.added")
    assert (entry["target_id"], entry["actor"]) == ("okoro", token.split("_")[1])


def test_pages_follow_each_other_and_hold_everything_once(client):
    ids = [f"t{n}" for n in range(7)]
    client.post("/targets/import", content="".join(json.dumps(target(i).to_json()) + "\n" for i in ids))
    found, after = [], {}
    while True:
        page = client.get("/targets", params={"limit": 3} | after).json()
        assert len(page["targets"]) <= 3
        found += [t["id"] for t in page["targets"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert found == ids
    assert [t["id"] for t in client.get("/targets?after=t4").json()["targets"]] == ["t5", "t6"]
    assert_error(client.get("/targets?after=gone"), 404, "'after'")


def test_etag_tells_a_target_apart_from_what_it_was(client, served, okoro):
    assert okoro == client.get("/targets/okoro").headers["etag"] == f'"{etag(served.store.get("okoro"))}"'
    patched = client.patch("/targets/okoro", json={"reason": "r"})
    assert patched.headers["etag"] == client.get("/targets/okoro").headers["etag"] != okoro
    back = client.patch("/targets/okoro", json={"reason": None})
    assert back.headers["etag"] == okoro


@pytest.mark.parametrize(
    ("method", "body"), [("PUT", {"name": "New"}), ("PATCH", {"name": "New"}), ("DELETE", None)]
)
@pytest.mark.parametrize("sent", ['"0123"', "W/{tag}", '"a", "b"', "nonsense"])
def test_change_of_another_version_than_seen_is_refused(client, served, okoro, method, body, sent):
    before = in_force(served)
    answer = client.request(method, "/targets/okoro", json=body, headers={"If-Match": sent.format(tag=okoro)})
    assert assert_error(answer, 412, "'okoro'")["type"] == "precondition_error"
    assert in_force(served) == before
    assert client.get("/targets/okoro").headers["etag"] == okoro


@pytest.mark.parametrize(
    ("method", "body"), [("PUT", {"name": "New"}), ("PATCH", {"name": "New"}), ("DELETE", None)]
)
@pytest.mark.parametrize("sent", ["{tag}", "*", '"other", {tag}'])
def test_change_of_the_version_seen_is_made(client, okoro, method, body, sent):
    answer = client.request(method, "/targets/okoro", json=body, headers={"If-Match": sent.format(tag=okoro)})
    assert answer.status_code == 200, answer.text
    left = client.get("/targets").json()["targets"]
    assert [t["name"] for t in left] == ([] if method == "DELETE" else ["New"])


def test_condition_on_a_missing_target_is_no_success(client):
    for sent in ("*", '"a"', '"a", "b"'):
        assert_error(client.delete("/targets/okoro", headers={"If-Match": sent}), 404, "'okoro'")


def test_patch_merges_objects_resets_with_null_and_replaces_lists(client, served):
    whole = target("okoro", aliases=["M. O.", "Mina O."], action="restrict", reason="r", owner="o")
    client.post("/targets", json=whole.to_json())
    patch = {"aliases": ["Okoro"], "owner": None, "matching": {"beta": 0.5}, "always_on": True}
    answer = client.patch("/targets/okoro", json=patch)
    assert answer.json()["target"] == {
        "id": "okoro", "name": "Mina Okoro", "aliases": ["Okoro"], "action": "restrict", "reason": "r",
        "always_on": True, "matching": {"beta": 0.5},
    }  # fmt: skip
    assert answer.json()["snapshot"] == in_force(served)
    further = {"matching": {"beta": None, "encodings": ["rot13"]}, "always_on": None}
    assert client.patch("/targets/okoro", json=further).json()["target"] == {
        "id": "okoro", "name": "Mina Okoro", "aliases": ["Okoro"], "action": "restrict", "reason": "r",
        "matching": {"encodings": ["rot13"]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"id": "bell"}, "cannot be changed"),
        ({"id": None}, "cannot be changed"),
        ({"name": None}, "at least one of"),
        ({"colour": 1}, "unknown field 'colour'"),
        ({"matching": {"beta": 7}}, "matching.beta"),
        ({"matching": "Secret"}, "'matching'"),
        (["Secret"], "not a JSON object"),
        ("Secret", "not a JSON object"),
    ],
)
def test_bad_patch_changes_nothing_and_names_the_field(client, okoro, patch, said):
    assert "Secret" not in assert_error(client.patch("/targets/okoro", json=patch), 422, said)["message"]
    assert client.get("/targets/okoro").headers["etag"] == okoro


def test_deep_patch_is_refused(client, okoro):
    content = '{"matching": ' * 900 + "1" + "}" * 900
    answer = client.patch("/targets/okoro", content=content)
    assert answer.status_code in (400, 422), answer.text


def test_patch_of_a_missing_target_is_not_found(client):
    assert_error(client.patch("/targets/okoro", json={"name": "x"}), 404, "'okoro'")


def test_patches_at_the_same_time_do_not_undo_each_other(client, served, okoro):
    fields = ["reason", "owner", "kind", "always_on"]
    values = ["r", "o", "topic", True]
    ready = threading.Barrier(4)

    def send(field, value):
        with client_of(served) as other:
            ready.wait()
            return other.patch("/targets/okoro", json={field: value}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(send, fields, values)) == [200] * 4
    left = client.get("/targets/okoro").json()
    assert {field: left[field] for field in fields} == dict(zip(fields, values, strict=True))


def test_request_sent_again_changes_nothing_more(client, served):
    body, headers = target("okoro").to_json(), {"Idempotency-Key": "order-1"}
    first = client.post("/targets", json=body, headers=headers)
    revision = served.store.revision()
    again = client.post("/targets", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["target"] == body
    assert again.json()["snapshot"] == first.json()["snapshot"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert served.store.revision() == revision
    # Without the key it is another request, which meets the target of the first.
    assert_error(client.post("/targets", json=body), 409, "'okoro'")


def test_request_sent_again_does_not_bring_back_what_was_removed_since(client, served):
    body, headers = target("okoro").to_json(), {"Idempotency-Key": "order-2"}
    client.post("/targets", json=body, headers=headers)
    client.delete("/targets/okoro")
    version = in_force(served)
    again = client.post("/targets", json=body, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["snapshot"] == version == in_force(served)
    assert client.get("/targets").json()["targets"] == []


def test_idempotency_key_of_another_request_is_refused(client, served):
    headers = {"Idempotency-Key": "order-3"}
    client.post("/targets", json=target("okoro").to_json(), headers=headers)
    revision = served.store.revision()
    error = assert_error(
        client.post("/targets", json=target("bell").to_json(), headers=headers), 422, "new key"
    )
    assert error["type"] == "idempotency_error"
    assert_error(client.delete("/targets/okoro", headers=headers), 422, "new key")
    assert served.store.revision() == revision


def test_idempotency_keys_of_two_api_keys_have_nothing_to_do_with_each_other(client):
    headers = {"Idempotency-Key": "order-4"}
    client.post("/targets", json=target("okoro").to_json(), headers=headers)
    other = headers | {HEADER: new_key(client, "write")}
    answer = client.post("/targets", json=target("bell").to_json(), headers=other)
    assert answer.status_code == 201
    assert "idempotent-replayed" not in answer.headers


def test_every_kind_of_change_can_be_sent_again(client, served):
    line = json.dumps(target("okoro").to_json())
    calls = [
        ("POST", "/targets/import", line),
        ("PUT", "/targets/okoro", json.dumps({"name": "New"})),
        ("PATCH", "/targets/okoro", json.dumps({"reason": "r"})),
        ("POST", "/snapshots/rollback", ""),
        ("DELETE", "/targets/okoro", ""),
    ]
    for number, (method, path, content) in enumerate(calls):
        headers = {"Idempotency-Key": f"each-{number}"}
        first = client.request(method, path, content=content, headers=headers)
        revision = served.store.revision()
        again = client.request(method, path, content=content, headers=headers)
        assert first.status_code == again.status_code == 200, again.text
        assert again.headers["idempotent-replayed"] == "true"
        assert served.store.revision() == revision


def test_many_sending_the_same_request_at_once_make_one_change(client, served):
    before, ready = served.store.revision(), threading.Barrier(4)

    def send(number):
        with client_of(served) as other:
            ready.wait()
            headers = {"Idempotency-Key": "race"}
            return other.post("/targets", json=target("okoro").to_json(), headers=headers).status_code

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(send, range(4))) == [201] * 4
    assert served.store.revision() == before + 1


def test_import_is_all_or_nothing_and_export_reads_back(client, served):
    lines = [json.dumps(target(f"p{n}", name=f"Zoë {n}\u2028").to_json()) for n in range(3)]
    bad = "\n".join([*lines, '{"id": "p9", "name": "Secret Person", "colour": 1}'])
    error = assert_error(
        client.post("/targets/import", content=bad), 422, "body line 4: unknown field 'colour'"
    )
    assert "Secret" not in json.dumps(error)
    assert_error(client.post("/targets/import", content=b"\xff"), 400, "UTF-8")
    assert_error(client.post("/targets/import", content=b"[" * 100_000), 422, "nested")
    assert served.store.list() == ()
    done = client.post("/targets/import", content="\n".join(lines)).json()
    assert done["imported"] == 3
    assert done["snapshot"] == in_force(served)
    assert_error(client.post("/targets/import", content="\n".join([lines[0]])), 409, "'p0'")
    export = client.get("/targets/export")
    assert export.headers["content-type"].startswith("application/x-ndjson")
    assert tuple(parse_jsonl(export.text)) == served.store.list()
