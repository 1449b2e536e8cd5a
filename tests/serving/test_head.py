import shutil

import pytest
from control_fixtures import record
from ledger_fixtures import COLUMNS, LENGTH, altered, make_small_ledger, opened, problems

from guard.errors import InputError
from serving.ledger import Head
from serving.verification import verify_log


@pytest.fixture
def home(tmp_path):
    make_small_ledger(tmp_path / "home")
    return tmp_path / "home"


def test_entry_that_others_appended_is_noticed_and_ours_after_it_too(home):
    altered(
        home,
        f"INSERT INTO audit ({','.join(COLUMNS)}) SELECT id + 1, kind, target_id, request_id, time, action, "
        f"snapshot, document, '', '', '' FROM audit WHERE id = {LENGTH}",
    )
    with opened(f"sqlite:///{home / 'lethe.db'}", home) as (log, *_):
        log.append([record(77)])
        assert log.read(1)[0]["request_id"] == "req-77"
    found = problems(home)
    assert found[0].startswith(f"entry {LENGTH + 1} is not chained")


def test_entries_of_an_old_database_are_counted_and_cannot_be_added_to(tmp_path):
    home = tmp_path / "home"
    with opened(f"sqlite:///{home / 'lethe.db'}", home):
        pass
    old = (
        "INSERT INTO audit (id, kind, request_id, time, action, snapshot, document, hash, signature, signer) "
    )
    altered(
        home,
        *(f"{old} VALUES ({n}, 'request', 'r', 't', 'allow', 'v', '{{}}', '', '', '')" for n in (1, 2, 5)),
    )
    with opened(f"sqlite:///{home / 'lethe.db'}", home) as (log, kept, _):
        log.append([record(1)])
        found = verify_log(log, kept)
        assert (found.valid, found.count, found.before) == (True, 5, 3)
        assert [entry.kind for entry in log.entries(after=5)] == ["ledger.began", "request"]
    for statement in (
        "DELETE FROM audit WHERE id = 1",
        f"{old} VALUES (3, 'x', '', '', '', '', '', '', '', '')",
    ):
        copy = shutil.copytree(home, tmp_path / "copy")
        altered(copy, statement)
        assert "does not tell of" in problems(copy)[0]
        shutil.rmtree(copy)


def test_ledger_whose_hashes_and_counter_were_taken_away_does_not_begin_anew_unnoticed(home, caplog):
    altered(
        home,
        "UPDATE audit SET hash = '', signature = '', signer = ''",
        "DELETE FROM counters WHERE name='ledger'",
    )
    with opened(f"sqlite:///{home / 'lethe.db'}", home) as (log, *_):
        log.append([record(1)])
        log.append([record(2)])
    assert any("the ledger was rewritten" in problem for problem in problems(home))
    assert [line.message for line in caplog.records if "earlier head" in line.message] == [caplog.messages[0]]


def test_cut_off_end_stays_noticed_though_the_server_goes_on(home, caplog):
    altered(home, "DELETE FROM audit WHERE id > 5", "UPDATE counters SET value = 5 WHERE name = 'ledger'")
    noted = (home / "ledger.head").read_text()
    with opened(f"sqlite:///{home / 'lethe.db'}", home) as (log, *_):
        log.append([record(n) for n in range(50)])
    assert "entries were removed or rewritten" in caplog.text
    assert (home / "ledger.head").read_text() == noted
    assert len(problems(home)) == 1


def test_unusable_head_file_stops_nothing_but_is_told(home, caplog):
    (home / "ledger.head").write_text("12:abc\n")
    with opened(f"sqlite:///{home / 'lethe.db'}", home) as (log, *_):
        log.append([record(1)])
    assert "holds no head of a ledger" in caplog.text
    with pytest.raises(InputError, match=r"ledger\.head holds no head"):
        problems(home)


@pytest.mark.parametrize("text", ["", "12", "12:xyz", "x:" + "0" * 64, "5:" + "0" * 63, "-1:" + "0" * 64])
def test_head_that_cannot_be_read_is_told(text):
    with pytest.raises(InputError, match="COUNT:HASH"):
        Head.parse(text)
    assert Head.parse(str(Head(7, "ab" * 32))) == Head(7, "ab" * 32)
    assert Head.parse(str(Head(0, ""))) == Head(0, "")
