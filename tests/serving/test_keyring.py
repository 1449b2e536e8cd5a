import re
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from control_fixtures import postgres_server
from hypothesis import given
from hypothesis import strategies as st
from ledger_fixtures import fresh_database, opened
from sqlmodel import Session, select

from guard.errors import InputError
from serving import keyring as keyring_module
from serving.database import KeyRow, StoreError
from serving.keyring import Identity, KeyNotFound, Role, RootKeyring, SqlKeyring
from serving.verification import verify_log

ROOT = "k-öffentlich-nicht"


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
def keyring(ledger):
    log, _, engine = ledger
    return SqlKeyring(engine, ROOT, log)


def other(ledger):
    """The keyring of another server on the same database."""
    log, _, engine = ledger
    return SqlKeyring(engine, ROOT, log)


def test_token_identifies_its_key_with_exactly_its_roles(keyring):
    info, token = keyring.create(" ci bot ", ["read", Role.AUDIT, "read"], actor="root")
    assert re.fullmatch(rf"lethe_{info.id}_[\w-]{{43}}", token)
    assert keyring.identify(token) == Identity(info.id, "ci bot", frozenset([Role.READ, Role.AUDIT]))
    assert keyring.keys() == [info] and info.roles == (Role.READ, Role.AUDIT)


@pytest.mark.parametrize("role", Role)
def test_writing_includes_reading_and_no_other_role_includes_another(role):
    identity = Identity("0", "n", frozenset([role]))
    assert {other for other in Role if identity.has(other)} == {role} | (
        {Role.READ} if role is Role.WRITE else set()
    )


def test_root_key_has_every_role_as_text_and_as_header_bytes_read_as_latin1():
    ring = RootKeyring(ROOT)
    for given_ in (ROOT, ROOT.encode().decode("latin-1")):
        identity = ring.identify(given_)
        assert identity.id == "root" and all(identity.has(role) for role in Role)


@pytest.mark.parametrize("root", [ROOT, "k-?ffentlich-nicht", "lethe_0123456789ab_" + "x" * 43])
@given(given_=st.text() | st.sampled_from(["", " ", "root", "k-€ffentlich-nicht", ROOT + "\n", ROOT[:-1]]))
def test_nothing_but_the_root_key_is_the_root_key(root, given_):
    assert (RootKeyring(root).identify(given_) is None) == (given_ != root)


def test_garbage_and_changed_tokens_identify_nobody(keyring):
    info, token = keyring.create("ci", ["read"])
    secret = token.split("_", 2)[2]
    wrong = [
        "",
        token[:-1],
        token + "x",
        token + "\n",
        token.upper(),
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        f"lethe_{'0' * 12}_{secret}",
        f"lethe_{info.id}_{'x' * 43}",
        f"lethe_{info.id}_",
        info.id,
        "\ud800",
        "lethe_" + "ß" * 12 + "_" + secret,
        "x" * 1_000_000,
    ]
    assert [keyring.identify(given_) for given_ in wrong] == [None] * len(wrong)


def test_secret_is_kept_nowhere(keyring, ledger):
    log, _, engine = ledger
    _, token = keyring.create("ci", ["read"])
    secret = token.split("_", 2)[2]
    with Session(engine) as session:
        row = session.exec(select(KeyRow)).one()
    assert row.hash.startswith("$argon2id$")
    infos = keyring.keys()
    kept = [str(row), str(log.read(10)), str(infos), str([info.to_json() for info in infos])]
    assert not any(secret in text for text in kept)
    assert not any(row.hash in text for text in kept[1:])


def test_revoked_key_ends_at_once_here_and_within_a_second_on_another_server(keyring, ledger):
    info, token = keyring.create("ci", ["read"])
    there = other(ledger)
    assert keyring.identify(token) and there.identify(token)
    revoked = keyring.revoke(info.id, "root")
    began = time.monotonic()
    assert revoked.revoked is not None and keyring.identify(token) is None
    while there.identify(token):
        assert time.monotonic() - began < 1
        time.sleep(0.02)
    assert keyring.keys() == [revoked]


def test_revoking_twice_changes_nothing_and_an_unknown_key_is_named(keyring, ledger):
    info, _ = keyring.create("ci", ["read"])
    assert keyring.revoke(info.id) == keyring.revoke(info.id)
    with pytest.raises(KeyNotFound, match="'feedbeef'"):
        keyring.revoke("feedbeef")
    assert [row["kind"] for row in ledger[0].read(10)] == ["key.created", "key.revoked"]


def test_ledger_tells_who_made_and_ended_which_key(keyring, ledger):
    log, settings, _ = ledger
    info, _ = keyring.create("ci", ["read", "keys"], actor="root")
    keyring.revoke(info.id, "root")
    created, revoked = log.read(10)
    assert (created["actor"], created["time"]) == ("root", info.created)
    assert created["facts"] == {"key": info.id, "name": "ci", "roles": "read,keys", "expires": None}
    assert (revoked["actor"], revoked["facts"]) == ("root", {"key": info.id, "name": "ci"})
    assert verify_log(log, settings).valid


def test_key_is_not_made_when_it_cannot_be_entered(keyring, ledger, monkeypatch):
    log, _, engine = ledger
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE audit RENAME TO away")
    with pytest.raises(StoreError):
        keyring.create("ci", ["read"])
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO audit")
    assert keyring.keys() == [] and log.read(10) == []


def test_expired_key_ends_on_time_even_while_it_is_remembered(keyring):
    end = datetime.now(UTC) + timedelta(seconds=0.4)
    info, token = keyring.create("ci", ["read"], end.isoformat())
    assert info.expires == end.isoformat() and keyring.identify(token)
    while datetime.now(UTC) < end:
        time.sleep(0.01)
    assert keyring.identify(token) is None


def test_only_the_root_key_is_known_while_the_database_is_away(keyring, ledger):
    _, _, engine = ledger
    _, token = keyring.create("ci", ["read"])
    assert keyring.identify(token)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE keys RENAME TO away")
    time.sleep(keyring_module.REMEMBERED)
    assert keyring.identify(token) is None and keyring.identify(ROOT).id == "root"
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO keys")
    time.sleep(keyring_module.REMEMBERED)
    assert keyring.identify(token)


def test_stored_nonsense_identifies_nobody(keyring, ledger):
    _, _, engine = ledger
    info, token = keyring.create("ci", ["read"])
    with Session(engine) as session:
        row = session.get_one(KeyRow, info.id)
        row.hash, row.roles = "no hash", "read,fly"
        session.add(row)
        session.commit()
    assert keyring.identify(token) is None
    assert keyring.keys()[0].roles == (Role.READ,)


def test_memory_of_tokens_is_bounded(keyring, monkeypatch):
    monkeypatch.setattr(keyring_module, "TOKENS", 8)
    _, token = keyring.create("ci", ["read"])
    for number in range(40):
        keyring.identify(f"lethe_{number:012x}_{'x' * 43}")
    assert keyring.identify(token) and len(keyring._seen) == 8


@pytest.mark.parametrize(
    ("name", "roles", "expires", "message"),
    [
        ("", ["read"], None, "1 to 100 printable"),
        ("a\nb", ["read"], None, "1 to 100 printable"),
        ("x" * 101, ["read"], None, "1 to 100 printable"),
        ("ci", [], None, "a key needs a role"),
        ("ci", ["read", "admin"], None, "unknown role 'admin'; roles are read, write, audit, keys, control"),
        ("ci", ["read"], "2020-01-01T00:00:00Z", "past"),
        ("ci", ["read"], "2120-01-01", "with its zone"),
        ("ci", ["read"], "soon", "'expires' is 'soon'"),
    ],
)
def test_unusable_order_is_refused_by_name(keyring, name, roles, expires, message):
    with pytest.raises(InputError, match=message):
        keyring.create(name, roles, expires)
    assert keyring.keys() == []
