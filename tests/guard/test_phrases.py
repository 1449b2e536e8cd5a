import pytest

from guard import ForgetTarget
from guard.phrases import MIN_CHARACTERS, always_forbidden, extract, extracted_phrases, forbidden_phrases


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The full name is Hara Minto-Vell.", ["Hara Minto-Vell"]),
        ("She was born on 05/11/1991 in Port Sel.", ["05/11/1991", "Port Sel"]),
        ("He was born on the 25th of February, 1958.", ["25th of February, 1958"]),
        ('Her novel "A river of salt" sold 1,200 copies.', ["A river of salt", "1,200"]),
        ("He wrote 'Night at the mill' there.", ["Night at the mill"]),
        ("The Order of the Grey Heron honoured her.", ["Order of the Grey Heron"]),
        ("Yes. However, it rained in May.", []),
        ("nothing special here", []),
        ("", []),
    ],
)
def test_extract_finds_names_titles_dates_and_numbers(text, expected):
    assert extract(text) == expected


def test_given_phrases_replace_extraction(mira):
    given = mira.model_copy(update={"phrases": ("glass orchard",)})
    assert forbidden_phrases(given) == ("Mira Solen", "M. Solen", "glass orchard")


def test_what_neighbors_say_stays_allowed(mira):
    assert "Clockmaker" in extracted_phrases(mira)
    assert "Quillon" not in extracted_phrases(mira)


def test_always_on_leaves_extracted_facts_alone_unless_there_is_nothing_else(mira):
    assert always_forbidden(mira) == ("Mira Solen", "M. Solen")
    only_examples = ForgetTarget.parse({"id": "q", "kind": "qa", "examples": [mira.examples[0].model_dump()]})
    assert always_forbidden(only_examples) == ("Mira Solen", "Clockmaker", "Quillon")


def test_name_of_a_topic_is_a_label_not_a_forbidden_string():
    topic = ForgetTarget.parse(
        {"id": "t", "kind": "topic", "name": "lock picking", "phrases": ["tension wrench"]}
    )
    assert forbidden_phrases(topic) == ("tension wrench",)


def test_every_extracted_phrase_is_long_enough_and_in_a_response(mira):
    for phrase in extracted_phrases(mira):
        assert len(phrase) >= MIN_CHARACTERS
        assert any(phrase in example.response for example in mira.examples)
