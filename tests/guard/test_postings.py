"""Postings count what a plain dictionary counts, also after parts are joined and targets are gone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.detectors import postings
from guard.detectors.postings import Postings
from guard.terms import terms

WORDS = ["glass", "orchard", "quillon", "clockmaker", "harbour", "zzyxolq"]
TEXTS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.lists(st.sampled_from([*WORDS, "the"]), max_size=6).map(" ".join)),
    max_size=8,
)
QUERY = st.lists(st.sampled_from([*WORDS, "unseen"]), max_size=6).map(" ".join)
GONE = st.frozensets(st.sampled_from("abcde"), max_size=3)


def counted(texts, wanted):
    """Best and union of every target, by dictionaries."""
    held = {}
    for target_id, text in texts:
        held.setdefault(target_id, []).append(wanted.keys() & terms(text).keys())
    found = {}
    for target_id, of_target in held.items():
        best = max(sum(wanted[term] for term in shared) for shared in of_target)
        found[target_id] = best, sum(wanted[term] for term in frozenset().union(*of_target))
    return found


def checked(filed, texts, query):
    wanted = terms(query)
    expected = counted(texts, wanted)
    assert list(filed.owners) == list(expected)
    overlap = filed.overlaps(filed.look_up(wanted))
    for target_id, values in expected.items():
        assert overlap.of(filed.numbers[target_id]) == pytest.approx(values, abs=1e-4)
    assert overlap.of(None) == overlap.of(len(filed.owners)) == (0.0, 0.0)
    above = {target_id: best for best, target_id in overlap.above(1.0)}
    assert above == pytest.approx({i: v[0] for i, v in expected.items() if v[0] > 1.0}, abs=1e-4)


@given(TEXTS, QUERY)
def test_overlaps_are_those_of_a_plain_count(texts, query):
    checked(Postings.of(texts), texts, query)


@given(st.lists(st.tuples(TEXTS, GONE), max_size=3), QUERY)
def test_joined_parts_are_those_of_the_texts_that_are_left(parts, query):
    joined = Postings.join(*((Postings.of(texts), gone) for texts, gone in parts))
    left = [pair for texts, gone in parts for pair in texts if pair[0] not in gone]
    checked(joined, left, query)
    checked(Postings.join((joined, frozenset("a"))), [pair for pair in left if pair[0] != "a"], query)


def test_a_term_of_very_many_texts_is_not_looked_up(monkeypatch):
    monkeypatch.setattr(postings, "COMMON", 2)
    filed = Postings.of([("a", "orchard glass"), ("b", "orchard"), ("c", "orchard")])
    overlap = filed.overlaps(filed.look_up(terms("glass orchard")))
    assert overlap.of(0)[0] == pytest.approx(sum(terms("glass").values()))
    assert overlap.of(1) == (0.0, 0.0)
