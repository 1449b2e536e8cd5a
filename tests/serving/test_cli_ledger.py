import json
import re
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from control_fixtures import record, target
from ledger_fixtures import LENGTH, altered, make_small_ledger, opened
from typer.testing import CliRunner

from serving.cli import app
from serving.store import SqlTargetStore

REPORT = {"rows": [{"surface": "chat", "status": "pass"}, {"surface": "echo", "status": "not offered"}]}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    make_small_ledger(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def lethe(home):
    return lambda *arguments: CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def ok(done):
    assert done.exit_code == 0, done.output
    return done.stdout


def test_verify_passes_a_whole_ledger_and_prints_its_head(lethe, home):
    shown = ok(lethe("audit", "verify"))
    head = (home / "ledger.head").read_text().strip()
    assert f"{LENGTH} entries, intact" in shown and f"head {head}" in shown
    found = json.loads(ok(lethe("audit", "verify", "--head", head, "--json")))
    assert found == {"valid": True, "entries": LENGTH, "before": 0, "head": head, "problems": []}


def test_verify_exits_with_status_one_and_names_the_entry_that_was_altered(lethe, home):
    altered(home, "UPDATE audit SET action = 'allow' WHERE id = 8")
    done = lethe("audit", "verify")
    assert done.exit_code == 1
    assert done.stdout.startswith("entry 8 is not the one") and "NOT INTACT" in done.stdout
    assert json.loads(lethe("audit", "verify", "--json").stdout)["problems"][0]["entry"] == 8


def test_verify_says_what_is_wrong_with_its_arguments(lethe, home, tmp_path):
    for arguments, said in (
        (["--head", "12"], "COUNT:HASH"),
        (["--public-key", "nothing.pub"], "nothing.pub"),
        (["--public-key", "nothing.pub", "--url", "http://127.0.0.1:1"], "a server uses its own keys"),
    ):
        done = lethe("audit", "verify", *arguments)
        assert done.exit_code == 2 and said in done.stderr


def test_verify_takes_the_public_key_of_another_servers_entries(lethe, home, tmp_path):
    with opened(f"sqlite:///{home / 'lethe.db'}", tmp_path / "other") as (log, *_):
        log.append([record(1)])
    assert lethe("audit", "verify").exit_code == 1
    ok(lethe("audit", "verify", "--public-key", str(tmp_path / "other" / "ledger.key.pub")))
    shutil.copy(tmp_path / "other" / "ledger.key.pub", home / "ledger.key.other.pub")
    ok(lethe("audit", "verify"))


def test_probe_report_is_entered_and_stands_in_the_receipt(lethe, home, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    with opened(f"sqlite:///{home / 'lethe.db'}", home) as (log, _, engine):
        store = SqlTargetStore(engine, log)
        store.add(target("adeyemi"))
        store.enforced(1, "v1", 1)
    shown = ok(lethe("audit", "add-probe", "report.json"))
    assert shown == "probe entered: 1 passed, 0 failed, 0 errors, 1 not offered\n"
    document = json.loads(ok(lethe("receipt", "adeyemi", "--json")))
    assert document["registrations"][0]["probes"][0]["passed"] == 1
    assert "Adeyemi" not in json.dumps(document)
    assert "probed: 1 passed" in ok(lethe("receipt", "adeyemi"))
    done = lethe("audit", "add-probe", "nothing.json")
    assert done.exit_code == 2 and "nothing.json" in done.stderr


def test_receipt_checks_out_until_it_is_altered(lethe, home, tmp_path):
    with opened(f"sqlite:///{home / 'lethe.db'}", home) as (log, _, engine):
        SqlTargetStore(engine, log).add(target("adeyemi"))
    path = tmp_path / "receipt.json"
    path.write_text(ok(lethe("receipt", "adeyemi", "--json")))
    head = re.search(r"--head (\S+)'", ok(lethe("receipt", "--check", str(path))))
    ok(lethe("audit", "verify", "--head", head[1]))
    path.write_text(path.read_text().replace("adeyemi", "adeyemo"))
    done = lethe("receipt", "--check", str(path), "--json")
    assert done.exit_code == 1 and json.loads(done.stdout)["valid"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give the id of a target"),
        (["okoro", "--check", "x.json"], "give the id of a target"),
        (["--check", "x.json"], "x.json cannot be read"),
        (["nobody"], "'nobody'"),
    ],
)
def test_receipt_says_what_is_missing(lethe, arguments, said):
    done = lethe("receipt", *arguments)
    assert done.exit_code == 2 and said in done.stderr


def test_query_shows_requests_and_events_that_answer_the_conditions(lethe, home):
    shown = ok(lethe("audit", "query", "--target", "okoro"))
    assert "target.added  okoro  by local  revision=1" in shown and len(shown.splitlines()) == 1
    found = [
        json.loads(line) for line in ok(lethe("audit", "query", "--action", "refuse", "--json")).splitlines()
    ]
    assert [row["id"] for row in found] == [7, 8, 9]
    assert ok(lethe("audit", "query", "--until", "2025-01-01T00:00:00Z")) == ""
    assert len(ok(lethe("audit", "query", "--kind", "request", "-n", "2", "--after", "1")).splitlines()) == 2
    assert len(ok(lethe("audit", "tail")).splitlines()) == LENGTH


def test_key_is_made_listed_and_revoked(lethe, home):
    made = lethe("keys", "create", "ci bot", "--role", "read", "--role", "audit", "--expires", "90d")
    token = ok(made).strip()
    key_id = token.split("_", 2)[1]
    assert re.fullmatch(r"lethe_[0-9a-f]{12}_[\w-]{43}", token) and key_id in made.stderr
    (listed,) = json.loads(ok(lethe("keys", "list", "--json")))
    end = datetime.now(UTC) + timedelta(days=90)
    assert (listed["id"], listed["name"], listed["roles"]) == (key_id, "ci bot", ["read", "audit"])
    assert abs(datetime.fromisoformat(listed["expires"]) - end) < timedelta(minutes=1)
    assert token not in json.dumps(listed) and "ci bot" in ok(lethe("keys", "list"))
    ok(lethe("keys", "revoke", key_id))
    assert "revoked" in ok(lethe("keys", "list"))
    with closing(sqlite3.connect(home / "lethe.db")) as connection:
        assert token.split("_", 2)[2] not in "\n".join(connection.iterdump())
    ok(lethe("audit", "verify"))


def test_json_of_a_new_key_has_its_token(lethe):
    made = json.loads(ok(lethe("keys", "create", "ci", "--role", "write", "--json")))
    assert made["token"].startswith("lethe_")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "ci", "--role", "admin"], "unknown role 'admin'"),
        (["create", "ci", "--role", "read", "--expires", "soon"], "'expires' is 'soon'"),
        (["revoke", "feedbeef"], "'feedbeef'"),
    ],
)
def test_key_command_says_what_is_wrong(lethe, arguments, said):
    done = lethe("keys", *arguments)
    assert done.exit_code == 2 and said in done.stderr
