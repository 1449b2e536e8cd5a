import itertools

from hypothesis import given
from hypothesis import strategies as st

from guard.automaton import Automaton, Rule
from guard.response import ResponseFilter
from guard.types import Boundary
from tests.guard.test_automaton import LETTERS

PHRASES = ["Mira Solen", "12 May", "é b"]
AUTOMATON = Automaton.build(PHRASES)
ASCII_PHRASES = PHRASES[:2]


def run(chunks, automata=(AUTOMATON,)):
    response_filter = ResponseFilter(automata)
    released = [response_filter.feed(chunk) for chunk in chunks]
    return "".join(released) + response_filter.finish(), response_filter


def chunked(text, cuts):
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in itertools.pairwise(places)]


@given(st.text("aeéib MaSoln12y.", max_size=40), st.lists(st.integers(0, 60), max_size=8))
def test_chunking_never_changes_what_is_released(text, cuts):
    whole, first = run([text])
    pieces, second = run(chunked(text, cuts))
    assert whole == pieces
    assert first.tripped == second.tripped


@given(st.text("MiraSolen 12y.", max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_released_text_is_a_prefix_without_any_phrase(text, cuts):
    released, response_filter = run(chunked(text, cuts))
    assert text.startswith(released)
    assert not AUTOMATON.found_in(released)
    assert (released == text) or response_filter.tripped


@given(st.text("MiraSolen 12y.", max_size=40))
def test_exactly_the_longest_live_match_is_held_back(text):
    response_filter = ResponseFilter((Automaton.build(ASCII_PHRASES),))
    seen = ""
    for char in text:
        response_filter.feed(char)
        seen += char
        if response_filter.tripped:
            break
        live = max(
            (
                k
                for k in range(len(seen) + 1)
                for p in ASCII_PHRASES
                if p.lower().startswith(seen[len(seen) - k :].lower())
                and k <= len(p)
                and (k == len(seen) or not seen[len(seen) - k - 1].isalnum())
            ),
            default=0,
        )
        assert response_filter.held == live


def test_text_before_the_phrase_goes_out_and_nothing_after():
    released, response_filter = run(["I met MIRA ", "SOLEN there.", " Bye."])
    assert released == "I met "
    assert response_filter.tripped


def test_started_phrase_that_never_comes_is_released_at_the_end():
    assert run(["I met Mira Sol"])[0] == "I met Mira Sol"


def test_two_automata_hold_back_the_longer_match():
    released, response_filter = run(["x Mira Sole"], (AUTOMATON, Automaton.build(["Mira"])))
    assert (released, response_filter.tripped) == ("x ", True)


def test_without_automata_text_passes_untouched():
    assert run(["Mira Solen"], ())[0] == "Mira Solen"


def test_invisible_and_repeated_separators_inside_a_match_are_held_with_it():
    response_filter = ResponseFilter((AUTOMATON,))
    assert response_filter.feed("I met Mi\u200bra  - S") == "I met "
    assert response_filter.held == len("Mi\u200bra  - S")
    assert response_filter.feed("ky") == "Mi\u200bra  - Sky"


def test_word_that_a_phrase_only_begins_is_released_once_it_goes_on():
    both = Automaton.build(["Ann"], Rule(boundary=Boundary.BOTH))
    assert run(["to Ann", "iversary"], (both,))[0] == "to Anniversary"
    released, response_filter = run(["to Ann", ". Bye"], (both,))
    assert (released, response_filter.tripped) == ("to ", True)


def test_end_of_the_response_closes_a_word():
    both = Automaton.build(["Ann"], Rule(boundary=Boundary.BOTH))
    released, response_filter = run(["to Ann"], (both,))
    assert (released, response_filter.tripped) == ("to ", True)


@given(st.lists(LETTERS, max_size=14).map("".join), st.lists(st.integers(0, 60), max_size=5))
def test_disguises_are_released_alike_however_they_are_cut(text, cuts):
    automata = (
        Automaton.build(["ab a", "éß"]),
        Automaton.build(["b", "東a"], Rule(boundary=Boundary.BOTH)),
    )
    whole, first = run([text], automata)
    pieces, second = run(chunked(text, cuts), automata)
    assert whole == pieces
    assert first.tripped == second.tripped
    assert text.startswith(whole)
    assert not any(automaton.found_in(whole) for automaton in automata)
