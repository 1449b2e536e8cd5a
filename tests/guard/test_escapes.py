"""Escaped letters: as JSON says them, in the unescaper and in the response filter."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guard.automaton import Automaton
from guard.escapes import Unescaper
from guard.response import ResponseFilter
from tests.guard.test_response import chunked, run

NAME = "Mira Solé"
AUTOMATON = Automaton.build([NAME, "𝔐b"])


def said(parts) -> str:
    reader = Unescaper()
    return "".join(piece.said for part in parts for piece in reader.read(part)) + reader.pending


def mixed(text, picks) -> str:
    """JSON text that says ``text``, with some letters written as escapes."""
    written = []
    for at, letter in enumerate(text):
        escaped = json.dumps(letter)[1:-1]
        if picks[at % len(picks)]:
            units = letter.encode("utf-16-be")
            escaped = "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
        written.append(escaped)
    return "".join(written)


PICKS = st.lists(st.booleans(), min_size=1, max_size=7)
CUTS = st.lists(st.integers(0, 99), max_size=8)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), PICKS, CUTS)
@example("😀", [True], [1])
def test_text_is_read_as_json_reads_it(text, picks, cuts):
    written = mixed(text, picks)
    assert said(chunked(written, cuts)) == json.loads(f'"{written}"') == text


@pytest.mark.parametrize("written", [r"\x4d\x69ra", r"\U0000004dira", r"\u004dira", "M\\u0069r\\u0061"])
def test_forms_of_source_code_are_read_too(written):
    assert said([written]) == "Mira"


@pytest.mark.parametrize("text", ["\\", "\\q", "\\u00", "C:\\dir", "\\ud83d", "\\U99999999"])
def test_what_is_no_escape_stays(text):
    assert said([text]) == text


@given(PICKS, CUTS, st.sampled_from(["", "I met ", '{"who": "', "\\n"]))
def test_a_phrase_is_caught_however_its_letters_are_escaped_and_cut(picks, cuts, before):
    written = before + mixed(NAME, picks)
    released, response_filter = run(chunked(written + '"}', cuts), (AUTOMATON,))
    assert response_filter.tripped
    assert released == before


@given(st.text("Mira Solé𝔐b\\un0", max_size=25), PICKS, CUTS)
def test_release_is_the_same_however_it_is_cut_and_never_says_a_phrase(text, picks, cuts):
    written = mixed(text, picks)
    whole, first = run([written], (AUTOMATON,))
    pieces, second = run(chunked(written, cuts), (AUTOMATON,))
    assert whole == pieces
    assert first.tripped == second.tripped
    assert written.startswith(whole)
    assert (whole == written) or first.tripped
    assert not AUTOMATON.found_in(said([whole]))


def test_no_more_than_the_phrase_in_its_longest_spelling_is_held_back():
    response_filter = ResponseFilter((AUTOMATON,))
    held = []
    for letter in "x\\n" + mixed("Mira Sol", [True]) + "x and so on":
        response_filter.feed(letter)
        held.append(response_filter.held)
    assert max(held) == len(mixed("Mira Sol", [True]))
    assert held[-1] == 0
