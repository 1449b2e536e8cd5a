import json

import pytest
from control_fixtures import KEY, Served, record, target
from typer.testing import CliRunner

from guard.targets import write_jsonl
from serving import cli


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as served:
        served.traffic.note(["Who is Mina Okoro?"], "A singer.", "allow", "req-a")
        served.traffic.note(["What is rain?"], "Water.", "allow", "req-b")
        yield served


@pytest.fixture
def lethe(served, tmp_path, monkeypatch):
    """Runs a command against the server; the local database is another, empty one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "client"))
    monkeypatch.delenv("LETHE_ADMIN_KEY", raising=False)
    (tmp_path / "key").write_text(KEY + "\n")

    def run(*arguments, key=("--key-file", "key")):
        return CliRunner().invoke(cli.app, [*map(str, arguments), "--url", served.url, *key])

    yield run
    for t in served.store.list():
        served.store.remove(t.id)


def shown(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_targets_live_through_the_commands(lethe, served):
    added = shown(lethe("targets", "add", "--id", "okoro", "--name", "Mina Okoro", "--json"))
    assert added["snapshot"] == served.guard.pipeline.snapshot.version
    assert added["seconds"] > 0
    assert shown(lethe("targets", "show", "okoro", "--json"))["name"] == "Mina Okoro"
    replaced = lethe("targets", "add", "--replace", "--id", "okoro", "--name", "Mina O.")
    assert f"as snapshot {served.guard.pipeline.snapshot.version}" in replaced.stdout
    assert shown(lethe("targets", "list", "--json")) == [{"id": "okoro", "name": "Mina O."}]
    patched = shown(lethe("targets", "patch", "okoro", "--action", "observe", "--json"))
    assert patched["snapshot"] == served.guard.pipeline.snapshot.version
    assert shown(lethe("targets", "list", "--json")) == [
        {"id": "okoro", "name": "Mina O.", "action": "observe"}
    ]
    assert lethe("targets", "remove", "okoro").exit_code == 0
    assert served.guard.pipeline.snapshot.targets == {}


def test_import_reaches_the_server(lethe, served, tmp_path):
    write_jsonl(tmp_path / "t.jsonl", [target("a"), target("b")])
    assert shown(lethe("targets", "import", "t.jsonl", "--json"))["imported"] == 2
    assert set(served.guard.pipeline.snapshot.targets) == {"a", "b"}
    again = lethe("targets", "import", "t.jsonl")
    assert again.exit_code == 2
    assert "'a' exists" in again.stderr


def test_dry_run_looks_at_the_requests_of_the_server(lethe, served):
    found = shown(lethe("targets", "dry-run", "--name", "Mina Okoro", "--json"))
    assert found["requests"] == 2
    assert [e["request_id"] for e in found["targets"][0]["examples"]] == ["req-a"]
    table = lethe("targets", "dry-run", "--id", "okoro", "--name", "Mina Okoro").stdout
    assert "2 requests since" in table
    assert "okoro: latest req-a" in table
    assert served.store.list() == ()


def test_snapshots_are_listed_activated_and_rolled_back(lethe, served):
    version = shown(lethe("targets", "add", "--id", "okoro", "--name", "Mina Okoro", "--json"))["snapshot"]
    lethe("targets", "remove", "okoro")
    assert version in [row["version"] for row in shown(lethe("snapshots", "list", "--json"))]
    assert version in lethe("snapshots", "list", "-n", "50").stdout
    back = shown(lethe("snapshots", "activate", version, "--json"))
    assert back["snapshot"] == version == served.guard.pipeline.snapshot.version
    assert "as snapshot" in lethe("snapshots", "rollback").stdout
    assert served.store.list() == ()


def test_audit_is_read_from_the_server(lethe, served):
    for n in range(3):
        served.sink.write(record(n, action="refuse" if n == 1 else "allow"))
    served.sink.flush()
    lines = lethe("audit", "tail", "-n", "2", "--json").stdout.splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == ["req-1", "req-2"]
    (line,) = lethe("audit", "query", "--action", "refuse", "--json").stdout.splitlines()
    assert json.loads(line)["request_id"] == "req-1"


def test_ledger_is_verified_and_receipts_are_issued_by_the_server(lethe):
    lethe("targets", "add", "--id", "bell", "--name", "Tomas Bell")
    found = shown(lethe("audit", "verify", "--json"))
    assert found["valid"]
    assert lethe("audit", "verify", "--head", found["head"]).exit_code == 0
    receipt = shown(lethe("receipt", "bell", "--json"))
    assert receipt["target_id"] == "bell"
    assert "Tomas" not in json.dumps(receipt)


def test_keys_are_made_used_and_ended_on_the_server(lethe):
    made = shown(lethe("keys", "create", "ci", "--role", "read", "--expires", "90d", "--json"))
    own = ("--key", made["token"])
    assert lethe("targets", "list", key=own).exit_code == 0
    refused = lethe("targets", "remove", "x", key=own)
    assert refused.exit_code == 2
    assert "role 'write'" in refused.stderr
    assert made["id"] in [row["id"] for row in shown(lethe("keys", "list", "--json"))]
    assert shown(lethe("keys", "revoke", made["id"], "--json"))["revoked"]
    assert "unknown, expired or revoked" in lethe("targets", "list", key=own).stderr


def test_wrong_key_is_one_sentence(lethe):
    result = lethe("targets", "list", key=("--key", "wrong"))
    assert result.exit_code == 2
    assert "API key is unknown" in result.stderr


def test_error_of_the_server_is_shown_as_it_is(lethe):
    result = lethe("targets", "show", "nobody")
    assert result.exit_code == 2
    assert result.stderr == "lethe: no target has the id 'nobody'\n"


def test_another_kind_of_server_is_recognised(lethe, served):
    result = CliRunner().invoke(cli.app, ["targets", "list", "--url", served.url + "/x", "--key", KEY])
    assert result.exit_code == 2
    assert "answered 404; is this a lethe server?" in result.stderr
