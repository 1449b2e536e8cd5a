import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_fixtures import COLUMNS, LENGTH, altered, make_small_ledger, opened, problems, rows

from serving.ledger import Entry, Head, link, verify
from serving.signer import Signer
from serving.verification import verify_log


def chained(count, signer):
    """Entries as a server of this key would make them."""
    found, previous = [], ""
    for number in range(1, count + 1):
        entry = Entry(number, "request", None, f"req-{number}", "2026-01-01", "allow", "v1", "{}")
        previous = link(previous, entry)
        found.append(replace(entry, hash=previous, signature=signer.sign(previous), signer=signer.id))
    return found


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return Signer.load(tmp_path_factory.mktemp("keys") / "ledger.key")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Signer.load(tmp_path_factory.mktemp("stranger") / "ledger.key")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    home = tmp_path_factory.mktemp("original")
    make_small_ledger(home)
    return home


@pytest.fixture
def home(original, tmp_path):
    return shutil.copytree(original, tmp_path / "home")


def test_untouched_ledger_verifies_and_its_head_is_noted(home):
    with opened(f"sqlite:///{home / 'lethe.db'}", home) as (log, kept, _):
        found = verify_log(log, kept)
        assert found.valid and found.count == LENGTH and found.before == 0
        assert found.head == log.head() == Head.parse((home / "ledger.head").read_text())


@pytest.mark.parametrize("column", COLUMNS)
def test_change_of_any_column_is_noticed(home, column):
    value = 100 if column == "id" else "changed"
    altered(home, (f"UPDATE audit SET {column} = ? WHERE id = 5", (value,)))
    found = problems(home)
    assert found and any(f"entry {n} " in found[0] for n in (5, 6))


@pytest.mark.parametrize("value", [None, 5, b"blob"])
def test_value_of_another_type_is_noticed(home, value):
    altered(home, ("UPDATE audit SET target_id = ? WHERE id = 3", (value if value else 0,)))
    assert problems(home) == ["entry 3 is not the one that was entered here, or is not the next one"]


@pytest.mark.parametrize(
    ("deleted", "told"),
    [
        ("id = 1", "entry 2 follows entry 0"),
        ("id = 5", "entry 6 follows entry 4"),
        ("id BETWEEN 3 AND 6", "entry 7 follows entry 2"),
        (f"id = {LENGTH}", f"entry {LENGTH - 1} is the last one"),
        ("id > 2", "entry 2 is the last one"),
        ("id > 0", "entry 0 is the last one"),
    ],
)
def test_removed_entries_are_noticed_wherever_they_stood(home, deleted, told):
    altered(home, f"DELETE FROM audit WHERE {deleted}")
    found = problems(home)
    assert len(found) == 1 and found[0].startswith(told)


def test_removed_end_is_noticed_by_a_head_from_elsewhere_when_the_file_is_gone_too(home):
    head = (home / "ledger.head").read_text()
    altered(home, f"DELETE FROM audit WHERE id = {LENGTH}")
    (home / "ledger.head").unlink()
    assert problems(home) == []
    assert "its end was removed" in problems(home, head=head)[0]


def test_removed_beginning_does_not_pass_for_unsigned_entries_of_old(home):
    altered(home, "UPDATE audit SET hash = '', signature = '', signer = '' WHERE id <= 5")
    found = problems(home)
    assert found[0] == "entry 6 does not tell of 5 entries from before the ledger began"
    assert "entry 6 is not the one" in found[1]


def test_ledger_made_anew_by_a_stranger_is_noticed(home, stranger):
    entries = chained(LENGTH, stranger)
    altered(home, "DELETE FROM audit")
    with closing(sqlite3.connect(home / "lethe.db")) as connection, connection:
        for entry in entries:
            values = [getattr(entry, column) for column in COLUMNS]
            marks = ",".join("?" * len(COLUMNS))
            connection.execute(f"INSERT INTO audit ({','.join(COLUMNS)}) VALUES ({marks})", values)
    found = problems(home)
    assert found[0] == f"entry 1 is signed by the unknown key {stranger.id!r}; see --public-key"
    assert any("the ledger was rewritten" in problem for problem in found)


CHANGE = st.tuples(
    st.just("change"),
    st.sampled_from(COLUMNS[1:]),
    st.integers(1, LENGTH),
    st.one_of(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8), st.just("0" * 64)),
)
DELETE = st.tuples(st.just("delete"), st.integers(1, LENGTH))
NUMBERS = st.lists(st.integers(1, LENGTH), min_size=2, max_size=2, unique=True)
SWAP = st.tuples(st.just("swap ids"), NUMBERS)
MIX = st.tuples(
    st.just("swap columns"), NUMBERS, st.lists(st.sampled_from(COLUMNS[1:]), min_size=1, unique=True)
)
COPY = st.tuples(st.just("copy"), st.integers(1, LENGTH), st.integers(-2, LENGTH + 2))
BARE = st.tuples(st.just("bare"), st.integers(1, LENGTH))


def mutate(connection, what, *how):
    """Does to the table what somebody with the database's password could do."""
    if what == "change":
        connection.execute(f"UPDATE audit SET {how[0]} = ? WHERE id = ?", (how[2], how[1]))
    elif what == "delete":
        connection.execute("DELETE FROM audit WHERE id = ?", how)
    elif what == "swap ids":
        (a, b), free = how[0], 10_000
        for old, new in ((a, free), (b, a), (free, b)):
            connection.execute("UPDATE OR IGNORE audit SET id = ? WHERE id = ?", (new, old))
    elif what == "swap columns":
        (a, b), columns = how
        query = f"SELECT {','.join(columns)} FROM audit WHERE id = ?"
        found = [connection.execute(query, (number,)).fetchone() for number in (a, b)]
        if None not in found:
            assigned = ",".join(f"{column} = ?" for column in columns)
            for number, values in zip((b, a), found, strict=True):
                connection.execute(f"UPDATE audit SET {assigned} WHERE id = ?", (*values, number))
    elif what == "copy":
        rest = ",".join(COLUMNS[1:])
        connection.execute(
            f"INSERT OR REPLACE INTO audit (id,{rest}) SELECT ?,{rest} FROM audit WHERE id = ?", how[::-1]
        )
    else:
        connection.execute("UPDATE audit SET hash = '', signature = '', signer = '' WHERE id <= ?", how)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutations=st.lists(st.one_of(CHANGE, DELETE, SWAP, MIX, COPY, BARE), max_size=4))
def test_ledger_verifies_exactly_if_it_is_the_original(original, tmp_path, mutations):
    home = tmp_path / "mutated"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(original, home)
    with closing(sqlite3.connect(home / "lethe.db")) as connection:
        before = rows(connection)
        for mutation in mutations:
            mutate(connection, *mutation)
        connection.commit()
        same = rows(connection) == before
    assert (problems(home) == []) == same


@settings(max_examples=200, deadline=None)
@given(
    cut=st.integers(0, 6),
    order=st.permutations(range(6)),
    foreign=st.integers(0, 6),
)
def test_other_entries_in_another_order_never_verify(signer, stranger, cut, order, foreign):
    entries = chained(6, signer)
    mixed = [entries[n] for n in order][:cut] + chained(6, stranger)[foreign:]
    found = verify(mixed, {signer.id: signer.public}, [Head(6, entries[-1].hash)])
    assert found.valid == (mixed == entries)


def test_signatures_spelt_otherwise_are_wrong(signer):
    entries = chained(2, signer)
    entries[1] = replace(entries[1], signature=entries[1].signature.upper())
    found = verify(entries, {signer.id: signer.public})
    assert [str(problem) for problem in found.problems] == ["entry 2 has a wrong signature"]


def test_unsigned_entries_do_not_verify(signer):
    entries = [replace(entry, signature="", signer="") for entry in chained(2, signer)]
    assert [p.what for p in verify(entries, {signer.id: signer.public}).problems] == ["is not signed"] * 2


def test_one_change_is_told_once_and_does_not_hide_another(signer):
    entries = chained(6, signer)
    for number in (1, 4):
        entries[number] = replace(entries[number], action="refuse")
    assert [p.entry for p in verify(entries, {signer.id: signer.public}).problems] == [2, 5]


def test_entries_hold_ids_counts_and_hashes_as_their_documents_say(home):
    with opened(f"sqlite:///{home / 'lethe.db'}", home) as (log, *_):
        added = next(entry for entry in log.entries() if entry.kind == "target.added")
    assert added.target_id == "okoro" and json.loads(added.document)["facts"] == {"revision": 1}
