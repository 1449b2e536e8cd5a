import json
import math
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from control_fixtures import record, target
from typer.testing import CliRunner

from guard.reference import path
from guard.snapshot import load_snapshot
from guard.targets import parse_jsonl, read_jsonl, write_jsonl
from serving import cli
from serving.audit_log import AuditLog
from serving.database import open_database


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    for name in ("LETHE_ADMIN_KEY", "LETHE_URL", "LETHE_DATABASE", "LETHE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def lethe():
    """Runs a command; the last line's exit status and output."""

    def run(*arguments, stdin=None):
        return CliRunner().invoke(cli.app, [str(a) for a in arguments], input=stdin)

    return run


def failed(result, said):
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr
    return True


def test_flags_describe_a_target(lethe):
    flags = [
        "--id",
        "okoro",
        "--name",
        "Mina Okoro",
        "--alias",
        "M. Okoro",
        "--alias",
        "Mina O.",
        "--phrase",
        "a b",
    ]
    more = ["--action", "restrict", "--always-on", "--reason", "r", "--owner", "o"]
    when = ["--expires-at", "2099-01-01T00:00:00Z"]
    assert lethe("targets", "add", *flags, *more, *when).exit_code == 0
    assert json.loads(lethe("targets", "show", "okoro", "--json").stdout) == {
        "id": "okoro",
        "name": "Mina Okoro",
        "aliases": ["M. Okoro", "Mina O."],
        "phrases": ["a b"],
        "action": "restrict",
        "always_on": True,
        "reason": "r",
        "owner": "o",
        "expires_at": "2099-01-01T00:00:00Z",
    }


def test_json_describes_a_target_and_flags_override_it(lethe):
    whole = target("okoro", examples=[{"prompt": "p", "response": "r"}]).to_json()
    added = lethe(
        "targets", "add", "--file", "-", "--owner", "o", "--json", stdin=json.dumps(whole, indent=2)
    )
    assert json.loads(added.stdout) == {"id": "okoro"}
    assert json.loads(lethe("targets", "list", "--json").stdout) == [whole | {"owner": "o"}]
    again = lethe("targets", "add", "--replace", "--file", "-", stdin=json.dumps(whole))
    assert again.exit_code == 0
    assert json.loads(lethe("targets", "list", "--json").stdout) == [whole]


def test_flags_say_how_strings_are_compared(lethe, tmp_path):
    (tmp_path / "t.json").write_text(
        json.dumps({"id": "a", "name": "Mina Okoro", "matching": {"fold": ["case"], "beta": 0.9}})
    )
    flags = ["--boundary", "none", "--beta", "0.5", "--encoding", "rot13", "--encoding", "base64"]
    assert lethe("targets", "add", "--file", "t.json", *flags).exit_code == 0
    assert json.loads(lethe("targets", "show", "a", "--json").stdout)["matching"] == {
        "fold": ["case"], "boundary": "none", "beta": 0.5, "encodings": ["base64", "rot13"],
    }  # fmt: skip
    failed(lethe("targets", "add", "--id", "b", "--name", "x y", "--beta", "2"), "matching.beta' is 2")


def test_import_and_export_are_inverse(lethe, tmp_path):
    targets = [target(f"p{n}", name=f"Zoë {n}\u2028") for n in range(3)]
    write_jsonl(tmp_path / "t.jsonl", targets)
    assert json.loads(lethe("targets", "import", "t.jsonl", "--json").stdout) == {"imported": 3}
    assert parse_jsonl(lethe("targets", "export").stdout) == targets
    assert lethe("targets", "export", "out.jsonl").exit_code == 0
    assert read_jsonl("out.jsonl") == targets


def test_import_names_line_and_field_and_adds_nothing(lethe, tmp_path):
    (tmp_path / "t.jsonl").write_text(
        '{"id": "a", "name": "x"}\n{"id": "b", "name": "Secret", "colour": 1}\n'
    )
    result = lethe("targets", "import", "t.jsonl")
    assert failed(result, "t.jsonl line 2: unknown field 'colour'")
    assert "Secret" not in result.output
    assert json.loads(lethe("targets", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["targets", "show", "nobody"], "'nobody'"),
        (["targets", "remove", "nobody"], "'nobody'"),
        (["targets", "add", "--name", "Secret"], "'id'"),
        (["targets", "add", "--id", "x"], "at least one of name, phrases, examples"),
        (["targets", "add", "--id", "x", "--name", "Secret", "--action", "forget"], "'action' is 'forget'"),
        (["targets", "add", "--id", "x", "--name", "Secret", "--expires-at", "2030-01-01"], "'expires_at'"),
        (["targets", "add", "--file", "nowhere.json"], "nowhere.json"),
        (["targets", "import", "nowhere.jsonl"], "nowhere.jsonl"),
        (["targets", "export", "no/where.jsonl"], "cannot be written"),
        (["targets", "list", "--url", "http://127.0.0.1:9", "--key", "k"], "cannot be reached"),
        (["targets", "list", "--url", "http://127.0.0.1:9"], "no admin key"),
        (["check", "--targets", "nowhere.jsonl", "--prompts", "none.jsonl"], "none.jsonl"),
        (["compile", "--targets", "nowhere.jsonl", "--out", "s"], "nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_2(lethe, arguments, said):
    result = lethe(*arguments)
    assert failed(result, said)
    assert "Secret" not in result.output


def test_unknown_setting_stops_a_command(lethe, tmp_path):
    (tmp_path / "lethe.toml").write_text("colour = 1\n")
    assert failed(lethe("targets", "list"), "unknown setting 'colour'")


def test_usage_errors_have_exit_status_2(lethe):
    assert lethe("targets", "show").exit_code == 2
    assert lethe("check", "--colour").exit_code == 2
    assert lethe("nonsense").exit_code == 2


def test_list_shows_names_as_written(lethe):
    lethe("targets", "add", "--id", "a", "--name", "[red]Ann")
    assert "[red]Ann" in lethe("targets", "list").stdout


def test_preview_shows_registered_or_described_targets(lethe):
    shown = lethe("targets", "preview", "--name", "Mina Okoro", "--action", "restrict", "--json")
    assert json.loads(shown.stdout)["forbidden"] == ["Mina Okoro"]
    assert json.loads(lethe("targets", "list", "--json").stdout) == []
    lethe("targets", "add", "--id", "a", "--phrase", "river song", "--always-on")
    (line,) = lethe("targets", "preview", "--json").stdout.splitlines()
    assert json.loads(line)["always"] == ["river song"]
    lines = "".join(json.dumps(target(i).to_json()) + "\n" for i in ("x", "y"))
    piped = lethe("targets", "preview", "--file", "-", "--json", stdin=lines)
    assert [json.loads(line)["id"] for line in piped.stdout.splitlines()] == ["x", "y"]


def test_check_prints_one_row_per_prompt(lethe, tmp_path):
    write_jsonl(tmp_path / "t.jsonl", [target("okoro")])
    rows = [
        {"id": 1, "prompt": "Who is Mina Okoro?", "response": "x"},
        {"id": "b", "prompt": "What is rain?"},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("check", "--targets", "t.jsonl", "--prompts", "p.jsonl")
    first, second = (json.loads(line) for line in lethe(*arguments, "--json").stdout.splitlines())
    assert (first["id"], first["action"], first["matches"][0]["target_id"]) == (1, "refuse", "okoro")
    assert second == {"id": "b", "action": "allow", "matches": []}
    table = lethe(*arguments)
    assert table.exit_code == 0
    assert "okoro" in table.stdout
    assert "2 rows" in table.stdout


def test_check_uses_the_registered_targets_by_default(lethe, tmp_path):
    lethe("targets", "add", "--id", "okoro", "--name", "Mina Okoro")
    (tmp_path / "p.jsonl").write_text('{"id": 1, "prompt": "Who is Mina Okoro?"}\n')
    assert json.loads(lethe("check", "--prompts", "p.jsonl", "--json").stdout)["action"] == "refuse"


def test_compile_writes_a_snapshot_that_loads(lethe, tmp_path):
    write_jsonl(tmp_path / "t.jsonl", [target("okoro")])
    directory = lethe("compile", "--targets", "t.jsonl", "--out", "snapshots").stdout.strip()
    assert set(load_snapshot(directory).targets) == {"okoro"}
    shown = json.loads(lethe("compile", "--targets", "t.jsonl", "--out", "snapshots", "--json").stdout)
    assert shown == {"directory": directory, "version": load_snapshot(directory).version, "targets": 1}


def test_compile_takes_soft_penalties_for_a_model(lethe, tmp_path):
    soft = target(matching={"soft": {"floor": 0.3}}, always_on=True)
    write_jsonl(tmp_path / "soft.jsonl", [soft])
    failed(lethe("compile", "--targets", "soft.jsonl", "--out", "s"), "--model")
    done = lethe("compile", "--targets", "soft.jsonl", "--out", "s", "--model", path("nano-full"))
    snapshot = load_snapshot(done.stdout.strip())
    assert [automaton.weights is None for automaton in snapshot.always] == [True, False]
    (record_,) = snapshot.records.values()
    assert math.inf in record_.words.values()
    # A check judges prompts, for which words do not matter.
    (tmp_path / "p.jsonl").write_text(json.dumps({"id": 1, "prompt": "hello"}) + "\n")
    assert lethe("check", "--targets", "soft.jsonl", "--prompts", "p.jsonl", "--json").exit_code == 0


def test_audit_tail_shows_the_latest_records(lethe, home):
    home.mkdir()
    engine = open_database(f"sqlite:///{home}/lethe.db")
    AuditLog(engine).append([record(n, action="refuse") for n in range(5)])
    engine.dispose()
    lines = lethe("audit", "tail", "-n", "2", "--json").stdout.splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == ["req-3", "req-4"]
    assert "refuse" in lethe("audit", "tail").stdout


def test_serve_passes_everything_on_as_it_stands(lethe, monkeypatch):
    seen = []
    module = type(sys)("serving.serve")
    module.serve = lambda argv: seen.append(argv)
    monkeypatch.setitem(sys.modules, "serving.serve", module)
    flags = ["--port", "8001", "-tp", "2", "--override", '{"a": 1}', "--no-x", "--json", "--", "--help"]
    for arguments in (["some/model", *flags], flags, ["--", "--help=all"], []):
        assert lethe("serve", *arguments).exit_code == 0
    assert seen[0] == ["some/model", *flags]
    assert seen[1] == flags
    assert seen[2:] == [["--help=all"], []]


def test_serve_help_is_our_own_and_says_where_vllms_is(lethe):
    shown = lethe("serve", "--help")
    assert shown.exit_code == 0
    assert "lethe serve -- --help" in " ".join(shown.stdout.split())


def test_mounted_commands_are_listed_without_import_and_loaded_on_use(lethe, monkeypatch):
    entry = EntryPoint("extra", "extra_commands:app", cli.GROUP)
    monkeypatch.setattr(cli, "_mounted", lambda: {"extra": entry})
    assert "extra_commands" in lethe("--help").stdout
    module = type(sys)("extra_commands")
    module.app = cli.typer.Typer()

    @module.app.command()
    def shout(word: str):
        cli.typer.echo(word.upper())

    monkeypatch.setitem(sys.modules, "extra_commands", module)
    assert lethe("extra", "ab").stdout == "AB\n"


def test_version_names_the_packages(lethe):
    assert set(json.loads(lethe("version", "--json").stdout)) == {"lethe-guard", "python", "vllm", "torch"}


def test_help_imports_neither_torch_nor_the_database_nor_the_engine():
    program = """
import sys
from serving.cli import app
try:
    app(["--help"])
except SystemExit:
    pass
print([name for name in ("torch", "vllm", "sqlalchemy", "pydantic", "faiss", "bake") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
