import hashlib
import json
import tempfile
from pathlib import Path

import pytest
from control_fixtures import postgres_server, target
from ledger_fixtures import event, fresh_database, opened

from guard.errors import InputError, TargetNotFound
from guard.targets import Origin, canonical
from serving.audit_log import AuditLog
from serving.ledger import Head, verify
from serving.receipt import receipt, record_probe, rendered, verify_receipt
from serving.signer import Signer, trusted
from serving.store import SqlTargetStore
from serving.verification import verify_log

SECRETS = ("Mina", "Okoro", "Harbour Street", "court order")


def report(**counts) -> bytes:
    rows = [
        {"surface": f"{status}-{n}", "status": status, "excerpt": "Mina Okoro", "note": "Harbour Street"}
        for status, count in counts.items()
        for n in range(count)
    ]
    return json.dumps({"url": "http://127.0.0.1:8000", "rows": rows}).encode()


@pytest.fixture(scope="module")
def postgres():
    # Not below pytest's own directory: the account PostgreSQL runs under may not enter that.
    with tempfile.TemporaryDirectory() as directory, postgres_server(Path(directory)) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request, tmp_path):
    with opened(fresh_database(request.param, tmp_path, request), tmp_path / "home") as found:
        yield found


@pytest.fixture
def log(ledger):
    return ledger[0]


@pytest.fixture
def store(ledger):
    log, _, engine = ledger
    return SqlTargetStore(engine, log)


def okoro(**fields):
    return target("okoro", phrases=["12 Harbour Street"], reason="court order", **fields)


def test_receipt_tells_a_whole_life_and_the_next_one(log, store):
    first, second = okoro(), okoro(action="restrict", always_on=True)
    store.add(target("adeyemi"))
    store.add(first, origin=Origin("0a1b"))
    store.enforced(2, "v2", 2, "2026-01-01T00:00:02+00:00")
    record_probe(log, report(**{"pass": 3, "not offered": 1}), "0c")
    store.replace(second, origin=Origin("0a1b"))
    store.remove("adeyemi")
    store.enforced(4, "v4", 1, "2026-01-01T00:00:04+00:00")
    store.remove("okoro", origin=Origin("root"))
    store.enforced(5, "v5", 0, "2026-01-01T00:00:05+00:00")
    record_probe(log, report(fail=1))
    store.add(first)

    document = receipt("okoro", log)
    life, again = document["registrations"]
    added, replaced = life["versions"]
    assert (added["change"], added["actor"], added["revision"]) == ("added", "0a1b", 2)
    assert added["enforced"]["snapshot"] == "v2" and added["enforced"]["revision"] == 2
    assert added["enforced"]["time"] == "2026-01-01T00:00:02+00:00"
    assert (replaced["change"], replaced["revision"]) == ("replaced", 3)
    # The replacement came into force together with a later change.
    assert (replaced["enforced"]["snapshot"], replaced["enforced"]["revision"]) == ("v4", 4)
    assert [version["seal"] for version in life["versions"]] == [
        log.signer.seal(canonical(each)) for each in (first, second)
    ]
    assert (life["removed"]["actor"], life["removed"]["revision"]) == ("root", 5)
    assert life["released"]["snapshot"] == "v5"
    (probe,) = life["probes"]
    assert {
        name: probe[name] for name in ("passed", "failed", "errors", "not_offered", "snapshot", "actor")
    } == {
        "passed": 3,
        "failed": 0,
        "errors": 0,
        "not_offered": 1,
        "snapshot": "v2",
        "actor": "0c",
    }
    assert probe["report_sha256"] == hashlib.sha256(report(**{"pass": 3, "not offered": 1})).hexdigest()
    assert again["versions"][0]["enforced"] is None and again["removed"] is None and again["probes"] == []
    assert document["ledger"] == str(log.head())


def test_version_that_was_replaced_before_any_snapshot_was_not_enforced_as_such(log, store):
    store.add(okoro())
    store.replace(okoro(always_on=True))
    store.enforced(2, "v2", 1)
    versions = receipt("okoro", log)["registrations"][0]["versions"]
    assert [version["enforced"] and version["enforced"]["snapshot"] for version in versions] == [None, "v2"]


def test_going_back_is_told_as_what_it_did_to_the_target(log, store):
    store.add(okoro())
    store.enforced(1, "v1", 1)
    store.remove("okoro")
    store.enforced(2, "v2", 0)
    store.restore(1)
    store.enforced(3, "v1", 1)
    store.restore(2)
    first, second = receipt("okoro", log)["registrations"]
    assert second["versions"][0]["change"] == "restored"
    assert second["versions"][0]["seal"] == first["versions"][0]["seal"]
    assert second["versions"][0]["enforced"]["revision"] == 3
    assert second["removed"]["revision"] == 4 and second["released"] is None


def test_receipt_carries_ids_and_hashes_and_no_text(log, store):
    store.add(okoro())
    store.enforced(1, "v1", 1)
    record_probe(log, report(fail=2, error=1))
    document = receipt("okoro", log)
    for shown in (json.dumps(document), rendered(document), str(log.read(100))):
        assert not any(secret in shown for secret in SECRETS)


def test_receipt_is_genuine_until_anything_in_it_is_altered(ledger, store):
    log, settings, _ = ledger
    store.add(okoro())
    store.enforced(1, "v1", 1)
    record_probe(log, report(**{"pass": 2}))
    document, keys = json.loads(json.dumps(receipt("okoro", log))), trusted(settings)
    assert verify_receipt(document, keys) == ()
    for altered in _altered(document):
        assert verify_receipt(altered, keys), altered


def _altered(value):
    """The value with one of its leaves changed or taken away, for each leaf."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield {key: other for key, other in value.items() if key != name}
            yield from ({**value, name: other} for other in _altered(inner))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield value[:number] + value[number + 1 :]
            yield from ([*value[:number], other, *value[number + 1 :]] for other in _altered(inner))
    else:
        yield f"{value}x"


def test_receipt_of_a_stranger_is_not_genuine(log, store, tmp_path):
    store.add(okoro())
    stranger = Signer.load(tmp_path / "stranger.key")
    (problem,) = verify_receipt(receipt("okoro", log), {stranger.id: stranger.public})
    assert log.signer.id in problem


def test_ledger_is_checked_against_the_head_of_an_earlier_receipt(ledger, store):
    log, settings, _ = ledger
    store.add(okoro())
    head = receipt("okoro", log)["ledger"]
    store.remove("okoro")
    assert verify_log(log, settings, head).valid
    entries = list(log.entries())
    assert not verify(entries[:0], trusted(settings), [Head.parse(head)]).valid


def test_unknown_target_and_missing_key_are_told(ledger, store):
    log, _, engine = ledger
    store.add(okoro())
    with pytest.raises(TargetNotFound, match="'adeyemi'"):
        receipt("adeyemi", log)
    with pytest.raises(InputError, match="LETHE_LEDGER_KEY"):
        receipt("okoro", AuditLog(engine))


def test_rendering_tells_each_fact(log, store):
    store.add(okoro())
    store.enforced(1, "v1", 1)
    record_probe(log, report(**{"pass": 2, "not offered": 1}))
    store.remove("okoro")
    shown = rendered(receipt("okoro", log))
    for said in (
        "# Receipt for target `okoro`",
        "- added ",
        "- enforced since ",
        "by snapshot `v1`",
        "- probed: 2 passed, 0 failed, 0 errors, 1 not offered",
        "- removed ",
        "- not released yet",
        f"`{log.head()}`",
        log.signer.id,
    ):
        assert said in shown


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"rows": []}',
        b'{"rows": [{"surface": "x"}]}',
        b'{"rows": [{"status": "Mina Okoro"}]}',
        b'{"rows": [{"status": ["pass"]}]}',
        b'{"rows": 5}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_report_that_is_no_probe_is_refused_without_quoting_it(log, data):
    with pytest.raises(InputError, match="lethe probe --json") as caught:
        record_probe(log, data)
    assert "Mina" not in str(caught.value) and log.read(10) == []


def test_events_of_other_targets_stay_out_however_many_there_are(log, store):
    store.add(okoro())
    log.record(*(event("target.replaced", "okoro2", revision=n) for n in range(2500)))
    store.enforced(1, "v1", 1)
    (registration,) = receipt("okoro", log)["registrations"]
    assert len(registration["versions"]) == 1 and registration["versions"][0]["enforced"]["snapshot"] == "v1"
