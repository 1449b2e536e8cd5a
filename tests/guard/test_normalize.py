from hypothesis import given
from hypothesis import strategies as st

from guard.normalize import fold


@given(st.text())
def test_offsets_point_into_the_original_in_order(text):
    folded = fold(text)
    assert len(folded.offsets) == len(folded.text) + 1
    assert folded.offsets[-1] == len(text)
    assert list(folded.offsets) == sorted(folded.offsets)
    for start in range(len(folded.text)):
        low, high = folded.span(start, start + 1)
        assert 0 <= low < high <= len(text)


@given(st.text())
def test_folding_twice_changes_nothing(text):
    once = fold(text).text
    assert fold(once).text == once


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_shortcut_equals_the_general_way(text):
    # One accented letter in front forces the general way for the rest.
    general = fold("é" + text)
    assert general.text[1:] == fold(text).text
    assert [o - 1 for o in general.offsets[1:]] == list(fold(text).offsets)


def test_case_accents_width_invisibles_and_spacing_fold_away():
    assert fold("ＭÍRA\u200b  \n Sólen").text == "mira solen"


def test_a_capital_that_looks_like_a_capital_i_is_one():
    # Unicode lists them under l, which the capital I looks like too.
    assert fold("\u0406van").text == fold("\uff29van").text == fold("\u0399van").text == "ivan"


def test_span_covers_the_original_characters():
    text = "Dear MÍ\u200bRA  Solen!"
    folded = fold(text)
    start = folded.text.index("mira solen")
    low, high = folded.span(start, start + len("mira solen"))
    assert text[low:high] == "MÍ\u200bRA  Solen"
