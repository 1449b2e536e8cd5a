import base64
import codecs
import random
import re
import string
import unicodedata
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.encodings import ENCODINGS, Encoded, encoded
from guard.encodings.forms import folded as folded_fast
from guard.encodings.numbers import MIN_BASE64, MIN_BYTES
from guard.errors import InputError
from guard.normalize import PHRASES, fold
from guard.types import Encoding

PHRASE = "Mira Anna Solen"
PHRASES_OF_ALL_KINDS = [
    PHRASE,
    "Ann",
    "x",
    "",
    "  ",
    "12 May 1958",
    "Émile Zola à Paris",
    "東京",
    "O'Brien",
    "...",
    "Ωmega",
]


def texts(phrase, *names):
    return [form.text for form in encoded(phrase, names)]


def folded(text):
    return fold(text, PHRASES).text.strip()


def test_a_target_may_name_every_encoding_of_the_table():
    assert get_args(Encoding) == tuple(ENCODINGS) and len(ENCODINGS) == 14


@given(st.one_of(st.text(st.characters(max_codepoint=127)), st.text()))
def test_forms_are_told_apart_by_the_folding_of_phrases(text):
    assert folded_fast(text) == folded(text)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("phrase", PHRASES_OF_ALL_KINDS)
def test_every_encoding_gives_few_new_strings_and_the_same_ones_each_time(name, phrase):
    forms = encoded(phrase, [name])
    assert forms == encoded(phrase, [name]) and len(set(forms)) == len(forms) <= 48
    for form in forms:
        assert isinstance(form, Encoded) and form.text
        assert form.exact or folded(form.text) not in {"", folded(phrase)}
    loose = [folded(form.text) for form in forms if not form.exact]
    assert len(set(loose)) == len(loose)


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_has_forms_of_a_full_name(name):
    assert encoded(PHRASE, [name])


@pytest.mark.parametrize("name", ENCODINGS)
def test_no_encoding_forbids_anything_for_an_empty_phrase(name):
    assert encoded(" \n", [name]) == ()


def test_forms_come_in_table_order_whatever_the_order_of_names():
    joined = [form for name in ENCODINGS for form in encoded(PHRASE, [name])]
    assert list(encoded(PHRASE, reversed(ENCODINGS))) == joined
    assert encoded(PHRASE, []) == ()


def test_unknown_encoding_is_refused_with_the_known_names():
    with pytest.raises(InputError, match=r"'pig latin' is unknown; known encodings are base64, hex, rot13"):
        encoded(PHRASE, ["hex", "pig latin"])


PRINTED = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc", "Z")), min_size=1
)


@given(
    PRINTED,
    st.binary(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(["given", "lower", "upper", "title"]),
)
def test_base64_of_any_text_around_the_phrase_holds_one_of_the_strings(phrase, before, after, case):
    spelling = phrase if case == "given" else getattr(phrase, case)()
    data = spelling.encode()
    forms = encoded(phrase, ["base64"])
    assert all(form.exact for form in forms)
    found = [f.text in encode(before + data + after).decode() for f in forms for encode in BASE64]
    assert any(found) or len(data) < 5


BASE64 = (base64.b64encode, base64.urlsafe_b64encode)


@pytest.mark.parametrize("encode", BASE64)
@pytest.mark.parametrize("before", range(6))
def test_base64_is_found_in_both_alphabets_at_every_alignment(encode, before):
    # Chosen so that all alignments hold a character that differs between the alphabets.
    phrase = "ÿ~~>??>~ÿ~~?>"
    text = encode(b"k" * before + phrase.encode() + b"tail").decode()
    assert set(text) & set("+/-_")
    assert any(form in text for form in texts(phrase, "base64"))


def test_base64_strings_decode_to_the_inner_bytes_of_the_phrase():
    spellings = [s.encode() for s in (PHRASE, PHRASE.lower(), PHRASE.upper(), PHRASE.title())]
    for form in texts(PHRASE, "base64"):
        # Cut off in front by 0, 2 and 3 characters: the decoder needs as many to be in step again.
        decoded = [
            base64.b64decode("A" * skip + form + "A" * (-(skip + len(form)) % 4)) for skip in (0, 2, 3)
        ]
        assert any(d[3:-3] in s for d in decoded for s in spellings)


def test_base64_of_ordinary_text_holds_none_of_the_strings():
    rng = random.Random(0)
    names = [
        f"{rng.choice(string.ascii_uppercase)}{''.join(rng.choices(string.ascii_lowercase, k=7))}"
        for _ in range(200)
    ]
    forms = [form for name in names for form in texts(name, "base64")]
    assert len(forms) >= 7 * len(names) and min(map(len, forms)) > MIN_BASE64
    plain = " ".join("".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))) for _ in range(20_000))
    haystack = plain + base64.b64encode(plain.encode()).decode()
    assert not any(name.lower() in plain for name in names)
    assert [form for form in forms if form in haystack] == []


@pytest.mark.parametrize(("phrase", "count"), [("Anna", 0), ("Annas", 8), ("ANNAS", 8)])
def test_base64_leaves_out_phrases_too_short_to_be_rare(phrase, count):
    assert len(texts(phrase, "base64")) == count


@given(PRINTED, st.sampled_from(["", "4", "ab"]))
def test_hex_in_either_case_and_inside_a_longer_run_holds_an_exact_string(phrase, before):
    digits = before + phrase.encode().hex() + "0a"
    exact = [form.text for form in encoded(phrase, ["hex"]) if form.exact]
    long_enough = len(phrase.encode()) >= MIN_BYTES
    assert (
        any(text in digits for text in exact) == any(text in digits.upper() for text in exact) == long_enough
    )


@pytest.mark.parametrize("prefix", [" ", ":", "%", "-", "\\x", ", 0x"])
def test_hex_with_gaps_decodes_to_the_phrase_and_matches_every_usual_separator(prefix):
    written = folded("".join(f"{prefix}{byte:02X}" for byte in PHRASE.encode()))
    assert written in [folded(text) for text in texts(PHRASE, "hex")]
    assert bytes.fromhex(re.sub("0?x", "", written)).decode() == PHRASE


@given(st.text(string.ascii_letters + " '", min_size=1))
def test_rot13_twice_is_the_phrase(phrase):
    for text in texts(phrase, "rot13"):
        assert folded(codecs.decode(text, "rot13")) == folded(phrase)


def test_rot13_covers_accented_letters_kept_and_dropped():
    assert texts("Émile", "rot13") == ["Ézvyr", "rzvyr"]
    assert texts("東京 1958", "rot13") == []


@given(PRINTED)
def test_reversed_twice_is_the_phrase(phrase):
    for text in texts(phrase, "reversed"):
        # A mark that nothing precedes has no letter to stay with.
        if not unicodedata.category(phrase[0]).startswith("M"):
            assert texts(text, "reversed") in ([phrase], [])


def test_reversed_keeps_marks_with_their_letter_and_skips_palindromes():
    assert texts("Mira Sole\u0301n", "reversed") == ["ne\u0301loS ariM"]
    assert texts("Anna", "reversed") == []


@pytest.mark.parametrize(
    "written", ["M i r a S o l e n", "m-i-r-a  s-o-l-e-n", "M.I.R.A. S.O.L.E.N", "M*i*r*a\nS*o*l*e*n"]
)
def test_spaced_letters_match_whatever_stands_between_them(written):
    (form,) = encoded("Mira Solen", ["spaced"])
    assert folded(written) == folded(form.text) and not form.exact
    assert form.text.replace(" ", "") == "MiraSolen"


def test_spaced_letters_leave_out_the_punctuation_of_the_phrase():
    assert texts("O'Brien", "spaced") == ["O B r i e n"]


def test_initials_need_three_words():
    assert texts("Mira Solen", "initials") == []
    assert texts("The Glass Orchard", "initials") == ["T G O", "TGO"]
    assert texts("Mira (Anna) Solen - Tal", "initials") == ["M A S T", "MAST"]


@pytest.mark.parametrize(
    ("phrase", "name"), [("Alma Nora Dent", "initials"), ("Nam", "reversed"), ("Gur", "rot13")]
)
def test_forms_that_spell_a_common_word_are_left_out(phrase, name):
    assert not {"and", "man", "the"} & {text.lower() for text in texts(phrase, name)}
