"""``lethe database``: what it says, and what it exits with."""

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving import cli
from serving.migrations.schema import HEAD

OLD = Path(__file__).parent / "old_databases" / "schema_1.sqlite.sql"


@pytest.fixture
def lethe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    for name in ("LETHE_DATABASE", "LETHE_CONFIG", "LETHE_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        return CliRunner().invoke(cli.app, arguments)

    return run


@pytest.fixture
def old(tmp_path):
    """The database of the settings, as the version before left it."""
    path = tmp_path / "home" / "lethe.db"
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript(OLD.read_text())
    connection.close()


@pytest.mark.usefixtures("old")
def test_status_says_what_to_do(lethe):
    found = lethe("database", "status")
    assert (found.exit_code, "lethe database upgrade" in found.stdout) == (1, True)
    assert lethe("database", "upgrade").stdout == f"upgraded from schema 0000 to schema {HEAD}\n"
    found = lethe("database", "status", "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout) == {"schema": HEAD, "newest": HEAD, "state": "current"}
    assert "nothing to do" in lethe("database", "upgrade").stdout


@pytest.mark.usefixtures("old")
def test_other_commands_on_an_old_database_name_the_upgrade_and_work_after_it(lethe):
    found = lethe("targets", "list", "--json")
    assert found.exit_code == 2
    assert "lethe database upgrade" in found.stderr
    assert lethe("database", "upgrade", "--json").exit_code == 0
    shown = json.loads(lethe("targets", "list", "--json").stdout)
    assert [target["id"] for target in shown] == ["zeta", "alpha"]
    assert lethe("targets", "add", "--id", "new", "--name", "New Name").exit_code == 0


def test_status_creates_nothing(tmp_path, lethe):
    path = tmp_path / "elsewhere" / "lethe.db"
    found = lethe("database", "status", "--database", f"sqlite:///{path}", "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["state"] == "empty"
    assert not path.parent.exists()
    made = lethe("database", "upgrade", "--database", f"sqlite:///{path}", "--json")
    assert json.loads(made.stdout) == {"before": None, "schema": HEAD}
    assert path.exists()


def test_status_of_a_newer_database_is_told_and_its_upgrade_refused(lethe, tmp_path):
    assert lethe("database", "upgrade").exit_code == 0
    with sqlite3.connect(tmp_path / "home" / "lethe.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
    connection.close()
    found = lethe("database", "status", "--json")
    assert (found.exit_code, json.loads(found.stdout)["state"]) == (1, "unknown")
    found = lethe("database", "upgrade")
    assert found.exit_code == 2
    assert "use the version that made it" in found.stderr


def test_database_that_is_away_is_one_sentence_without_the_password(lethe):
    url = "postgresql+psycopg://u:pass-word@127.0.0.1:9/x"
    found = lethe("database", "status", "--database", url)
    assert found.exit_code == 2
    assert "cannot be opened" in found.stderr
    assert "pass-word" not in found.output
    assert len(found.stderr.strip().splitlines()) == 1
