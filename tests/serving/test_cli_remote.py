import json

import pytest
from control_fixtures import KEY, Served, record, target
from typer.testing import CliRunner

from guard.targets import write_jsonl
from serving import cli


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as served:
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


def test_targets_live_through_the_commands(lethe, served):
    added = json.loads(lethe("targets", "add", "--id", "okoro", "--name", "Mina Okoro", "--json").stdout)
    assert added["snapshot"] == served.guard.pipeline.snapshot.version
    assert added["seconds"] > 0
    assert json.loads(lethe("targets", "show", "okoro", "--json").stdout)["name"] == "Mina Okoro"
    replaced = lethe("targets", "add", "--replace", "--id", "okoro", "--name", "Mina O.")
    assert f"as snapshot {served.guard.pipeline.snapshot.version}" in replaced.stdout
    assert json.loads(lethe("targets", "list", "--json").stdout) == [{"id": "okoro", "name": "Mina O."}]
    assert lethe("targets", "remove", "okoro").exit_code == 0
    assert served.guard.pipeline.snapshot.targets == {}


def test_import_reaches_the_server(lethe, served, tmp_path):
    write_jsonl(tmp_path / "t.jsonl", [target("a"), target("b")])
    assert json.loads(lethe("targets", "import", "t.jsonl", "--json").stdout)["imported"] == 2
    assert set(served.guard.pipeline.snapshot.targets) == {"a", "b"}
    again = lethe("targets", "import", "t.jsonl")
    assert again.exit_code == 2
    assert "'a' exists" in again.stderr


def test_audit_is_read_from_the_server(lethe, served):
    for n in range(3):
        served.sink.write(record(n))
    served.sink.flush()
    lines = lethe("audit", "tail", "-n", "2", "--json").stdout.splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == ["req-1", "req-2"]


def test_wrong_key_is_one_sentence(lethe):
    result = lethe("targets", "list", key=("--key", "wrong"))
    assert result.exit_code == 2
    assert "admin key is wrong" in result.stderr


def test_error_of_the_server_is_shown_as_it_is(lethe):
    result = lethe("targets", "show", "nobody")
    assert result.exit_code == 2
    assert result.stderr == "lethe: no target has the id 'nobody'\n"


def test_another_kind_of_server_is_recognised(lethe, served):
    result = CliRunner().invoke(cli.app, ["targets", "list", "--url", served.url + "/x", "--key", KEY])
    assert result.exit_code == 2
    assert "answered 404; is this a lethe server?" in result.stderr
