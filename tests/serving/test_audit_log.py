import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from control_fixtures import postgres_server, record
from ledger_fixtures import event, fresh_database, opened
from sqlmodel import Session

from guard.errors import InputError
from serving.database import CounterRow, StoreError
from serving.ledger import Head
from serving.verification import verify_log

WRITER = """
import sys
from pathlib import Path
from guard.audit import AuditRecord, Event
from serving.audit_log import AuditLog
from serving.database import open_database
from serving.settings import read_settings

settings = read_settings(home=Path({home!r}), database={url!r})
log = AuditLog.of(open_database({url!r}), settings)
print("ready", flush=True)
sys.stdin.readline()
for number in range({count}):
    log.append([AuditRecord(**{record!r})] * 2)
    log.record(Event("target.added", "2026-01-01T00:00:00+00:00", "local", "okoro"))
"""


@pytest.fixture(scope="module")
def postgres():
    # Not below pytest's own directory: the account PostgreSQL runs under may not enter that.
    with tempfile.TemporaryDirectory() as directory, postgres_server(Path(directory)) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    return fresh_database(request.param, tmp_path, request)


@pytest.fixture
def ledger(url, tmp_path):
    with opened(url, tmp_path / "home") as found:
        yield found


@pytest.fixture
def log(ledger):
    return ledger[0]


def matched(number, *target_ids, **fields):
    matches = [{"target_id": target_id, "detector": "lexical"} for target_id in target_ids]
    return record(number, verdict={"action": "refuse", "matches": matches}, action="refuse", **fields)


@pytest.mark.parametrize("homes", ["shared home", "a home each"])
def test_processes_that_append_at_once_keep_one_valid_chain(url, tmp_path, homes):
    count, writers = 20, []
    with opened(url, tmp_path / "home"):
        pass  # the tables are there before the writers come
    for number in range(3):
        home = tmp_path / ("home" if homes == "shared home" else f"home-{number}")
        program = WRITER.format(url=url, home=str(home), count=count, record=record().to_json())
        writers.append(
            subprocess.Popen(
                [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    for writer in writers:
        writer.stdin.close()
        writer.stdout.close()
    with opened(url, tmp_path / "home") as (log, settings, _):
        public = [path / "ledger.key.pub" for path in tmp_path.iterdir() if path.name.startswith("home")]
        found = verify_log(log, settings, public_keys=public)
        assert found.problems == () and found.count == 3 * 3 * count
        assert len({entry.signer for entry in log.entries()}) == (1 if homes == "shared home" else 3)
        if homes == "shared home":
            assert Head.parse((tmp_path / "home" / "ledger.head").read_text()) == found.head


def test_threads_that_begin_a_ledger_at_once_begin_one(url, tmp_path):
    gate, errors = threading.Barrier(4), []

    def write(number):
        with opened(url, tmp_path / "home") as (log, *_):
            gate.wait()
            try:
                log.append([record(number)])
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with opened(url, tmp_path / "home") as (log, settings, _):
        assert not errors and verify_log(log, settings).problems == ()
        assert log.head().entry == 4


def test_event_is_there_exactly_if_its_transaction_commits(ledger):
    log, settings, engine = ledger
    log.record(event("target.added", "okoro", revision=1))
    noted = (settings.home / "ledger.head").read_text()
    with Session(engine) as session:
        session.add(CounterRow(name="change", value=1))
        log.enter(session, event("target.removed", "okoro"), event("target.removed", "adeyemi"))
        session.rollback()
        session.commit()
    assert [row["kind"] for row in log.read(10)] == ["target.added"]
    assert (settings.home / "ledger.head").read_text() == noted
    with Session(engine) as session:
        log.enter(session, event("target.removed", "okoro"))
        log.enter(session, event("target.added", "okoro"))
        session.commit()
    assert [row["kind"] for row in log.read(10)] == ["target.added", "target.removed", "target.added"]
    assert verify_log(log, settings).valid
    assert (settings.home / "ledger.head").read_text() == f"{log.head()}\n"


def test_reading_filters_by_each_condition_and_by_all_together(log):
    log.append([record(0), matched(1, "okoro"), matched(2, "okoro_x", "adeyemi")])
    log.record(event("target.added", "okoro"), event("target.removed", "okoro_x"), event("key.created"))
    log.append([matched(3, "okoro"), record(4, action="observe")])

    def ids(**filters):
        return [row["id"] for row in log.read(100, **filters)]

    assert ids(kind="request") == [1, 2, 3, 7, 8]
    assert ids(kind="target.added") == [4]
    assert ids(action="refuse") == [2, 3, 7]
    assert ids(target_id="okoro") == [2, 4, 7]
    assert ids(target_id="okoro_x") == [3, 5]
    # Neither a pattern nor without regard to case.
    assert (
        ids(target_id="okoro%") == ids(target_id="OKORO") == ids(target_id="oko_o") == ids(target_id="") == []
    )
    assert ids(kind="request", action="refuse", target_id="okoro") == [2, 7]
    assert [row["id"] for row in log.read(1, after=2, target_id="okoro")] == [4]
    assert [row["id"] for row in log.read(2, target_id="okoro")] == [4, 7]


def test_reading_by_time_takes_moments_of_any_zone_and_any_precision(log):
    times = [f"2026-01-01T12:00:{second}+00:00" for second in ("00", "00.250000", "00.900000", "01")]
    log.append([record(number, time=time) for number, time in enumerate(times)])

    def ids(**filters):
        return [row["id"] for row in log.read(100, **filters)]

    assert ids(since="2026-01-01T12:00:00Z") == [1, 2, 3, 4]
    assert ids(since="2026-01-01T14:00:00.25+02:00") == [2, 3, 4]
    assert ids(since=datetime(2026, 1, 1, 12, 0, 0, 900_000, UTC)) == [3, 4]
    assert ids(until="2026-01-01T12:00:01Z") == [1, 2, 3]
    assert ids(since="2026-01-01T12:00:00.1Z", until="2026-01-01T12:00:00.9Z") == [2]


@pytest.mark.parametrize(
    "given", ["yesterday", "2026-01-01T12:00:00", "", "0001-01-01T00:00:00+14:00", datetime(2026, 1, 1)]
)
def test_moment_without_zone_or_sense_is_named(log, given):
    with pytest.raises(InputError, match="'since' is"):
        log.read(1, since=given)


def test_events_read_as_they_were_entered(log):
    given = event("key.created", actor="root", key="0a1b", roles="read,audit", expires=None)
    log.record(given)
    assert log.read(1) == [{"id": 1} | given.to_json()]


def test_entering_nothing_touches_nothing(ledger):
    log, settings, _ = ledger
    log.append([])
    log.record()
    assert log.head() == (0, "") and not (settings.home / "ledger.head").exists()


def test_failing_database_is_told_as_such(ledger):
    log, _, engine = ledger
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE audit")
    for call in (
        log.head,
        lambda: list(log.entries()),
        lambda: log.read(1),
        lambda: log.record(event("x.y")),
    ):
        with pytest.raises(StoreError):
            call()
