import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.automaton import START, Automaton, Phrase, Rule, automata_of
from guard.normalize import EXACT, PHRASES, Fold
from guard.types import Boundary
from tests.guard.naive import fold, occurs

RULES = [
    Rule(folding, boundary)
    for folding in (EXACT, PHRASES)
    for boundary in Boundary
] + [Rule(frozenset(Fold), Boundary.NONE), Rule(frozenset({Fold.CASE}), Boundary.LEFT)]  # fmt: skip
SMALL = [["a"], ["ab"], ["aa", "ab"], ["a b"], ["aab", "ba"], ["abab", "b a"], ["bb", "a bb"], ["a a", "aa"]]
# One of each kind: letters with case and accent, a look-alike (Cyrillic), a ligature, an invisible character,
# punctuation, a letter of a script without spaces, an emoji.
LETTERS = st.sampled_from([*"abAB -.é", "e\u0301"[1], "\u0430", "ﬁ", "\u200b", "東", "😀", "Ａ", "ß"])
TEXT = st.lists(LETTERS, max_size=12).map("".join)
PHRASE = st.lists(LETTERS, min_size=1, max_size=4).map("".join)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{len(r.folding)}-{r.boundary}")
@pytest.mark.parametrize("phrases", SMALL)
def test_decision_equals_substring_search_for_every_short_text(phrases, rule):
    automaton = Automaton.build(phrases, rule)
    for length in range(7):
        for letters in itertools.product("ab ", repeat=length):
            text = "".join(letters)
            assert automaton.found_in(text) == any(occurs(text, p, rule) for p in phrases), text


@given(st.lists(PHRASE, min_size=1, max_size=4), TEXT, st.sampled_from(RULES))
@settings(max_examples=600)
def test_decision_equals_substring_search_for_drawn_phrases(phrases, text, rule):
    expected = any(occurs(text, form, rule) for p in phrases for form in cases(p, rule))
    assert Automaton.build(phrases, rule).found_in(text) == expected


def cases(phrase, rule):
    """Upper and lower case are phrases of their own, because look-alikes differ between them."""
    phrase = " ".join(phrase.split())
    if Fold.CASE not in rule.folding:
        return [phrase]
    return [phrase, phrase.lower(), phrase.upper(), phrase.title()]


@given(st.lists(PHRASE, min_size=1, max_size=3), st.binary(max_size=10), st.sampled_from(RULES))
@settings(max_examples=300)
def test_bytes_that_are_no_text_are_as_if_they_were_not_there(phrases, data, rule):
    automaton = Automaton.build(phrases, rule)
    assert automaton.found_in(data) == automaton.found_in(data.decode(errors="ignore"))


@given(TEXT, st.integers(0, 40), st.sampled_from(RULES))
@settings(max_examples=200)
def test_reading_in_two_pieces_ends_where_reading_at_once_does(text, cut, rule):
    automaton, data = Automaton.build(["ab a", "éß", "東 b"], rule), text.encode()
    cut = min(cut, len(data))
    node, pending, end = automaton.walk(START, data[:cut])
    whole = automaton.walk(START, data)
    if end < 0:
        second = automaton.walk(node, data[cut:], pending)
        assert second[:2] == whole[:2]
        assert (second[2] < 0) == (whole[2] < 0)


def test_depth_is_the_longest_suffix_that_may_become_a_phrase():
    rule = Rule(boundary=Boundary.LEFT)
    automaton = Automaton.build(["abba", "bat"], rule)
    for length in range(7):
        for letters in itertools.product("abt ", repeat=length):
            text = "".join(letters)
            if automaton.found_in(text):
                continue
            folded = fold(text, rule)
            live = max(
                k
                for k in range(len(folded) + 1)
                if k == 0
                or (
                    any(p.startswith(folded[-k:]) for p in ("abba", "bat"))
                    and (k == len(folded) or folded[-k - 1] == " ")
                )
            )
            assert automaton.depth[automaton.walk(START, text.encode())[0]] == live


def test_without_phrases_nothing_is_accepted():
    automaton = Automaton.build([])
    assert automaton.longest == 0
    assert not automaton.found_in(bytes(range(256)) * 3)


def test_name_is_not_found_inside_words_unless_asked_for():
    assert not Automaton.build(["Ann"]).found_in("Joann")
    assert Automaton.build(["Ann"]).found_in("to Anniversary")
    assert not Automaton.build(["Ann"], Rule(boundary=Boundary.BOTH)).found_in("to Anniversary")
    assert Automaton.build(["Ann"], Rule(boundary=Boundary.BOTH)).found_in("to Ann.")
    assert Automaton.build(["Ann"], Rule(boundary=Boundary.NONE)).found_in("Joanne")


@pytest.mark.parametrize(
    "text",
    [
        "MIRA SOLEN", "Míra Sólen", "Ｍｉｒａ Ｓｏｌｅｎ", "Mi\u200bra So\u00adlen", "Мirа Sоlеn",
        "𝐌𝐢𝐫𝐚 𝑺𝒐𝒍𝒆𝒏",
        "Mira   Solen", "Mira-Solen", "Mira,\nSolen", "mira_solen", "Mira… Solen", "(Mira) Solen",
    ],
)  # fmt: skip
def test_disguised_name_is_found(text):
    assert Automaton.build(["Mira Solen"]).found_in(f"about {text}")


def test_letters_spaced_apart_are_found_with_the_folding_for_it():
    rule = Rule(frozenset(Fold), Boundary.NONE)
    assert Automaton.build(["Mira Solen"], rule).found_in("M.i.r a – S o l e n")
    assert not Automaton.build(["Mira Solen"]).found_in("M.i.r a – S o l e n")


@pytest.mark.parametrize("kind", list(Fold))
def test_each_folding_can_be_left_out(kind):
    shown = {
        Fold.CASE: "mira solen", Fold.WIDTH: "Ｍira Solen", Fold.ACCENTS: "Míra Solen",
        Fold.INVISIBLE: "Mi\u200bra Solen", Fold.CONFUSABLES: "Mirа Solen",
        Fold.SEPARATORS: "Mira-Solen", Fold.SPACING: "M i r a Solen",
    }[kind]  # fmt: skip
    without = frozenset(Fold) - {kind} - ({Fold.SPACING} if kind is not Fold.SPACING else set())
    if kind is Fold.WIDTH:
        without -= {Fold.CONFUSABLES}  # full-width letters are look-alikes too
    with_it = Automaton.build(["Mira Solen"], Rule(without | {kind}, Boundary.NONE))
    assert with_it.found_in(shown)
    assert not Automaton.build(["Mira Solen"], Rule(without, Boundary.NONE)).found_in(shown)


def test_phrase_of_punctuation_keeps_it():
    (automaton,) = automata_of([Phrase("C++")])
    assert automaton.found_in("in C++ we")
    assert not automaton.found_in("in C we")


@pytest.mark.parametrize(
    ("beta", "allowed", "forbidden"),
    [
        (1.0, "Harry Potte", "Harry Potter"),
        (0.5, "Harry, the", "Harry P"),
        (0.25, "Ha", "Har"),
        (0.01, "x", "H"),
    ],
)
def test_beta_forbids_a_phrase_from_that_share_on(beta, allowed, forbidden):
    automaton = Automaton.build([Phrase("Harry Potter", beta=beta)])
    assert not automaton.found_in(allowed)
    assert automaton.found_in(forbidden)


def test_overlapping_suffix_is_not_lost_after_a_match():
    automaton = Automaton.build(["x ab", "ab z"])
    node, _, end = automaton.walk(START, b"x ab")
    assert end == 4
    assert automaton.walk(node, b" z")[2] == 2


def test_soft_words_are_nodes_that_accept_nothing():
    automaton = Automaton.soft({"wizard": 0.4, "Wizard": 0.3, "magic": np.inf})
    assert not automaton.found_in("wizard magic")
    assert dict(zip(["magic", "wizard"], automaton.weights.tolist(), strict=True)) == {
        "magic": -np.inf,
        "wizard": pytest.approx(-0.4),
    }


def test_tables_hold_only_valid_nodes():
    automaton = Automaton.build(["abc", "bcd", "cde", "éa"])
    assert (automaton.first + automaton.children)[automaton.children > 0].max() <= automaton.nodes
    assert automaton.fail.max() < automaton.nodes
    assert automaton.fail.dtype == np.int32
