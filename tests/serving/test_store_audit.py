import sqlite3
import subprocess
import sys
import threading

import pytest
from control_fixtures import record

from serving.audit_log import AuditLog, SqlAuditSink
from serving.database import open_database
from serving.metrics import AUDIT_BLOCKED, AUDIT_LOST


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lethe.db"


@pytest.fixture
def log(path):
    engine = open_database(f"sqlite:///{path}")
    yield AuditLog(engine)
    engine.dispose()


def test_close_leaves_every_record_in_the_database_in_order(log):
    sink = SqlAuditSink(log, capacity=50, batch=16)
    for number in range(500):
        sink.write(record(number))
    sink.close()
    stored = log.read(1000)
    assert [row["request_id"] for row in stored] == [f"req-{n}" for n in range(500)]
    assert stored[7] == {"id": stored[7]["id"], "kind": "request"} | record(7).to_json()


def test_reading_pages_forward_from_an_id(log):
    log.append([record(n) for n in range(10)])
    last = log.read(3)
    assert [row["request_id"] for row in last] == ["req-7", "req-8", "req-9"]
    page = log.read(4, after=last[0]["id"] - 4)
    assert [row["request_id"] for row in page] == ["req-4", "req-5", "req-6", "req-7"]
    assert log.read(4, after=last[-1]["id"]) == []
    assert [row["request_id"] for row in log.read(2, after=0)] == ["req-0", "req-1"]


def test_written_records_survive_a_killed_process(path, log):
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(__file__.rsplit("/", 1)[0])!r})
from control_fixtures import record
from serving.database import open_database
from serving.audit_log import AuditLog, SqlAuditSink
sink = SqlAuditSink(AuditLog(open_database("sqlite:///{path}")))
for n in range(20):
    sink.write(record(n))
sink.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert len(log.read(100)) == 20


def test_records_wait_for_a_database_that_is_away_and_are_not_lost(log, path):
    blocker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    blocker.execute("ALTER TABLE audit RENAME TO away")
    lost, blocked = AUDIT_LOST._value.get(), AUDIT_BLOCKED._value.get()
    sink = SqlAuditSink(log, capacity=4, batch=2)
    writer = threading.Thread(target=lambda: [sink.write(record(n)) for n in range(20)])
    writer.start()
    writer.join(timeout=1.0)
    # Neither dropped nor kept in unlimited memory: the writer waits.
    assert writer.is_alive()
    assert AUDIT_BLOCKED._value.get() > blocked
    blocker.execute("ALTER TABLE away RENAME TO audit")
    blocker.close()
    writer.join(timeout=30)
    sink.close()
    assert [row["request_id"] for row in log.read(100)] == [f"req-{n}" for n in range(20)]
    assert AUDIT_LOST._value.get() == lost


def test_loss_at_shutdown_is_counted_and_logged(log, path, caplog):
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE audit")
    connection.close()
    lost = AUDIT_LOST._value.get()
    sink = SqlAuditSink(log)
    for n in range(3):
        sink.write(record(n))
    sink.close(seconds=0.2)
    assert AUDIT_LOST._value.get() == lost + 3
    assert "lost" in caplog.text


def test_one_impossible_record_does_not_keep_the_others_out(log):
    lost = AUDIT_LOST._value.get()
    sink = SqlAuditSink(log)
    sink.write(record(0))
    sink.write(record(1, action=object()))
    sink.write(record(2))
    sink.close()
    assert [row["request_id"] for row in log.read(100)] == ["req-0", "req-2"]
    assert AUDIT_LOST._value.get() == lost + 1


def test_closed_sink_takes_nothing_silently(log):
    sink = SqlAuditSink(log)
    sink.close()
    sink.close()
    with pytest.raises(RuntimeError, match="closed"):
        sink.write(record())
