import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.automaton import START, Automaton, variants

ALPHABET = "ab "


def contains(text: str, phrases: list[str]) -> bool:
    """The naive search: a phrase, in any case, that does not start inside a word."""
    return any(re.search(r"(?<![A-Za-z0-9_])" + re.escape(p), text, re.IGNORECASE) for p in phrases)


@pytest.mark.parametrize(
    "phrases", [["a"], ["ab"], ["aa", "ab"], ["a b"], ["aab", "ba"], ["abab", "b a"], ["bb", "a bb"]]
)
def test_decision_equals_substring_search_for_every_short_text(phrases):
    automaton = Automaton.build(phrases)
    for length in range(7):
        for letters in itertools.product(ALPHABET, repeat=length):
            text = "".join(letters)
            assert (automaton.first_accept(text.encode()) is not None) == contains(text, phrases), text


@given(
    st.lists(
        st.text("abAB -é", min_size=1, max_size=5).filter(lambda p: p.strip() == p and p),
        min_size=1,
        max_size=4,
    ),
    st.text("abAB -é", max_size=12),
)
@settings(max_examples=300)
def test_decision_equals_substring_search_for_drawn_phrases(phrases, text):
    expected = any(
        (i == 0 or text[i - 1] not in "abAB")
        and text.casefold().startswith(" ".join(p.split()).casefold(), i)
        for p in phrases
        for i in range(len(text))
    )
    assert (Automaton.build(phrases).first_accept(text.encode()) is not None) == expected


def test_depth_is_the_longest_suffix_that_may_become_a_phrase():
    automaton = Automaton.build(["abba", "bat"])
    for length in range(7):
        for letters in itertools.product("abt ", repeat=length):
            data = "".join(letters)
            state = automaton.walk(START, data.encode())
            live = max(
                (
                    k
                    for k in range(len(data) + 1)
                    for phrase in ("abba", "bat")
                    if phrase.startswith(data[len(data) - k :])
                    and k <= len(phrase)
                    and (k == len(data) or data[len(data) - k - 1] == " ")
                ),
                default=0,
            )
            assert automaton.depth[state] == live


def test_without_phrases_nothing_is_accepted():
    automaton = Automaton.build([])
    assert automaton.longest == 0
    assert automaton.first_accept(bytes(range(256)) * 3) is None


def test_phrase_starts_at_word_boundaries_only_and_needs_no_end():
    automaton = Automaton.build(["Ann"])
    assert automaton.first_accept(b"Joann") is None
    assert automaton.first_accept(b"to Anniversary") == len("to Ann")


def test_overlapping_suffix_is_not_lost_after_a_match():
    automaton = Automaton.build(["x ab", "ab z"])
    state = automaton.walk(START, b"x ab")
    assert automaton.accept[state]
    assert automaton.accept[automaton.walk(state, b" z")]


@pytest.mark.parametrize("text", ["Émile", "émile", "ÉMILE", "E\u0301mile", "e\u0301mile"])
def test_letters_beyond_ascii_match_in_their_cases_and_normal_forms(text):
    assert Automaton.build(["Émile"]).first_accept(text.encode()) is not None


def test_ascii_phrase_has_one_variant():
    assert variants("Mira  Solen") == {b"mira solen"}


def test_tables_hold_only_valid_states():
    automaton = Automaton.build(["abc", "bcd", "cde"])
    assert automaton.delta.min() >= 0
    assert automaton.delta.max() < automaton.states
    assert automaton.delta.dtype == np.int32
