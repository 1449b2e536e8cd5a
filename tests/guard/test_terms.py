"""Terms: telling words and pairs of them, each with how much it says."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.terms import asks_who, terms

RAREST = 7.0


def weight(word):
    (found,) = terms(word).values()
    return found


def test_a_rare_word_says_more_than_a_frequent_one():
    assert 0 <= weight("time") < weight("harbour") < weight("clockmaker") < weight("zzyxolq") == RAREST


def test_words_of_any_question_say_nothing():
    assert terms("Who is the most famous of them, and what did she do?").keys() == terms("them").keys()
    assert terms("") == terms("a ? !") == {}


def test_a_pair_weighs_the_mean_of_its_words_and_knows_its_order():
    found, turned = terms("glass orchard"), terms("orchard glass")
    assert len(found) == len(turned) == 3
    words = terms("glass").keys() | terms("orchard").keys()
    (pair,) = found.keys() - words
    assert found[pair] == pytest.approx((weight("glass") + weight("orchard")) / 2)
    assert found.keys() & turned.keys() == words


def test_stop_words_between_do_not_part_a_pair():
    assert terms("the glass of the orchard") == terms("glass orchard")


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("orchards", "orchard"),
        ("printed", "printing"),
        ("Solen's", "SOLEN"),
        ("Solen’s", "Solen"),
        ("Čapek", "capek"),
        ("Müller", "Muller"),
        ("Солен", "Solen"),
    ],
)
def test_forms_of_a_word_are_the_same_term(text, same):
    assert terms(text).keys() == terms(same).keys()


def test_a_word_too_short_to_lose_its_ending_keeps_it():
    assert terms("gas").keys() != terms("ga").keys()


@given(st.text(max_size=120))
def test_weights_lie_between_nothing_and_the_rarest(text):
    found = terms(text)
    assert all(0 <= one <= RAREST for one in found.values())
    assert terms(f"{text} {text}").keys() >= found.keys()


@pytest.mark.parametrize(
    "text",
    [
        "Who wrote it?",
        "whose book is that",
        "Which English actor played the king?",
        "Name the famous Danish novelist of that book.",
        "What person comes from there?",
        "¿Quién escribió el libro?",
        "Qui a écrit ce livre ?",
        "Wer schrieb das Buch?",
        "Кто написал эту книгу?",
        "这本书是谁写的?",
    ],
)
def test_a_question_for_a_person_is_told(text):
    assert asks_who(text)


@pytest.mark.parametrize("text", ["Where is the harbour?", "What is the capital of it?", "whoever", ""])
def test_another_question_is_not(text):
    assert not asks_who(text)


def test_hostile_texts_are_read_in_linear_time():
    started = time.perf_counter()
    for text in ("which " * 20_000, "what " + "x" * 100_000, "name the " + "a-" * 50_000, "é" * 100_000):
        asks_who(text)
        terms(text)
    assert time.perf_counter() - started < 5
