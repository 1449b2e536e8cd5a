"""Commands that change targets, on the database of the settings."""

import json

import pytest
from control_fixtures import target
from typer.testing import CliRunner

from guard.encodings import ENCODINGS
from guard.targets import write_jsonl
from serving import cli
from serving.commands import fields


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    for name in ("LETHE_ADMIN_KEY", "LETHE_URL", "LETHE_DATABASE", "LETHE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def lethe():
    def run(*arguments, stdin=None):
        return CliRunner().invoke(cli.app, [str(a) for a in arguments], input=stdin)

    return run


@pytest.fixture
def okoro(lethe):
    """A registered target."""
    whole = target("okoro", aliases=["M. O."], owner="o", matching={"beta": 0.5})
    assert lethe("targets", "add", "--file", "-", stdin=json.dumps(whole.to_json())).exit_code == 0
    return whole.to_json()


def listed(lethe):
    return json.loads(lethe("targets", "list", "--json").stdout)


def refused(result, said):
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_help_names_every_encoding(lethe):
    assert fields.ENCODINGS.split(", ") == list(ENCODINGS)
    shown = " ".join(lethe("targets", "add", "--help").stdout.replace("│", " ").split())
    assert f"Forbid this form too: {fields.ENCODINGS}" in shown


def test_patch_changes_what_is_given_and_leaves_the_rest(lethe, okoro):
    done = lethe("targets", "patch", "okoro", "--action", "restrict", "--always-on", "--encoding", "rot13")
    assert done.exit_code == 0, done.output
    assert "running servers on this database follow" in done.stdout
    matching = {"matching": {"beta": 0.5, "encodings": ["rot13"]}}
    changed = okoro | matching | {"action": "restrict", "always_on": True}
    assert listed(lethe) == [changed]
    assert lethe("targets", "patch", "okoro", "--not-always-on").exit_code == 0
    del changed["always_on"]
    assert listed(lethe) == [changed]


def test_patch_from_a_file_resets_with_null_and_options_win(lethe, okoro):
    patch = json.dumps({"owner": None, "reason": "file", "matching": {"beta": None, "fold": ["case"]}})
    done = lethe("targets", "patch", "okoro", "--file", "-", "--reason", "option", "--json", stdin=patch)
    assert json.loads(done.stdout) == {"id": "okoro"}
    del okoro["owner"]
    assert listed(lethe) == [okoro | {"reason": "option", "matching": {"fold": ["case"]}}]


def test_bad_patch_is_one_sentence_and_changes_nothing(lethe, okoro):
    refused(lethe("targets", "patch", "okoro"), "nothing to change")
    refused(lethe("targets", "patch", "nobody", "--name", "x"), "'nobody'")
    refused(lethe("targets", "patch", "okoro", "--action", "forget"), "'action' is 'forget'")
    for text in ("[1]", "nonsense", "[" * 100_000):
        refused(lethe("targets", "patch", "okoro", "--file", "-", stdin=text), "not one JSON object")
    assert listed(lethe) == [okoro]


def test_local_changes_are_entered_in_the_ledger(lethe, okoro):
    lethe("targets", "patch", "okoro", "--reason", "r")
    lethe("targets", "remove", "okoro")
    lines = lethe("audit", "query", "--target", "okoro", "--json").stdout.splitlines()
    assert [(e["kind"], e["actor"]) for e in map(json.loads, lines)] == [
        ("target.added", "local"),
        ("target.replaced", "local"),
        ("target.removed", "local"),
    ]
    assert lethe("audit", "verify").exit_code == 0


def test_looking_makes_no_key(lethe, home):
    assert listed(lethe) == []
    lethe("snapshots", "list")
    lethe("audit", "tail")
    assert sorted(path.name for path in home.iterdir() if "db" not in path.name) == []


def test_dry_run_here_takes_prompts_from_a_file(lethe, tmp_path):
    write_jsonl(tmp_path / "t.jsonl", [target("bell", name="Tomas Bell", action="observe")])
    lethe("targets", "import", "t.jsonl")
    rows = [
        {"id": "a", "prompt": "Who are Mina Okoro and Tomas Bell?", "response": "Neighbours."},
        {"id": 2, "messages": [{"role": "user", "content": "Who is Mina Okoro?"}]},
        {"id": 3, "prompt": "What is rain?", "response": "Water."},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("targets", "dry-run", "--id", "okoro", "--name", "Mina Okoro", "--prompts", "p.jsonl")
    found = json.loads(lethe(*arguments, "--json").stdout)
    assert (found["requests"], found["since"]) == (3, None)
    (radius,) = found["targets"]
    assert (radius["affected"], radius["uncovered"], radius["covered"]) == (2, 1, {"bell": 1})
    assert [example["request_id"] for example in radius["examples"]] == ["2", "a"]
    table = lethe(*arguments).stdout
    assert "3 requests" in table
    assert "bell (1)" in table
    assert [t["id"] for t in listed(lethe)] == ["bell"]


def test_dry_run_says_what_it_needs(lethe):
    refused(lethe("targets", "dry-run"), "describe a target")
    refused(lethe("targets", "dry-run", "--name", "x y"), "--prompts")


def test_snapshots_here_are_the_changes_of_the_database(lethe, okoro):
    lethe("targets", "remove", "okoro")
    rows = json.loads(lethe("snapshots", "list", "--json").stdout)
    assert [(row["change"], row["actor"], row["active"]) for row in rows[:2]] == [
        ("removed", "local", True),
        ("added", "local", False),
    ]
    assert "1 removed" in lethe("snapshots", "list").stdout
    assert "last change is undone" in lethe("snapshots", "rollback").stdout
    assert listed(lethe) == [okoro]
    refused(lethe("snapshots", "activate", "0123456789abcdef"), "'0123456789abcdef'")
