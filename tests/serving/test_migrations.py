"""The schema of the database: made, recognised and upgraded. Old databases are dumps of real ones."""

import sqlite3
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from control_fixtures import target
from sqlalchemy import create_engine, inspect
from sqlmodel import SQLModel

import serving
from guard.errors import InputError
from serving.audit_log import AuditLog
from serving.database import open_database, schema_of, upgrade_database
from serving.migrations.schema import HEAD
from serving.store import SqlTargetStore

ROOT = Path(__file__).resolve().parents[2]
OLD = Path(__file__).parent / "old_databases"


@pytest.fixture
def old(url):
    """The URL of a database of the version before migrations had numbers."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir()
    engine = create_engine(url)
    script = (OLD / f"schema_1.{engine.dialect.name}.sql").read_text()
    connection = engine.raw_connection()
    if engine.dialect.name == "sqlite":
        connection.driver_connection.executescript(script)
    else:
        connection.driver_connection.execute(script)
        connection.commit()
    connection.close()
    engine.dispose()
    return url


@pytest.fixture
def opened():
    """Opens databases that the test's end closes."""
    engines = []

    def open_(url):
        engines.append(open_database(url))
        return engines[-1]

    yield open_
    for engine in engines:
        engine.dispose()


def rows(engine, query):
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def tables(url):
    """Columns of every table, to compare two schemas."""
    engine = create_engine(url)
    found = inspect(engine)
    columns = {name: sorted(c["name"] for c in found.get_columns(name)) for name in found.get_table_names()}
    engine.dispose()
    return columns


@pytest.mark.parametrize("made", ["fresh", "upgraded"])
def test_migrations_lead_to_the_tables_that_the_code_declares(made, url, request, opened):
    if made == "upgraded":
        upgrade_database(request.getfixturevalue("old"))
    with opened(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []


def test_head_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(files(serving) / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_fresh_database_is_stamped_and_usable(url, opened):
    assert schema_of(url) is None
    engine = opened(url)
    assert schema_of(url) == HEAD
    store = SqlTargetStore(engine)
    assert store.add(target("a")) == 1
    assert [r.change for r in store.revisions(9)] == ["added", "found"]


def test_old_database_is_refused_with_the_command_that_upgrades_it(old):
    before = tables(old)
    with pytest.raises(InputError, match=r"schema 0000.*'lethe database upgrade'"):
        open_database(old)
    assert tables(old) == before


def test_upgrade_keeps_every_row(old, opened):
    assert upgrade_database(old) == "0000"
    engine = opened(old)
    store = SqlTargetStore(engine, AuditLog(engine))
    zeta, alpha = store.list()
    assert zeta == target("zeta", phrases=["river song"], always_on=True)
    assert alpha == target("alpha", reason="order 7")
    assert store.revision() == 4
    assert [entry["request_id"] for entry in AuditLog(engine).read(10)] == ["req-0", "req-1"]
    assert rows(engine, "SELECT kind, target_id, hash FROM audit") == [("request", None, "")] * 2


def test_history_of_an_upgraded_database_begins_with_what_was_there(old, opened):
    upgrade_database(old)
    store = SqlTargetStore(opened(old))
    (found,) = store.revisions(10)
    assert (found.revision, found.change, found.count) == (4, "found", 2)
    before = store.list()
    store.remove("zeta")
    store.add(target("new"))
    store.restore(4)
    assert store.list() == before


def test_upgrade_of_an_upgraded_database_changes_nothing(old, opened):
    upgrade_database(old)
    seen = rows(opened(old), "SELECT * FROM revisions")
    assert upgrade_database(old) == HEAD
    assert rows(opened(old), "SELECT * FROM revisions") == seen


def test_version_before_does_not_run_on_an_upgraded_database(old, opened):
    # It looks at this counter alone, and reads 1.
    upgrade_database(old)
    assert rows(opened(old), "SELECT value FROM counters WHERE name = 'schema'") == [(2,)]


def test_failing_upgrade_leaves_the_database_as_it_was(old):
    engine = create_engine(old)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE keys (somebody_elses INTEGER)")
    engine.dispose()
    before = tables(old)
    with pytest.raises(InputError, match=r"cannot be upgraded .*keys.* already exists"):
        upgrade_database(old)
    assert tables(old) == before


@pytest.mark.parametrize("use", [open_database, upgrade_database])
def test_database_of_a_newer_version_is_left_alone(url, opened, use):
    engine = opened(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(InputError, match=r"schema 0099.*use the version that made it"):
        use(url)
    assert rows(engine, "SELECT version_num FROM alembic_version") == [("0099",)]


OPENER = """
import sys
from serving.database import open_database
print("ready", flush=True)
sys.stdin.readline()
open_database(sys.argv[1])
"""


def test_processes_that_open_a_fresh_database_together_all_succeed(url, opened):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    openers = [subprocess.Popen([sys.executable, "-c", OPENER, url], **pipes) for _ in range(4)]
    for opener in openers:
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        opener.stdin.write("go\n")
        opener.stdin.flush()
    said = [opener.communicate(timeout=120)[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * 4, said
    assert rows(opened(url), "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert rows(opened(url), "SELECT revision, change FROM revisions") == [(0, "found")]


def test_threads_that_open_fresh_databases_together_all_succeed(tmp_path):
    code = (
        "import sys; from concurrent.futures import ThreadPoolExecutor; "
        "from serving.database import open_database; "
        "urls = [f'sqlite:///{sys.argv[1]}/{n}.db' for n in (0, 1, 2, 0, 1, 2)]; "
        "[e.dispose() for e in ThreadPoolExecutor(6).map(open_database, urls)]"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path)], check=True, timeout=120)
    assert {schema_of(f"sqlite:///{tmp_path}/{n}.db") for n in range(3)} == {HEAD}


def test_existing_database_opens_within_a_tenth_of_a_second_and_without_alembic(url, opened):
    opened(url)
    code = (
        "import sys, time, psycopg; from serving.database import open_database; "
        "started = time.process_time(); open_database(sys.argv[1]); "
        "print(time.process_time() - started, 'alembic' in sys.modules)"
    )
    taken = []
    for _ in range(3):  # the best of three: the machine may be busy
        done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
        seconds, loaded = done.stdout.split()
        assert loaded == "False"
        taken.append(float(seconds))
    assert min(taken) < 0.1


def test_importing_the_tables_touches_no_database(tmp_path):
    code = "import serving.store, serving.migrations.schema, sys; assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert list(tmp_path.iterdir()) == []


def test_killed_upgrade_leaves_the_old_database(tmp_path):
    path = tmp_path / "lethe.db"
    connection = sqlite3.connect(path)
    connection.executescript((OLD / "schema_1.sqlite.sql").read_text())
    connection.close()
    before = tables(f"sqlite:///{path}")
    code = (
        "import os, signal, sys; from alembic import op; import serving.migrations.schema as s; "
        "make = op.create_table; "
        "op.create_table = lambda name, *a, **k: "
        "os.kill(os.getpid(), signal.SIGKILL) if name == 'undo' else make(name, *a, **k); "
        "from serving.database import upgrade_database; upgrade_database(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, f"sqlite:///{path}"], check=False, timeout=60)
    assert done.returncode == -9
    assert tables(f"sqlite:///{path}") == before
    assert upgrade_database(f"sqlite:///{path}") == "0000"


def test_migrations_are_part_of_the_package():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert build["packages"] == ["guard", "serving", "sae", "bake"]  # whole folders, whatever is in them
    shipped = sorted(path.name for path in (files(serving) / "migrations" / "versions").glob("*.py"))
    assert shipped == ["0001_first.py", "0002_ledger.py"]
    ignored = subprocess.run(
        ["git", "check-ignore", *(str(p) for p in (ROOT / "serving" / "migrations").rglob("*.py"))],
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    assert ignored.returncode == 1  # the build leaves out what git ignores
