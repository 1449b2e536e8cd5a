from datetime import UTC, datetime

from control_fixtures import target
from hypothesis import given
from hypothesis import strategies as st

from guard.snapshot import Record
from serving.edits import Edit, between

IDS = st.sets(st.sampled_from("abcd"))
RECORDS = {i: [Record.of(target(i, reason=reason)) for reason in ("one", "two")] for i in "abcd"}


@st.composite
def records(draw):
    return {i: RECORDS[i][draw(st.integers(0, 1))] for i in draw(IDS)}


@st.composite
def edits(draw):
    put = draw(records())
    return Edit(put, frozenset(draw(IDS) - put.keys()))


def applied(known, edit):
    return {i: record for i, record in {**known, **edit.put}.items() if i not in edit.removed}


@given(records(), edits(), edits())
def test_two_edits_as_one_do_what_they_do_in_turn(known, first, second):
    both = first.then(second)
    assert applied(known, both) == applied(applied(known, first), second)
    assert not both.removed & both.put.keys()


@given(records(), edits())
def test_the_part_that_makes_a_difference_does_the_same(known, edit):
    part = edit.on(known)
    assert applied(known, part) == applied(known, edit)
    assert bool(part) == (applied(known, edit) != known)
    assert part.ids == {i for i in "abcd" if known.get(i) != applied(known, edit).get(i)}


@given(records(), records())
def test_the_edit_between_two_sets_leads_from_one_to_the_other(old, new):
    assert applied(old, between(old, new)) == new


def test_expired_targets_go_and_do_not_come():
    now, past = datetime.now(UTC), {"expires_at": "2001-01-01T00:00:00Z"}
    put = {"a": Record.of(target("a", **past)), "b": Record.of(target("b")), "c": Record.of(target("c"))}
    edit = Edit(put).expiring(["b", "d"], now)
    # b was over, and is put again.
    assert set(edit.put) == {"b", "c"}
    assert edit.removed == {"a", "d"}
