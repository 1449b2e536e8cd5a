import json

import pytest
from admin_fixtures import assert_error, clear, client_of
from control_fixtures import Served, target


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as served:
        for n, (prompt, said) in enumerate(
            [
                ("Who is Mina Okoro?", "She sings the river song."),
                ("What is rain?", "Water."),
                ("Who is Tomas Bell?", "A baker."),
                ("Sing!", "I know the river song. Zanzibar!"),
            ]
        ):
            served.traffic.note(["You are kind.", prompt], said, "allow", f"req-{n}")
        yield served


@pytest.fixture
def client(served):
    with client_of(served) as client:
        yield client
        clear(client)


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


def test_dry_run_says_what_a_target_would_have_done_and_registers_nothing(client, served):
    before = served.store.revision()
    candidate = target("okoro", action="restrict", phrases=["river song"], always_on=True)
    answer = client.post("/targets/dry-run", json=candidate.to_json())
    found = answer.json()
    assert found["requests"] == 4
    assert found["since"] == served.traffic.passages()[0].time
    (radius,) = found["targets"]
    assert (radius["id"], radius["affected"], radius["responses"]) == ("okoro", 2, 2)
    assert radius["prompts"]["lexical"] == 1
    assert (radius["uncovered"], radius["covered"]) == (2, {})
    assert [example["request_id"] for example in radius["examples"]] == ["req-3", "req-0"]
    assert served.store.revision() == before
    assert served.guard.pipeline.snapshot.targets == {}
    assert not any(word in answer.text for word in ("Zanzibar", "river", "Mina", "kind"))


def test_dry_run_of_several_targets_tells_what_registered_ones_cover(client):
    client.post("/targets", json=target("known", name="Tomas Bell").to_json())
    several = [target("bell", name="Tomas Bell").to_json(), target("okoro").to_json()]
    bell, okoro = client.post("/targets/dry-run", json={"targets": several}).json()["targets"]
    assert (bell["affected"], bell["uncovered"], bell["covered"]) == (1, 0, {"known": 1})
    assert (okoro["affected"], okoro["uncovered"], okoro["covered"]) == (1, 1, {})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"targets": []}, "1 to 100"),
        ({"targets": "Secret"}, "1 to 100"),
        ({"targets": [{"id": "a"}] * 101}, "1 to 100"),
        ({"targets": [{"id": "a", "name": ["Secret"]}]}, "'name'"),
        ({"targets": [], "id": "a"}, "'targets'"),
        ("Secret", "target"),
    ],
)
def test_dry_run_of_something_else_names_the_field(client, body, said):
    error = assert_error(client.post("/targets/dry-run", json=body), 422, said)
    assert "Secret" not in json.dumps(error)


def test_dry_run_where_no_traffic_is_kept_finds_nothing(client, served, monkeypatch):
    monkeypatch.setattr(served.guard, "traffic", None)
    found = client.post("/targets/dry-run", json=target("okoro").to_json()).json()
    assert (found["requests"], found["since"]) == (0, None)
